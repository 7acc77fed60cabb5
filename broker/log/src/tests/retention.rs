//! Retention where the disk does not play along, and what is given back of a log that rests.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{CRASHED, STAMP, batch};
use crate::faults::{Fault, inject};
use crate::trash::Trash;
use crate::{Log, LogConfig, Stamp};

const EACCES: i32 = 13;

fn keeping_one_byte() -> LogConfig {
    LogConfig {
        retention_bytes: Some(1),
        ..LogConfig::default()
    }
}

/// A log of four segments, each of a batch of another leader epoch.
fn of_four_segments(folder: &Path) -> Log {
    let (mut log, _) = Log::open(folder, keeping_one_byte(), CRASHED).unwrap();
    for leader_epoch in 0..4 {
        log.roll(1).unwrap();
        let stamp = Stamp {
            leader_epoch,
            ..STAMP
        };
        log.append(&[batch(1, 5, b"")], stamp).unwrap();
    }
    log
}

fn file(folder: &Path, base_offset: i64) -> PathBuf {
    folder.join(format!("{base_offset:020}.log"))
}

fn bases(log: &Log) -> Vec<i64> {
    let segments = log.reader().segments();
    segments.iter().map(|one| one.base_offset).collect()
}

/// The batches' files that are there under a name that counts.
fn files_of_batches(folder: &Path) -> Vec<PathBuf> {
    let paths = (0..4).map(|base_offset| file(folder, base_offset));
    paths.filter(|path| path.exists()).collect()
}

#[test]
fn a_segment_that_had_lost_its_file_is_removed_with_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = of_four_segments(folder.path());
    fs::remove_file(file(folder.path(), 1)).unwrap();
    let mut trash = Trash::default();
    assert_eq!(log.retain(4, 10, &mut trash).unwrap().segments, 3);
    assert_eq!(files_of_batches(folder.path()), [file(folder.path(), 3)]);
    assert!(log.reader().check_writable().is_ok());
    assert_eq!((bases(&log), log.log_start_offset()), (vec![3], 3));
}

#[test]
fn a_removal_that_the_disk_refuses_ends_the_writes_and_the_next_life_repeats_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = of_four_segments(folder.path());
    let second = file(folder.path(), 1);
    let part = second.display().to_string();
    let fault = inject(&part, Fault::RefuseRenames(EACCES));
    log.retain(4, 10, &mut Trash::default()).unwrap_err();
    drop(fault);
    let error = log.reader().check_writable().unwrap_err().to_string();
    assert!(error.contains(&format!("rename {part}")), "{error}");
    assert!(log.append(&[batch(1, 5, b"")], STAMP).is_err());
    // What was removed is gone from the epochs too, and what is left has no gap.
    assert_eq!(log.reader().epoch_of(2), None);
    assert_eq!(files_of_batches(folder.path()).len(), 3);
    drop(log);
    let (mut log, _) = Log::open(folder.path(), keeping_one_byte(), CRASHED).unwrap();
    assert_eq!(bases(&log), [1, 2, 3]);
    log.retain(4, 10, &mut Trash::default()).unwrap();
    assert_eq!(files_of_batches(folder.path()), [file(folder.path(), 3)]);
}

/// Bytes that a file takes on its disk beyond those that it has.
fn reserved(path: &Path) -> u64 {
    let file = fs::metadata(path).unwrap();
    (file.blocks() * 512).saturating_sub(file.len())
}

/// Writes so much that blocks are reserved behind it.
fn write_until_reserved(log: &mut Log) {
    let large = batch(1, 5, &vec![7; 700 << 10]);
    for _ in 0..20 {
        log.append(std::slice::from_ref(&large), STAMP).unwrap();
        if reserved(&log.shared().active().path("log")) > 200 << 10 {
            return;
        }
    }
    panic!("nothing was reserved");
}

/// Two looks of retention's: nothing is reserved then.
fn rest(log: &mut Log, path: &Path) {
    let mut look = || {
        let (end, mut trash) = (log.log_end_offset(), Trash::default());
        log.retain(end, 10, &mut trash).unwrap();
        reserved(path)
    };
    let before = look();
    assert!(before > 200 << 10, "{before} before it rests");
    let left = look();
    assert!(left < 64 << 10, "{left} of {before} bytes");
}

#[test]
fn what_is_reserved_is_given_back_once_a_log_rests_also_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), 0);
    let open = || {
        let (config, opening) = (LogConfig::default(), CRASHED);
        Log::open(folder.path(), config, opening).unwrap().0
    };
    let mut log = open();
    write_until_reserved(&mut log);
    rest(&mut log, &path);
    write_until_reserved(&mut log);
    drop(log);
    let mut log = open();
    rest(&mut log, &path);
    write_until_reserved(&mut log);
    assert_eq!(
        super::offsets_from(&log, 0).len() as i64,
        log.log_end_offset()
    );
}
