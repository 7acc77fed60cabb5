//! `milena config`: every setting, for people or programs, and every metric.

use clap::{Args, Subcommand, ValueEnum};

use super::{Failure, print};
use crate::config::reference;
use crate::metrics;

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
    /// List every metric with its kind, labels and meaning, as the page of the documentation.
    Metrics,
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
        print(&match self.command {
            Command::Reference { output } => match output {
                Output::Text => reference::text(),
                Output::Markdown => reference::markdown(),
                Output::Json => reference::json(),
            },
            Command::Metrics => metrics::reference::markdown(),
        })
    }
}
