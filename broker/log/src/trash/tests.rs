use std::cell::Cell;
use std::fs;
use std::path::Path;

use super::*;
use crate::faults::disk::{Disk, End};
use crate::faults::{Fault, inject};
use crate::tests::{CRASHED, STAMP, batch};
use crate::{Log, LogConfig};

const STEP: u64 = 1_000;
const EIO: i32 = 5;

/// As a broker removes it, in steps so small that the files of a test take many, and without pauses.
pub(crate) fn remove(path: &Path) -> Result<(), StorageError> {
    Removal::in_steps(100, &|| true).remove(path)
}

/// A folder `t-0` with a log of some segments of 20 steps and more.
fn folder_of_a_log() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = LogConfig {
        segment_bytes: 25 * STEP as u32,
        ..LogConfig::default()
    };
    let path = folder.path().join("t-0");
    let mut log = Log::open(&path, config, CRASHED).unwrap().0;
    for _ in 0..10 {
        let large = batch(1, 5, &[7; 11 * STEP as usize]);
        log.append(&[large], STAMP).unwrap();
    }
    log.close().unwrap();
    folder
}

/// The sizes of the files, or none where there is no folder.
fn sizes(folder: &Path) -> Vec<u64> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect()
}

#[test]
fn what_a_log_throws_away_waits_for_its_delay_from_then_on() {
    let folder = folder_of_a_log();
    let config = LogConfig {
        retention_bytes: Some(1),
        ..LogConfig::default()
    };
    let mut log = Log::open(&folder.path().join("t-0"), config.clone(), CRASHED)
        .unwrap()
        .0;
    let (mut trash, mut thrown) = (Trash::default(), Trash::default());
    // The time of day says nothing of the other clock.
    let time_of_day_ms = 1_700_000_000_000;
    log.retain(10, time_of_day_ms, &mut thrown).unwrap();
    let count = thrown.len();
    trash.append(thrown, 5_000);
    let delay_ms = config.file_delete_delay_ms as i64;
    assert!(trash.take_due(5_000 + delay_ms - 1).is_empty());
    assert_eq!(trash.take_due(5_000 + delay_ms).len(), count);
    assert!(trash.is_empty());
}

#[test]
fn a_folder_is_freed_by_no_more_than_two_steps_between_pauses() {
    let folder = folder_of_a_log();
    let path = folder.path().join("t-0");
    let before: u64 = sizes(&path).iter().sum();
    let (left, pauses) = (Cell::new(before), Cell::new(0));
    let pause = || {
        let now = sizes(&path).iter().sum();
        assert!(left.replace(now) - now < 2 * STEP);
        pauses.set(pauses.get() + 1);
        true
    };
    Removal::in_steps(STEP, &pause).remove(&path).unwrap();
    assert!(!path.exists());
    assert!(pauses.get() >= before / (2 * STEP), "{pauses:?} pauses");
}

#[test]
fn small_files_are_paused_for_together() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..20)
        .map(|file| folder.path().join(file.to_string()))
        .collect();
    let pauses = Cell::new(0);
    let pause = || {
        pauses.set(pauses.get() + 1);
        true
    };
    let mut removal = Removal::in_steps(STEP, &pause);
    for path in &paths {
        fs::write(path, [7; STEP as usize / 10]).unwrap();
        removal.remove(path).unwrap();
        removal.remove(path).unwrap();
    }
    assert_eq!((pauses.get(), sizes(folder.path()).len()), (2, 0));
}

#[test]
fn a_removal_that_is_ended_leaves_what_the_next_one_removes() {
    let folder = folder_of_a_log();
    let path = folder.path().join("t-0");
    let before: u64 = sizes(&path).iter().sum();
    let left = Cell::new(30);
    let pause = || left.replace(left.get() - 1) > 1;
    let mut removal = Removal::in_steps(STEP, &pause);
    removal.remove(&path).unwrap();
    let now: u64 = sizes(&path).iter().sum();
    assert!(now > before / 4 && now <= before - 30 * STEP, "{now}");
    removal.remove(&path).unwrap();
    assert_eq!(sizes(&path).iter().sum::<u64>(), now);
    remove(&path).unwrap();
    assert!(!path.exists());
}

#[test]
fn what_somebody_reads_or_calls_by_another_name_stays_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kept) = (folder.path().join("x.deleted"), folder.path().join("kept"));
    let whole = vec![7; 50 * STEP as usize];
    fs::write(&path, &whole).unwrap();
    fs::hard_link(&path, &kept).unwrap();
    remove(&path).unwrap();
    assert!(!path.exists());
    assert_eq!(fs::read(&kept).unwrap(), whole);
    let mut open = fs::File::open(&kept).unwrap();
    remove(&kept).unwrap();
    assert!(!kept.exists());
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut open, &mut read).unwrap();
    assert_eq!(read, whole);
}

#[test]
fn a_reader_gets_the_rest_of_a_segment_that_retention_has_removed() {
    let folder = folder_of_a_log();
    let config = LogConfig {
        retention_bytes: Some(1),
        ..LogConfig::default()
    };
    let (path, opening) = (folder.path().join("t-0"), crate::tests::CLEAN);
    let mut log = Log::open(&path, config, opening).unwrap().0;
    let region = log.reader().region(0, 1 << 20, i64::MAX, true).unwrap();
    let mut region = region.unwrap();
    let mut trash = Trash::default();
    assert!(log.retain(10, 1_000, &mut trash).unwrap().segments > 3);
    let waiting = std::mem::take(&mut trash.waiting);
    let pauses = Cell::new(0);
    let pause = || {
        pauses.set(pauses.get() + 1);
        true
    };
    for (_, due) in waiting {
        let mut removal = Removal::in_steps(STEP, &pause);
        removal.remove(&due.path).unwrap();
    }
    let len = region.len();
    assert_eq!(region.read_all().unwrap().len(), len);
    // Of the others none is open any more, and each was cut.
    assert!(pauses.get() > 3 * 20, "{pauses:?}");
}

#[test]
fn what_a_crash_has_left_half_cut_is_removed_at_the_next_start() {
    let folder = folder_of_a_log();
    let path = folder.path().join("t-0");
    let (config, mut trash) = (LogConfig::default(), Trash::default());
    let retaining = LogConfig {
        retention_bytes: Some(1),
        ..config
    };
    let mut log = Log::open(&path, retaining, CRASHED).unwrap().0;
    log.retain(10, 1_000, &mut trash).unwrap();
    let start = log.log_start_offset();
    drop(log);
    let left = Cell::new(3);
    let pause = || left.replace(left.get() - 1) > 1;
    let mut removal = Removal::in_steps(STEP, &pause);
    for (_, due) in &trash.waiting {
        removal.remove(&due.path).unwrap();
    }
    let is_leftover = || {
        let names = fs::read_dir(&path).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.any(|name| name.ends_with(SUFFIX))
    };
    assert!(is_leftover());
    let log = Log::open(&path, config, CRASHED).unwrap().0;
    assert!(!is_leftover());
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (start, 10));
}

#[test]
fn a_start_frees_what_is_left_of_large_files_in_steps() {
    let folder = folder_of_a_log();
    let path = folder.path().join("t-0");
    let large = path.join("00000000000000000009.log.deleted");
    fs::File::create(&large).unwrap().set_len(1 << 30).unwrap();
    let cutting = inject(&large.display().to_string(), Fault::StallResizes);
    let opening = crate::tests::CLEAN;
    std::thread::scope(|scope| {
        let start = scope.spawn(|| Log::open(&path, LogConfig::default(), opening));
        while cutting.stalled() == 0 && !start.is_finished() {
            std::thread::yield_now();
        }
        assert_eq!(cutting.stalled(), 1, "it went as a whole");
        drop(cutting);
        start.join().unwrap().unwrap();
    });
    assert!(!large.exists());
}

/// A trash with one file, which is due at once, on a disk that refuses removals until the second value is dropped.
fn refused_in(folder: &Path) -> (Trash, Disk) {
    let path = folder.join("00000000000000000000.log.deleted");
    fs::write(&path, [7; 10]).unwrap();
    let mut trash = Trash::default();
    trash.put(path, 0);
    (trash, Disk::watch(folder, 1, End::Killed).unwrap())
}

#[test]
fn what_a_disk_refuses_to_remove_is_removed_later() {
    let folder = tempfile::tempdir().unwrap();
    let (mut trash, disk) = refused_in(folder.path());
    let due = trash.take_due(0).remove(0);
    assert!(due.is_first_try());
    remove(&due.path).unwrap_err();
    trash.put_back(due, 0);
    drop(disk);
    assert!(trash.take_due(RETRY_MS - 1).is_empty());
    let due = trash.take_due(RETRY_MS).remove(0);
    assert!(!due.is_first_try());
    remove(&due.path).unwrap();
    assert!(!due.path.exists() && trash.is_empty());
}

#[test]
fn what_a_disk_refuses_to_remove_for_days_is_left_to_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut trash, _disk) = refused_in(folder.path());
    let (mut now_ms, mut tries) = (0, 0);
    while let Some(due) = trash.take_due(now_ms).pop() {
        remove(&due.path).unwrap_err();
        trash.put_back(due, now_ms);
        tries += 1;
        now_ms = trash.waiting.first().map_or(now_ms, |(due_ms, _)| *due_ms);
    }
    assert_eq!((tries, trash.len()), (TRIES_MAX, 0));
    let day_ms = 24 * 60 * 60 * 1_000;
    assert!((day_ms..2 * day_ms).contains(&now_ms), "{now_ms}");
}

#[test]
fn what_can_not_be_cut_is_removed_as_a_whole_with_the_rest_of_its_folder() {
    for fault in [Fault::RefuseResizes(EIO), Fault::RefuseOpens(EIO)] {
        let folder = folder_of_a_log();
        let path = folder.path().join("t-0");
        let _fault = inject(&path.display().to_string(), fault);
        remove(&path).unwrap();
        assert!(!path.exists());
    }
}

#[test]
fn a_file_that_goes_while_its_folder_is_removed_keeps_none_of_the_others() {
    let folder = folder_of_a_log();
    let path = folder.path().join("t-0");
    let logs = |name: &Path| name.extension().is_some_and(|end| end == "log");
    // Whoever else removes them does so at the first pause.
    let pause = || {
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            if logs(&entry.path()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        true
    };
    Removal::in_steps(STEP, &pause).remove(&path).unwrap();
    assert!(!path.exists());
}
