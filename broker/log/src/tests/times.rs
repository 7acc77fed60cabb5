//! Timestamps as they come: out of order, in the future, none, the broker's own; and clocks that are put back.

use milena_protocol::records::{BatchBuilder, BatchOptions};
use proptest::prelude::*;

use super::*;
use crate::{LogReader, Searched, TimeSearch, Trash};

/// A record's offset and time, and whether the broker gave it.
pub(super) type Record = (i64, i64, bool);

/// A batch of records with these timestamps.
pub(super) fn timed(timestamps: &[i64]) -> BatchToAppend {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for timestamp in timestamps {
        builder.push(*timestamp, None, Some(b"v"), &[]).unwrap();
    }
    let body = builder.finish().unwrap();
    let header = BatchHeader::parse(&body).unwrap();
    BatchToAppend { header, body }
}

/// Appends one, with the broker's time where `by_broker` says so, and notes its records.
pub(super) fn append(log: &mut Log, stored: &mut Vec<Record>, timestamps: &[i64], by_broker: bool) {
    let now_ms = timestamps[0].max(0);
    let stamp = Stamp {
        now_ms,
        log_append_time: by_broker,
        ..STAMP
    };
    let appended = log.append(&[timed(timestamps)], stamp).unwrap();
    for (timestamp, offset) in timestamps.iter().zip(appended.first_offset..) {
        let time = if by_broker { now_ms } else { *timestamp };
        stored.push((offset, time, by_broker));
    }
}

fn end(mut search: TimeSearch) -> Option<(i64, i64)> {
    loop {
        let found = match search.go_on().unwrap() {
            Searched::Found(found) => return found.map(|found| (found.offset, found.timestamp)),
            Searched::LookInto(batch) => batch.look(1 << 20).unwrap(),
        };
        if let Some(found) = found {
            return Some((found.offset, found.timestamp));
        }
    }
}

pub(super) fn since(reader: &LogReader, timestamp: i64) -> Option<(i64, i64)> {
    end(reader.search_since(timestamp))
}

fn youngest(reader: &LogReader) -> Option<(i64, i64)> {
    end(reader.search_youngest().unwrap())
}

/// Each offset is read and each time is found where a plain walk over the records finds them.
pub(super) fn check(log: &Log, stored: &[Record]) {
    let reader = log.reader();
    let start = log.log_start_offset();
    let all: Vec<Record> = stored
        .iter()
        .copied()
        .filter(|(offset, ..)| *offset >= start)
        .collect();
    // Backwards, so that no place is remembered from the read before.
    for (offset, ..) in all.iter().rev() {
        let read = reader
            .read(*offset, 1, i64::MAX, true)
            .unwrap()
            .read()
            .unwrap();
        let header = BatchHeader::parse(&read.bytes).unwrap();
        assert!(
            header.base_offset <= *offset && *offset <= header.last_offset(),
            "{offset}"
        );
    }
    let mut times: Vec<i64> = all.iter().map(|(_, time, _)| *time).collect();
    times.sort_unstable();
    times.dedup();
    let asked = times
        .iter()
        .flat_map(|time| [*time, time.saturating_add(1)]);
    for time in asked.filter(|time| *time >= 0) {
        let first = all.iter().find(|(_, at, _)| *at >= time);
        let first = first.map(|(offset, at, _)| (*offset, *at));
        assert_eq!(since(&reader, time), first, "since {time}");
    }
    let largest = times.last().copied().filter(|time| *time >= 0);
    let found = youngest(&reader);
    assert_eq!(found.map(|(_, time)| time), largest);
    if let Some((offset, time)) = found {
        let same: Vec<&Record> = all.iter().filter(|(_, at, _)| *at == time).collect();
        let by_broker = same[0].2;
        assert!(same.iter().any(|(at, ..)| *at == offset));
        assert!(
            by_broker || same[0].0 == offset,
            "the first of {same:?}, not {offset}"
        );
    }
}

fn timestamp() -> impl Strategy<Value = i64> {
    prop_oneof![
        2 => Just(-1i64),
        10 => 0..50i64,
        1 => Just(i64::MAX),
        1 => (0..50i64).prop_map(|ms| i64::MAX / 2 + ms),
    ]
}

fn batches() -> impl Strategy<Value = Vec<(Vec<i64>, bool)>> {
    let batch = (
        prop::collection::vec(timestamp(), 1..4),
        prop::bool::weighted(0.2),
    );
    prop::collection::vec(batch, 1..40)
}

proptest! {
    #![proptest_config(seeded(60))]

    #[test]
    fn records_are_found_by_time_whatever_their_times_are(batches in batches(), deleted in 0..255u8) {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, _) = open(folder.path(), CRASHED);
        let mut stored = Vec::new();
        for (timestamps, by_broker) in &batches {
            append(&mut log, &mut stored, timestamps, *by_broker);
        }
        check(&log, &stored);
        log.close().unwrap();
        drop(log);
        let (log, _) = open(folder.path(), CLEAN);
        check(&log, &stored);
        drop(log);
        let (mut log, recovery) = open(folder.path(), CRASHED);
        prop_assert_eq!(recovery.cut_at_offset, None);
        check(&log, &stored);
        // To the start of a batch: within one, what its records have in common is not told apart.
        let bases = offsets_from(&log, 0);
        let start = bases[usize::from(deleted) * (bases.len() - 1) / 255];
        log.delete_records_before(start).unwrap();
        check(&log, &stored);
    }
}

#[test]
fn a_clock_that_is_put_back_delays_no_flush_and_rolls_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    let flusher = log.flusher();
    assert!(!flusher.is_overdue(100, 9_000_000));
    log.append(
        &[timed(&[-1])],
        Stamp {
            now_ms: 9_000_000,
            ..STAMP
        },
    )
    .unwrap();
    assert!(!flusher.is_overdue(100, 9_000_050));
    assert!(
        flusher.is_overdue(100, 8_000_000),
        "who knows how long it is"
    );
    assert!(!flusher.is_overdue(100, 8_000_050), "it was told");
    assert!(flusher.is_overdue(100, 8_000_100));
    log.append(
        &[timed(&[-1])],
        Stamp {
            now_ms: 8_000_000,
            ..STAMP
        },
    )
    .unwrap();
    assert_eq!(log.reader().segments().len(), 1);
}

#[test]
fn what_has_no_time_or_one_to_come_is_kept_for_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    let now_ms = i64::try_from(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_millis(),
    )
    .unwrap();
    let day_ms = 24 * 60 * 60 * 1_000;
    let first_bases = [-1, now_ms + 30 * day_ms, now_ms - 30 * day_ms].map(|timestamp| {
        let appended = log
            .append(&[timed(&[timestamp])], Stamp { now_ms, ..STAMP })
            .unwrap();
        log.roll(now_ms).unwrap();
        appended.first_offset
    });
    let mut trash = Trash::default();
    let config = LogConfig {
        retention_ms: Some(day_ms as u64),
        ..small()
    };
    log.set_config(config);
    let mut retain = |now_ms| {
        log.retain(3, now_ms, &mut trash).unwrap();
        log.log_start_offset()
    };
    assert_eq!(retain(now_ms), first_bases[0], "it is as old as its file");
    // The second holds the third, which is older, as in Kafka: segments go in order.
    assert_eq!(retain(now_ms + 2 * day_ms), first_bases[1]);
    assert_eq!(retain(now_ms + 30 * day_ms), first_bases[1]);
    assert_eq!(retain(now_ms + 32 * day_ms), 3);
}

/// A log of two segments of which the first one's batches have no time: retention goes by its file's.
fn without_times(folder: &std::path::Path) -> Log {
    let config = LogConfig {
        retention_ms: Some(1),
        ..LogConfig::default()
    };
    let (mut log, _) = Log::open(folder, config, CRASHED).unwrap();
    log.append(&[batch(1, -1, b"")], STAMP).unwrap();
    log.roll(1).unwrap();
    log.append(&[batch(1, 5, b"")], STAMP).unwrap();
    let flusher = log.flusher();
    (0..2).for_each(|_| flusher.close_idle().unwrap());
    log
}

#[test]
fn a_segment_that_is_gone_ends_the_writes_where_retention_asks_for_its_age() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = without_times(folder.path());
    std::fs::remove_file(folder.path().join("00000000000000000000.log")).unwrap();
    let error = log.retain(2, 10, &mut Trash::default()).unwrap_err();
    let reader = log.reader();
    assert!(reader.check_writable().is_ok());
    reader.note_failure(&error.into());
    assert!(reader.check_writable().is_err());
}

#[test]
fn a_file_that_is_back_or_that_was_only_out_of_descriptors_ends_no_writes() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = without_times(folder.path());
    let (at, away) = (
        folder.path().join("00000000000000000000.log"),
        folder.path().join("away"),
    );
    std::fs::rename(&at, &away).unwrap();
    let error = log.retain(2, 10, &mut Trash::default()).unwrap_err();
    std::fs::rename(&away, &at).unwrap();
    log.reader().note_failure(&error.clone().into());
    let too_many_open = std::io::Error::from_raw_os_error(24);
    let error = crate::StorageError {
        source: std::sync::Arc::new(too_many_open),
        ..error
    };
    log.reader().note_failure(&error.into());
    assert!(log.reader().check_writable().is_ok());
}

/// A search that has begun, and what it comes to once `take` has taken the log's files away.
fn search_meanwhile(take: impl FnOnce(&mut Log, &std::path::Path)) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("t-0");
    let mut log = without_times(&folder);
    let reader = log.reader();
    let mut search = reader.search_since(0);
    let read = reader.clone();
    take(&mut log, &folder);
    let Err(crate::ReadError::Log(error)) = search.go_on() else {
        panic!("the files are still there");
    };
    reader.note_failure(&error);
    let _ = read.region(0, 1 << 20, 2, true);
    assert!(reader.check_writable().is_ok());
}

#[test]
fn files_that_retention_or_a_deletion_has_taken_are_not_the_logs_failure() {
    search_meanwhile(|log, _| {
        let mut trash = Trash::default();
        log.retain(2, 10_000_000_000_000, &mut trash).unwrap();
        for due in trash.take_due(i64::MAX) {
            crate::trash::tests::remove(&due.path).unwrap();
        }
    });
    search_meanwhile(|log, folder| {
        let deleted = folder.with_file_name("t-0.0-delete");
        log.note_deleted();
        std::fs::rename(folder, &deleted).unwrap();
        log.moved_to(&deleted);
        crate::trash::tests::remove(&deleted).unwrap();
    });
}
