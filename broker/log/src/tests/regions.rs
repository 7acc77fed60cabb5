//! Regions, which are sent as they are: where they end is all that keeps a reader below its bound.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use milena_protocol::records::{BATCH_HEADER_SIZE, BatchHeader};

use super::{CRASHED, STAMP, batch};
use crate::{Log, LogConfig};

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
