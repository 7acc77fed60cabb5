//! Damage that is met while a log is read, and what the next opening knows of it.

use std::fs;
use std::path::{Path, PathBuf};

use super::recovery::filled;
use super::*;
use crate::damage::FILE;
use crate::faults::{Fault, inject};
use crate::inspect::{FindingKind, Gap, inspect};
use crate::repair::repair;
use crate::{LogError, ReadError};

/// Bytes of one batch here.
const BATCH: usize = 151;
/// Offsets in each log.
const END: i64 = 60;

const STOPPED: Opening = Opening {
    recovery_point: END,
    end_due: END,
    ..CLEAN
};

/// A life that read the first segment while that was damaged; its file.
fn met(folder: &Path, harm: fn(&Path)) -> PathBuf {
    filled(folder, 30).close().unwrap();
    let first = folder.join("00000000000000000000.log");
    let (log, _) = open(folder, STOPPED);
    harm(&first);
    assert!(is_refused(&log, 0), "it was not met");
    assert!(log.reader().check_writable().is_err());
    first
}

/// Whether a reader is told of damage on its way from `offset` to the end.
fn is_refused(log: &Log, offset: i64) -> bool {
    let (reader, mut next) = (log.reader(), offset);
    while next < reader.log_end_offset() {
        match reader
            .read(next, 300, END, true)
            .and_then(|slice| slice.read())
        {
            Ok(batches) => {
                assert!(batches.next_offset > next, "it is kept waiting at {next}");
                next = batches.next_offset;
            }
            Err(_) => return true,
        }
    }
    false
}

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

fn append(log: &mut Log, batches: usize) {
    for _ in 0..batches {
        log.append(&[batch(2, 5, &[7; 90])], STAMP).unwrap();
    }
}

fn spoil(file: &Path) {
    change(file, |bytes| bytes[2 * BATCH + 16] = 9);
}

fn shorten(file: &Path) {
    change(file, |bytes| bytes.truncate(2 * BATCH + 70));
}

fn has_note(folder: &Path) -> bool {
    folder.join(FILE).exists()
}

#[test]
fn damage_that_was_met_in_an_earlier_life_is_named_by_each_opening_until_it_is_mended() {
    for harm in [spoil, shorten] {
        let folder = tempfile::tempdir().unwrap();
        let first = met(folder.path(), harm);
        let crashed = Opening {
            recovery_point: END,
            ..CRASHED
        };
        for opening in [STOPPED, crashed, STOPPED] {
            let error = Log::open(folder.path(), small(), opening).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, LogError::Damaged { .. }), "{text}");
            let place = format!("{} is damaged at offset 4, byte 302", first.display());
            assert!(text.contains(&place), "{text}");
        }
        let found = inspect(folder.path()).unwrap();
        assert!(matches!(found.findings[0].kind, FindingKind::Records(_)));
        repair(&found, END).unwrap();
        assert!(!has_note(folder.path()));
        let (log, _) = open(folder.path(), STOPPED);
        assert!(!is_refused(&log, 0));
    }
}

#[test]
fn a_segment_that_is_whole_again_is_served_and_its_note_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let first = met(folder.path(), spoil);
    assert!(has_note(folder.path()));
    change(&first, |bytes| bytes[2 * BATCH + 16] = 2);
    let found = inspect(folder.path()).unwrap();
    assert_eq!(found.findings, []);
    let (log, _) = open(folder.path(), STOPPED);
    assert!(!has_note(folder.path()));
    assert!(!is_refused(&log, 0));
}

#[test]
fn a_segment_that_ends_where_damage_was_met_lacks_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let first = met(folder.path(), spoil);
    change(&first, |bytes| bytes.truncate(2 * BATCH));
    let error = Log::open(folder.path(), small(), STOPPED).unwrap_err();
    assert!(error.to_string().contains("offset 4, byte 302"), "{error}");
    let mut found = inspect(folder.path()).unwrap();
    assert_eq!(found.gaps.len(), 1);
    found.hold_noted_damage(4);
    assert_eq!(found.findings.len(), 1, "its index: {:?}", found.findings);
    found.hold_noted_damage(i64::MAX);
    found.hold_recovery_point(5);
    let gap = Gap {
        offset: 4,
        next_offset: found.gaps[0].next_offset,
    };
    assert_eq!(found.findings.len(), 2);
    assert_eq!(found.findings[1].kind, FindingKind::Gap(gap));
    repair(&found, END).unwrap();
    let (log, _) = open(folder.path(), STOPPED);
    assert_eq!(offsets_from(&log, 2)[..3], [2, 4, gap.next_offset]);
}

#[test]
fn damage_that_was_met_beyond_the_recovery_point_is_cut_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    met(folder.path(), spoil);
    let opening = Opening {
        recovery_point: 4,
        ..CRASHED
    };
    let (log, recovery) = open(folder.path(), opening);
    assert_eq!(recovery.cut_at_offset, Some(4));
    assert_eq!(log.log_end_offset(), 4);
    assert!(!has_note(folder.path()));
}

#[test]
fn a_note_that_is_garbled_or_of_a_segment_that_is_gone_keeps_no_log_from_being_opened() {
    for text in ["", "no", "0\n1\n7 7 7\n", "0\n1\n900 900 0\n"] {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), 30).close().unwrap();
        fs::write(folder.path().join(FILE), text).unwrap();
        assert_eq!(inspect(folder.path()).unwrap().findings, []);
        let (log, _) = open(folder.path(), STOPPED);
        assert_eq!(log.log_end_offset(), END);
        assert!(!has_note(folder.path()));
    }
}

#[test]
fn a_checksum_that_does_not_match_is_damage_also_for_the_next_opening() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 30).close().unwrap();
    let first = folder.path().join("00000000000000000000.log");
    change(&first, |bytes| bytes[2 * BATCH + 100] ^= 1);
    let (log, _) = open(folder.path(), STOPPED);
    let told = LogError::Damaged {
        path: first,
        offset: 4,
        byte: 302,
        problem: "its checksum".into(),
    };
    log.reader().note_failure(&told);
    assert!(log.reader().check_writable().is_err());
    drop(log);
    assert!(Log::open(folder.path(), small(), STOPPED).is_err());
}

#[test]
fn a_file_that_has_become_shorter_ends_the_writes_and_nothing_of_it_is_handed_out() {
    for left in [0, 70, BATCH, 2 * BATCH + 70] {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(folder.path(), LogConfig::default(), CRASHED).unwrap();
        append(&mut log, 3);
        log.roll(1).unwrap();
        append(&mut log, 1);
        let reader = log.reader();
        let region = || reader.region(0, 1 << 20, 8, true);
        let (by_copy, by_warming, by_reading) = (region(), region(), region());
        let first = folder.path().join("00000000000000000000.log");
        change(&first, |bytes| bytes.truncate(left));
        by_copy.unwrap().unwrap().read_all().unwrap_err();
        by_warming.unwrap().unwrap().warm().unwrap_err();
        by_reading.unwrap().unwrap().read_through().unwrap_err();
        let error = reader.check_writable().unwrap_err().to_string();
        let at = left / BATCH;
        let place = format!("damaged at offset {}, byte {}", 2 * at, at * BATCH);
        assert!(error.contains(&place), "{error}");
        assert!(matches!(region(), Err(ReadError::Log(_))));
        assert!(reader.region(6, 1 << 20, 8, true).unwrap().is_some());
    }
}

#[test]
fn a_file_that_is_cut_with_its_log_ends_no_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(folder.path(), LogConfig::default(), CRASHED).unwrap();
    append(&mut log, 3);
    let reader = log.reader();
    let slice = reader.read(2, 1 << 20, 6, true).unwrap();
    let region = reader.region(0, 1 << 20, 6, true).unwrap().unwrap();
    log.truncate_to(2, 1).unwrap();
    region.warm().unwrap_err();
    assert!(slice.read().unwrap().bytes.is_empty());
    assert!(reader.check_writable().is_ok());
    assert!(!has_note(folder.path()));
}

const ENXIO: i32 = 6;
const ESTALE: i32 = 116;
const ETIMEDOUT: i32 = 110;

/// Reads all of a log's first segment, of which the first so many reads are refused; whether the log takes writes then.
fn takes_writes_after(refused: usize, errno: i32) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(folder.path(), LogConfig::default(), CRASHED).unwrap();
    log.append(&[batch(2, 5, &[7; 90])], STAMP).unwrap();
    log.flusher().flush().unwrap();
    let mut region = log.reader().region(0, 1 << 20, 2, true).unwrap().unwrap();
    let file = folder.path().join("00000000000000000000.log");
    let _fault = inject(
        &file.display().to_string(),
        Fault::RefuseReads(refused, errno),
    );
    region.read_all().unwrap_err();
    log.append(&[batch(2, 5, &[7; 90])], STAMP).is_ok()
}

#[test]
fn a_disk_that_is_gone_ends_the_writes_and_a_volume_that_is_away_for_longer_than_a_moment() {
    assert!(!takes_writes_after(1, ENXIO));
    for errno in [ESTALE, ETIMEDOUT] {
        assert!(!takes_writes_after(usize::MAX, errno));
        assert!(takes_writes_after(1, errno));
    }
}
