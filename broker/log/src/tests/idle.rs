//! Descriptors that idle logs give back.

use super::*;
use crate::faults::{Fault, FaultGuard, inject};
use crate::files;

struct Bench {
    folder: tempfile::TempDir,
    log: Log,
}

impl Bench {
    /// Has a record that was not synced.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let opened = Log::open(folder.path(), LogConfig::default(), CRASHED);
        let mut log = opened.unwrap().0;
        log.append(&[batch(1, 5, &[])], STAMP).unwrap();
        Self { folder, log }
    }

    fn inject(&self, fault: Fault) -> FaultGuard {
        let batches = format!("{}/00000000000000000000.log", self.folder.path().display());
        inject(&batches, fault)
    }

    fn has_open_files(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let open = files::open_files(self.folder.path()).unwrap();
        let mut here = std::fs::read_dir(self.folder.path()).unwrap();
        here.any(|entry| {
            let file = entry.unwrap().metadata().unwrap();
            open.contains(&(file.dev(), file.ino()))
        })
    }
}

#[test]
fn an_idle_log_gives_its_files_back_once_what_was_written_to_them_is_synced() {
    let mut bench = Bench::new();
    let (flusher, count) = (bench.log.flusher(), bench.inject(Fault::CountSyncs));
    for round in 1..=2 {
        flusher.close_idle().unwrap();
        assert!(bench.has_open_files(), "it was used since the last call");
        flusher.close_idle().unwrap();
        assert!(!bench.has_open_files());
        assert_eq!(count.syncs(), round);
        // What is read is not written.
        bench.log.reader().segments();
        bench.log.reader().read(0, 1 << 20, 1, true).unwrap();
        (0..2).for_each(|_| flusher.close_idle().unwrap());
        assert_eq!(count.syncs(), round);
        bench.log.append(&[batch(1, 5, &[])], STAMP).unwrap();
    }
    assert_eq!((flusher.flushed(), bench.log.recovery_point()), (0, 0));
}

#[test]
fn a_file_with_batches_that_were_not_synced_stays_open() {
    let bench = Bench::new();
    let reader = bench.log.reader();
    (0..3).for_each(|_| reader.close_idle());
    assert!(bench.has_open_files());
    bench.log.flusher().flush().unwrap();
    (0..2).for_each(|_| reader.close_idle());
    assert!(!bench.has_open_files());
}

#[test]
fn an_idle_log_whose_disk_has_failed_is_offline_and_gives_its_files_back() {
    let mut bench = Bench::new();
    let flusher = bench.log.flusher();
    flusher.close_idle().unwrap();
    let failing = bench.inject(Fault::FailSyncs);
    flusher.close_idle().unwrap_err();
    drop(failing);
    assert!(flusher.has_failed() && flusher.is_distrusted());
    bench.log.append(&[batch(1, 5, &[])], STAMP).unwrap_err();
    (0..2).for_each(|_| flusher.close_idle().unwrap());
    assert!(!bench.has_open_files());
    assert!(flusher.flush().is_err());
}

#[test]
fn a_write_back_that_has_failed_somewhere_is_doubted_where_not_all_is_on_disk() {
    let mut bench = Bench::new();
    let flusher = bench.log.flusher();
    let doubt = || {
        let lost = std::io::Error::from_raw_os_error(5);
        flusher.doubt(crate::StorageError::of("write back", bench.folder.path())(
            lost,
        ))
    };
    flusher.flush().unwrap();
    doubt().unwrap();
    assert!(!flusher.has_failed());
    bench.log.append(&[batch(1, 5, &[])], STAMP).unwrap();
    doubt().unwrap_err();
    assert!(flusher.has_failed() && flusher.is_distrusted());
}
