//! `milena config reference`: every setting, for people or programs.

use clap::{Args, Subcommand, ValueEnum};

use super::{Failure, print};
use crate::config::reference;

/// What can be configured.
#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List every setting with its type, default, bounds and meaning.
    Reference {
        /// The form of the list.
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    /// A paragraph a setting.
    Text,
    /// The page of the documentation.
    Markdown,
    /// For programs.
    Json,
}

impl Config {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Command::Reference { output } = self.command;
        print(&match output {
            Output::Text => reference::text(),
            Output::Markdown => reference::markdown(),
            Output::Json => reference::json(),
        })
    }
}
