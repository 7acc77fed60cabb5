//! Checkpoints that say nothing, and what is made of them.

use std::path::{Path, PathBuf};

use clap::Parser;
use milena_log::{Log, LogConfig, Offsets, Opening};
use milena_protocol::Uuid;

use super::*;
use crate::broker::tests::beside::batch;
use crate::cli::log::check::{self, Check};

const RECORDS: i64 = 9;
const GARBLED: &str = "0\n9\nt 0";

#[derive(Parser)]
struct CheckArgs {
    #[command(flatten)]
    check: Check,
}

#[derive(Parser)]
struct RepairArgs {
    #[command(flatten)]
    repair: Repair,
}

fn check(data: &Path) -> Result<(), Failure> {
    check::run(&CheckArgs::parse_from([Path::new("check"), data]).check)
}

fn mend(data: &Path, how: &[&str]) -> Result<(), Failure> {
    let data = data.display().to_string();
    let args = ["repair", data.as_str()]
        .into_iter()
        .chain(how.iter().copied());
    run(&RepairArgs::parse_from(args).repair)
}

/// The directory of a broker that was killed, with a log of so many records; all its checkpoints are garbled.
fn directory() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let opening = Opening {
        clean_shutdown: false,
        recovery_point: 0,
        log_start_offset: 0,
        end_due: 0,
        topic_id: Uuid::ZERO,
        now_ms: 1,
    };
    let folder = data.path().join("t-0");
    let (mut log, _) = Log::open(&folder, LogConfig::default(), opening).unwrap();
    for offset in 0..RECORDS {
        log.append_as_follower(&batch(offset, 0), 1).unwrap();
    }
    log.close().unwrap();
    for checkpoint in Checkpoint::ALL {
        std::fs::write(data.path().join(checkpoint.file_name()), GARBLED).unwrap();
    }
    data
}

fn segment(data: &Path) -> PathBuf {
    data.join("t-0/00000000000000000000.log")
}

fn offsets(of_log: i64) -> Offsets {
    Offsets::from([(("t".to_owned(), 0), of_log)])
}

#[test]
fn garbled_checkpoints_are_named_and_made_anew_from_the_logs() {
    let data = directory();
    let data = data.path();
    let named = check(data).unwrap_err();
    assert!(format!("{named:?}").contains("4 checkpoints"), "{named:?}");
    mend(data, &[]).unwrap();
    let garbled = |name: String| std::fs::read_to_string(data.join(name)).unwrap() == GARBLED;
    for checkpoint in Checkpoint::ALL {
        assert!(garbled(checkpoint.file_name().to_owned()), "it was changed");
    }
    mend(data, &["--topic", "t", "--apply"]).unwrap_err();
    mend(data, &["--apply"]).unwrap();
    let known = Checkpoint::ALL.map(|checkpoint| checkpoint.read(data).unwrap());
    let none = Offsets::new();
    assert_eq!(known, [offsets(RECORDS), none.clone(), none.clone(), none]);
    for checkpoint in Checkpoint::ALL {
        assert!(garbled(format!("{}.damaged", checkpoint.file_name())));
    }
    check(data).unwrap();
}

#[test]
fn without_recovery_points_a_damaged_end_is_not_taken_for_what_a_crash_has_left() {
    let data = directory();
    let data = data.path();
    let mut bytes = std::fs::read(segment(data)).unwrap();
    let last = bytes.len() / RECORDS as usize * (RECORDS as usize - 1);
    bytes[last + 16] = 9;
    std::fs::write(segment(data), &bytes).unwrap();
    let named = check(data).unwrap_err();
    assert!(
        format!("{named:?}").contains("1 of 1 log is damaged"),
        "{named:?}"
    );
    mend(data, &["--apply"]).unwrap_err();
    assert_eq!(std::fs::read(segment(data)).unwrap(), bytes);
    mend(data, &["--cut", "--apply"]).unwrap();
    let known = Checkpoint::RecoveryPoint.read(data).unwrap();
    assert_eq!(known, offsets(RECORDS - 1));
    check(data).unwrap();
}

#[test]
fn a_log_that_is_set_aside_is_missed_by_the_next_start() {
    let data = directory();
    let data = data.path();
    let bytes = std::fs::read(segment(data)).unwrap();
    std::fs::write(segment(data), &bytes[..bytes.len() - 1]).unwrap();
    mend(data, &["--set-aside", "--apply"]).unwrap();
    assert!(!data.join("t-0").exists());
    let known = Checkpoint::RecoveryPoint.read(data).unwrap();
    assert_eq!(known, offsets(RECORDS - 1), "it would begin anew unnoticed");
}

#[test]
fn a_checkpoint_that_can_not_be_read_is_left_as_it_is() {
    let data = directory();
    let data = data.path();
    let file = data.join(Checkpoint::RecoveryPoint.file_name());
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    check(data).unwrap_err();
    mend(data, &["--apply"]).unwrap_err();
    assert!(file.is_dir());
}

#[test]
fn an_identity_that_is_lost_is_named_and_never_made_up() {
    let data = directory();
    let data = data.path();
    mend(data, &["--apply"]).unwrap();
    check(data).unwrap();
    let file = data.join("meta.properties");
    let garbled = "version=1\ncluster.id=c\nnode.id=";
    std::fs::write(&file, garbled).unwrap();
    std::fs::write(data.join(Checkpoint::Cleaner.file_name()), GARBLED).unwrap();
    let named = check(data).unwrap_err();
    let text = "0 of 1 log is damaged, and 1 checkpoint can't be read, and 1 directory does not say whose it is";
    assert_eq!(named.text(), text);
    mend(data, &[]).unwrap();
    let left = mend(data, &["--apply"]).unwrap_err();
    assert!(
        left.text().contains("meta.properties is left as it is"),
        "{left}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), garbled);
    let mended = Checkpoint::Cleaner.read(data).unwrap();
    assert_eq!(mended, Offsets::new(), "the rest was not done");
    let named = check(data).unwrap_err();
    assert!(!named.text().contains("checkpoint"), "{named}");
}
