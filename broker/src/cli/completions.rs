//! `milena completions SHELL`: a script for the shell, on stdout.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Failure, print};

/// Print a script that completes commands in a shell.
#[derive(Debug, Args)]
#[command(after_help = "For bash: milena completions bash > /etc/bash_completion.d/milena")]
pub(super) struct Completions {
    /// Which shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "milena", &mut script);
        print(&String::from_utf8_lossy(&script))
    }
}
