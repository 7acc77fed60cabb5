//! Promises of a whole log, through its public face.

use bytes::Bytes;
use milena_protocol::Uuid;
use milena_protocol::records::{BATCH_HEADER_SIZE, BatchHeader, crc32c};
use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

use crate::{BatchToAppend, Log, LogConfig, Opening, Recovery, Stamp};

mod crash;
mod damage;
mod idle;
mod indexes;
mod inspect;
mod lacks;
mod model;
mod recovery;
mod regions;
mod retention;
mod sizes;
mod times;
mod write_back;

/// A batch of `count` records that are no real records: the log never looks inside.
pub(crate) fn batch(count: i32, timestamp: i64, payload: &[u8]) -> BatchToAppend {
    batch_of(header(count, timestamp), payload)
}

pub(crate) fn header(count: i32, timestamp: i64) -> BatchHeader {
    BatchHeader {
        base_offset: 0,
        batch_length: 0,
        partition_leader_epoch: -1,
        crc: 0,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp: timestamp,
        max_timestamp: timestamp,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: count,
    }
}

pub(crate) fn batch_of(mut header: BatchHeader, payload: &[u8]) -> BatchToAppend {
    header.batch_length = (BATCH_HEADER_SIZE - 12 + payload.len()) as i32;
    let mut body = header.to_bytes().to_vec();
    body.extend_from_slice(payload);
    header.crc = crc32c(&body[21..]);
    body[17..21].copy_from_slice(&header.crc.to_be_bytes());
    BatchToAppend {
        header,
        body: Bytes::from(body),
    }
}

/// So many cases, of a seed that is printed; `PROPTEST_RNG_SEED` replays them.
pub(crate) fn seeded(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if config.rng_seed == RngSeed::Random {
        let [a, b, c, d, ..] = Uuid::random().0;
        config.rng_seed = RngSeed::Fixed(u32::from_be_bytes([a, b, c, d]).into());
    }
    println!("PROPTEST_RNG_SEED={}", config.rng_seed);
    config
}

pub(crate) const STAMP: Stamp = Stamp {
    leader_epoch: 0,
    now_ms: 1_000,
    log_append_time: false,
};

pub(crate) const CRASHED: Opening = Opening {
    clean_shutdown: false,
    recovery_point: 0,
    log_start_offset: 0,
    end_due: 0,
    topic_id: Uuid::ZERO,
    now_ms: 1_000,
};

pub(crate) const CLEAN: Opening = Opening {
    clean_shutdown: true,
    ..CRASHED
};

pub(crate) fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 1_000,
        index_interval_bytes: 100,
        ..LogConfig::default()
    }
}

pub(crate) fn open(folder: &std::path::Path, opening: Opening) -> (Log, Recovery) {
    Log::open(folder, small(), opening).unwrap()
}

/// Base offsets of all batches from `from` on.
pub(crate) fn offsets_from(log: &Log, from: i64) -> Vec<i64> {
    let reader = log.reader();
    let (mut next, mut offsets) = (from, Vec::new());
    while next < reader.log_end_offset() {
        let batches = reader
            .read(next, 300, i64::MAX, true)
            .unwrap()
            .read()
            .unwrap();
        assert!(batches.next_offset > next, "no progress at {next}");
        let mut rest = &batches.bytes[..];
        while !rest.is_empty() {
            let header = BatchHeader::parse(rest).unwrap();
            header.check_crc(rest).unwrap();
            offsets.push(header.base_offset);
            rest = &rest[header.size()..];
        }
        next = batches.next_offset;
    }
    offsets
}

#[test]
fn what_is_appended_is_read_back_across_segments() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    for index in 0..50 {
        let appended = log.append(&[batch(2, 5, &[7; 90])], STAMP).unwrap();
        assert_eq!(
            (appended.first_offset, appended.last_offset),
            (index * 2, index * 2 + 1)
        );
    }
    assert!(log.reader().segments().len() > 5);
    let all: Vec<i64> = (0..50).map(|index| index * 2).collect();
    assert_eq!(offsets_from(&log, 0), all);
    assert_eq!(offsets_from(&log, 33), all[16..]);
}

#[test]
fn a_read_starts_with_the_batch_that_holds_the_offset_and_stops_below_the_bound() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    for _ in 0..4 {
        log.append(&[batch(10, 5, &[1; 39])], STAMP).unwrap();
    }
    let reader = log.reader();
    let read = |offset, max, bound, one| {
        let batches = reader
            .read(offset, max, bound, one)
            .unwrap()
            .read()
            .unwrap();
        (batches.bytes.len(), batches.next_offset)
    };
    assert_eq!(read(15, 1000, 40, true), (300, 40));
    assert_eq!(read(15, 1000, 30, true), (200, 30));
    assert_eq!(read(0, 250, 40, false), (200, 20));
    assert_eq!(read(0, 10, 40, true), (100, 10));
    assert_eq!(read(0, 0, 40, true), (100, 10));
    assert_eq!(read(0, 99, 40, false), (0, 0));
    assert_eq!(read(40, 1000, 40, true), (0, 40));
    assert!(reader.read(41, 1, 40, true).is_err());
    assert!(reader.read(-1, 1, 40, true).is_err());
    let cached = reader
        .read(0, 1000, 40, true)
        .unwrap()
        .read_cached()
        .unwrap();
    assert!(cached.is_none_or(|batches| batches.bytes.len() == 400));
}

#[test]
fn a_leader_stamps_offset_epoch_and_append_time_and_leaves_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    log.append(&[batch(3, 5, b"first")], STAMP).unwrap();
    let stamp = Stamp {
        leader_epoch: 4,
        now_ms: 9_000,
        log_append_time: true,
    };
    log.append(&[batch(2, 5, b"second")], stamp).unwrap();
    let batches = log
        .reader()
        .read(3, 1000, i64::MAX, true)
        .unwrap()
        .read()
        .unwrap();
    let header = BatchHeader::parse(&batches.bytes).unwrap();
    header.check_crc(&batches.bytes).unwrap();
    assert_eq!((header.base_offset, header.partition_leader_epoch), (3, 4));
    assert!(header.is_log_append_time());
    assert_eq!((header.base_timestamp, header.max_timestamp), (5, 9_000));
    assert_eq!(&batches.bytes[61..], b"second");
    assert_eq!(log.reader().end_offset_for(0), Some((0, 3)));
    assert_eq!(log.reader().end_offset_for(4), Some((4, 5)));
}

#[test]
fn a_reader_never_counts_the_next_epochs_records_to_an_epoch() {
    const EPOCHS: i32 = 500;
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    let reader = log.reader();
    // Epoch e is the record of offset e.
    let reading = std::thread::spawn(move || {
        let mut latest = 0;
        while latest < EPOCHS - 1 {
            let Some((epoch, end)) = reader.end_offset_for(latest) else {
                continue;
            };
            assert!(
                epoch == latest && end <= i64::from(epoch) + 1,
                "epoch {epoch} ends at {end}"
            );
            let known = reader.epoch_of(reader.log_end_offset() - 1);
            latest = latest.max(known.unwrap_or(0));
        }
    });
    for leader_epoch in 0..EPOCHS {
        let stamp = Stamp {
            leader_epoch,
            ..STAMP
        };
        log.append(&[batch(1, 5, b"")], stamp).unwrap();
    }
    reading.join().unwrap();
}

#[test]
fn a_batch_above_a_segments_size_is_refused_and_the_log_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    assert!(log.append(&[batch(1, 5, &[0; 1000])], STAMP).is_err());
    assert_eq!(
        log.append(&[batch(1, 5, &[0; 10])], STAMP)
            .unwrap()
            .first_offset,
        0
    );
}

#[test]
fn after_a_clean_stop_nothing_is_scanned_and_all_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    for _ in 0..30 {
        log.append(&[batch(2, 5, &[7; 90])], STAMP).unwrap();
    }
    log.close().unwrap();
    assert_eq!(log.recovery_point(), 60);
    let (mut log, recovery) = open(folder.path(), CLEAN);
    assert_eq!(recovery, Recovery::default());
    assert_eq!(log.log_end_offset(), 60);
    assert_eq!(offsets_from(&log, 0).len(), 30);
    assert_eq!(
        log.append(&[batch(1, 5, &[])], STAMP).unwrap().first_offset,
        60
    );
}

#[test]
fn a_follower_keeps_the_leaders_offsets_and_refuses_to_go_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path(), CRASHED);
    let at = |offset| {
        let mut header = header(2, 5);
        header.base_offset = offset;
        batch_of(header, &[1; 50])
    };
    log.append_as_follower(&[at(5), at(9)], 0).unwrap();
    assert!(log.append_as_follower(&[at(10)], 0).is_err());
    log.append_as_follower(&[at(1 << 33)], 0).unwrap();
    log.append_as_follower(&[at((1 << 33) + 2)], 0).unwrap();
    assert_eq!(offsets_from(&log, 0), [5, 9, 1 << 33, (1 << 33) + 2]);
    drop(log);
    let (log, recovery) = open(folder.path(), CRASHED);
    assert_eq!(recovery.cut_at_offset, None);
    assert_eq!(offsets_from(&log, 7), [9, 1 << 33, (1 << 33) + 2]);
}
