//! The command line `milena`, run as a user runs it.

use std::fs::File;
use std::io::{Seek, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::tempfile;

use crate::broker::milena;
use crate::process;

/// For one command; far more than any takes, for a machine that is busy with the other tests.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// What a command has left behind.
#[derive(Debug)]
pub struct Done {
    /// Its exit status; `None` where a signal ended it.
    pub status: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

impl Done {
    /// An error unless it succeeded without a complaint; what it printed.
    pub fn printed(self) -> Result<String> {
        ensure!(
            self.status == Some(0) && self.stderr.is_empty(),
            "not a plain success: {self:#?}"
        );
        Ok(self.stdout)
    }

    /// As [`Self::printed`], read as JSON.
    pub fn json(self) -> Result<Value> {
        let text = self.printed()?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// An error unless it failed with this status, complained with each of the words, and printed nothing.
    pub fn failed(self, status: i32, words: &[&str]) -> Result<()> {
        ensure!(
            self.status == Some(status) && self.stdout.is_empty(),
            "not a failure of status {status}: {self:#?}"
        );
        match words.iter().find(|word| !self.stderr.contains(**word)) {
            Some(word) => bail!("not a word of {word:?}: {self:#?}"),
            None => Ok(()),
        }
    }
}

/// `milena`, speaking to one broker.
#[derive(Debug)]
pub struct CommandLine {
    bootstrap: String,
}

impl CommandLine {
    /// Of the broker at HOST:PORT.
    pub fn new(bootstrap: &str) -> Self {
        let bootstrap = bootstrap.to_owned();
        Self { bootstrap }
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Done> {
        self.run_with("", arguments)
    }

    /// Runs a command to its end with this on its standard input.
    pub fn run_with(&self, input: &str, arguments: &[&str]) -> Result<Done> {
        let mut stdin = tempfile()?;
        stdin.write_all(input.as_bytes())?;
        stdin.rewind()?;
        let (stdout, stderr) = (tempfile()?, tempfile()?);
        let mut command = self.command(arguments)?;
        command
            .stdin(stdin)
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?);
        let mut child = command.spawn().context("start milena")?;
        let Some(status) = process::wait(&mut child, COMMAND_LIMIT) else {
            child.kill()?;
            child.wait()?;
            bail!("milena {arguments:?} still runs after {COMMAND_LIMIT:?}");
        };
        Ok(Done {
            status: status.code(),
            stdout: text(stdout)?,
            stderr: text(stderr)?,
        })
    }

    /// What a command prints that has to succeed; its words stand between single spaces.
    pub fn prints(&self, command: &str) -> Result<String> {
        let done = self.run(&words(command))?;
        done.printed().with_context(|| format!("milena {command}"))
    }

    /// The same as JSON.
    pub fn prints_json(&self, command: &str) -> Result<Value> {
        let done = self.run(&[&words(command)[..], &["-o", "json"]].concat())?;
        done.json().with_context(|| format!("milena {command}"))
    }

    /// Gives a command this on its standard input; an error unless it succeeds and prints nothing.
    pub fn takes(&self, input: &str, command: &str) -> Result<()> {
        let done = self.run_with(input, &words(command))?;
        let printed = done
            .printed()
            .with_context(|| format!("milena {command}"))?;
        ensure!(printed.is_empty(), "milena {command} printed {printed:?}");
        Ok(())
    }

    /// Starts a command whose input and output are pipes.
    pub fn start(&self, arguments: &[&str]) -> Result<Child> {
        let mut command = self.command(arguments)?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().context("start milena")
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = milena()?;
        command
            .env("MILENA_BOOTSTRAP", &self.bootstrap)
            .args(arguments);
        Ok(command)
    }
}

fn words(command: &str) -> Vec<&str> {
    command.split(' ').collect()
}

fn text(mut file: File) -> Result<String> {
    file.rewind()?;
    std::io::read_to_string(file).context("what a command printed is not UTF-8")
}
