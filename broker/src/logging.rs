//! The process's own log: lines for people or JSON, on stderr, so that stdout stays for results.

use std::io::IsTerminal as _;

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// What went wrong with `milena.log.level`.
#[derive(Debug)]
pub struct BadLevel(String);

impl std::error::Error for BadLevel {}

impl std::fmt::Display for BadLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let levels =
            "write error, warn, info, debug or trace, or such by module: info,milena::group=debug";
        write!(f, "milena.log.level: {:?} is no level; {levels}", self.0)
    }
}

/// Starts logging for the whole process; `level` as in `milena.log.level`. A second start changes nothing,
/// so that several brokers can run in one test.
pub fn start(format: LogFormat, level: &str) -> Result<(), BadLevel> {
    // Targets and not EnvFilter: the same words without two regex crates, 0.37 MB of the program. openraft tells of
    // each heartbeat that was not answered; `quorum.rs` says what people need to know.
    let bad = || BadLevel(level.to_owned());
    // A word alone would be taken for a module's name, and silence all others.
    let is_level = |word: &str| word.contains('=') || word.parse::<LevelFilter>().is_ok();
    if !level.split(',').all(|word| is_level(word.trim())) {
        return Err(bad());
    }
    let filter: Targets = format!("openraft=off,{level}").parse().map_err(|_| bad())?;
    let lines = tracing_subscriber::fmt()
        .with_max_level(Level::TRACE)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => lines
            .with_ansi(std::io::stderr().is_terminal())
            .finish()
            .with(filter)
            .try_init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .finish()
            .with(filter)
            .try_init(),
    };
    // The only failure is that logging has been started already.
    drop(started);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_is_named() {
        for bad in ["loud=quiet", "inof", "milena", "info,loud"] {
            let problem = start(LogFormat::Text, bad).unwrap_err().to_string();
            let told = format!("milena.log.level: {bad:?} is no level; write error");
            assert!(problem.starts_with(&told), "{problem}");
        }
    }
}
