//! The command line: one file for each command that does more than print.

mod release_finalizers;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use milena_operator::crd;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// As the brokers' of the same build.
const VERSION: &str = match option_env!("STAMP_VERSION") {
    Some(stamped) => stamped,
    None => env!("CARGO_PKG_VERSION"),
};

/// Runs Milena's clusters and topics on Kubernetes.
#[derive(Debug, Parser)]
#[command(version = VERSION, max_term_width = 100)]
struct Cli {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    #[arg(
        long,
        global = true,
        env = "MILENA_OPERATOR_LOG_LEVEL",
        default_value = "info"
    )]
    log_level: LevelFilter,
    /// How lines are written.
    #[arg(
        long,
        global = true,
        env = "MILENA_OPERATOR_LOG_FORMAT",
        value_enum,
        default_value_t
    )]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the operator until it is told to stop.
    Run(run::Run),
    /// Prints the custom resources' definitions, for `kubectl apply --server-side -f -`.
    Crds,
    /// Takes our finalizers off all clusters and topics, so that they can be deleted without the operator. Deletes
    /// nothing itself.
    ReleaseFinalizers(release_finalizers::ReleaseFinalizers),
    /// Prints the version.
    Version,
}

/// Parses, then does it.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    log(&cli);
    let done = match cli.command {
        Command::Run(run) => run::run(&run),
        Command::Crds => print_crds(),
        Command::ReleaseFinalizers(release) => release_finalizers::run(&release),
        Command::Version => {
            println!("{VERSION}");
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log(cli: &Cli) {
    let level = cli.log_level;
    // What libraries say below a warning is for who debugs them.
    let quiet = level.min(LevelFilter::WARN);
    let targets = Targets::new()
        .with_default(quiet)
        .with_target("milena_operator", level)
        .with_target("milena_client", quiet);
    let registry = tracing_subscriber::registry().with(targets);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match cli.log_format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json()).init(),
    }
}

fn print_crds() -> anyhow::Result<()> {
    for crd in crd::crds() {
        println!("---\n{}", serde_saphyr::to_string(&crd)?);
    }
    Ok(())
}
