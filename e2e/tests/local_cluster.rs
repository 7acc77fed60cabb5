//! Three brokers that `milena cluster start` runs, and what the command line does with them.

use std::fs::File;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::broker::milena;
use e2e::command::CommandLine;
use e2e::process;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// From start to ready, and from Ctrl-C to the end; far more than it takes, for a machine that is busy.
const LIMIT: Duration = Duration::from_secs(90);
/// Clients, peers and HTTP of broker 1; those of 2 and 3 follow.
const PORTS_ABOVE_BASE: [u16; 3] = [0, 100, 312];
/// So far from each other two clusters have no port in common.
const APART: u16 = 400;

/// Killed when dropped, with its brokers: those end with the pipe's and the test's end.
struct Local {
    folder: TempDir,
    base: u16,
    settings: Vec<String>,
    child: Child,
}

impl Local {
    fn start() -> Result<(Self, CommandLine)> {
        Self::start_with(tempfile::tempdir()?, Vec::new())
    }

    /// With settings for all brokers.
    fn start_with(folder: TempDir, settings: Vec<String>) -> Result<(Self, CommandLine)> {
        let base = free_base()?;
        let child = spawn(folder.path(), base, &settings)?;
        let mut local = Self {
            folder,
            base,
            settings,
            child,
        };
        local.until_ready()?;
        let milena = CommandLine::new(&format!("127.0.0.1:{base}"));
        Ok((local, milena))
    }

    fn start_again(&mut self) -> Result<()> {
        self.child = spawn(self.folder.path(), self.base, &self.settings)?;
        self.until_ready()
    }

    fn until_ready(&mut self) -> Result<()> {
        let said = self.folder.path().join("stdout");
        let ready = process::poll(LIMIT, || match self.child.try_wait() {
            Ok(Some(status)) => Some(Err(status)),
            _ => {
                let said = std::fs::read_to_string(&said).unwrap_or_default();
                said.contains("3 brokers are ready").then_some(Ok(()))
            }
        });
        match ready {
            Some(Ok(())) => Ok(()),
            Some(Err(status)) => bail!("it ended with {status}:\n{}", self.log()),
            None => bail!("not ready after {LIMIT:?}:\n{}", self.log()),
        }
    }

    /// Ctrl-C, but for the other processes of the terminal.
    fn interrupt(&mut self) -> Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        process::wait(&mut self.child, LIMIT)
            .with_context(|| format!("it goes on:\n{}", self.log()))
    }

    /// kill -9 of all: who starts brokers first, so that none is started again.
    fn lose_power(&mut self) -> Result<()> {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        self.child.kill()?;
        for child in children.split_whitespace() {
            let pid = Pid::from_raw(child.parse()?).context("a process")?;
            // It ends by itself, too, once nobody reads what it says.
            kill_process(pid, Signal::KILL).ok();
        }
        self.child.wait()?;
        let is_free = || TcpListener::bind(("127.0.0.1", self.base)).ok().map(drop);
        process::poll(LIMIT, is_free).context("the port is taken")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        if matches!(self.child.try_wait(), Ok(None)) && self.interrupt().is_err() {
            // The second Ctrl-C: it kills its brokers.
            let _ = self.interrupt();
        }
    }
}

fn spawn(folder: &Path, base: u16, settings: &[String]) -> Result<Child> {
    let data = folder.join("data");
    milena()?
        .args(["cluster", "start", "--brokers", "3", "--data"])
        .arg(data)
        .args(["--port-base", &base.to_string()])
        .args(settings.iter().flat_map(|one| ["--set", one]))
        .stdin(Stdio::null())
        .stdout(File::create(folder.join("stdout"))?)
        .stderr(
            File::options()
                .create(true)
                .append(true)
                .open(folder.join("stderr"))?,
        )
        .spawn()
        .context("start the cluster")
}

/// A base above which all that is needed is free now, and no other test's cluster will be.
fn free_base() -> Result<u16> {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let first = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    // Below the ports that the system gives to whoever asks for any.
    let mut bases = (0..500).map(|step| 10_000 + (first % 1_000) * 10 + step * 10);
    let base = bases.find(|base| {
        if given.iter().any(|other| base.abs_diff(*other) < APART) {
            return false;
        }
        let mut ports = PORTS_ABOVE_BASE
            .iter()
            .flat_map(|above| base + above..base + above + 3);
        ports.all(is_free)
    });
    let base = base.context("no free ports side by side")?;
    given.push(base);
    Ok(base)
}

fn brokers(milena: &CommandLine) -> Result<Vec<Value>> {
    let described = milena.prints_json("cluster describe")?;
    let brokers = described["brokers"].as_array().context("brokers")?;
    Ok(brokers.clone())
}

#[test]
fn three_brokers_start_with_one_command_stop_in_order_and_go_on() -> Result<()> {
    let (mut local, milena) = Local::start()?;
    let described = milena.prints_json("cluster describe")?;
    let (cluster, all) = (&described["cluster"], &described["brokers"]);
    let states: Vec<&Value> = (0..3).map(|at| &all[at]["state"]).collect();
    assert_eq!(states, ["serving", "serving", "serving"], "{described}");
    assert_eq!(
        cluster["quorum"]["voters"].as_array().map(Vec::len),
        Some(3)
    );
    let text = milena.prints("cluster describe")?;
    ensure!(
        text.contains("all as they should be") && text.contains("leader"),
        "{text}"
    );
    milena.prints("topic create t -p 6")?;
    milena.takes("one\ntwo\n", "produce t -p 0 --acks all")?;
    let topic = milena.prints_json("topic describe t")?;
    let partition = &topic[0]["partition_details"][0];
    assert_eq!(
        partition["in_sync"].as_array().map(Vec::len),
        Some(3),
        "{topic}"
    );
    assert_eq!(
        (&partition["eligible"], &partition["misplaced"]),
        (&json!([]), &json!([]))
    );
    ensure!(local.interrupt()?.success(), "{}", local.log());
    ensure!(
        !local.log().contains("could not be handed over"),
        "{}",
        local.log()
    );
    local.start_again()?;
    let again = milena.prints_json("cluster describe")?;
    assert_eq!(again["cluster"]["cluster_id"], cluster["cluster_id"]);
    assert_eq!(
        milena.prints("consume t -p 0 --from beginning -e")?,
        "one\ntwo\n"
    );
    ensure!(local.interrupt()?.success(), "{}", local.log());
    Ok(())
}

#[test]
fn a_lease_is_for_one_broker_at_a_time_and_partitions_move_when_told() -> Result<()> {
    let (_local, milena) = Local::start()?;
    milena.prints("topic create t -p 6")?;
    milena.takes("value\n", "produce t -p 0 --acks all")?;
    let granted = milena.prints("cluster lease 1")?;
    ensure!(
        granted.starts_with("broker 1 may stop, until "),
        "{granted}"
    );
    milena.prints("cluster lease 1")?;
    let refused = milena.run(&["cluster", "lease", "2"])?;
    refused.failed(6, &["may not stop now", "that may stop already: 1"])?;
    assert_eq!(
        milena.prints("cluster lease 1 --release")?,
        "the lease is given back\n"
    );
    assert_eq!(
        milena.prints("cluster lease 1 --release")?,
        "there was no lease\n"
    );
    milena.prints("topic delete t")?;
    milena.prints("topic create one -p 3 -r 1")?;
    milena.takes("kept\n", "produce one -p 0 --acks all")?;
    let from =
        milena.prints_json("topic describe one")?[0]["partition_details"][0]["leader"].clone();
    let to = if from == 1 { 2 } else { 1 };
    let dry = milena.prints_json(&format!("topic move one-0 --to {to} --dry-run"))?;
    assert_eq!(dry["moves"][0]["from"], json!([from]), "{dry}");
    milena.prints(&format!("topic move one-0 --to {to} --wait"))?;
    let moved = milena.prints_json("topic describe one")?;
    assert_eq!(moved[0]["partition_details"][0]["replicas"], json!([to]));
    assert_eq!(milena.prints("topic moves")?, "nothing is on its way\n");
    assert_eq!(
        milena.prints("consume one -p 0 --from beginning -e")?,
        "kept\n"
    );
    milena.prints("cluster drain 3 --wait")?;
    let drained = brokers(&milena)?;
    assert_eq!(
        (&drained[2]["state"], &drained[2]["replicas"]),
        (&json!("draining"), &json!(0))
    );
    milena.prints("cluster drain 3 --cancel")?;
    milena.prints("cluster rebalance --wait")?;
    let even: Vec<Value> = brokers(&milena)?
        .iter()
        .map(|one| one["replicas"].clone())
        .collect();
    assert_eq!(even, [json!(1), json!(1), json!(1)]);
    milena.prints("topic delete one")?;
    milena.prints("topic create wide -p 1 -r 3")?;
    let stuck = milena.run(&["cluster", "drain", "3", "--dry-run"])?;
    ensure!(
        stuck.status == Some(1)
            && stuck.stdout == "nothing can be moved\n"
            && stuck.stderr.contains(
                "wide-0: 3 replicas need 3 brokers that run and are not draining, and there are only 2"
            ),
        "{stuck:#?}"
    );
    let unknown = milena.run(&["cluster", "drain", "9"])?;
    unknown.failed(4, &["Broker 9 is not registered"])
}

#[test]
fn a_stop_waits_for_its_lease_and_for_nobody_when_the_whole_cluster_stops() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret\n")?;
    let token = token.display().to_string();
    let setting = format!("http.admin.token.file={token}");
    let (mut local, milena) = Local::start_with(folder, vec![setting])?;
    milena.prints("topic create t -p 6 -r 3 -c min.insync.replicas=2")?;
    let without = milena.run(&["cluster", "lease", "1"])?;
    without.failed(1, &["token", "--token-file"])?;
    let with_token = format!("--token-file {token}");
    milena.prints(&format!("cluster lease 1 {with_token}"))?;

    let second = format!("127.0.0.1:{}", local.base + 1 + 312);
    let hook = format!("cluster lease --self --http {second} {with_token}");
    let words: Vec<&str> = hook.split(' ').collect();
    let over = milena.run(&[&words[..], &["--wait", "1s"]].concat())?;
    ensure!(
        over.status == Some(0)
            && over.stdout.contains("the time for waiting is over")
            && over.stderr.contains("may stop already: 1"),
        "{over:#?}"
    );
    let waiting = milena.start(&words)?;
    milena.prints(&format!("cluster lease 1 --release {with_token}"))?;
    let ended = waiting.wait_with_output()?;
    let said = String::from_utf8(ended.stdout)?;
    ensure!(
        ended.status.success() && said.starts_with("broker 2 may stop, until "),
        "{said}"
    );

    let third = format!("127.0.0.1:{}", local.base + 2 + 312);
    let hook = format!("cluster lease --self --http {third} {with_token}");
    let words: Vec<&str> = hook.split(' ').collect();
    let waiting = milena.start(&words)?;
    post(&third, "/v1/cluster/stopping", r#"{"stopping":true}"#)?;
    let ended = waiting.wait_with_output()?;
    let said = String::from_utf8(ended.stdout)?;
    ensure!(
        ended.status.success() && said.contains("the cluster is being stopped as a whole"),
        "{said}"
    );
    let granted = milena.prints(&format!("cluster lease 1 {with_token}"))?;
    ensure!(granted.contains("stopped as a whole"), "{granted}");

    // And a cluster that is started again works as any other.
    ensure!(local.interrupt()?.success(), "{}", local.log());
    local.start_again()?;
    let is_over = process::poll(LIMIT, || {
        let cluster = &milena.prints_json("cluster describe").ok()?["cluster"];
        (cluster["stopping"] == false).then_some(())
    });
    is_over.context("the mark stays")?;
    let free = process::poll(LIMIT, || {
        let brokers = brokers(&milena).ok()?;
        let mut leases = brokers.iter().map(|broker| &broker["lease_expires_ms"]);
        leases.all(Value::is_null).then_some(())
    });
    free.context("leases stay")?;
    milena.prints(&format!("cluster lease 1 {with_token}"))?;
    let words: Vec<&str> = hook.split(' ').collect();
    let refused = milena.run(&[&words[..], &["--wait", "0s"]].concat())?;
    ensure!(
        refused.status == Some(0) && refused.stdout.contains("may stop already: 1"),
        "{refused:#?}"
    );
    ensure!(local.interrupt()?.success(), "{}", local.log());
    Ok(())
}

/// With the token of the test.
fn post(address: &str, path: &str, body: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\nauthorization: Bearer s3cret\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let answer = std::io::read_to_string(stream)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}

#[test]
fn where_http_was_looked_for_is_told() -> Result<()> {
    let milena = CommandLine::new("127.0.0.1:1");
    let failed = milena.run(&["cluster", "describe"])?;
    failed.failed(3, &["127.0.0.1:313", "--http"])
}

#[test]
fn a_rescued_survivor_leads_what_it_had_in_sync_though_all_come_back_at_once() -> Result<()> {
    let (mut local, milena) = Local::start()?;
    milena.prints("topic create t -p 6 -r 3 -c min.insync.replicas=2")?;
    milena.takes("one\ntwo\n", "produce t -p 1 --acks all")?;
    local.lose_power()?;
    let data = local.folder.path().join("data");
    for lost in ["2", "3"] {
        std::fs::remove_dir_all(data.join(lost))?;
        std::fs::create_dir(data.join(lost))?;
    }
    let survivor = data.join("1");
    let survivor = survivor.to_str().context("a path of UTF-8")?;
    let rescue = ["cluster", "rescue", "--data", survivor, "--apply"];
    milena.run(&rescue)?.printed()?;
    local.start_again()?;
    let read = milena.prints("consume t --from beginning --exit")?;
    assert_eq!(read, "one\ntwo\n");
    let topic = milena.prints_json("topic describe t")?;
    for partition in topic[0]["partition_details"].as_array().context("some")? {
        ensure!(partition["leader"] == 1, "{topic}");
    }
    Ok(())
}
