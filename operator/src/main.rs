//! `milena-operator`: runs Milena's clusters and topics on Kubernetes.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
