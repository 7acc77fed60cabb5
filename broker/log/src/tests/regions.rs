//! Regions, which are sent as they are: where they end is all that keeps a reader below its bound.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use milena_protocol::records::BATCH_HEADER_SIZE;

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
