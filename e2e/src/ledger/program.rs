//! A client's process: its lines are read while it writes them, and it ends when its standard input does.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::process;
use crate::suite::Suite;

/// Longer than the clients themselves wait for a record's fate.
const END_LIMIT: Duration = Duration::from_secs(240);

pub struct Program {
    child: Child,
    output: PathBuf,
    errors: PathBuf,
    /// Bytes of the output that were read.
    read: u64,
    /// The beginning of a line whose end is not written yet.
    part: String,
}

impl Program {
    /// Starts it; what it says goes to `path`, with `.out` and `.err` behind.
    pub fn start(suite: &Suite, arguments: &[String], path: &Path) -> Result<Self> {
        let (output, errors) = (path.with_extension("out"), path.with_extension("err"));
        let child = suite
            .command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(File::create(&output)?)
            .stderr(File::create(&errors)?)
            .spawn()
            .with_context(|| format!("start {}", suite.name()))?;
        Ok(Self {
            child,
            output,
            errors,
            read: 0,
            part: String::new(),
        })
    }

    /// The whole lines since the last call.
    pub fn lines(&mut self) -> Result<Vec<String>> {
        let mut file = File::open(&self.output)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = std::mem::take(&mut self.part);
        self.read += file.read_to_string(&mut text)? as u64;
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        self.part = text.split_off(whole);
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Gives it this and the end of its input, and waits until it ends; an error unless that is a success.
    pub fn finish(&mut self, input: &str) -> Result<()> {
        let mut stdin = self.child.stdin.take().context("its input has ended")?;
        // A program that has ended reads nothing; its status says why.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let Some(status) = process::wait(&mut self.child, END_LIMIT) else {
            bail!("{} still writes after {END_LIMIT:?}", self.output.display());
        };
        ensure!(
            status.success(),
            "{} was written by a program that ended with {status}:\n{}",
            self.output.display(),
            fs::read_to_string(&self.errors)?
        );
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let killed = self.child.kill().and_then(|()| self.child.wait());
            if let Err(error) = killed {
                eprintln!("a client can't be killed: {error}");
            }
        }
    }
}
