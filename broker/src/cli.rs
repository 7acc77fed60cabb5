//! The command line: one file a command, and what ends the process with which code.

mod bench;
mod cluster;
mod completions;
mod config;
mod consume;
mod copying;
mod failure;
mod group;
mod http;
mod log;
mod offline;
mod output;
mod produce;
mod serve;
mod stop_asked;
mod target;
mod throttle;
mod topic;

use std::fmt;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use failure::exit_of;

/// A Kafka-compatible broker, and tools for any Kafka.
#[derive(Debug, Parser)]
#[command(
    name = "milena",
    version = milena_metadata::VERSION,
    propagate_version = true,
    after_help = EXIT_CODES
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: the message on stderr says what to do
  2  the command line or the configuration is wrong; nothing was done
  3  no broker can be reached
  4  the topic, partition, group or file is not there
  5  it took too long
  6  the broker may not stop now
  7  done but for what can't be read now, which is named on stderr
  130, 143  Ctrl-C or SIGTERM ended it with work left";

#[derive(Debug, Subcommand)]
enum Command {
    Topic(topic::TopicArgs),
    Produce(produce::ProduceArgs),
    Consume(consume::ConsumeArgs),
    Group(group::GroupArgs),
    Cluster(cluster::ClusterCommands),
    Bench(bench::BenchArgs),
    Log(log::LogArgs),
    /// Run a broker.
    Serve(serve::Serve),
    /// What can be configured.
    Config(config::Config),
    /// Print a script that completes commands in a shell.
    Completions(completions::Completions),
}

impl Cli {
    /// Reads the process's arguments; ends it where it is asked for help, or where they are wrong.
    pub fn read() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            if error.use_stderr()
                && let Err(plain) = without_environment(Self::command()).try_get_matches()
            {
                plain.exit()
            }
            error.exit()
        })
    }

    /// Runs the command, and says on stderr what went wrong.
    pub fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Topic(args) => return exit_of(topic::run(args)),
            Command::Produce(args) => return exit_of(produce::run(args)),
            Command::Consume(args) => return exit_of(consume::run(args)),
            Command::Group(args) => return exit_of(group::run(args)),
            Command::Cluster(args) => return exit_of(cluster::run(args)),
            Command::Bench(args) => return exit_of(bench::run(args)),
            Command::Log(args) => return exit_of(async { log::run(args) }),
            Command::Serve(command) => command.run(),
            Command::Config(command) => command.run(),
            Command::Completions(command) => command.run(),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("{failure}");
                failure.code()
            }
        }
    }
}

/// Clap takes options that the environment gives for some that were typed: they would stand in the usage line of an error,
/// and a command without its subcommand would not be helped.
fn without_environment(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| arg.env(None::<&str>))
        .mut_subcommands(without_environment)
}

/// Why a command ends without having done its work.
#[derive(Debug)]
pub enum Failure {
    /// It was asked for something that can't be: exit code 2.
    Usage(String),
    /// It did not succeed: exit code 1.
    Failed(String),
}

impl Failure {
    fn code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::from(1),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(text) | Self::Failed(text)) = self;
        for (at, line) in text.lines().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}error: {line}")?;
        }
        Ok(())
    }
}

/// Prints a result. A reader that stops reading, such as `head`, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Failed(
            format!("the result can't be written: {error}"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_problem_is_a_line_of_its_own() {
        let failure = Failure::Usage("one\ntwo".into());
        assert_eq!(failure.to_string(), "error: one\nerror: two");
    }
}
