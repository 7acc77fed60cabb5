//! The suites of real clients under `e2e/clients`: installed on first use, then run as programs
//! `SUITE BOOTSTRAP PREFIX before|during|after`.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::NamedTempFile;

use crate::process;

/// A download of every client on a slow line.
const INSTALL_LIMIT: Duration = Duration::from_secs(1500);
/// One phase of one suite while all others run too; the suites themselves give up a little earlier, and say at what.
const PHASE_LIMIT: Duration = Duration::from_secs(300);
/// The line by which a suite says that it waits for the end of its standard input.
const READY: &str = "ready";
/// The exit status by which `install.sh` says that a runtime is missing.
const SKIPPED: i32 = 3;

/// A suite that is installed.
pub struct Suite {
    name: &'static str,
    program: PathBuf,
}

impl Suite {
    /// Installs what the suite needs. `None`, and a line on stderr, if a runtime is missing and can't be installed.
    pub fn installed(name: &'static str) -> Result<Option<Self>> {
        let mut install = Command::new(clients().join("install.sh"));
        install.arg(name).env("MILENA_CLIENTS_DIR", installed_in());
        let done = bounded(&mut install, INSTALL_LIMIT)
            .with_context(|| format!("install the suite {name}"))?;
        match done.status {
            Some(0) => {}
            Some(SKIPPED) => {
                // not eprintln, which the test harness keeps to itself when a test passes
                io::stderr().write_all(done.output.as_bytes())?;
                return Ok(None);
            }
            _ => bail!("install.sh {name} failed:\n{}", done.output),
        }
        let program = installed_in().join("bin").join(name);
        Ok(Some(Self { name, program }))
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The program, for whoever runs it in another way than [`Self::run`].
    pub fn command(&self) -> Command {
        Command::new(&self.program)
    }

    /// Runs one phase; an error with all that the suite printed unless it succeeds within a bound.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        let done = bounded(Command::new(&self.program).args(arguments), PHASE_LIMIT)?;
        self.expect_success(arguments, &done)
    }

    /// As [`Self::run`], a phase that says `ready`: its standard input ends when `meanwhile` has been done.
    pub fn run_across(
        &self,
        arguments: &[&str],
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let mut command = Command::new(&self.program);
        let mut group = Group::start(command.args(arguments), Stdio::piped())?;
        let ready = group.says(READY, PHASE_LIMIT)?;
        if ready {
            meanwhile()?;
        }
        drop(group.child.stdin.take());
        self.expect_success(arguments, &group.end(PHASE_LIMIT)?)?;
        ensure!(ready, "{} ended without a line `{READY}`", self.name);
        Ok(())
    }

    fn expect_success(&self, arguments: &[&str], done: &Done) -> Result<()> {
        let what = format!("{} {}", self.name, arguments.join(" "));
        match done.status {
            Some(0) => Ok(()),
            Some(status) => bail!("{what}: exit status {status}:\n{}", done.output),
            None => bail!(
                "{what}: killed by a signal, or by us after {PHASE_LIMIT:?}:\n{}",
                done.output
            ),
        }
    }
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Where clients are installed: `target/clients`, or what `MILENA_CLIENTS_DIR` names.
pub(crate) fn installed_in() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients");
    std::env::var_os("MILENA_CLIENTS_DIR").map_or_else(default, PathBuf::from)
}

struct Done {
    status: Option<i32>,
    output: String,
}

/// Runs a command and what it starts as a process group, which is killed when the time is over.
fn bounded(command: &mut Command, limit: Duration) -> Result<Done> {
    Group::start(command, Stdio::null())?.end(limit)
}

/// A command and what it starts, as a process group; dropped before its end, it is killed.
struct Group {
    child: Child,
    output: NamedTempFile,
}

impl Group {
    fn start(command: &mut Command, stdin: Stdio) -> Result<Self> {
        let output = NamedTempFile::new().context("a file for the output")?;
        // Both write to the same place of it.
        let stdout = output.reopen()?;
        let child = command
            .stdin(stdin)
            .stderr(stdout.try_clone()?)
            .stdout(stdout)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", command.get_program().display()))?;
        Ok(Self { child, output })
    }

    /// What it has printed by now.
    fn output(&self) -> Result<String> {
        let output = std::fs::read(self.output.path()).context("read the output")?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Whether it prints this line before it ends, or `limit` is over.
    fn says(&mut self, line: &str, limit: Duration) -> Result<bool> {
        let said = process::poll(limit, || {
            let running = matches!(self.child.try_wait(), Ok(None));
            let output = self.output();
            let said = output.map(|output| output.lines().any(|found| found == line));
            (!running || !matches!(said, Ok(false))).then_some(said)
        });
        said.unwrap_or(Ok(false))
    }

    /// Waits for its end, or kills it after `limit`.
    fn end(mut self, limit: Duration) -> Result<Done> {
        let ended = process::wait(&mut self.child, limit);
        Ok(Done {
            status: ended.and_then(|status| status.code()),
            output: self.output()?,
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let killed = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            if killed.is_err() || self.child.wait().is_err() {
                eprintln!("the suite {} could not be killed", self.child.id());
            }
        }
    }
}
