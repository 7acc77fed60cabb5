mod damage;
mod pace;

use super::*;
use crate::{BatchToAppend, LogConfig, Opening, ReadError, Stamp};
use milena_protocol::Uuid;
use milena_protocol::records::{BatchBuilder, BatchHeader, BatchOptions, Compression, records};
use std::collections::BTreeMap;
use std::path::Path;

const OPENING: Opening = Opening {
    clean_shutdown: false,
    recovery_point: 0,
    log_start_offset: 0,
    end_due: 0,
    topic_id: Uuid::ZERO,
    now_ms: 0,
};

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1_000,
        index_interval_bytes: 100,
        compact: true,
        delete: false,
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: 100,
        ..LogConfig::default()
    }
}

fn open_log(folder: &Path) -> Log {
    Log::open(folder, config(), OPENING).unwrap().0
}

fn put(log: &mut Log, pairs: &[(&str, Option<&str>)], codec: Compression) {
    put_as(
        log,
        pairs,
        BatchOptions {
            codec: codec.into(),
            ..BatchOptions::default()
        },
    );
}

fn put_as(log: &mut Log, pairs: &[(&str, Option<&str>)], options: BatchOptions) {
    let mut builder = BatchBuilder::new(options);
    for (key, value) in pairs {
        builder
            .push(7, Some(key.as_bytes()), value.map(str::as_bytes), &[])
            .unwrap();
    }
    append(log, builder);
}

fn append(log: &mut Log, builder: BatchBuilder) {
    let body = builder.finish().unwrap();
    let header = BatchHeader::parse(&body).unwrap();
    let stamp = Stamp {
        leader_epoch: 0,
        now_ms: 0,
        log_append_time: false,
    };
    log.append(&[BatchToAppend { header, body }], stamp)
        .unwrap();
}

/// No bound, and no end.
fn unhurried(_: CleaningIo) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

type Found = Vec<(i64, String, Option<String>)>;

fn all(log: &Log) -> Result<Found, ReadError> {
    all_before(log, log.log_end_offset())
}

fn all_before(log: &Log, end: i64) -> Result<Found, ReadError> {
    let reader = log.reader();
    let (mut next, mut found) = (reader.log_start_offset(), Vec::new());
    while next < end {
        let batches = reader.read(next, 500, end, true)?.read()?;
        for record in records(&batches.bytes, 1 << 20) {
            let record = record.unwrap();
            let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            found.push((
                record.offset,
                text(record.key.as_ref().unwrap()),
                record.value.as_ref().map(text),
            ));
        }
        assert!(batches.next_offset > next);
        next = batches.next_offset;
    }
    Ok(found)
}

fn clean(log: &mut Log, from: i64, map_bytes: usize, now_ms: i64) -> Option<i64> {
    let plan = log.cleaning_plan(from, i64::MAX, now_ms).unwrap()?;
    let cleaned = plan.clean(map_bytes, &mut unhurried).unwrap().unwrap();
    install(log, cleaned, &mut Trash::default()).unwrap()
}

fn latest(found: &Found) -> BTreeMap<String, Option<String>> {
    found
        .iter()
        .map(|(_, key, value)| (key.clone(), value.clone()))
        .collect()
}

fn fill(log: &mut Log, rounds: i32) {
    for round in 0..rounds {
        let codec = [Compression::None, Compression::Lz4, Compression::Zstd][round as usize % 3];
        let (a, b) = (format!("k{}", round % 5), format!("k{}", round % 7));
        let value = format!("v{round}");
        put(
            log,
            &[(&a, Some(&value)), ("all", Some(&value)), (&b, Some("b"))],
            codec,
        );
    }
    log.roll(0).unwrap();
}

#[test]
fn the_last_value_of_each_key_stays_at_its_offset() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path());
    fill(&mut log, 60);
    let before = all(&log).unwrap();
    let size = log.reader().size_bytes();
    let cleaned_to = clean(&mut log, 0, 1 << 20, 0);
    assert_eq!(cleaned_to, Some(180));
    let after = all(&log).unwrap();
    assert_eq!(latest(&after), latest(&before));
    assert_eq!(after.len(), latest(&before).len());
    assert!(after.iter().all(|record| before.contains(record)));
    assert!(log.reader().size_bytes() < size / 3);
    assert_eq!(clean(&mut log, 180, 1 << 20, 0), None);
}

#[test]
fn little_memory_takes_several_runs_to_the_same_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path());
    fill(&mut log, 60);
    let wanted = latest(&all(&log).unwrap());
    let (mut from, mut runs) = (0, 0);
    while let Some(cleaned_to) = clean(&mut log, from, 200, 0) {
        assert!(cleaned_to > from);
        (from, runs) = (cleaned_to, runs + 1);
        assert_eq!(latest(&all(&log).unwrap()), wanted);
    }
    assert!(runs > 2 && from == 180);
}

#[test]
fn a_tombstone_stays_for_its_time_and_then_goes() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path());
    put(
        &mut log,
        &[("a", Some("1")), ("b", Some("1"))],
        Compression::None,
    );
    put(&mut log, &[("a", None)], Compression::Gzip);
    log.roll(0).unwrap();
    clean(&mut log, 0, 1 << 20, 1_000).unwrap();
    let tombstone = (2, "a".to_owned(), None);
    assert_eq!(
        all(&log).unwrap(),
        [(1, "b".into(), Some("1".into())), tombstone.clone()]
    );
    for (now_ms, stays) in [(1_100, true), (1_101, false)] {
        put(&mut log, &[("c", Some("1"))], Compression::None);
        log.roll(0).unwrap();
        clean(&mut log, 3, 1 << 20, now_ms).unwrap();
        assert_eq!(all(&log).unwrap().contains(&tombstone), stays, "{now_ms}");
    }
}

#[test]
fn a_deleted_key_stays_deleted_however_many_passes_its_tombstone_waits_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path());
    let config = LogConfig {
        segment_bytes: 1 << 20,
        delete_retention_ms: 0,
        ..config()
    };
    log.set_config(config);
    put(&mut log, &[("gone", Some("1"))], Compression::None);
    log.roll(0).unwrap();
    for key in 0..20 {
        put(
            &mut log,
            &[(&key.to_string(), Some("1"))],
            Compression::None,
        );
    }
    put(&mut log, &[("gone", None)], Compression::None);
    log.roll(0).unwrap();
    let live = |log: &Log| {
        let latest = latest(&all(log).unwrap());
        let mut live: Vec<String> = latest
            .into_iter()
            .filter_map(|(key, value)| value.map(|_| key))
            .collect();
        live.sort();
        live
    };
    let wanted = live(&log);
    let (mut from, mut passes) = (0, 0);
    while let Some(cleaned_to) = clean(&mut log, from, 200, 1_000 + passes) {
        (from, passes) = (cleaned_to, passes + 1);
        assert_eq!(live(&log), wanted, "pass {passes}");
    }
    assert!(passes > 3, "{passes}");
}

/// What retention takes of a log that begins with a key of its own, between a plan and its end; what is left then.
fn retained_meanwhile(folder: &Path, taken: usize, is_cleaned_before: bool) {
    let mut log = open_log(folder);
    put(&mut log, &[("first", Some("1"))], Compression::None);
    fill(&mut log, 60);
    let mut wanted = latest(&all(&log).unwrap());
    wanted.remove("first");
    let plan = log.cleaning_plan(0, i64::MAX, 0).unwrap().unwrap();
    let start = log.shared().segments()[taken].base_offset();
    let retain = |log: &mut Log| {
        let mut trash = Trash::default();
        log.delete_records_before(start).unwrap();
        let removed = log.retain(i64::MAX, 0, &mut trash).unwrap();
        assert_eq!(removed.segments, taken);
        for path in trash.take_due(i64::MAX) {
            crate::trash::tests::remove(&path.path).unwrap();
        }
    };
    if !is_cleaned_before {
        retain(&mut log);
    }
    let cleaned = plan.clean(1 << 20, &mut unhurried).unwrap().unwrap();
    if is_cleaned_before {
        retain(&mut log);
    }
    let installed = install(&mut log, cleaned, &mut Trash::default());
    assert_eq!(installed.unwrap(), Some(181));
    let found = all(&log).unwrap();
    assert_eq!(
        (latest(&found), found.len()),
        (wanted.clone(), wanted.len())
    );
    log.close().unwrap();
    let end = log.log_end_offset();
    drop(log);
    assert_eq!(crate::inspect::inspect(folder).unwrap().findings, []);
    let opening = Opening {
        log_start_offset: start,
        ..OPENING
    };
    let (log, _) = Log::open(folder, config(), opening).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (start, end));
    assert_eq!(all(&log).unwrap(), found);
}

#[test]
fn what_retention_takes_meanwhile_costs_the_others_no_cleaning() {
    // A part of the first group, and all of it.
    for taken in [1, 4] {
        for is_cleaned_before in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            retained_meanwhile(folder.path(), taken, is_cleaned_before);
        }
    }
}

#[test]
fn a_producers_last_sequence_survives_the_removal_of_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path());
    let producer = BatchOptions {
        producer_id: 9,
        producer_epoch: 0,
        base_sequence: 0,
        ..BatchOptions::default()
    };
    put_as(&mut log, &[("a", Some("1")), ("a", Some("2"))], producer);
    put(&mut log, &[("a", Some("3"))], Compression::None);
    log.roll(0).unwrap();
    clean(&mut log, 0, 1 << 20, 0).unwrap();
    assert_eq!(all(&log).unwrap().len(), 1);
    drop(log);
    for path in std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if path.extension().is_some_and(|end| end == "snapshot") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let log = open_log(folder.path());
    assert_eq!(log.active_producers()[0].last_sequence, 1);
}

#[test]
fn a_log_that_was_cut_meanwhile_throws_the_cleaning_away() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path());
    fill(&mut log, 30);
    let cleaned = log
        .cleaning_plan(0, i64::MAX, 0)
        .unwrap()
        .unwrap()
        .clean(1 << 20, &mut unhurried)
        .unwrap()
        .unwrap();
    log.truncate_to(10, 0).unwrap();
    assert_eq!(
        install(&mut log, cleaned, &mut Trash::default()).unwrap(),
        None
    );
    assert_eq!(log.log_end_offset(), 9);
}

#[test]
fn dirt_age_and_lag_decide() {
    let segment = |base_offset: i64, youngest_ms: i64| Candidate {
        base_offset,
        next_offset: base_offset + 10,
        size: 100,
        youngest_ms,
        first_ms: Some(youngest_ms - 5),
    };
    let segments = [segment(0, 10), segment(10, 20), segment(20, 30)];
    let base = LogConfig {
        min_cleanable_dirty_ratio: 0.5,
        ..config()
    };
    let decide = |from, hw, config: &LogConfig| decide(&segments, from, hw, 100, config);
    assert_eq!(decide(0, 30, &base), Some(30));
    assert_eq!(decide(0, 29, &base), Some(20));
    assert_eq!(decide(20, 30, &base), None);
    assert_eq!(decide(30, 30, &base), None);
    let overdue = LogConfig {
        max_compaction_lag_ms: 74,
        ..base
    };
    assert_eq!(decide(20, 30, &overdue), Some(30));
    let not_yet = LogConfig {
        max_compaction_lag_ms: 75,
        ..base
    };
    assert_eq!(decide(20, 30, &not_yet), None);
    let lagging = LogConfig {
        min_compaction_lag_ms: 75,
        ..base
    };
    assert_eq!(decide(0, 30, &lagging), Some(20));
    // What is compacted already waits for nothing.
    let later = LogConfig {
        min_compaction_lag_ms: 85,
        min_cleanable_dirty_ratio: 0.2,
        ..base
    };
    assert_eq!(decide(0, 30, &later), Some(10));
    assert_eq!(decide(5, 30, &later), Some(10));
    let after_a_young_one = [segment(0, 99), segment(10, 10), segment(20, 30)];
    let decide = |from| super::decide(&after_a_young_one, from, 30, 100, &later);
    assert_eq!((decide(0), decide(10)), (None, Some(20)));
}

/// A log of one key that has been put twice, at these times; both batches lie in a segment that is full.
fn put_twice(folder: &Path, times: [i64; 2], config: LogConfig) -> Log {
    let (mut log, _) = Log::open(folder, config, OPENING).unwrap();
    for timestamp in times {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder
            .push(timestamp, Some(b"k"), Some(b"v"), &[])
            .unwrap();
        append(&mut log, builder);
    }
    log.roll(0).unwrap();
    log
}

#[test]
fn a_record_waits_no_longer_than_its_own_lag_whatever_comes_after_it() {
    let (old, young, in_a_century) = (1_000, 9_000, 3_000_000_000_000);
    for second in [young, in_a_century] {
        let folder = tempfile::tempdir().unwrap();
        let config = LogConfig {
            min_cleanable_dirty_ratio: 1.1,
            segment_ms: i64::MAX as u64,
            ..config()
        };
        let mut log = put_twice(folder.path(), [old, second], config.clone());
        assert_eq!(log.reader().segments().len(), 2);
        log.set_config(LogConfig {
            max_compaction_lag_ms: 5_000,
            ..config
        });
        let plan = |now_ms| log.cleaning_plan(0, i64::MAX, now_ms).unwrap();
        assert!(plan(old + 5_000).is_none());
        assert_eq!(plan(old + 5_001).unwrap().end_offset, 2);
    }
}

#[test]
fn records_without_a_time_are_as_old_as_their_file_before_they_are_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let lag_ms = 60_000;
    let config = LogConfig {
        min_compaction_lag_ms: lag_ms as u64,
        ..config()
    };
    let log = put_twice(folder.path(), [-1, -1], config);
    let segment = log.shared().segments()[0].path("log");
    let modified = std::fs::metadata(segment).unwrap().modified().unwrap();
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    let written_ms = since.as_millis() as i64;
    let plan = |now_ms| log.cleaning_plan(0, i64::MAX, now_ms).unwrap();
    assert!(plan(written_ms + lag_ms - 1).is_none());
    assert!(plan(written_ms + lag_ms).is_some());
}

#[test]
fn compaction_makes_records_without_a_time_no_younger() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = put_twice(folder.path(), [-1, -1], config());
    let first = log.shared().segments()[0].clone();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    let file = std::fs::File::options().write(true).open(first.path("log"));
    file.unwrap().set_modified(old).unwrap();
    clean(&mut log, 0, 1 << 20, 0).unwrap();
    let cleaned = log.shared().segments()[0].clone();
    assert!(!Arc::ptr_eq(&first, &cleaned));
    assert_eq!(cleaned.youngest_ms().unwrap(), 1_000_000_000);
}

#[test]
fn a_checkpoint_beyond_the_logs_end_counts_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path());
    fill(&mut log, 5);
    let beyond = log.log_end_offset() + 1;
    let plan = log.cleaning_plan(beyond, i64::MAX, 0).unwrap().unwrap();
    assert_eq!(plan.first_dirty_offset, 0);
}

#[test]
fn what_is_appended_in_place_of_what_was_cut_is_dirty() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open_log(folder.path());
    fill(&mut log, 20);
    let cleaned_to = clean(&mut log, 0, 1 << 20, 0).unwrap();
    assert_eq!(log.reader().cleaned_to(cleaned_to), cleaned_to);
    log.truncate_to(30, 0).unwrap();
    let cut_at = log.log_end_offset();
    fill(&mut log, 20);
    assert!(log.log_end_offset() > cleaned_to);
    assert_eq!(log.reader().cleaned_to(cleaned_to), cut_at);
    clean(&mut log, cleaned_to, 1 << 20, 0).unwrap();
    let found = all(&log).unwrap();
    assert_eq!(found.len(), latest(&found).len());
}
