//! A log moves, whatever is done to it meanwhile and whenever the process ends.

use std::fs;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use milena_protocol::records::{BatchBuilder, BatchHeader, BatchOptions};
use tempfile::TempDir;

use super::*;
use crate::cleaner::install;
use crate::faults::disk::{Disk, End};
use crate::faults::{Fault, inject};
use crate::tests::{CLEAN, CRASHED, STAMP, offsets_from, open, small};
use crate::{
    AppendError, BatchToAppend, LogConfig, Opening, Trash, finish_moves, future_folder,
    give_up_future, is_log,
};

/// Two data directories, with a log in the first that moves to the second.
struct Bench {
    root: TempDir,
    from: PathBuf,
    to: PathBuf,
    log: Log,
}

impl Bench {
    fn new(config: LogConfig) -> Self {
        let root = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| root.path().join(name));
        fs::create_dir_all(&to).unwrap();
        fs::create_dir_all(&from).unwrap();
        let (log, _) = Log::open(&from.join("t-0"), config, CRASHED).unwrap();
        Self {
            root,
            from,
            to,
            log,
        }
    }

    /// Appends so many batches of a record each, from an idempotent producer.
    fn append(&mut self, batches: i64) {
        for _ in 0..batches {
            let sequence = i32::try_from(self.log.log_end_offset()).unwrap();
            self.append_one(sequence, &[7; 40]);
        }
    }

    fn append_one(&mut self, base_sequence: i32, payload: &[u8]) {
        let mut header = crate::tests::header(1, 5);
        (header.producer_id, header.producer_epoch) = (9, 0);
        header.base_sequence = base_sequence;
        let batch = crate::tests::batch_of(header, payload);
        self.log.append(&[batch], STAMP).unwrap();
    }

    /// Appends a few records and flushes them; `flushed` is where the log ends then.
    fn append_flushed(&mut self, flushed: &mut i64) -> Result<(), LogError> {
        for _ in 0..3 {
            let batch = crate::tests::batch(1, 5, &[7; 40]);
            let appended = self.log.append(&[batch], STAMP);
            appended.map_err(|error| match error {
                AppendError::Storage(error) => LogError::Storage(error),
                other => panic!("{other}"),
            })?;
        }
        self.log.flusher().flush()?;
        *flushed = self.log.log_end_offset();
        Ok(())
    }

    fn future(&self) -> FutureLog {
        let folder = future_folder(&self.to, "t", 0).unwrap();
        FutureLog::make_folder(&folder, Uuid::ZERO).unwrap();
        FutureLog::new(&self.log.reader(), folder)
    }

    fn replace(&mut self, mut future: FutureLog) -> PathBuf {
        let to = self.to.join("t-0");
        let aside = future.replace(&mut self.log, &to).unwrap();
        assert!(!self.from.join("t-0").exists());
        assert_eq!(aside.parent(), Some(&*self.from));
        aside
    }

    fn assert_all(&self, end: i64) {
        let start = self.log.log_start_offset();
        let all: Vec<i64> = (start..end).collect();
        assert_eq!(offsets_from(&self.log, start), all);
    }
}

/// Opens the log in a folder twice, as after a clean stop and as after a crash, and compares what is in it.
fn assert_opens(folder: &Path, all: impl Iterator<Item = i64> + Clone) {
    let all: Vec<i64> = all.collect();
    let crashed = Opening {
        log_start_offset: all[0],
        ..CRASHED
    };
    let clean = Opening {
        log_start_offset: all[0],
        ..CLEAN
    };
    for opening in [clean, crashed] {
        let (log, recovery) = open(folder, opening);
        assert_eq!(recovery.cut_at_offset, None);
        assert_eq!(offsets_from(&log, all[0]), all);
    }
}

/// A folder's files, but for those that wait to be removed.
fn files_in(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let named = entries.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path));
    let counted = named.filter(|(name, _)| !name.ends_with(".deleted"));
    counted
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

#[test]
fn a_log_that_moves_under_appends_keeps_every_record_at_its_offset() {
    let mut bench = Bench::new(small());
    bench.append(40);
    let reader = bench.log.reader();
    let early = reader.read(3, 4_000, i64::MAX, true).unwrap();
    let mut future = bench.future();
    let mut rounds = 0;
    while future.step(150).unwrap() > 0 && rounds < 60 {
        bench.append(1);
        rounds += 1;
        assert!(future.lacks_bytes() > 0);
        assert!(future.reached() < bench.log.log_end_offset());
    }
    assert!(rounds > 20 && bench.log.reader().segments().len() > 5);
    bench.append(3);
    let end = bench.log.log_end_offset();
    let aside = bench.replace(future);
    assert_eq!(reader.folder(), bench.to.join("t-0"));
    assert_eq!(files_in(&aside), files_in(&reader.folder()));
    bench.assert_all(end);
    assert!(!early.read().unwrap().bytes.is_empty());
    fs::remove_dir_all(aside).unwrap();
    bench.append(20);
    bench.assert_all(end + 20);
    bench.log.close().unwrap();
    assert_opens(&bench.to.join("t-0"), 0..end + 20);
    let (log, _) = open(&bench.to.join("t-0"), CLEAN);
    assert_eq!(log.active_producers().len(), 1);
}

#[test]
fn what_cuts_and_retention_take_meanwhile_is_not_in_the_copy() {
    // Cut within a segment that is copied, within one that is being copied, and before all of them.
    for (cut, steps) in [(30, 100), (30, 3), (45, 100), (2, 100), (0, 100)] {
        let mut bench = Bench::new(small());
        bench.append(50);
        let mut future = bench.future();
        for _ in 0..steps {
            future.step(400).unwrap();
        }
        bench.log.truncate_to(cut, 1_000).unwrap();
        for sequence in 0..30 {
            bench.append_one(i32::try_from(cut).unwrap() + sequence, &[8; 44]);
        }
        future.step(700).unwrap();
        // The segment that was cut stays, where there are others before it.
        let start = if cut > 11 { 11 } else { cut + 11 };
        bench.log.delete_records_before(start).unwrap();
        let mut trash = Trash::default();
        bench.log.retain(cut + 30, 1_000, &mut trash).unwrap();
        let aside = bench.replace(future);
        assert_eq!(files_in(&aside), files_in(&bench.to.join("t-0")), "{cut}");
        bench.assert_all(cut + 30);
        bench.append(5);
        bench.log.close().unwrap();
        let start = bench.log.log_start_offset();
        assert_opens(&bench.to.join("t-0"), start..cut + 35);
    }
}

#[test]
fn what_is_compacted_meanwhile_is_compacted_in_the_copy() {
    let config = LogConfig {
        compact: true,
        delete: false,
        min_cleanable_dirty_ratio: 0.0,
        ..small()
    };
    let mut bench = Bench::new(config);
    for _ in 0..40 {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(5, Some(b"key"), Some(&[1; 40]), &[]).unwrap();
        let body = builder.finish().unwrap();
        let header = BatchHeader::parse(&body).unwrap();
        bench
            .log
            .append(&[BatchToAppend { header, body }], STAMP)
            .unwrap();
    }
    let mut future = bench.future();
    while future.step(1_000).unwrap() > 0 {}
    let before = future.size_bytes();
    let plan = bench.log.cleaning_plan(0, 40, 2_000).unwrap().unwrap();
    let mut unhurried = |_| ControlFlow::Continue(());
    let cleaned = plan.clean(1 << 20, &mut unhurried).unwrap().unwrap();
    let installed = install(&mut bench.log, cleaned, &mut Trash::default()).unwrap();
    assert!(installed.is_some());
    let aside = bench.replace(future);
    let left = bench.log.reader().size_bytes();
    assert!(left < before / 2, "{left} of {before}");
    assert_eq!(files_in(&aside), files_in(&bench.to.join("t-0")));
    let stale = bench.log.cleaning_plan(0, 40, 3_000).unwrap();
    assert!(stale.is_none_or(|plan| plan.clean(1 << 20, &mut unhurried).is_ok()));
}

#[test]
fn readers_find_every_record_while_the_log_moves_to_and_fro() {
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let mut bench = Bench::new(small());
    bench.append(40);
    let (reader, is_over) = (bench.log.reader(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    for from in (0..40).step_by(3) {
                        reader.close_idle();
                        reader.close_idle();
                        let slice = reader.read(from, 300, i64::MAX, true).unwrap();
                        assert!(slice.read().unwrap().next_offset > from);
                    }
                }
            });
        }
        let _over = Over(&is_over);
        for _ in 0..100 {
            let future = bench.future();
            let aside = bench.replace(future);
            fs::remove_dir_all(aside).unwrap();
            std::mem::swap(&mut bench.from, &mut bench.to);
            bench.append(1);
        }
    });
    bench.assert_all(140);
    bench.log.close().unwrap();
    assert_opens(&bench.from.join("t-0"), 0..140);
}

#[test]
fn a_crash_at_any_step_leaves_one_log_with_every_record() {
    let mut bench = Bench::new(small());
    bench.append(30);
    let mut future = bench.future();
    let mut crashes = 0;
    let mut crash = |bench: &Bench| {
        let copy = tempfile::tempdir().unwrap();
        for dir in [&bench.from, &bench.to] {
            copy_tree(dir, &copy.path().join(dir.file_name().unwrap()));
        }
        let dirs = ["from", "to"].map(|name| copy.path().join(name));
        finish_moves(&[&dirs[0], &dirs[1]]).unwrap();
        let logs: Vec<PathBuf> = dirs
            .iter()
            .map(|dir| dir.join("t-0"))
            .filter(|log| log.is_dir())
            .collect();
        assert_eq!(logs.len(), 1, "after crash {crashes}");
        assert_opens(&logs[0], 0..bench.log.log_end_offset());
        crashes += 1;
        logs[0].starts_with(&dirs[1])
    };
    assert!(!crash(&bench));
    for _ in 0..12 {
        future.step(300).unwrap();
        bench.append(1);
        assert!(!crash(&bench));
    }
    future.complete().unwrap();
    assert!(!crash(&bench), "it is decided by the log's renaming alone");
    let aside = future.put_aside(true).unwrap();
    assert!(crash(&bench));
    bench.assert_all(bench.log.log_end_offset());
    future.put_in_place(&aside, &bench.to.join("t-0")).unwrap();
    assert!(crash(&bench));
    assert!(crashes > 5);
}

/// Moves a log on a disk that may stop meanwhile; the offset below which records were flushed.
fn move_and_flush(bench: &mut Bench, flushed: &mut i64) -> Result<(), LogError> {
    let folder = future_folder(&bench.to, "t", 0).unwrap();
    FutureLog::make_folder(&folder, Uuid::ZERO)?;
    let mut future = FutureLog::new(&bench.log.reader(), folder);
    future.step(500)?;
    bench.append_flushed(flushed)?;
    future.step(500)?;
    let aside = future.replace(&mut bench.log, &bench.to.join("t-0"))?;
    bench.append_flushed(flushed)?;
    Ok(crate::trash::tests::remove(&aside)?)
}

#[test]
fn a_disk_that_stops_at_any_change_of_a_move_has_one_log_with_every_flushed_record() {
    for end in [End::Killed, End::Torn, End::DataLost, End::AllLost] {
        for stops_at in 1.. {
            let mut bench = Bench::new(small());
            bench.append(12);
            bench.log.close().unwrap();
            let disk = Disk::watch(bench.root.path(), stops_at, end).unwrap();
            let mut flushed = 12;
            let moved = move_and_flush(&mut bench, &mut flushed);
            let has_stopped = disk.has_stopped();
            assert!(has_stopped || moved.is_ok(), "{moved:?}");
            let dirs = [bench.from.clone(), bench.to.clone()];
            let Bench {
                root: _root, log, ..
            } = bench;
            drop(log);
            disk.end().unwrap();
            finish_moves(&[&dirs[0], &dirs[1]]).unwrap();
            let logs = dirs.iter().map(|dir| dir.join("t-0"));
            let logs: Vec<PathBuf> = logs.filter(|log| is_log(log).unwrap()).collect();
            assert_eq!(logs.len(), 1, "{end:?} at {stops_at}");
            let (log, _) = open(&logs[0], CRASHED);
            let all = offsets_from(&log, 0);
            let is_whole = all.iter().copied().eq(0..log.log_end_offset());
            assert!(
                is_whole && log.log_end_offset() >= flushed,
                "{end:?} at {stops_at}: {all:?} of {flushed}"
            );
            if !has_stopped {
                assert!(stops_at > 60, "a move has {stops_at} changes");
                break;
            }
        }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_tree(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn a_disk_that_refuses_the_copy_leaves_the_log_where_it_was() {
    for fault in [Fault::FailWrites(10), Fault::FailSyncs] {
        let mut bench = Bench::new(small());
        bench.append(30);
        let mut future = bench.future();
        let refusing = inject(&bench.to.display().to_string(), fault);
        let to = bench.to.join("t-0");
        future.replace(&mut bench.log, &to).unwrap_err();
        assert!(!future.is_decided());
        drop(refusing);
        bench.append(2);
        bench.assert_all(32);
        assert_eq!(bench.log.folder(), bench.from.join("t-0"));
    }
}

#[test]
fn a_folder_in_the_place_of_the_log_has_it_stay_where_it_was() {
    let mut bench = Bench::new(small());
    bench.append(30);
    let to = bench.to.join("t-0");
    fs::create_dir(&to).unwrap();
    fs::write(to.join("somebody's"), "file").unwrap();
    let mut future = bench.future();
    future.replace(&mut bench.log, &to).unwrap_err();
    assert!(!future.is_decided());
    bench.append(2);
    bench.assert_all(32);
    bench.log.close().unwrap();
    assert_opens(&bench.from.join("t-0"), 0..32);
}

#[test]
fn a_log_that_was_never_written_moves() {
    let mut bench = Bench::new(small());
    let mut future = bench.future();
    assert_eq!(future.step(100).unwrap(), 0);
    let to = bench.to.join("t-0");
    future.replace(&mut bench.log, &to).unwrap();
    bench.append(12);
    bench.log.close().unwrap();
    assert_opens(&to, 0..12);
}

#[test]
fn a_copy_counts_by_the_log_that_it_has_replaced_and_by_nothing_else() {
    let mut bench = Bench::new(small());
    bench.append(5);
    let future = bench.future();
    let folder = future.folder;
    let dirs = [&*bench.from.clone(), &*bench.to.clone()];
    let given_up = give_up_future(&folder).unwrap().unwrap();
    assert!(given_up.display().to_string().ends_with("-delete"));
    assert_eq!(give_up_future(&folder).unwrap(), None);
    assert_eq!(finish_moves(&dirs).unwrap(), Vec::<PathBuf>::new());
    // The disk with the log is away.
    let folder = bench.future().folder;
    assert_eq!(finish_moves(&dirs[1..]).unwrap(), Vec::<PathBuf>::new());
    // The one with the copy was away while the partition began anew.
    fs::create_dir(bench.from.join(replaced_name(&folder))).unwrap();
    assert_eq!(finish_moves(&dirs).unwrap(), Vec::<PathBuf>::new());
    assert!(future_folder(&bench.to, &"x".repeat(249), 0).is_none());
}
