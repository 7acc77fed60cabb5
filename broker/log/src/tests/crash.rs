//! The process or its disk stops at each of the changes that an operation makes, one after the other: the log opens again
//! with what was promised, and with nothing twice or in part.
//!
//! `MILENA_CRASH_STATES=FOLDER` keeps one of [`KEPT_EVERY`] logs as it is after the next start, or with
//! `MILENA_CRASH_STATES_EVERY=1` all of them, for another program to look at: `e2e/tests/crash_states.rs` has
//! `kafka-dump-log` do it.

mod checkpoints;
mod compaction;
mod deletion;
mod random;
mod repair;
mod truncation;
mod writing;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use milena_protocol::Uuid;
use milena_protocol::records::{BatchBuilder, BatchHeader, BatchOptions, records};
use tempfile::TempDir;

use crate::faults::disk::{Disk, End};
use crate::inspect::inspect;
use crate::trash::tests::remove;
use crate::*;

const ENDS: [End; 4] = [End::Killed, End::Torn, End::DataLost, End::AllLost];
const FOLDER: &str = "t-0";
const TOPIC_ID: Uuid = Uuid([7; 16]);
const PRODUCER: i64 = 9;
/// A compaction in several passes changes a disk some 400 times.
const CHANGES_MAX: usize = 500;
const KEPT_IN: &str = "MILENA_CRASH_STATES";
/// Two changes in a row leave nearly the same, and to look at all of them takes minutes. Prime, so that it is in step with
/// nothing that an operation does again and again.
const KEPT_EVERY: usize = 13;
const KEPT_EVERY_IN: &str = "MILENA_CRASH_STATES_EVERY";

/// A folder for a played disk, in memory where there is room for it: what these tests lose they lose by themselves, and a
/// real disk takes ten times as long to forget the thousands of small files.
fn scratch() -> std::io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => TempDir::new_in(memory).or_else(|_| TempDir::new()),
        false => TempDir::new(),
    }
}

fn key() -> (String, i32) {
    ("t".to_owned(), 0)
}

/// Where the disk stops, and how.
#[derive(Debug, Clone, Copy)]
struct Stop {
    end: End,
    /// The change of this number is refused.
    change: usize,
}

impl Stop {
    fn watch(self, data: &Path) -> Disk {
        Disk::watch(data, self.change, self.end).unwrap()
    }

    /// Whether what was written and not synced is there.
    fn keeps_what_is_written(self) -> bool {
        matches!(self.end, End::Killed | End::Torn)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the disk stopped at: {:?}", self.0);
        }
    }
}

struct Shown(Stop);

/// Does `work` on copies of the data in `template`, on disks that stop at the first change, the second, and so on until
/// one does not stop; each time `check` looks at what is left, and at what `work` has told. How many changes there are.
fn at_every_change<T>(
    template: &Path,
    work: impl Fn(&Path, Stop) -> (Disk, T),
    check: impl Fn(&Path, Stop, T),
) -> usize {
    let mut changes = 0;
    for end in ENDS {
        for change in 1.. {
            assert!(change < CHANGES_MAX, "it never passes");
            let stop = Stop { end, change };
            let _shown = Shown(stop);
            let data = copy_of(template);
            let (disk, told) = work(data.path(), stop);
            let has_passed = !disk.has_stopped();
            disk.end().unwrap();
            check(data.path(), stop, told);
            if has_passed {
                changes = change - 1;
                break;
            }
        }
    }
    changes
}

fn copy_of(folder: &Path) -> TempDir {
    let copy = scratch().unwrap();
    copy_into(folder, copy.path());
    copy
}

fn copy_into(folder: &Path, copy: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let to = copy.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_into(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Key and value by offset.
type Records = BTreeMap<i64, (String, Option<String>)>;

/// What a log shows.
#[derive(Debug, Clone)]
struct Found {
    start: i64,
    end: i64,
    records: Records,
    /// Of the producer's last batch, by the batches and by what the log remembers.
    sequences: [Option<i32>; 2],
}

impl Found {
    fn shown(&self) -> (i64, i64, &Records) {
        (self.start, self.end, &self.records)
    }
}

/// A process that has a log open.
struct Life {
    data: PathBuf,
    log: Log,
    trash: Trash,
    told: Told,
}

/// What its callers know.
#[derive(Debug, Default, Clone)]
struct Told {
    /// What was asked to be stored, answered or not.
    asked: Records,
    /// What is below was answered.
    stored: i64,
    /// What is below is on disk.
    flushed: i64,
    /// How many steps were answered.
    steps: usize,
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1_000,
        index_interval_bytes: 100,
        min_cleanable_dirty_ratio: 0.0,
        ..LogConfig::default()
    }
}

/// How long a tombstone stays that a compaction has met.
const TOMBSTONES_STAY_MS: u64 = 100;
/// Between two compactions: longer than that.
const PAUSE_MS: i64 = 200;

fn compacting() -> LogConfig {
    LogConfig {
        compact: true,
        delete: false,
        delete_retention_ms: TOMBSTONES_STAY_MS,
        ..config()
    }
}

impl Life {
    /// Starts as a broker does, by the checkpoints and the mark of a clean stop, which it takes.
    fn start(data: &Path, config: LogConfig) -> Result<(Self, Recovery), LogError> {
        let offset = |checkpoint: Checkpoint| {
            let offsets = checkpoint.read(data).unwrap();
            offsets.get(&key()).copied().unwrap_or(0)
        };
        let clean_shutdown = is_marked_clean(data);
        let mark = data.join(".kafka_cleanshutdown");
        if clean_shutdown {
            // As a broker: the mark speaks of no life after this.
            files::remove_if_there(&mark).map_err(StorageError::of("remove", &mark))?;
            files::sync_folder(data).map_err(StorageError::of("sync", data))?;
        }
        let recovery_point = offset(Checkpoint::RecoveryPoint);
        let opening = Opening {
            clean_shutdown,
            recovery_point,
            log_start_offset: offset(Checkpoint::LogStart),
            // A crash may have come between a follower's cut and what was to tell of it.
            end_due: if clean_shutdown { recovery_point } else { 0 },
            topic_id: TOPIC_ID,
            now_ms: 1_000,
        };
        let (log, recovery) = Log::open(&data.join(FOLDER), config, opening)?;
        let life = Self {
            data: data.to_path_buf(),
            log,
            trash: Trash::default(),
            told: Told::default(),
        };
        Ok((life, recovery))
    }

    /// A log of so many batches of three records in several segments and two epochs, all on disk.
    fn filled(data: &Path, config: LogConfig, batches: usize) -> Self {
        let (mut life, _) = Self::start(data, config).unwrap();
        for batch in 0..batches {
            life.append(i32::from(batch > batches / 2), batch).unwrap();
        }
        life.flush().unwrap();
        life
    }

    fn append(&mut self, leader_epoch: i32, batch: usize) -> Result<(), LogError> {
        let (some, other) = (format!("k{}", batch % 5), format!("k{}", batch % 7));
        let value = format!("value {batch} of epoch {leader_epoch}, and more bytes than a key has");
        let pairs = [
            (some, Some(value.clone())),
            ("all".to_owned(), Some(value)),
            (other, None),
        ];
        let producers = self.log.active_producers();
        let known = producers.iter().find(|one| one.producer_id == PRODUCER);
        let mut builder = BatchBuilder::new(BatchOptions {
            producer_id: PRODUCER,
            producer_epoch: 0,
            base_sequence: known.map_or(0, |producer| producer.last_sequence + 1),
            ..BatchOptions::default()
        });
        let end = self.log.log_end_offset();
        for ((key, value), offset) in pairs.into_iter().zip(end..) {
            let bytes = value.as_deref().map(str::as_bytes);
            builder
                .push(1_000 - batch as i64, Some(key.as_bytes()), bytes, &[])
                .unwrap();
            self.told.asked.insert(offset, (key, value));
        }
        let body = builder.finish().unwrap();
        let header = BatchHeader::parse(&body).unwrap();
        let stamp = Stamp {
            leader_epoch,
            now_ms: 1_000,
            log_append_time: false,
        };
        let appended = self.log.append(&[BatchToAppend { header, body }], stamp);
        appended.map_err(|error| match error {
            AppendError::Storage(error) => error,
            other => panic!("{other}"),
        })?;
        self.told.stored = self.log.log_end_offset();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        self.log.flusher().flush()?;
        self.told.flushed = self.log.log_end_offset();
        self.checkpoint(Checkpoint::RecoveryPoint, Some(self.log.recovery_point()))
    }

    fn checkpoint(&self, file: Checkpoint, offset: Option<i64>) -> Result<(), StorageError> {
        let offsets = offset.map(|offset| (key(), offset));
        file.write(&self.data, &offsets.into_iter().collect())
    }

    fn empty_trash(&mut self) -> Result<(), StorageError> {
        let due = self.trash.take_due(i64::MAX);
        due.iter().try_for_each(|due| remove(&due.path))
    }

    /// Everything in the log, once it is whole, in order, and agrees with what the log knows of epochs and producers.
    fn found(&self) -> Found {
        let reader = self.log.reader();
        let (start, end) = (reader.log_start_offset(), reader.log_end_offset());
        let (mut next, mut batches) = (start, Vec::new());
        while next < end {
            let read = reader.read(next, 500, i64::MAX, true).unwrap();
            let read = read.read().unwrap();
            assert!(read.next_offset > next, "no progress at {next}");
            next = read.next_offset;
            batches.push(read.bytes);
        }
        let mut sequence = None;
        let mut found = Records::new();
        for mut bytes in batches {
            for record in records(&bytes, 1 << 20) {
                let record = record.unwrap();
                let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
                let pair = (text(&record.key.unwrap()), record.value.as_ref().map(text));
                let last = found.last_key_value().map_or(-1, |(offset, _)| *offset);
                assert!(record.offset > last, "{} behind {last}", record.offset);
                found.insert(record.offset, pair);
            }
            while !bytes.is_empty() {
                let header = BatchHeader::parse(&bytes).unwrap();
                header.check_crc(&bytes).unwrap();
                let epoch = reader.epoch_of(header.base_offset.max(start));
                assert_eq!(epoch, Some(header.partition_leader_epoch));
                if header.producer_id == PRODUCER {
                    sequence = Some(header.base_sequence + header.last_offset_delta);
                }
                bytes = bytes.slice(header.size()..);
            }
        }
        self.check_times();
        let producers = self.log.active_producers();
        let known = producers.iter().find(|one| one.producer_id == PRODUCER);
        let known = known.map(|producer| producer.last_sequence);
        assert!(known >= sequence, "{known:?} of {sequence:?}");
        Found {
            start,
            end,
            records: found.split_off(&start),
            sequences: [sequence, known],
        }
    }
}

impl Life {
    /// Retention and searches by time go by the youngest timestamp of each segment.
    fn check_times(&self) {
        let mut segments = self.log.shared().segments();
        // A log that was never written has no files.
        segments.retain(|segment| segment.size() > 0);
        for segment in segments {
            let mut youngest = -1;
            let mut scan = segment.scan(0).unwrap();
            while let Some((_, header)) = scan.next().unwrap() {
                if header.record_count > 0 {
                    youngest = header.max_timestamp.max(youngest);
                }
            }
            assert_eq!(segment.youngest().unwrap().timestamp, youngest);
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn whole(folder: &Path) {
    let leftover = |name: &&String| {
        let ends = [".cleaned", ".swap", ".deleted", ".tmp"];
        ends.iter().any(|end| name.ends_with(end))
    };
    let names = names(folder);
    assert_eq!(names.iter().find(leftover), None);
    assert_eq!(inspect(folder).unwrap().findings, []);
}

/// What the next start finds. The one after it finds the same and has nothing left to mend, and the log goes on.
fn next_start(data: &Path, config: LogConfig) -> Found {
    let folder = data.join(FOLDER);
    let start = || Life::start(data, config.clone()).unwrap();
    let found = start().0.found();
    whole(&folder);
    keep(data);
    let listed = names(&folder);
    let (mut life, recovery) = start();
    assert_eq!((recovery.cut_at_offset, recovery.bytes_cut), (None, 0));
    assert_eq!(life.found().shown(), found.shown());
    assert_eq!(names(&folder), listed);
    life.flush().unwrap();
    life.append(7, 0).unwrap();
    life.flush().unwrap();
    let mut expected = found.clone();
    expected.records.append(&mut life.told.asked);
    expected.end = life.told.stored;
    drop(life);
    assert_eq!(start().0.found().shown(), expected.shown());
    whole(&folder);
    found
}

/// Keeps the log where somebody asks for it, as a clean stop leaves it.
fn keep(data: &Path) {
    let Some(kept) = to_keep().filter(|_| data.join(FOLDER).exists()) else {
        return;
    };
    let copy = copy_of(data);
    let (mut life, _) = Life::start(copy.path(), config()).unwrap();
    life.log.close().unwrap();
    let folder = kept.with_extension("log-0");
    fs::create_dir_all(&folder).unwrap();
    copy_into(&copy.path().join(FOLDER), &folder);
}

/// Where a state goes that is to be kept, if somebody asks for states and it is its turn.
fn to_keep() -> Option<PathBuf> {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let kept = std::env::var_os(KEPT_IN)?;
    let every = std::env::var(KEPT_EVERY_IN).ok();
    let every = every.map_or(KEPT_EVERY, |every| every.parse().unwrap());
    let number = SEEN.fetch_add(1, Ordering::Relaxed);
    number
        .is_multiple_of(every)
        .then(|| Path::new(&kept).join(format!("state{number}")))
}

/// Runs an operation on the log in `template`, on disks that stop at each of its changes; `check` is given what the next
/// start finds. How many changes there are.
fn operate(
    template: &Path,
    config: &LogConfig,
    operation: impl Fn(&mut Life) -> Result<(), LogError>,
    check: impl Fn(Stop, &Told, &Found),
) -> usize {
    at_every_change(
        template,
        |data, stop| begin(data, config, stop, &operation),
        |data, stop, told| check(stop, &told, &next_start(data, config.clone())),
    )
}

fn begin(
    data: &Path,
    config: &LogConfig,
    stop: Stop,
    operation: impl Fn(&mut Life) -> Result<(), LogError>,
) -> (Disk, Told) {
    let (mut life, _) = Life::start(data, config.clone()).unwrap();
    // The first flush after an unclean start syncs the folder once more.
    life.log.flusher().flush().unwrap();
    let disk = stop.watch(data);
    let done = operation(&mut life);
    assert!(disk.has_stopped() || done.is_ok(), "{done:?}");
    (disk, life.told)
}
