//! A broker as a child process; its output comes out under its number.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::layout::Layout;
use crate::cli::failure::Failure;

/// A longer line is broken.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// A running broker. Dropped, it is killed.
pub(super) struct Process {
    number: u16,
    child: Child,
    /// How it ended, once that was told.
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts it. It is in a process group of its own: Ctrl-C is for the command, which stops the brokers in order.
    pub(super) fn start(number: u16, layout: &Layout) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(layout.arguments(number))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || pass_on(number, stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || pass_on(number, stderr));
        }
        Ok(Self {
            number,
            child,
            ended: None,
        })
    }

    /// `node.id`.
    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// Whether it is there.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How it ended; told once.
    pub(super) fn ended_just_now(&mut self) -> Option<ExitStatus> {
        if self.ended.is_some() {
            return None;
        }
        self.ended = self.child.try_wait().ok().flatten();
        self.ended
    }

    /// Asks it to stop.
    pub(super) fn terminate(&mut self) {
        if self.runs() {
            // It may have ended by itself in this moment.
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.runs() {
            eprintln!("broker {} is killed", self.number);
            // It has ended, or is about to.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Line by line, so that brokers' lines don't mix.
fn pass_on(number: u16, output: impl Read) {
    let mut output = BufReader::new(output);
    let mut line = format!("{number} | ").into_bytes();
    let prefix = line.len();
    loop {
        line.truncate(prefix);
        let read = (&mut output)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line);
        if !matches!(read, Ok(1..)) {
            return;
        }
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        // Whoever reads this may have gone; the brokers go on.
        let _ = std::io::stderr().lock().write_all(&line);
    }
}
