//! What becomes of a log in which compaction meets a batch that it can't read.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::tests::{STAMP, batch};

/// Flips a bit in the last record of the second of a segment's batches that have any, in the first segment where there are
/// so many; where that batch is: file, offset and byte.
fn spoil(log: &Log) -> (PathBuf, i64, usize) {
    let of_records = |segment: &Arc<Segment>| {
        let bytes = fs::read(segment.path("log")).unwrap();
        let (mut at, mut batches) = (0, Vec::new());
        while at < bytes.len() {
            let header = BatchHeader::parse(&bytes[at..]).unwrap();
            batches.push((at, header));
            at += header.size();
        }
        batches.retain(|(_, header)| header.record_count > 0);
        Some((segment.path("log"), bytes, *batches.get(1)?))
    };
    let segments = log.shared().segments();
    let (file, mut bytes, (at, header)) = segments.iter().find_map(of_records).unwrap();
    bytes[at + header.size() - 1] ^= 1;
    fs::write(&file, bytes).unwrap();
    (file, header.base_offset, at)
}

fn failed(log: &Log, from: i64) -> LogError {
    let plan = log.cleaning_plan(from, i64::MAX, 0).unwrap().unwrap();
    plan.clean(1 << 20, &mut unhurried).unwrap_err()
}

#[test]
fn a_checksum_that_compaction_finds_wrong_ends_the_writes_and_is_named() {
    for is_compacted_before in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut log = open_log(folder.path());
        fill(&mut log, 30);
        let mut from = 0;
        if is_compacted_before {
            from = clean(&mut log, 0, 1 << 20, 0).unwrap();
            fill(&mut log, 5);
        }
        let (file, offset, byte) = spoil(&log);
        let place = format!(
            "{} is damaged at offset {offset}, byte {byte}",
            file.display()
        );
        let error = failed(&log, from);
        assert!(error.to_string().starts_with(&place), "{error}");
        let reader = log.reader();
        reader.note_failure(&error);
        let told = reader.check_writable().unwrap_err().to_string();
        assert!(told.contains(&place), "{told}");
        log.roll(0).unwrap_err();
        // What is not damaged is read on.
        let last = reader.log_end_offset() - 1;
        let read = reader.read(last, 500, i64::MAX, true).unwrap().read();
        assert!(!read.unwrap().bytes.is_empty());
    }
}

#[test]
fn a_segment_that_ends_within_its_last_batch_ends_the_writes_once_compaction_meets_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path());
    fill(&mut log, 30);
    let first = log.shared().segments()[0].path("log");
    let size = fs::metadata(&first).unwrap().len();
    let file = fs::File::options().write(true).open(&first).unwrap();
    file.set_len(size - 1).unwrap();
    let error = failed(&log, 0);
    log.reader().note_failure(&error);
    let told = log.reader().check_writable().unwrap_err().to_string();
    assert!(told.contains("is damaged at offset"), "{told}");
}

#[test]
fn a_batch_that_was_acknowledged_as_it_is_ends_no_writes_though_compaction_can_not_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path());
    // As a producer's may be that nobody has opened: the checksum is right, and the records are none.
    log.append(&[batch(2, 5, &[7; 90])], STAMP).unwrap();
    log.roll(0).unwrap();
    let error = failed(&log, 0);
    assert!(error.to_string().contains("offset 0"), "{error}");
    log.reader().note_failure(&error);
    log.roll(0).unwrap();
}

#[test]
fn what_lies_before_a_batch_that_compaction_can_not_read_is_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path());
    fill(&mut log, 30);
    let wanted = latest(&all(&log).unwrap());
    let end = log.log_end_offset();
    log.append(&[batch(2, 5, &[7; 90])], STAMP).unwrap();
    log.roll(0).unwrap();
    let plan = log.cleaning_plan(0, i64::MAX, 0).unwrap().unwrap();
    let cleaned = plan.clean(1 << 20, &mut unhurried).unwrap().unwrap();
    assert!(cleaned.has_more());
    let cleaned_to = install(&mut log, cleaned, &mut Trash::default());
    assert_eq!(cleaned_to.unwrap(), Some(end));
    let error = failed(&log, end);
    let place = format!("offset {end}");
    assert!(error.to_string().contains(&place), "{error}");
    let found = all_before(&log, end).unwrap();
    assert_eq!(
        (latest(&found), found.len()),
        (wanted.clone(), wanted.len())
    );
}
