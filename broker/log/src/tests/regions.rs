//! Regions, which are sent as they are: where they end is all that keeps a reader below its bound.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use milena_protocol::records::{BATCH_HEADER_SIZE, BatchHeader};

use super::{CRASHED, STAMP, batch};
use crate::faults::{Fault, inject};
use crate::{Log, LogConfig, ReadError};

/// Long enough to meet a writer between any two of its steps many times.
const RACE: Duration = Duration::from_millis(500);

#[test]
fn a_region_ends_at_its_bound_while_the_log_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(folder.path(), LogConfig::default(), CRASHED).unwrap();
    let reader = log.reader();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while begun.elapsed() < RACE {
                log.append(&[batch(1, 5, b"")], STAMP).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let bound = reader.log_end_offset();
            if bound == 0 {
                continue;
            }
            let region = reader.region(bound - 1, 1 << 20, bound, true).unwrap();
            let len = region.map_or(0, |region| region.len());
            assert_eq!(len, BATCH_HEADER_SIZE, "of the last batch below {bound}");
        }
    });
}

#[test]
fn the_offset_behind_a_region_is_that_of_its_last_whole_batch() {
    let folder = tempfile::tempdir().unwrap();
    let config = LogConfig {
        index_interval_bytes: 300,
        segment_bytes: 4096,
        ..LogConfig::default()
    };
    let (mut log, _) = Log::open(folder.path(), config, CRASHED).unwrap();
    for size in 0..60 {
        log.append(&[batch(3, 5, &vec![7; size % 7 * 20])], STAMP)
            .unwrap();
    }
    let reader = log.reader();
    for offset in (0..180).step_by(7) {
        for bytes_max in [1, 70, 200, 500, 1000, 3000, 1 << 20] {
            for bound in [offset / 3 * 3 + 3, 180] {
                let region = reader.region(offset, bytes_max, bound, true).unwrap();
                let mut region = region.unwrap();
                let behind = reader.offset_behind(&region);
                let mut bytes = bytes::Bytes::from(region.read_all().unwrap());
                let mut expected = offset;
                while let Ok(header) = BatchHeader::parse(&bytes)
                    && header.check_whole(&bytes).is_ok()
                {
                    expected = header.last_offset() + 1;
                    bytes = bytes.slice(header.size()..);
                }
                assert_eq!(behind, expected, "from {offset}, {bytes_max}, {bound}");
                assert_eq!(super::offsets_from(&log, offset)[0], offset / 3 * 3);
            }
        }
    }
}

#[test]
fn a_read_that_the_disk_refuses_ends_the_writes_and_other_segments_are_still_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(folder.path(), LogConfig::default(), CRASHED).unwrap();
    let reader = log.reader();
    log.append(&[batch(1, 5, b"")], STAMP).unwrap();
    log.roll(1).unwrap();
    log.append(&[batch(1, 5, b"")], STAMP).unwrap();
    let region = |offset| reader.region(offset, 1 << 20, 2, true);
    let mut first = region(0).unwrap().unwrap();
    let segment = folder.path().join("00000000000000000000.log");
    let fault = inject(&segment.display().to_string(), Fault::FailReads);
    assert!(first.read_all().is_err());
    drop(fault);
    assert!(reader.check_writable().is_err());
    assert!(log.append(&[batch(1, 5, b"")], STAMP).is_err());
    assert!(matches!(region(0), Err(ReadError::Log(_))));
    assert!(region(1).unwrap().unwrap().read_all().is_ok());
}

#[test]
fn a_segment_that_retention_has_taken_meanwhile_is_not_the_logs_failure() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(folder.path(), LogConfig::default(), CRASHED).unwrap();
    log.append(&[batch(1, 5, b"")], STAMP).unwrap();
    let mut region = log.reader().region(0, 1 << 20, 1, true).unwrap().unwrap();
    log.truncate_fully_and_start_at(5, 1).unwrap();
    let _fault = inject(&folder.path().display().to_string(), Fault::FailReads);
    assert!(region.read_all().is_err());
    assert!(log.reader().check_writable().is_ok());
}
