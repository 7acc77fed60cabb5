//! One `milena serve` process with a data directory of its own, on free ports of 127.0.0.1.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

use crate::{http, process};

/// From start to ready; far more than a broker needs, for a machine that is busy with the other tests.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// From SIGTERM to exit.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Lines of the broker's log that a failing test prints.
const TAIL_LINES: usize = 60;

/// A running broker. Dropped, it is killed; if the test is failing, the end of its log is printed.
pub struct Broker {
    folder: TempDir,
    port: u16,
    http_port: u16,
    arguments: Vec<String>,
    child: Child,
}

impl Broker {
    /// Starts a broker with further arguments of `milena serve`, and waits until it is ready.
    ///
    /// The binary is `MILENA_BIN`, or the `milena` that cargo has built beside the running test.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir().context("a temporary folder for the broker")?;
        let (port, http_port) = free_ports()?;
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let child = spawn(folder.path(), port, http_port, &arguments)?;
        let mut broker = Self {
            folder,
            port,
            http_port,
            arguments,
            child,
        };
        broker.until_ready()?;
        Ok(broker)
    }

    /// HOST:PORT for clients.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// HOST:PORT of metrics and health.
    pub fn http(&self) -> String {
        format!("127.0.0.1:{}", self.http_port)
    }

    /// The data directory; it lives as long as this value.
    pub fn data(&self) -> PathBuf {
        data_in(self.folder.path())
    }

    /// Bytes of memory that the process holds now (`VmRSS`), or held at its peak (`VmHWM`).
    pub fn memory_bytes(&self, field: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .with_context(|| format!("{path} has no {field}"))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    /// File descriptors that the process holds open.
    pub fn descriptors(&self) -> Result<usize> {
        let path = format!("/proc/{}/fd", self.child.id());
        Ok(fs::read_dir(&path).context(path)?.count())
    }

    /// From now on the process may have only so many of them.
    pub fn limit_descriptors(&self, max: u64) -> Result<()> {
        let limit = Rlimit {
            current: Some(max),
            maximum: Some(max),
        };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Nofile, limit)
            .context("limit the broker's descriptors")?;
        Ok(())
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let page = http::get(&self.http(), "/metrics")?;
        let mut lines = page.body.lines();
        let value = lines
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .with_context(|| format!("no metric {name}"))?;
        value.parse().with_context(|| format!("{name} is {value}"))
    }

    /// SIGTERM, without waiting for what follows.
    pub fn terminate(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("SIGTERM to the broker")
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::INT).context("SIGINT to the broker")
    }

    /// SIGHUP, as a terminal sends it that is closed.
    pub fn hang_up(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::HUP).context("SIGHUP to the broker")
    }

    /// How the process ended; `None` where it still runs after `limit`.
    pub fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        process::wait(&mut self.child, limit)
    }

    /// SIGTERM; an error unless the broker ends by itself, with exit status 0 and within a bound.
    pub fn stop(&mut self) -> Result<()> {
        self.terminate()?;
        let Some(status) = process::wait(&mut self.child, STOP_LIMIT) else {
            bail!("the broker still runs {STOP_LIMIT:?} after SIGTERM");
        };
        ensure!(
            status.success(),
            "after SIGTERM the broker ended with {status}, not with exit status 0"
        );
        Ok(())
    }

    /// SIGKILL.
    pub fn kill9(&mut self) -> Result<()> {
        self.child.kill().context("SIGKILL to the broker")?;
        self.child.wait().context("wait for the killed broker")?;
        Ok(())
    }

    /// Starts it again after `stop` or `kill9`: same data, same ports.
    pub fn start_again(&mut self) -> Result<()> {
        self.child = spawn(
            self.folder.path(),
            self.port,
            self.http_port,
            &self.arguments,
        )?;
        self.until_ready()
    }

    fn until_ready(&mut self) -> Result<()> {
        let http = self.http();
        let child = &mut self.child;
        let ready = process::poll(READY_LIMIT, || match child.try_wait() {
            Ok(Some(status)) => Some(Err(status)),
            _ => http::is_ready(&http).then_some(Ok(())),
        });
        match ready {
            Some(Ok(())) => Ok(()),
            Some(Err(status)) => bail!(
                "the broker ended with {status} instead of getting ready:\n{}",
                self.log_tail()
            ),
            None => bail!(
                "the broker is not ready after {READY_LIMIT:?}:\n{}",
                self.log_tail()
            ),
        }
    }

    /// All that the broker has logged.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(log_in(self.folder.path())).context("the broker's log")
    }

    /// The last lines that the broker has logged.
    pub fn log_tail(&self) -> String {
        let text = self.log().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) && self.kill9().is_err() {
            eprintln!("broker {} could not be killed", self.child.id());
        }
        if std::thread::panicking() {
            eprintln!("--- the end of the broker's log ---\n{}", self.log_tail());
        }
    }
}

fn data_in(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn log_in(folder: &Path) -> PathBuf {
    folder.join("broker.log")
}

fn spawn(folder: &Path, port: u16, http_port: u16, arguments: &[String]) -> Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(log_in(folder))
        .context("the broker's log")?;
    milena()?
        .arg("serve")
        .arg("--data")
        .arg(data_in(folder))
        .args(["--set", &format!("listeners=PLAINTEXT://127.0.0.1:{port}")])
        .args(["--set", &format!("http.listener=127.0.0.1:{http_port}")])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("the broker's log")?)
        .stderr(log)
        .spawn()
        .context("start the broker")
}

/// The program, without the environment's `MILENA_*`: the tests' own, such as `MILENA_BIN`, and those of whoever runs
/// them. A broker takes each for a setting, and refuses to start with one that it does not know.
pub fn milena() -> Result<Command> {
    let mut command = Command::new(binary()?);
    without_settings(&mut command);
    Ok(command)
}

/// Takes the `MILENA_*` out of what a command is given.
pub fn without_settings(command: &mut Command) {
    let names = std::env::vars_os().map(|(name, _)| name);
    for variable in names.filter(|name| name.to_string_lossy().starts_with("MILENA_")) {
        command.env_remove(variable);
    }
}

/// `target/PROFILE/milena` for a test that runs as `target/PROFILE/deps/NAME`.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MILENA_BIN") {
        return Ok(path.into());
    }
    let built = binary_folder()?.join("milena");
    ensure!(
        built.exists(),
        "{} does not exist: run `cargo build -p milena` first, or set MILENA_BIN",
        built.display()
    );
    Ok(built)
}

/// `target/PROFILE`.
pub fn binary_folder() -> Result<PathBuf> {
    let test = std::env::current_exe().context("the path of the running test")?;
    let folder = test.ancestors().nth(2);
    Ok(folder
        .context("the target folder of the running test")?
        .to_owned())
}

/// Two ports that were free a moment ago.
fn free_ports() -> Result<(u16, u16)> {
    let one = TcpListener::bind("127.0.0.1:0").context("a free port")?;
    let two = TcpListener::bind("127.0.0.1:0").context("a free port")?;
    Ok((one.local_addr()?.port(), two.local_addr()?.port()))
}
