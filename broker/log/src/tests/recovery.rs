use super::*;
use std::fs;

pub(super) fn filled(folder: &std::path::Path, batches: i32) -> Log {
    let (mut log, _) = open(folder, CRASHED);
    for _ in 0..batches {
        log.append(&[batch(2, 5, &[7; 90])], STAMP).unwrap();
    }
    log
}

pub(super) fn last_segment(folder: &std::path::Path) -> std::path::PathBuf {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    names
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .max()
        .unwrap()
}

#[test]
fn a_torn_tail_is_cut_at_the_last_whole_batch() {
    for torn in [1, 60, 61, 100, 150] {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path(), 4));
        let path = last_segment(folder.path());
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(4 * 151 - torn).unwrap();
        let (log, recovery) = open(folder.path(), CRASHED);
        assert_eq!(log.log_end_offset(), 6);
        assert_eq!(recovery.cut_at_offset, Some(6));
        assert_eq!(recovery.bytes_cut, 151 - torn);
        assert_eq!(fs::metadata(&path).unwrap().len(), 3 * 151);
    }
}

#[test]
fn the_first_invalid_batch_ends_the_log_and_later_segments_go() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 30));
    let first = folder.path().join("00000000000000000000.log");
    let mut bytes = fs::read(&first).unwrap();
    bytes[151 + 100] ^= 1;
    fs::write(&first, bytes).unwrap();
    let (mut log, recovery) = open(folder.path(), CRASHED);
    assert_eq!(recovery.cut_at_offset, Some(2));
    assert_eq!(recovery.bytes_cut, 29 * 151);
    assert_eq!(
        log.append(&[batch(1, 5, &[])], STAMP).unwrap().first_offset,
        2
    );
    assert_eq!(offsets_from(&log, 0), [0, 2]);
}

#[test]
fn damage_below_the_recovery_point_is_named_and_never_cut() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 6));
    let path = last_segment(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[151 + 16] = 9;
    fs::write(&path, &bytes).unwrap();
    let opening = Opening {
        recovery_point: 10,
        ..CRASHED
    };
    let error = Log::open(folder.path(), small(), opening)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("00000000000000000000.log")
            && error.contains("offset 2")
            && error.contains("byte 151"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn only_what_lies_beyond_the_recovery_point_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(folder.path(), 30);
    let active = log.reader().segments().last().unwrap().base_offset;
    drop(log);
    let opening = Opening {
        recovery_point: active,
        ..CRASHED
    };
    let (log, recovery) = open(folder.path(), opening);
    assert_eq!((log.log_end_offset(), recovery.segments_scanned), (60, 1));
}

#[test]
fn a_log_without_its_indexes_finds_every_batch() {
    for opening in [CRASHED, CLEAN] {
        let folder = tempfile::tempdir().unwrap();
        let mut log = filled(folder.path(), 30);
        log.close().unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|end| end != "log") {
                fs::remove_file(path).unwrap();
            }
        }
        let (log, _) = open(folder.path(), opening);
        for offset in 0..60 {
            assert_eq!(offsets_from(&log, offset)[0], offset / 2 * 2);
            assert_eq!(log.reader().epoch_of(offset), Some(0));
        }
    }
}

#[test]
fn epochs_are_known_without_their_file_and_the_producers_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    for (producer_id, leader_epoch) in [(1, 3), (2, 3), (2, 7), (2, 8)] {
        let mut header = header(2, 5);
        (header.producer_id, header.producer_epoch) = (producer_id, 0);
        header.base_sequence = log.log_end_offset() as i32;
        let stamp = Stamp {
            leader_epoch,
            now_ms: i64::from(leader_epoch),
            ..STAMP
        };
        log.append(&[batch_of(header, &[7; 400])], stamp).unwrap();
    }
    // The first one was silent for too long.
    log.set_config(LogConfig {
        producer_id_expiration_ms: 5,
        ..small()
    });
    log.expire_producers(8);
    log.close().unwrap();
    let known = |log: &Log| {
        let ends = [3, 7, 8].map(|epoch| log.reader().end_offset_for(epoch));
        (ends, log.active_producers().len())
    };
    let before = known(&log);
    assert_eq!(before.0, [Some((3, 4)), Some((7, 6)), Some((8, 8))]);
    fs::remove_file(folder.path().join("leader-epoch-checkpoint")).unwrap();
    for _ in 0..2 {
        let (log, _) = open(folder.path(), CLEAN);
        assert_eq!(known(&log), before);
    }
}

#[test]
fn a_log_without_epochs_is_read_through_for_them_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    for _ in 0..20 {
        let mut next = batch(2, 5, &[7; 90]);
        next.header.base_offset = log.log_end_offset();
        log.append_as_follower(&[next], 1_000).unwrap();
    }
    log.close().unwrap();
    drop(log);
    let (log, _) = open(folder.path(), CLEAN);
    assert_eq!(log.reader().last_epoch(), None);
    drop(log);
    let first = folder.path().join("00000000000000000000.log");
    let bad = crate::faults::Fault::FailReads;
    let _fault = crate::faults::inject(&first.display().to_string(), bad);
    let (log, _) = open(folder.path(), CLEAN);
    assert_eq!(log.reader().last_epoch(), None);
}

#[test]
fn a_topic_id_that_a_power_loss_took_is_written_again_and_no_other_that_can_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let topic_id = Uuid::random();
    let opening = Opening { topic_id, ..CLEAN };
    filled(folder.path(), 4).close().unwrap();
    let file = folder.path().join("partition.metadata");
    for blank in ["", "\0\0\0\0"] {
        fs::write(&file, blank).unwrap();
        let (log, _) = open(folder.path(), opening);
        assert_eq!(log.log_end_offset(), 8);
        assert_eq!(crate::topic_id_of(folder.path()).unwrap(), Some(topic_id));
    }
    // It may be that of a namesake which was deleted.
    for garbled in ["version: 0\n", "\u{fffd}ersion: 0\ntopic_id: x\n", "0"] {
        let whole = fs::read(&file).unwrap();
        fs::write(&file, garbled).unwrap();
        assert!(Log::open(folder.path(), small(), opening).is_err());
        fs::write(&file, whole).unwrap();
    }
    let opening = Opening {
        topic_id: Uuid::random(),
        ..CLEAN
    };
    assert!(Log::open(folder.path(), small(), opening).is_err());
}

fn index_files(folder: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .filter(|path| {
            path.extension()
                .is_some_and(|end| end.to_str().unwrap().ends_with("index"))
        })
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn right_indexes_outlive_a_crash_and_wrong_ones_are_made_anew() {
    for recovery_point in [0, 7, 24, 59, 60] {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), 30).close().unwrap();
        let whole = index_files(folder.path());
        let opening = Opening {
            recovery_point,
            ..CRASHED
        };
        let mut log = open(folder.path(), opening).0;
        log.close().unwrap();
        drop(log);
        assert_eq!(index_files(folder.path()), whole, "from {recovery_point}");
        let (path, mut bytes) = whole
            .iter()
            .rfind(|(path, bytes)| path.extension().unwrap() == "index" && !bytes.is_empty())
            .cloned()
            .unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        let mut log = open(folder.path(), opening).0;
        log.close().unwrap();
        for offset in 0..60 {
            assert_eq!(offsets_from(&log, offset)[0], offset / 2 * 2);
        }
    }
}

#[test]
fn a_log_that_was_never_written_is_not_even_a_folder() {
    for opening in [CLEAN, CRASHED] {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("topic-0");
        let id = Uuid::random();
        let opening = Opening {
            topic_id: id,
            ..opening
        };
        for _ in 0..3 {
            let (mut log, recovery) = open(&folder, opening);
            assert_eq!(recovery, Recovery::default());
            assert_eq!(log.log_end_offset(), 0);
            assert!(log.reader().region(0, 1, 9, true).unwrap().is_none());
            log.retain(0, i64::MAX, &mut crate::Trash::default())
                .unwrap();
            log.truncate_to(0, 5).unwrap();
            log.close().unwrap();
            assert!(!folder.exists());
        }
        let (mut log, _) = open(&folder, opening);
        log.append(&[batch(2, 5, &[])], STAMP).unwrap();
        log.flusher().flush().unwrap();
        drop(log);
        assert_eq!(crate::topic_id_of(&folder).unwrap(), Some(id));
        // A power loss took the bytes and left the name.
        fs::write(folder.join("partition.metadata"), [0; 20]).unwrap();
        assert_eq!(offsets_from(&open(&folder, opening).0, 0), [0]);
        assert_eq!(crate::topic_id_of(&folder).unwrap(), Some(id));
    }
}

#[test]
fn sealed_segments_once_flushed_are_not_scanned_again_and_never_cut() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = filled(folder.path(), 16);
    let bases: Vec<i64> = log
        .reader()
        .segments()
        .iter()
        .map(|s| s.base_offset)
        .collect();
    let active = bases[2];
    assert_eq!((bases.len(), log.recovery_point()), (3, 0));
    log.flusher().flush_sealed().unwrap();
    assert_eq!(log.recovery_point(), active);
    // What was sealed is on disk already: the next call has nothing to sync.
    let fault = crate::faults::inject(
        folder.path().to_str().unwrap(),
        crate::faults::Fault::FailSyncs,
    );
    log.flusher().flush_sealed().unwrap();
    drop(fault);
    log.append(&[batch(2, 5, &[7; 90])], STAMP).unwrap();
    let end = log.log_end_offset();
    drop(log);
    let opening = Opening {
        recovery_point: active,
        ..CRASHED
    };
    let (log, recovery) = open(folder.path(), opening);
    assert_eq!(recovery.segments_scanned, 1);
    assert_eq!(log.log_end_offset(), end);
    drop(log);
    let path = folder.path().join("00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes[151 + 16] = 9;
    fs::write(&path, &bytes).unwrap();
    let (log, recovery) = open(folder.path(), opening);
    assert_eq!((recovery.cut_at_offset, log.log_end_offset()), (None, end));
    let error = log.reader().read(2, 300, i64::MAX, true).unwrap_err();
    assert!(error.to_string().contains("byte 151"), "{error}");
    assert_eq!(offsets_from(&log, bases[1])[0], bases[1]);
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_flush_that_a_cut_overtakes_does_not_raise_the_recovery_point_above_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = filled(folder.path(), 16);
    let path = folder.path().to_str().unwrap();
    let stall = crate::faults::inject(path, crate::faults::Fault::StallSyncs);
    let flusher = log.flusher();
    let flushing = std::thread::spawn(move || flusher.flush());
    let shared = log.shared().clone();
    while shared.flushing.try_lock().is_some() {
        std::thread::yield_now();
    }
    log.truncate_to(4, 1_000).unwrap();
    log.append(&[batch(20, 5, &[7; 90])], STAMP).unwrap();
    assert_eq!(log.log_end_offset(), 24);
    drop(stall);
    flushing.join().unwrap().unwrap();
    assert!(log.recovery_point() <= 24);
    log.flusher().flush().unwrap();
    assert_eq!(log.recovery_point(), 24);
}

#[test]
fn clean_stops_leave_no_more_snapshots_than_segments_and_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 10).close().unwrap();
    for _ in 0..9 {
        let (mut log, _) = open(folder.path(), CLEAN);
        log.append(&[batch(2, 5, &[7; 90])], STAMP).unwrap();
        log.close().unwrap();
    }
    let (log, _) = open(folder.path(), CLEAN);
    let segments = log.reader().segments();
    // The first segment starts without producers.
    let mut kept: Vec<i64> = segments[1..].iter().map(|s| s.base_offset).collect();
    kept.push(log.log_end_offset());
    let names = fs::read_dir(folder.path()).unwrap();
    let mut found: Vec<i64> = names
        .filter_map(|entry| {
            let name = entry.unwrap().file_name();
            name.to_str()?.strip_suffix(".snapshot")?.parse().ok()
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, kept);
}

#[test]
fn a_log_whose_records_a_power_loss_took_has_no_epochs_either() {
    for left in ["", "0\n1\n4 0\n"] {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path(), 2));
        fs::remove_file(last_segment(folder.path())).unwrap();
        fs::write(folder.path().join("leader-epoch-checkpoint"), left).unwrap();
        let (log, _) = open(folder.path(), CRASHED);
        assert_eq!((log.log_end_offset(), log.reader().last_epoch()), (0, None));
    }
}

#[test]
fn a_flush_of_batches_is_one_sync_and_leaves_the_recovery_point() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = filled(folder.path(), 2);
    let path = folder.path().to_str().unwrap();
    let flusher = log.flusher();
    // The first brings the files' names to disk too.
    flusher.flush_batches().unwrap();
    assert_eq!((flusher.flushed(), log.recovery_point()), (4, 4));
    let count = crate::faults::inject(path, crate::faults::Fault::CountSyncs);
    log.append(&[batch(2, 5, &[7; 90])], STAMP).unwrap();
    log.append(&[batch(2, 5, &[7; 90])], STAMP).unwrap();
    flusher.flush_batches().unwrap();
    assert_eq!((flusher.flushed(), log.recovery_point()), (8, 4));
    flusher.flush_batches().unwrap();
    assert_eq!(count.syncs(), 1);
    // One more than fits: the segment before gets all that it needs.
    log.append(&[batch(2, 5, &[7; 500])], STAMP).unwrap();
    assert_eq!(log.reader().segments().len(), 2);
    flusher.flush_batches().unwrap();
    assert_eq!((flusher.flushed(), log.recovery_point()), (10, 10));
    log.truncate_to(6, 1_000).unwrap();
    assert_eq!((flusher.flushed(), log.recovery_point()), (6, 6));
}

#[test]
fn what_a_failed_sync_left_is_not_trusted_whatever_a_later_one_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = filled(folder.path(), 2);
    log.flusher().flush_batches().unwrap();
    log.append(&[batch(2, 5, &[7; 90])], STAMP).unwrap();
    let path = folder.path().to_str().unwrap();
    let fault = crate::faults::inject(path, crate::faults::Fault::FailSyncs);
    let flusher = log.flusher();
    assert!(!flusher.is_distrusted());
    flusher.flush_batches().unwrap_err();
    drop(fault);
    assert!(flusher.is_distrusted() && flusher.has_failed());
    flusher.flush_batches().unwrap_err();
    flusher.flush().unwrap_err();
    assert!(!flusher.is_overdue(0, i64::MAX));
    assert_eq!((flusher.flushed(), log.recovery_point()), (4, 4));
    assert!(log.append(&[batch(2, 5, &[])], STAMP).is_err());
}

#[test]
fn producers_are_known_without_the_snapshot_of_a_clean_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    let mut header = header(2, 5);
    (header.producer_id, header.producer_epoch) = (9, 0);
    header.base_sequence = 0;
    log.append(&[batch_of(header, &[7; 90])], STAMP).unwrap();
    log.close().unwrap();
    fs::remove_file(folder.path().join(format!("{:020}.snapshot", 2))).unwrap();
    let (log, _) = open(folder.path(), CLEAN);
    assert_eq!(log.active_producers()[0].last_sequence, 1);
}

#[test]
fn a_long_walk_tells_of_itself_while_it_goes_on() {
    const BATCHES: u64 = 40;
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(folder.path(), LogConfig::default(), CRASHED).unwrap();
    for _ in 0..BATCHES {
        log.append(&[batch(1, 5, &[7; 100_000])], STAMP).unwrap();
    }
    let size = log.reader().size_bytes();
    drop(log);
    let told = std::cell::RefCell::new(Vec::new());
    let tell = |bytes| told.borrow_mut().push(bytes);
    Log::open_telling(folder.path(), LogConfig::default(), CRASHED, &tell).unwrap();
    let told = told.into_inner();
    assert_eq!(told.iter().sum::<u64>(), size);
    assert!(told.len() as u64 >= size / (2 << 20), "{told:?}");
}
