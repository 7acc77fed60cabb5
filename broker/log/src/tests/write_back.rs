//! Write-back that the kernel is asked for behind the head of a log.

use rustix::io::Errno;

use super::*;
use crate::faults::{Fault, FaultGuard, inject};
use crate::segment::{CHUNK, Refusal, WRITE_BACK};
use crate::{LogFlusher, StorageError};

/// Four of its batches are somewhat more than a chunk.
const PART: usize = CHUNK as usize / 4;

struct Bench {
    folder: tempfile::TempDir,
    log: Log,
    flusher: LogFlusher,
}

impl Bench {
    fn new(segment_bytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = LogConfig {
            segment_bytes,
            ..LogConfig::default()
        };
        let log = Log::open(folder.path(), config, CRASHED).unwrap().0;
        let flusher = log.flusher();
        Self {
            folder,
            log,
            flusher,
        }
    }

    fn append(&mut self, parts: usize) {
        for _ in 0..parts {
            self.log.append(&[batch(1, 5, &[7; PART])], STAMP).unwrap();
        }
    }

    fn inject(&self, fault: Fault) -> FaultGuard {
        inject(self.folder.path().to_str().unwrap(), fault)
    }

    /// Does it as the broker does.
    fn tick(&self) -> Result<bool, StorageError> {
        match self.flusher.is_write_back_due() {
            true => self.flusher.begin_write_back(),
            false => Ok(true),
        }
    }
}

#[test]
fn whole_chunks_are_written_back_once_and_nothing_counts_as_flushed() {
    let mut bench = Bench::new(1 << 30);
    let count = bench.inject(Fault::CountSyncs);
    bench.append(3);
    assert!(!bench.flusher.is_write_back_due());
    bench.append(7);
    for _ in 0..3 {
        assert!(bench.tick().unwrap());
        assert_eq!(count.written_back() as u64, 2 * CHUNK);
    }
    bench.append(4);
    assert!(bench.tick().unwrap());
    assert_eq!(count.written_back() as u64, 3 * CHUNK);
    assert_eq!(count.syncs(), 0);
    assert_eq!(
        (bench.flusher.flushed(), bench.log.recovery_point()),
        (0, 0)
    );
}

#[test]
fn what_is_behind_a_roll_or_a_cut_is_written_back_as_well() {
    let mut bench = Bench::new(3 * CHUNK as u32);
    bench.append(10);
    bench.tick().unwrap();
    bench.append(5);
    assert_eq!(bench.log.reader().segments().len(), 2);
    let count = bench.inject(Fault::CountSyncs);
    bench.tick().unwrap();
    assert_eq!(count.written_back() as u64, CHUNK);
    bench.log.truncate_to(12, 1_000).unwrap();
    assert!(!bench.flusher.is_write_back_due());
    bench.append(3);
    bench.tick().unwrap();
    assert_eq!(count.written_back() as u64, 2 * CHUNK);
}

#[test]
fn what_an_earlier_life_has_left_is_not_asked_for() {
    let mut bench = Bench::new(1 << 30);
    bench.append(5);
    bench.log.close().unwrap();
    let config = bench.log.config().clone();
    bench.log = Log::open(bench.folder.path(), config, CLEAN).unwrap().0;
    bench.flusher = bench.log.flusher();
    let count = bench.inject(Fault::CountSyncs);
    assert!(!bench.flusher.is_write_back_due());
    bench.append(4);
    bench.tick().unwrap();
    assert_eq!(count.written_back() as u64, CHUNK);
}

#[test]
fn a_disk_that_fails_takes_the_log_offline_and_a_refusal_does_not() {
    let mut bench = Bench::new(1 << 30);
    bench.append(5);
    let of = |code: Errno| Fault::RefuseWriteBack(code.raw_os_error());
    for unsupported in [Errno::INVAL, Errno::NOSYS, Errno::SPIPE, Errno::OPNOTSUPP] {
        let _refused = bench.inject(of(unsupported));
        assert!(!bench.tick().unwrap());
    }
    for passing in [Errno::NOMEM, Errno::MFILE] {
        let _refused = bench.inject(of(passing));
        assert!(bench.tick().unwrap());
    }
    assert!(!bench.flusher.has_failed());
    let failing = bench.inject(of(Errno::IO));
    bench.tick().unwrap_err();
    drop(failing);
    assert!(bench.flusher.has_failed() && bench.flusher.is_distrusted());
    assert!(!bench.flusher.is_write_back_due() && bench.tick().unwrap());
    assert!(bench.log.append(&[batch(1, 5, &[])], STAMP).is_err());
}

#[test]
fn a_file_that_can_not_be_opened_says_nothing_of_what_the_file_system_has() {
    let error = |action, code: Errno| {
        let path = std::path::Path::new("segment");
        StorageError::of(action, path)(code.into())
    };
    for code in [Errno::PERM, Errno::INVAL] {
        assert_eq!(Refusal::of(&error("open", code)), Refusal::Lost);
        assert_eq!(Refusal::of(&error(WRITE_BACK, code)), Refusal::Unsupported);
    }
    assert_eq!(Refusal::of(&error("open", Errno::MFILE)), Refusal::Passing);
}
