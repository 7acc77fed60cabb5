//! Logs that are looked through and mended while nobody has them.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::inspect::{FindingKind, Gap, Hole, Inspection, inspect};
use crate::repair::repair;

/// Bytes of one batch here.
const BATCH: usize = 151;

/// A log of so many batches of two records, stopped cleanly.
fn stopped(folder: &Path, batches: i32) {
    let (mut log, _) = open(folder, CRASHED);
    for _ in 0..batches {
        log.append(&[batch(2, 5, &[7; 90])], STAMP).unwrap();
    }
    log.close().unwrap();
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let names = fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = names
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == extension))
        .collect();
    files.sort();
    files
}

fn spoil(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x55;
    fs::write(file, bytes).unwrap();
}

fn only(found: &Inspection) -> FindingKind {
    assert_eq!(found.findings.len(), 1, "{:?}", found.findings);
    found.findings[0].kind
}

fn whole(folder: &Path) -> Inspection {
    let found = inspect(folder).unwrap();
    assert_eq!(found.findings, []);
    found
}

#[test]
fn a_log_that_was_stopped_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    stopped(folder.path(), 30);
    let found = whole(folder.path());
    assert_eq!((found.batches, found.end_offset), (30, 60));
    assert_eq!(found.bytes, 30 * BATCH as u64);
}

#[test]
fn damaged_records_are_found_by_byte_and_offset_and_what_is_whole_behind_them_stays() {
    let folder = tempfile::tempdir().unwrap();
    stopped(folder.path(), 30);
    let first = files(folder.path(), "log").remove(0);
    let before = fs::read(&first).unwrap();
    spoil(&first, 2 * BATCH + 100);
    let damaged = fs::read(&first).unwrap();
    let found = inspect(folder.path()).unwrap();
    let hole = Hole {
        byte: 2 * BATCH as u64,
        bytes: BATCH as u64,
        offset: 4,
        next_offset: Some(6),
    };
    assert_eq!(only(&found), FindingKind::Records(hole));
    assert_eq!((found.batches, found.end_offset), (29, 60));

    repair(&found, 60).unwrap();
    whole(folder.path());
    let (log, recovery) = open(folder.path(), CLEAN);
    assert_eq!(recovery.bytes_cut, 0);
    let expected: Vec<i64> = (0..60).step_by(2).filter(|offset| *offset != 4).collect();
    let read: Vec<i64> = expected
        .iter()
        .map(|offset| offsets_from(&log, *offset)[0])
        .collect();
    assert_eq!(read, expected);
    assert_eq!(offsets_from(&log, 4)[0], 6, "a gap");
    assert_eq!(
        fs::read(first.with_added_extension("damaged")).unwrap(),
        damaged
    );
    assert_eq!(before.len() - BATCH, fs::read(first).unwrap().len());
}

#[test]
fn the_offsets_of_lost_records_at_the_end_are_given_to_no_others() {
    for lost in 1..=2 {
        let folder = tempfile::tempdir().unwrap();
        stopped(folder.path(), 30);
        let last = files(folder.path(), "log").pop().unwrap();
        let len = fs::read(&last).unwrap().len();
        assert!(len > 2 * BATCH);
        for batch in 1..=lost {
            spoil(&last, len - batch * BATCH + 70);
        }
        let found = inspect(folder.path()).unwrap();
        let end = 60 - 2 * lost as i64;
        assert_eq!(found.end_offset, end);
        repair(&found, 60).unwrap();
        whole(folder.path());
        let (mut log, _) = open(folder.path(), CLEAN);
        assert_eq!(log.log_end_offset(), 60);
        let appended = log.append(&[batch(1, 5, &[])], STAMP).unwrap();
        assert_eq!(appended.first_offset, 60);
        assert_eq!(
            offsets_from(&log, end),
            [end, 60],
            "an empty batch holds them"
        );
    }
}

#[test]
fn a_segment_without_a_whole_batch_leaves_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    stopped(folder.path(), 30);
    let second = files(folder.path(), "log").remove(1);
    let size = fs::read(&second).unwrap().len();
    fs::write(&second, vec![0; size]).unwrap();
    let found = inspect(folder.path()).unwrap();
    assert!(
        matches!(found.findings[0].kind, FindingKind::Records(hole) if hole.next_offset.is_none())
    );
    repair(&found, 60).unwrap();
    whole(folder.path());
    let (log, _) = open(folder.path(), CLEAN);
    assert_eq!((offsets_from(&log, 0)[0], log.log_end_offset()), (0, 60));
    let base = base_of(&second);
    assert!(offsets_from(&log, base)[0] > base);
}

#[test]
fn indexes_epochs_and_snapshots_are_made_anew_from_the_batches() {
    let folder = tempfile::tempdir().unwrap();
    stopped(folder.path(), 30);
    let kinds = |found: &Inspection| -> Vec<FindingKind> {
        found.findings.iter().map(|finding| finding.kind).collect()
    };
    let index = files(folder.path(), "index").remove(0);
    spoil(&index, 7);
    fs::remove_file(files(folder.path(), "timeindex").remove(0)).unwrap();
    fs::write(folder.path().join("leader-epoch-checkpoint"), "0\n1\n9 0\n").unwrap();
    fs::write(folder.path().join(format!("{:020}.snapshot", 8)), "no").unwrap();
    let found = inspect(folder.path()).unwrap();
    let expected = [
        FindingKind::Index,
        FindingKind::Index,
        FindingKind::Epochs,
        FindingKind::Snapshot,
    ];
    assert_eq!(kinds(&found), expected, "{:?}", found.findings);
    repair(&found, 60).unwrap();
    whole(folder.path());
    let (log, _) = open(folder.path(), CLEAN);
    assert_eq!(log.reader().last_epoch(), Some(0));
    for offset in 0..60 {
        assert_eq!(offsets_from(&log, offset)[0], offset / 2 * 2);
    }
}

/// As a start is after a clean stop at offset 60, where the checkpoints are there.
const STOPPED: Opening = Opening {
    recovery_point: 60,
    end_due: 60,
    ..CLEAN
};

pub(super) fn base_of(log: &Path) -> i64 {
    log.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

#[test]
fn a_log_whose_first_segment_was_taken_away_is_damaged_and_once_mended_begins_with_the_next() {
    let folder = tempfile::tempdir().unwrap();
    stopped(folder.path(), 30);
    let logs = files(folder.path(), "log");
    let next_offset = base_of(&logs[1]);
    let held = || {
        let mut found = inspect(folder.path()).unwrap();
        found.hold_start(0, true).unwrap();
        found
    };
    assert_eq!(held().findings, []);
    fs::remove_file(&logs[0]).unwrap();
    assert!(Log::open(folder.path(), small(), STOPPED).is_err());
    let gap = Gap {
        offset: 0,
        next_offset,
    };
    assert_eq!(only(&held()), FindingKind::Gap(gap));
    assert_eq!(held().gaps, []);
    let mut begins_there = inspect(folder.path()).unwrap();
    begins_there.hold_start(next_offset, true).unwrap();
    assert_eq!(begins_there.findings, []);
    let mut killed = inspect(folder.path()).unwrap();
    killed.hold_start(0, false).unwrap();
    assert_eq!(
        (&killed.findings[..], &killed.gaps[..]),
        (&[][..], &[gap][..])
    );

    repair(&held(), 60).unwrap();
    assert_eq!(held().findings, []);
    let (log, recovery) = open(folder.path(), STOPPED);
    assert_eq!(recovery.missing_from, None);
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset()),
        (next_offset, 60)
    );
}

#[test]
fn a_gap_between_segments_is_told_of_and_is_damage_where_the_recovery_point_lies_within() {
    let folder = tempfile::tempdir().unwrap();
    stopped(folder.path(), 30);
    let logs = files(folder.path(), "log");
    let gap = Gap {
        offset: base_of(&logs[1]),
        next_offset: base_of(&logs[2]),
    };
    fs::remove_file(&logs[1]).unwrap();
    let mut found = whole(folder.path());
    assert_eq!(found.gaps, [gap]);
    for beside in [gap.offset, gap.next_offset] {
        found.hold_recovery_point(beside);
        assert_eq!(found.findings, []);
    }
    let crashed = Opening {
        recovery_point: gap.offset + 1,
        ..CRASHED
    };
    assert!(Log::open(folder.path(), small(), crashed).is_err());
    found.hold_recovery_point(gap.offset + 1);
    assert_eq!(only(&found), FindingKind::Gap(gap));

    repair(&found, 60).unwrap();
    assert_eq!(whole(folder.path()).gaps, []);
    let (log, recovery) = open(folder.path(), crashed);
    assert_eq!((recovery.cut_at_offset, log.log_end_offset()), (None, 60));
    assert_eq!(
        offsets_from(&log, gap.offset)[..2],
        [gap.offset, gap.next_offset]
    );
}

#[test]
fn a_log_without_any_segment_is_mended_to_one_that_goes_on_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    stopped(folder.path(), 30);
    for log in files(folder.path(), "log") {
        fs::remove_file(log).unwrap();
    }
    assert!(Log::open(folder.path(), small(), STOPPED).is_err());
    let mut found = inspect(folder.path()).unwrap();
    found.hold_start(0, true).unwrap();
    assert_eq!((found.segments, found.end_offset), (0, 0));
    repair(&found, 60).unwrap();
    let (mut log, _) = open(folder.path(), STOPPED);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (60, 60));
    let appended = log.append(&[batch(1, 5, &[])], STAMP).unwrap();
    assert_eq!(appended.first_offset, 60);
}
