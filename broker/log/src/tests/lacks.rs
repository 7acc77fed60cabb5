//! Logs that lack segments, or batches at their end, which their checkpoints know of.

use std::fs;
use std::path::{Path, PathBuf};

use super::inspect::base_of;
use super::recovery::{filled, last_segment};
use super::*;
use crate::inspect::inspect;

/// As after a clean stop at `end`, where the checkpoints are there.
fn stopped_at(end: i64) -> Opening {
    Opening {
        recovery_point: end,
        end_due: end,
        ..CLEAN
    }
}

fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

fn logs(folder: &Path) -> Vec<PathBuf> {
    let mut logs: Vec<_> = contents(folder).into_iter().map(|(path, _)| path).collect();
    logs.retain(|path| path.extension().is_some_and(|end| end == "log"));
    logs
}

#[test]
fn a_log_that_lacks_segments_after_a_clean_stop_is_refused_and_left_as_it_is() {
    type Part = fn(&[PathBuf]) -> &[PathBuf];
    let parts: [(Part, &str, &str); 3] = [
        (|logs| &logs[..1], "damaged at offset 0", "it is not there"),
        (
            |logs| &logs[logs.len() - 1..],
            "the log ends here",
            "to offset 60 when",
        ),
        (
            |logs| logs,
            "damaged at offset 0",
            "no segment of the log is there",
        ),
    ];
    for (part, at, why) in parts {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), 30).close().unwrap();
        for lost in part(&logs(folder.path())) {
            fs::remove_file(lost).unwrap();
        }
        let before = contents(folder.path());
        for _ in 0..2 {
            let opened = Log::open(folder.path(), small(), stopped_at(60));
            let error = opened.unwrap_err().to_string();
            assert!(error.contains(at) && error.contains(why), "{error}");
            assert_eq!(contents(folder.path()), before);
        }
    }
}

#[test]
fn a_log_that_begins_later_than_its_checkpoint_knows_opens_where_nothing_says_that_records_are_lost()
 {
    let started = |folder: &Path| {
        // As a follower of a log that begins there.
        let (mut log, _) = open(folder, CRASHED);
        log.truncate_fully_and_start_at(44, 1_000).unwrap();
        let mut first = batch(2, 5, &[7; 90]);
        first.header.base_offset = 46;
        first.header.partition_leader_epoch = 3;
        log.append_as_follower(&[first], 1_000).unwrap();
        log
    };
    let retained = |folder: &Path| {
        let mut log = filled(folder, 30);
        log.delete_records_before(44).unwrap();
        log.retain(60, 1_000, &mut crate::Trash::default()).unwrap();
        log
    };
    let cases: [fn(&Path) -> Log; 2] = [started, retained];
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut log = case(folder.path());
        let first = log.reader().segments()[0].base_offset;
        log.close().unwrap();
        let end = log.log_end_offset();
        drop(log);
        assert!(first > 0);
        // A directory of Kafka's, or one that a person has moved the folder to.
        for opening in [stopped_at(end), CLEAN, CRASHED] {
            let (log, recovery) = open(folder.path(), opening);
            assert_eq!(recovery.missing_from, None);
            assert_eq!((log.log_start_offset(), log.log_end_offset()), (first, end));
        }
    }
}

#[test]
fn a_log_whose_records_were_all_deleted_needs_no_segment() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = filled(folder.path(), 30);
    log.close().unwrap();
    drop(log);
    for log in logs(folder.path()) {
        fs::remove_file(log).unwrap();
    }
    let opening = Opening {
        log_start_offset: 60,
        ..stopped_at(60)
    };
    let (log, _) = open(folder.path(), opening);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (60, 60));
}

#[test]
fn after_a_crash_it_is_told_from_where_on_first_segments_may_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 30));
    let logs = logs(folder.path());
    fs::remove_file(&logs[0]).unwrap();
    let opening = Opening {
        recovery_point: 60,
        end_due: 60,
        ..CRASHED
    };
    let (log, recovery) = open(folder.path(), opening);
    assert_eq!(recovery.missing_from, Some(0));
    assert!(log.log_start_offset() > 0);
    assert_eq!(log.log_end_offset(), 60);
}

#[test]
fn a_gap_below_the_recovery_point_is_damage_and_nothing_behind_it_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 30));
    let second = &logs(folder.path())[1];
    let size = fs::metadata(second).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(second).unwrap();
    file.set_len(size - 151).unwrap();
    let next = logs(folder.path())[2].clone();
    let next: i64 = next.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let opening = Opening {
        recovery_point: next - 1,
        ..CRASHED
    };
    let before = logs(folder.path());
    let error = Log::open(folder.path(), small(), opening).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains(&format!("at offset {}", next - 2)) && error.contains("next segment begins"),
        "{error}"
    );
    assert_eq!(logs(folder.path()), before);
    // Beyond it, it is what a power loss leaves.
    let opening = Opening {
        recovery_point: next - 2,
        ..CRASHED
    };
    let (log, recovery) = open(folder.path(), opening);
    assert_eq!(recovery.cut_at_offset, Some(next - 2));
    assert_eq!(log.log_end_offset(), next - 2);
}

#[test]
fn after_a_crash_a_log_ends_no_earlier_than_it_is_due_to() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 4));
    let at = |end_due| Opening {
        recovery_point: 8,
        end_due,
        ..CRASHED
    };
    let path = last_segment(folder.path());
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(3 * 151).unwrap();
    let before = contents(folder.path());
    let error = Log::open(folder.path(), small(), at(8)).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("offset 6, byte 453") && error.contains("up to offset 8"),
        "{error}"
    );
    assert_eq!(contents(folder.path()).len(), before.len());
    assert_eq!(open(folder.path(), at(0)).0.log_end_offset(), 6);
}

#[test]
fn a_follower_keeps_a_batch_of_many_offsets_behind_a_small_gap_across_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    log.append(&[batch(2, 5, &[7; 90])], STAMP).unwrap();
    // Relative to the log's end, an offset of it is no positive i32.
    let mut header = header(i32::MAX, 5);
    header.base_offset = 9;
    log.append_as_follower(&[batch_of(header, &[7; 90])], 1_000)
        .unwrap();
    let end = log.log_end_offset();
    assert_eq!(log.reader().segments()[1].base_offset, 9);
    drop(log);
    let (log, recovery) = open(folder.path(), CRASHED);
    assert_eq!((recovery.cut_at_offset, log.log_end_offset()), (None, end));
}

#[test]
fn a_log_that_was_closed_with_a_segment_of_which_only_an_index_is_left_is_refused_and_left_as_it_is()
 {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 30).close().unwrap();
    let taken = logs(folder.path())[1].clone();
    let base = base_of(&taken);
    let bytes = fs::read(&taken).unwrap();
    fs::remove_file(&taken).unwrap();
    let before = contents(folder.path());
    let error = Log::open(folder.path(), small(), stopped_at(60)).unwrap_err();
    let (at, why) = (format!("offset {base}"), "its index is");
    let error = error.to_string();
    assert!(error.contains(&at) && error.contains(why), "{error}");
    assert_eq!(contents(folder.path()), before);
    let mut found = inspect(folder.path()).unwrap();
    found.hold_orphans();
    assert_eq!(found.findings.len(), 1, "{found:?}");
    fs::write(&taken, bytes).unwrap();
    let (log, _) = Log::open(folder.path(), small(), stopped_at(60)).unwrap();
    assert_eq!(log.log_end_offset(), 60);
}

#[test]
fn a_cut_where_there_is_no_batch_ends_the_log_behind_the_batch_before_it_and_a_clean_stop_keeps_that()
 {
    let far = 1 << 33;
    // By offset: before the first batch, within it, in gaps, within batches behind gaps, in one between two segments, and
    // within the first batch of a segment.
    let cuts = [
        (1, 0),
        (3, 0),
        (5, 4),
        (11, 4),
        (35, 32),
        (41, 32),
        (100, 42),
        (far + 1, far),
    ];
    for (offset, end) in cuts {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, _) = open(folder.path(), CRASHED);
        // As of a leader that has compacted its log.
        let batches = [2, 10, 20, 30, 40, far].map(|base_offset| {
            let mut header = header(2, 5);
            header.base_offset = base_offset;
            batch_of(header, &[7; 90])
        });
        log.append_as_follower(&batches, 1_000).unwrap();
        log.flusher().flush().unwrap();
        log.truncate_to(offset, 1_000).unwrap();
        log.close().unwrap();
        assert_eq!((log.log_end_offset(), log.recovery_point()), (end, end));
        drop(log);
        let (log, recovery) = open(folder.path(), stopped_at(end));
        assert_eq!((log.log_end_offset(), recovery), (end, Recovery::default()));
    }
}
