//! One broker of a cluster: its process, its data directory, its log.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use milena_protocol::Str;
use milena_protocol::api::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumRequestPartition, DescribeQuorumRequestTopic,
};
use rustix::process::{Pid, Signal, kill_process};

use super::network::Network;
use super::view::View;
use crate::broker::{binary, without_settings};
use crate::http;
use crate::process;
use crate::wire::Wire;

/// The clients' listener; every broker has an address of its own, so that ports need no search.
pub const CLIENTS_PORT: u16 = 9092;
/// The peers' listener.
pub const PEERS_PORT: u16 = 9091;
const HTTP_PORT: u16 = 9404;
/// One answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Lines of a log that a failure prints.
const TAIL_LINES: usize = 40;

/// A broker's process, or the lack of it.
pub struct Node {
    /// Its number.
    pub id: i32,
    host: String,
    folder: PathBuf,
    namespace: Option<String>,
    /// Data directories beside the first.
    further_dirs: Vec<PathBuf>,
    settings: Vec<String>,
    child: Option<Child>,
    paused: bool,
}

impl Node {
    /// Where it is in the network, and in the cluster's folder, is its `place`: two may have one number.
    pub(super) fn new(
        id: i32,
        place: i32,
        network: &Network,
        folder: &Path,
        settings: Vec<String>,
    ) -> Self {
        Self {
            id,
            host: network.host(place),
            folder: folder.join(format!("broker-{place}")),
            namespace: network.namespace(place),
            further_dirs: Vec::new(),
            settings,
            child: None,
            paused: false,
        }
    }

    /// HOST:PORT for clients.
    pub fn bootstrap(&self) -> String {
        format!("{}:{CLIENTS_PORT}", self.host)
    }

    /// HOST:PORT of metrics and health.
    pub fn http(&self) -> String {
        format!("{}:{HTTP_PORT}", self.host)
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Gives it one more data directory, from the next start on.
    pub fn add_dir(&mut self, name: &str) {
        self.further_dirs.push(self.folder.join(name));
    }

    /// All of its data directories, the one of the metadata first.
    pub fn dirs(&self) -> Vec<PathBuf> {
        let first = std::iter::once(self.data());
        first.chain(self.further_dirs.iter().cloned()).collect()
    }

    /// Its process's id, where it has one.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it has a process.
    pub fn is_up(&self) -> bool {
        self.child.is_some()
    }

    /// Whether its process has not ended, by itself or otherwise.
    pub fn is_running(&mut self) -> bool {
        self.ended_by_itself().is_none() && self.is_up()
    }

    /// Whether it says that it serves.
    pub fn is_ready(&self) -> bool {
        http::is_ready(&self.http())
    }

    /// The metadata as it has it.
    pub fn view(&self) -> Result<View> {
        View::ask(&self.bootstrap(), ANSWER_LIMIT)
    }

    /// Who leads the metadata quorum, as far as it knows.
    pub fn quorum_leader(&self) -> Result<i32> {
        let partition = DescribeQuorumRequestPartition { partition_index: 0 };
        let request = DescribeQuorumRequest {
            topics: vec![DescribeQuorumRequestTopic {
                topic_name: Str::from("__cluster_metadata"),
                partitions: vec![partition],
            }],
        };
        let mut wire = Wire::connect_within(&self.bootstrap(), ANSWER_LIMIT)?;
        let told = wire.ask(&request, 0)?;
        let mut partitions = told.topics.iter().flat_map(|topic| &topic.partitions);
        let partition = partitions.next().context("no quorum is described")?;
        partition.error_code.ok()?;
        ensure!(partition.leader_id >= 0, "the quorum has no leader");
        Ok(partition.leader_id)
    }

    /// Whether it has a process that is not stopped.
    pub fn is_awake(&self) -> bool {
        self.is_up() && !self.paused
    }

    /// A setting, as `name=value`, from the next start on, in place of what it had of that name.
    pub fn set(&mut self, setting: &str) {
        let name = setting.split('=').next().unwrap_or_default();
        self.settings
            .retain(|had| had.split('=').next() != Some(name));
        self.settings.push(setting.to_owned());
    }

    /// From the next start on it has the listener for peers that it was laid out without.
    pub fn listen_for_peers(&mut self) {
        self.settings
            .retain(|setting| !setting.starts_with("listeners="));
    }

    /// HOST:PORT of its peers' listener.
    pub fn peers(&self) -> String {
        format!("{}:{PEERS_PORT}", self.host)
    }

    /// Where what it logs from now on begins, for [`Node::until_logged_since`].
    pub fn log_end(&self) -> usize {
        self.log().len()
    }

    /// Waits until it has logged all of these words in one line, in any of its lives; that line.
    pub fn until_logged(&self, words: &[&str], limit: Duration) -> Result<String> {
        self.until_logged_since(0, words, limit)
    }

    /// The same for what it logs behind that place.
    pub fn until_logged_since(&self, at: usize, words: &[&str], limit: Duration) -> Result<String> {
        let has = |line: &&str| words.iter().all(|word| line.contains(word));
        let found = process::poll(limit, || {
            let log = self.log();
            log.get(at..)?.lines().rfind(has).map(str::to_owned)
        });
        found.with_context(|| {
            let tail = self.log_tail();
            format!(
                "broker {} has not logged {words:?} within {limit:?}:\n{tail}",
                self.id
            )
        })
    }

    /// Starts the process; what it says goes to one log over all its lives.
    pub fn start(&mut self) -> Result<()> {
        ensure!(!self.is_up(), "broker {} runs already", self.id);
        fs::create_dir_all(&self.folder)?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let host = &self.host;
        let mut command = self.command()?;
        let dirs: Vec<String> = self
            .dirs()
            .iter()
            .map(|dir| dir.display().to_string())
            .collect();
        command.arg("serve").arg("--data").arg(dirs.join(","));
        let own = [
            format!("node.id={}", self.id),
            format!("listeners=PLAINTEXT://{host}:{CLIENTS_PORT},PEERS://{host}:{PEERS_PORT}"),
            format!("http.listener={host}:{HTTP_PORT}"),
        ];
        for setting in own.iter().chain(&self.settings) {
            command.args(["--set", setting]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn();
        self.child = Some(child.with_context(|| format!("start broker {}", self.id))?);
        Ok(())
    }

    fn command(&self) -> Result<Command> {
        let mut command = match &self.namespace {
            // `ip` becomes the broker: the child's id is the broker's.
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(binary()?);
                command
            }
            None => Command::new(binary()?),
        };
        without_settings(&mut command);
        Ok(command)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref();
        let child = child.with_context(|| format!("broker {} is down", self.id))?;
        kill_process(Pid::from_child(child), signal)
            .with_context(|| format!("{signal:?} to broker {}", self.id))
    }

    /// SIGKILL.
    pub fn kill9(&mut self) -> Result<()> {
        let child = self.child.take();
        let mut child = child.with_context(|| format!("broker {} is down", self.id))?;
        child.kill()?;
        child.wait()?;
        self.paused = false;
        Ok(())
    }

    /// SIGTERM, without waiting for what follows.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// How the process ended; `None` where it still runs after `limit`.
    pub fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        let status = process::wait(self.child.as_mut()?, limit)?;
        self.child = None;
        Some(status)
    }

    /// How the process ended, where nobody has waited for that.
    pub(super) fn ended_by_itself(&mut self) -> Option<ExitStatus> {
        self.ended(Duration::ZERO)
    }

    /// SIGSTOP.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)?;
        self.paused = true;
        Ok(())
    }

    /// SIGCONT.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::CONT)?;
        self.paused = false;
        Ok(())
    }

    /// Removes the data of a broker that is down.
    pub fn wipe(&self) -> Result<()> {
        ensure!(!self.is_up(), "broker {} runs", self.id);
        fs::remove_dir_all(self.data()).context("wipe a broker's disk")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("broker.log")
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The last lines that it has logged.
    pub fn log_tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.is_up() && self.kill9().is_err() {
            eprintln!("broker {} could not be killed", self.id);
        }
    }
}
