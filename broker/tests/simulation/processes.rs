//! Many seeds, each in a process of its own.

use std::process::ExitCode;

use super::Asked;

pub fn all(_asked: &Asked) -> ExitCode {
    ExitCode::SUCCESS
}
