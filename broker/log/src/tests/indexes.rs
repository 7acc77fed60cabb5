//! Indexes that were lost, cut short or spoilt while nobody had the log: no answer is another for it, and they are made
//! anew.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::times::{self, Record};
use super::*;
use crate::faults::{Fault, inject};
use crate::inspect::inspect;

/// What may become of an index.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Removed,
    Emptied,
    /// Its last bytes are gone.
    Cut(usize),
    /// As a file system leaves what it had not written.
    Zeroed,
    /// The bit of a byte, both counted round.
    Flipped(usize, u8),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        Just(Harm::Removed),
        Just(Harm::Emptied),
        (1..30usize).prop_map(Harm::Cut),
        Just(Harm::Zeroed),
        (any::<usize>(), 0..8u8).prop_map(|(at, bit)| Harm::Flipped(at, bit)),
    ]
}

impl Harm {
    fn befall(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Removed => return fs::remove_file(path).unwrap(),
            Self::Emptied => bytes.clear(),
            Self::Cut(lost) => bytes.truncate(bytes.len().saturating_sub(lost)),
            Self::Zeroed => bytes.fill(0),
            Self::Flipped(..) if bytes.is_empty() => {}
            Self::Flipped(at, bit) => {
                let at = at % bytes.len();
                bytes[at] ^= 1 << bit;
            }
        }
        fs::write(path, bytes).unwrap();
    }
}

fn indexes(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let names = fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = names
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == extension))
        .collect();
    paths.sort();
    paths
}

/// A log that was stopped cleanly, of several segments: a batch of one record for each, a millisecond apart.
fn stopped(folder: &Path, records: i64) -> Vec<Record> {
    let (mut log, _) = open(folder, CRASHED);
    let mut stored = Vec::new();
    for timestamp in 1_000..1_000 + records {
        times::append(&mut log, &mut stored, &[timestamp], false);
    }
    log.close().unwrap();
    assert!(log.reader().segments().len() > 3);
    stored
}

#[test]
fn lost_and_cut_indexes_are_made_anew_when_they_are_needed() {
    let harms = [
        Harm::Removed,
        Harm::Emptied,
        Harm::Cut(1),
        Harm::Cut(12),
        Harm::Zeroed,
    ];
    for extension in ["index", "timeindex"] {
        for harm in harms {
            let folder = tempfile::tempdir().unwrap();
            let stored = stopped(folder.path(), 60);
            for path in indexes(folder.path(), extension) {
                harm.befall(&path);
            }
            let (mut log, recovery) = open(folder.path(), CLEAN);
            assert_eq!(recovery, Recovery::default(), "nothing is scanned");
            times::check(&log, &stored);
            log.close().unwrap();
            let found = inspect(folder.path()).unwrap();
            assert_eq!(found.findings, [], "{extension} {harm:?}");
        }
    }
}

#[test]
fn a_look_at_old_segments_keeps_none_of_their_files_open() {
    let folder = tempfile::tempdir().unwrap();
    stopped(folder.path(), 60);
    let (log, _) = open(folder.path(), CLEAN);
    let reader = log.reader();
    let segments = log.shared().segments();
    for segment in &segments[..segments.len() - 1] {
        segment.youngest().unwrap();
        assert!(!segment.is_open());
    }
    assert_eq!(times::since(&reader, 1_059), Some((59, 1_059)));
}

#[test]
fn where_the_batches_are_damaged_too_the_damage_is_named_and_the_others_are_found() {
    let folder = tempfile::tempdir().unwrap();
    stopped(folder.path(), 60);
    let first = folder.path().join("00000000000000000000.log");
    let mut bytes = fs::read(&first).unwrap();
    let batch = BatchHeader::parse(&bytes).unwrap().size();
    bytes[3 * batch + 16] = 9;
    fs::write(&first, bytes).unwrap();
    for extension in ["index", "timeindex"] {
        fs::remove_file(first.with_extension(extension)).unwrap();
    }
    let (log, _) = open(folder.path(), CLEAN);
    let reader = log.reader();
    for _ in 0..2 {
        let read = reader.read(2, 1, i64::MAX, true).unwrap().read().unwrap();
        assert_eq!(BatchHeader::parse(&read.bytes).unwrap().base_offset, 2);
        let error = reader.search_since(1_039).go_on().unwrap_err().to_string();
        let byte = format!("byte {}", 3 * batch);
        assert!(
            error.contains(&byte) && error.contains("offset 3"),
            "{error}"
        );
    }
    let next = log.reader().segments()[1].base_offset;
    assert_eq!(offsets_from(&log, next)[0], next);
}

#[test]
fn an_entry_that_names_too_low_an_offset_hides_no_batch() {
    const ENTRY: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let stored = stopped(folder.path(), 60);
    let first = indexes(folder.path(), "index").remove(0);
    let whole = fs::read(&first).unwrap();
    assert!(whole.len() > 3 * ENTRY);
    for at in (ENTRY..whole.len() - ENTRY).step_by(ENTRY) {
        let mut bytes = whole.clone();
        bytes[at..at + 4].fill(0);
        fs::write(&first, bytes).unwrap();
        let (log, _) = open(folder.path(), CLEAN);
        times::check(&log, &stored);
    }
}

#[test]
fn an_entry_that_leads_into_a_batch_makes_no_cut_end_elsewhere() {
    const ENTRY: usize = 8;
    for (entry, offset) in (1..3).flat_map(|entry| (1..7).map(move |offset| (entry, offset))) {
        let folder = tempfile::tempdir().unwrap();
        stopped(folder.path(), 60);
        let first = indexes(folder.path(), "index").remove(0);
        let mut bytes = fs::read(&first).unwrap();
        assert!(bytes.len() > 3 * ENTRY);
        // The last byte of its position.
        bytes[entry * ENTRY + 7] += 1;
        fs::write(&first, bytes).unwrap();
        let (mut log, _) = open(folder.path(), CLEAN);
        assert!(offset < log.reader().segments()[1].base_offset);
        log.truncate_to(offset, 1_000).unwrap();
        assert_eq!(log.log_end_offset(), offset, "by entry {entry}");
    }
}

proptest! {
    #![proptest_config(seeded(60))]

    #[test]
    fn spoilt_indexes_make_no_answer_another(
        harms in prop::collection::vec((any::<prop::sample::Index>(), harm()), 1..4),
        is_clean: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let stored = stopped(folder.path(), 60);
        let both = [indexes(folder.path(), "index"), indexes(folder.path(), "timeindex")].concat();
        for (which, harm) in harms {
            let path = which.get(&both);
            if path.exists() {
                harm.befall(path);
            }
        }
        let opening = Opening { recovery_point: 60, ..if is_clean { CLEAN } else { CRASHED } };
        let (log, _) = open(folder.path(), opening);
        times::check(&log, &stored);
    }
}

/// More than the places that a log remembers without its indexes.
const BATCHES: i64 = 200;

/// A log whose first segment is full, has entries in its indexes and no open files; [`BATCHES`] batches of one record.
fn with_a_full_segment(folder: &Path) -> Log {
    let config = LogConfig {
        index_interval_bytes: 1,
        ..LogConfig::default()
    };
    let (mut log, _) = Log::open(folder, config, CRASHED).unwrap();
    for time in 1..BATCHES {
        log.append(&[batch(1, time, b"")], STAMP).unwrap();
    }
    log.roll(1).unwrap();
    log.append(&[batch(1, BATCHES, b"")], STAMP).unwrap();
    let flusher = log.flusher();
    (0..2).for_each(|_| flusher.close_idle().unwrap());
    log
}

#[test]
fn an_index_that_is_gone_in_a_logs_life_ends_the_writes_and_the_next_life_has_it_again() {
    for kind in ["index", "timeindex"] {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join(format!("{:020}.{kind}", 0));
        let log = with_a_full_segment(folder.path());
        fs::remove_file(&index).unwrap();
        let reader = log.reader();
        let refused = match kind {
            "index" => reader.region(4, 1 << 20, BATCHES, true).map(drop),
            _ => reader.search_since(4).go_on().map(drop),
        };
        let Err(crate::ReadError::Log(error)) = refused else {
            panic!("{kind}: {refused:?}");
        };
        reader.note_failure(&error);
        assert!(reader.check_writable().is_err(), "{kind}: {error}");
        assert!(
            !index.exists(),
            "{kind}: an empty one was made in its place"
        );
        drop((reader, log));
        let (log, _) = Log::open(folder.path(), LogConfig::default(), CRASHED).unwrap();
        let region = log.reader().region(4, 1 << 20, BATCHES, true).unwrap();
        assert!(region.is_some(), "{kind}");
        assert!(index.exists(), "{kind}");
    }
}

#[test]
fn an_index_that_the_disk_refuses_is_named_and_its_batches_are_read_on_without_it() {
    for kind in ["index", "timeindex"] {
        let folder = tempfile::tempdir().unwrap();
        drop(with_a_full_segment(folder.path()));
        let opening = Opening {
            recovery_point: BATCHES,
            ..CLEAN
        };
        let (log, _) = Log::open(folder.path(), LogConfig::default(), opening).unwrap();
        let index = folder.path().join(format!("{:020}.{kind}", 0));
        let _fault = inject(&index.display().to_string(), Fault::FailReads);
        let reader = log.reader();
        assert!(reader.region(4, 1 << 20, BATCHES, true).is_err());
        let error = reader.check_writable().unwrap_err().to_string();
        assert!(error.contains(&format!(".{kind}:")), "{error}");
        for offset in [4, 5, 77, BATCHES - 1] {
            let region = reader.region(offset, 1, BATCHES, true).unwrap();
            let bytes = region.unwrap().read_all().unwrap();
            assert_eq!(BatchHeader::parse(&bytes).unwrap().base_offset, offset);
        }
    }
}
