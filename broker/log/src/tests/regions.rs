//! Regions, which are sent as they are: where they end is all that keeps a reader below its bound.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use milena_protocol::records::{BATCH_HEADER_SIZE, BatchHeader};

use super::{CLEAN, CRASHED, STAMP, batch};
use crate::faults::{Fault, FaultGuard, inject};
use crate::{Log, LogConfig, LogReader, ReadError, Region};

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

/// Small segments, with an entry of the index for every second batch or so.
fn several() -> LogConfig {
    LogConfig {
        index_interval_bytes: 300,
        segment_bytes: 4096,
        ..LogConfig::default()
    }
}

/// A log with the offsets from 0 to 179, three in each batch.
fn of_several_segments(folder: &Path) -> Log {
    let (mut log, _) = Log::open(folder, several(), CRASHED).unwrap();
    for size in 0..60 {
        log.append(&[batch(3, 5, &vec![7; size % 7 * 20])], STAMP)
            .unwrap();
    }
    log
}

#[test]
fn the_offset_behind_a_region_is_that_of_its_last_whole_batch() {
    let folder = tempfile::tempdir().unwrap();
    let log = of_several_segments(folder.path());
    let reader = log.reader();
    for offset in (0..180).step_by(7) {
        for bytes_max in [1, 70, 200, 500, 1000, 3000, 1 << 20] {
            for bound in [offset / 3 * 3 + 3, 180] {
                let region = reader.region(offset, bytes_max, bound, true).unwrap();
                let mut region = region.unwrap();
                let behind = region.offset_behind();
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

/// What a lookup has found: its bytes, and the offset behind them.
type Place = Option<(Vec<u8>, i64)>;

fn place(found: Result<Option<Region>, ReadError>) -> Place {
    let mut region = found.unwrap()?;
    Some((region.read_all().unwrap(), region.offset_behind()))
}

/// What `look` finds from many offsets, for few bytes and many, up to the end and less far.
fn places<T>(look: impl Fn(i64, usize, i64) -> T) -> Vec<T> {
    let offsets = (0..180).step_by(7);
    let bounded = offsets.flat_map(|offset| [offset, offset + 1, 180].map(|end| (offset, end)));
    let looks = bounded.flat_map(|at| [1, 70, 1000, 1 << 20].map(|bytes_max| (at, bytes_max)));
    looks
        .map(|((offset, bound), bytes_max)| look(offset, bytes_max, bound))
        .collect()
}

#[test]
fn a_lookup_without_the_disk_finds_the_same_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    of_several_segments(folder.path()).close().unwrap();
    let open = || Log::open(folder.path(), several(), CLEAN).unwrap().0;
    let (cold, log) = (open().reader(), open());
    let by_disk = |offset, max, bound| place(cold.region(offset, max, bound, true));
    let expected = places(by_disk);
    let warm = log.reader();
    let cached = |offset, max, bound| warm.region_cached(offset, max, bound, true).map(place);
    // No file is open yet, and no index has been looked at.
    assert!(cached(0, 70, 180).is_none());
    let miss = inject(&folder.path().display().to_string(), Fault::MissCache);
    places(|offset, max, bound| place(warm.region(offset, max, bound, true)));
    // Some places are remembered.
    let known = places(cached);
    assert!(known.iter().any(Option::is_some) && known.iter().any(Option::is_none));
    let told = known.iter().zip(&expected);
    assert!(
        told.clone()
            .all(|(known, place)| known.as_ref().is_none_or(|known| known == place))
    );
    drop(miss);
    let region = warm.region(0, 1, 180, true).unwrap().unwrap();
    // Elsewhere the file system has no RWF_NOWAIT.
    if region.is_cached() {
        let expected: Vec<_> = expected.into_iter().map(Some).collect();
        assert_eq!(places(cached), expected);
    }
}

#[test]
fn who_reads_on_at_the_end_is_told_its_place_by_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(folder.path(), LogConfig::default(), CRASHED).unwrap();
    let reader = log.reader();
    log.append(&[batch(1, 5, b"")], STAMP).unwrap();
    place(reader.region(0, 1 << 20, 1, true));
    let _fault = inject(&folder.path().display().to_string(), Fault::MissCache);
    assert!(reader.region_cached(0, 1 << 20, 1, true).is_none());
    for offset in 1..10 {
        let end = reader.region_cached(offset, 1 << 20, offset, true);
        assert!(end.unwrap().unwrap().is_none());
        log.append(&[batch(1, 5, b"")], STAMP).unwrap();
        let found = reader.region_cached(offset, 1 << 20, offset + 1, true);
        assert_eq!(found.unwrap().unwrap().unwrap().len(), BATCH_HEADER_SIZE);
    }
}

/// Whether a lookup without the disk finds something; fails where it waits.
fn is_found_at_once(reader: &LogReader, offset: i64) -> bool {
    let (reader, (tell, told)) = (reader.clone(), mpsc::channel());
    std::thread::spawn(move || {
        let found = reader.region_cached(offset, 1, offset + 1, true);
        tell.send(found.is_some())
    });
    told.recv_timeout(RACE * 20).expect("it waits for the disk")
}

fn until_stalled(fault: &FaultGuard) {
    while fault.stalled() == 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_lookup_without_the_disk_does_not_wait_for_who_looks_at_an_index() {
    let folder = tempfile::tempdir().unwrap();
    of_several_segments(folder.path()).close().unwrap();
    let (log, _) = Log::open(folder.path(), several(), CLEAN).unwrap();
    let reader = log.reader();
    std::thread::scope(|scope| {
        let fault = inject(&folder.path().display().to_string(), Fault::StallReads);
        let by_disk = scope.spawn(|| place(reader.region(3, 1, 60, true)));
        until_stalled(&fault);
        assert!(!is_found_at_once(&reader, 3));
        drop(fault);
        assert!(by_disk.join().unwrap().is_some());
    });
}

#[test]
fn a_lookup_without_the_disk_does_not_wait_for_who_writes_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let config = LogConfig {
        index_interval_bytes: 1,
        ..LogConfig::default()
    };
    let (mut log, _) = Log::open(folder.path(), config, CRASHED).unwrap();
    let reader = log.reader();
    std::thread::scope(|scope| {
        let index = folder.path().join("00000000000000000000.index");
        let fault = inject(&index.display().to_string(), Fault::StallWrites);
        // So many entries are more than wait in memory.
        scope.spawn(move || (0..500).for_each(|_| drop(log.append(&[batch(1, 5, b"")], STAMP))));
        until_stalled(&fault);
        assert!(!is_found_at_once(&reader, 3));
        drop(fault);
    });
}

/// A log of two segments, with a place in the first that readers know without a look at the indexes.
fn with_a_known_place(folder: &Path) -> (Log, i64) {
    let (mut log, _) = Log::open(folder, LogConfig::default(), CRASHED).unwrap();
    for _ in 0..3 {
        log.append(&[batch(1, 5, b"")], STAMP).unwrap();
    }
    log.roll(1).unwrap();
    log.append(&[batch(1, 5, b"")], STAMP).unwrap();
    let reader = log.reader();
    let region = reader.region(0, 1, 4, true).unwrap().unwrap();
    let known = region.offset_behind();
    drop(region);
    let flusher = log.flusher();
    (0..2).for_each(|_| flusher.close_idle().unwrap());
    (log, known)
}

#[test]
fn a_segment_that_is_gone_ends_the_writes_also_where_a_place_in_it_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, known) = with_a_known_place(folder.path());
    assert_eq!(known, 1);
    let segment = folder.path().join("00000000000000000000.log");
    std::fs::remove_file(segment).unwrap();
    let reader = log.reader();
    assert!(matches!(
        reader.region(known, 1 << 20, 4, true),
        Err(ReadError::Log(_))
    ));
    assert!(reader.check_writable().is_err());
    assert!(log.append(&[batch(1, 5, b"")], STAMP).is_err());
    // What is there is read on.
    let mut last = reader.region(3, 1 << 20, 4, true).unwrap().unwrap();
    assert!(last.read_all().is_ok());
}

#[test]
fn a_slice_of_a_segment_that_is_gone_ends_the_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (log, known) = with_a_known_place(folder.path());
    std::fs::remove_file(folder.path().join("00000000000000000000.log")).unwrap();
    assert!(log.reader().read(known, 1 << 20, 4, true).is_err());
    assert!(log.reader().check_writable().is_err());
}

/// A log of several segments that was just opened, and the first one's file, in which the third batch has a byte that
/// no batch has there. Nothing of it was looked at.
fn damaged(folder: &Path) -> (Log, std::path::PathBuf) {
    of_several_segments(folder).close().unwrap();
    let first = folder.join("00000000000000000000.log");
    let mut bytes = std::fs::read(&first).unwrap();
    let third: usize = (0..2).fold(0, |at, _| {
        at + BatchHeader::parse(&bytes[at..]).unwrap().size()
    });
    bytes[third + 16] = 9;
    std::fs::write(&first, bytes).unwrap();
    (Log::open(folder, several(), CLEAN).unwrap().0, first)
}

/// The log takes no more writes and says where the third batch is; what is not damaged is read on.
fn assert_offline(log: &mut Log, file: &Path) {
    let error = log.reader().check_writable().unwrap_err().to_string();
    let place = format!("{} is damaged at offset 6, byte 1", file.display());
    assert!(error.contains(&place), "{error}");
    assert!(log.append(&[batch(1, 5, b"")], STAMP).is_err());
    assert_eq!(super::offsets_from(log, 177), [177]);
    assert!(place_of(&log.reader(), 0).is_some());
}

fn place_of(reader: &LogReader, offset: i64) -> Place {
    place(reader.region(offset, 1, offset + 3, true))
}

#[test]
fn damage_that_a_lookup_meets_ends_the_writes_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, file) = damaged(folder.path());
    let Err(ReadError::Log(error)) = log.reader().region(6, 1, 180, true) else {
        panic!("the damage was not met");
    };
    log.reader().note_failure(&error);
    assert_offline(&mut log, &file);
}

#[test]
fn damage_that_a_reader_of_batches_meets_ends_the_writes_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, file) = damaged(folder.path());
    let reader = log.reader();
    assert!(reader.read(0, 1 << 20, 180, true).unwrap().read().is_err());
    assert_offline(&mut log, &file);
}

#[test]
fn damage_that_a_search_by_time_meets_without_an_index_ends_the_writes_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, file) = damaged(folder.path());
    std::fs::remove_file(file.with_extension("timeindex")).unwrap();
    let Err(ReadError::Log(error)) = log.reader().search_since(1).go_on() else {
        panic!("the damage was not met");
    };
    log.reader().note_failure(&error);
    assert_offline(&mut log, &file);
}

/// What a reader takes for damage whose segment is cut meanwhile.
fn seeming_damage(log: &Log) -> crate::LogError {
    crate::LogError::Damaged {
        path: log.shared().active().path("log"),
        offset: 0,
        byte: 0,
        problem: "it was cut".into(),
    }
}

#[test]
fn what_seems_damage_while_the_log_is_cut_ends_no_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(folder.path(), LogConfig::default(), CRASHED).unwrap();
    let (reader, error) = (log.reader(), seeming_damage(&log));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let begun = Instant::now();
            while begun.elapsed() < RACE {
                for _ in 0..200 {
                    log.append(&[batch(1, 5, b"")], STAMP).unwrap();
                }
                log.truncate_to(3, 1).unwrap();
            }
        });
        while !writer.is_finished() {
            reader.note_failure(&error);
        }
    });
    assert!(reader.check_writable().is_ok());
}

const EROFS: i32 = 30;

#[test]
fn a_file_system_that_was_made_read_only_is_read_on_and_refuses_the_writes_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    of_several_segments(folder.path()).close().unwrap();
    let (mut log, _) = Log::open(folder.path(), several(), CLEAN).unwrap();
    (0..2).for_each(|_| log.reader().close_idle());
    let _fault = inject(
        &folder.path().display().to_string(),
        Fault::RefuseOpens(EROFS),
    );
    let offsets: Vec<i64> = (0..180).step_by(3).collect();
    assert_eq!(super::offsets_from(&log, 0), offsets);
    let reader = log.reader();
    offsets
        .iter()
        .for_each(|offset| assert!(place_of(&reader, *offset).is_some()));
    assert!(reader.check_writable().is_ok());
    let error = log.append(&[batch(1, 5, b"")], STAMP).unwrap_err();
    assert!(error.to_string().contains("Read-only"), "{error}");
    assert!(reader.check_writable().is_err());
    assert_eq!(super::offsets_from(&log, 0), offsets);
}

#[test]
fn a_batch_is_whole_whose_write_the_system_takes_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(folder.path(), LogConfig::default(), CRASHED).unwrap();
    let _fault = inject(&folder.path().display().to_string(), Fault::ShortWrites(7));
    let payloads: [&[u8]; 3] = [b"", b"one byte after the other", &[7; 1000]];
    let batches = payloads.map(|payload| batch(2, 5, payload));
    log.append(&batches[..1], STAMP).unwrap();
    log.append(&batches[1..], STAMP).unwrap();
    let (mut bytes, _) = place(log.reader().region(0, 1 << 20, 6, true)).unwrap();
    for (payload, base_offset) in payloads.into_iter().zip([0, 2, 4]) {
        let header = BatchHeader::parse(&bytes).unwrap();
        let rest = bytes.split_off(header.size());
        assert_eq!(header.base_offset, base_offset);
        assert_eq!(&bytes[BATCH_HEADER_SIZE..], payload);
        bytes = rest;
    }
    assert!(bytes.is_empty());
}
