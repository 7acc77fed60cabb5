//! The smallest and the largest segments there may be.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::times::{self, timed};
use super::*;

/// `segment.bytes` at its most.
const SEGMENT_MAX: u32 = i32::MAX as u32;
/// Bytes of one of the batches that fill it.
const LARGE: u64 = 100 << 20;
/// One relative offset more than fits.
const RANGE: i64 = 1 << 31;

fn at(base_offset: i64, count: i32, payload: &[u8]) -> BatchToAppend {
    let mut header = header(count, 5);
    header.base_offset = base_offset;
    batch_of(header, payload)
}

fn bases(log: &Log) -> Vec<i64> {
    let segments = log.reader().segments();
    segments.iter().map(|segment| segment.base_offset).collect()
}

fn crashed_at(recovery_point: i64) -> Opening {
    Opening {
        recovery_point,
        ..CRASHED
    }
}

#[test]
fn a_segment_for_each_record_is_a_log_like_any_other() {
    const RECORDS: i64 = 150;
    let folder = tempfile::tempdir().unwrap();
    let config = LogConfig {
        segment_index_bytes: 4,
        ..small()
    };
    let open = |opening| Log::open(folder.path(), config.clone(), opening).unwrap().0;
    let mut log = open(CRASHED);
    let mut stored = Vec::new();
    for timestamp in 0..RECORDS {
        times::append(&mut log, &mut stored, &[timestamp], false);
    }
    let all: Vec<i64> = (0..RECORDS).collect();
    assert_eq!(bases(&log), all);
    log.close().unwrap();
    for opening in [CLEAN, CRASHED, crashed_at(RECORDS / 2)] {
        let log = open(opening);
        assert_eq!(bases(&log), all);
        times::check(&log, &stored);
    }
    let mut log = open(CLEAN);
    log.set_config(LogConfig {
        retention_bytes: Some(log.reader().size_bytes() / 2),
        ..config.clone()
    });
    log.retain(RECORDS, 0, &mut crate::Trash::default())
        .unwrap();
    assert_eq!(bases(&log), all[RECORDS as usize / 2..]);
    times::check(&log, &stored);
    log.truncate_to(RECORDS - 10, 0).unwrap();
    assert_eq!(log.log_end_offset(), RECORDS - 10);
    times::check(&log, &stored[..RECORDS as usize - 10]);
}

/// A file of batches of [`LARGE`] bytes, of one record each, that takes no room: the records are a hole.
fn fill(folder: &Path, batches: i64) {
    let file = fs::File::create(folder.join("00000000000000000000.log")).unwrap();
    for number in 0..batches {
        let header = BatchHeader {
            base_offset: number,
            batch_length: (LARGE - 12) as i32,
            partition_leader_epoch: 0,
            ..header(1, number)
        };
        file.write_all_at(&header.to_bytes(), number as u64 * LARGE)
            .unwrap();
    }
    file.set_len(batches as u64 * LARGE).unwrap();
}

#[test]
fn a_segment_of_2_gib_is_filled_to_the_last_byte_and_read_and_cut_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let filled = i64::from(SEGMENT_MAX) / LARGE as i64;
    fill(folder.path(), filled);
    let config = LogConfig {
        segment_bytes: SEGMENT_MAX,
        segment_ms: u64::MAX,
        ..LogConfig::default()
    };
    let open = |opening| Log::open(folder.path(), config.clone(), opening).unwrap().0;
    let mut log = open(CLEAN);
    assert_eq!(log.log_end_offset(), filled);
    // Small ones up to the last byte, and one more.
    let (empty, small) = (batch(1, 5, &[]).body.len(), 1 << 20);
    let mut end = filled;
    let mut left = SEGMENT_MAX as usize - (filled as u64 * LARGE) as usize;
    while left > 0 {
        let size = if left < small + empty { left } else { small };
        log.append(&[batch(1, 5, &vec![7; size - empty])], STAMP)
            .unwrap();
        (left, end) = (left - size, end + 1);
    }
    assert_eq!(log.reader().size_bytes(), u64::from(SEGMENT_MAX));
    assert_eq!(bases(&log), [0]);
    log.append(&[batch(1, 5, b"next")], STAMP).unwrap();
    assert_eq!(bases(&log), [0, end]);
    log.close().unwrap();
    for opening in [CLEAN, crashed_at(end - 2)] {
        let mut log = open(opening);
        assert_eq!(log.log_end_offset(), end + 1);
        assert_eq!(offsets_from(&log, end - 2), [end - 2, end - 1, end]);
        let reader = log.reader();
        let region = reader.region(end - 1, 1 << 20, i64::MAX, true).unwrap();
        let bytes = region.unwrap().read_all().unwrap();
        assert_eq!(BatchHeader::parse(&bytes).unwrap().base_offset, end - 1);
        assert_eq!(reader.bytes_from(end - 1).unwrap(), bytes.len() as u64 + 65);
        log.close().unwrap();
    }
    let mut log = open(CLEAN);
    log.truncate_to(end - 1, 0).unwrap();
    assert_eq!((log.log_end_offset(), bases(&log)), (end - 1, vec![0]));
}

#[test]
fn a_segment_ends_with_the_last_offset_that_it_can_express() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    log.append_as_follower(&[at(0, 1, &[]), at(RANGE - 2, 1, &[])], 0)
        .unwrap();
    let appended = log.append(&[timed(&[5])], STAMP).unwrap();
    assert_eq!(appended.first_offset, RANGE - 1);
    assert_eq!(bases(&log), [0]);
    log.append(&[timed(&[5])], STAMP).unwrap();
    assert_eq!(bases(&log), [0, RANGE]);
    log.close().unwrap();
    for opening in [CLEAN, CRASHED] {
        let (log, recovery) = open(folder.path(), opening);
        assert_eq!(recovery.cut_at_offset, None);
        assert_eq!(offsets_from(&log, 1), [RANGE - 2, RANGE - 1, RANGE]);
    }
}

#[test]
fn a_follower_takes_offsets_that_lie_farther_apart_than_a_segment_can_express() {
    let far = 5 * RANGE;
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    let batches = [
        at(3, 2, &[1; 50]),
        at(far, 2, &[2; 50]),
        at(far + 9, 1, &[3; 50]),
    ];
    let appended = log.append_as_follower(&batches, 0).unwrap();
    assert_eq!((appended.first_offset, appended.last_offset), (3, far + 9));
    let bytes = batches
        .iter()
        .map(|batch| batch.body.len() as u64)
        .sum::<u64>();
    assert_eq!(appended.bytes, bytes);
    for _ in 0..20 {
        let next = log.log_end_offset();
        log.append_as_follower(&[at(next, 1, &[4; 50])], 0).unwrap();
    }
    log.close().unwrap();
    for opening in [CLEAN, CRASHED] {
        let (log, recovery) = open(folder.path(), opening);
        assert_eq!(recovery.cut_at_offset, None);
        assert_eq!(offsets_from(&log, 4)[..3], [3, far, far + 9]);
        for next in far + 10..far + 30 {
            assert_eq!(offsets_from(&log, next)[0], next);
        }
        for segment in log.reader().segments().windows(2) {
            assert!(segment[1].base_offset - segment[0].base_offset >= 3);
        }
    }
}

#[test]
fn a_follower_takes_what_its_leader_has_also_above_a_segments_size() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    let large = vec![7; 3 * small().segment_bytes as usize];
    assert!(log.append(&[batch(1, 5, &large)], STAMP).is_err());
    let batches = [
        at(0, 1, &[1; 500]),
        at(1, 1, &large),
        at(2, 1, &[2; 500]),
        at(3, 1, &[3; 300]),
    ];
    let appended = log.append_as_follower(&batches, 0).unwrap();
    assert_eq!((appended.first_offset, appended.last_offset), (0, 3));
    assert_eq!(bases(&log), [0, 1, 2]);
    drop(log);
    let (log, recovery) = open(folder.path(), CRASHED);
    assert_eq!((recovery.cut_at_offset, log.log_end_offset()), (None, 4));
    assert_eq!(offsets_from(&log, 0), [0, 1, 2, 3]);
}
