//! The logs that a crash leaves at any of the changes which an operation makes, once the next start has mended them:
//! `kafka-dump-log` takes them too. `MILENA_CRASH_STATES_EVERY=1` has it take all, and not a sample.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::suite::Suite;
use tempfile::TempDir;

/// What is cut short, by the tests in `broker/log/src/tests/crash` that do it at each change, and how many states they
/// keep at least. A test by another name would keep none.
const OPERATIONS: [(&str, usize); 6] = [
    ("compaction::compaction_keeps", 10),
    ("writing::a_new_log_has", 10),
    ("deletion::retention_takes", 4),
    ("deletion::deleted_records_stay_away", 6),
    ("truncation::a_truncated_log", 10),
    ("checkpoints::a_checkpoint_has", 4),
];

/// Has a sample of the states of an operation put into `kept`; how many there are.
fn keep(operation: &str, kept: &Path) -> Result<usize> {
    let cargo = std::env::var_os("CARGO").context("run by cargo")?;
    let done = Command::new(cargo)
        .args(["test", "-p", "milena-log", "--lib", "--"])
        .arg(format!("tests::crash::{operation}"))
        .env("MILENA_CRASH_STATES", kept)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()?;
    ensure!(
        done.status.success(),
        "{operation}: {}\n{}{}",
        done.status,
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    let states = fs::read_dir(kept).with_context(|| format!("{operation} has kept nothing"))?;
    Ok(states.count())
}

#[test]
fn kafka_dump_log_takes_what_is_left_wherever_an_operation_stops() -> Result<()> {
    let Some(dump_log) = Suite::installed("dump-log")? else {
        return Ok(());
    };
    let all = TempDir::new()?;
    for (number, (operation, least)) in OPERATIONS.iter().enumerate() {
        let kept = keep(operation, &all.path().join(format!("operation{number}")))?;
        ensure!(kept >= *least, "{operation} has kept {kept} states only");
    }
    dump_log.run(&[&all.path().to_string_lossy()])
}
