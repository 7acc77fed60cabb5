//! The `milena` binary: parse, then call.

use clap::Parser as _;

fn main() -> std::process::ExitCode {
    milena::allocator::return_large_blocks();
    milena::cli::Cli::parse().run()
}
