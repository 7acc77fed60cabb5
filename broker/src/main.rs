//! The `milena` binary: parse, then call.

use clap::Parser as _;

fn main() -> std::process::ExitCode {
    milena::cli::Cli::parse().run()
}
