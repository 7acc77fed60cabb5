//! A broker with two data directories, of which a test takes one for faulty, and what its clients have seen.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use milena_log::{DirectoryError, LockedFolder};
use milena_protocol::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use milena_protocol::api::list_offsets::ListOffsetsRequest;
use milena_protocol::api::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_protocol::records::{BatchBuilder, BatchOptions, DECOMPRESSED_SIZE_MAX, records};
use milena_protocol::{Records, Str};

use super::super::stall_tests::requests::{epoch_end, fetch, list_offsets};
use super::super::stall_tests::{
    EPOCH_END_VERSION, FETCH_VERSION, LIST_OFFSETS_VERSION, PRODUCE_VERSION, Running, TIMEOUT_MS,
    Wire, until,
};
use super::*;

/// Topics that are made before the two directories have those that a test needs.
const TOPICS_MAX: usize = 12;
const DELETE_RECORDS_VERSION: i16 = 1;
/// Of few keys, so that a compaction has something to drop.
const KEYS: usize = 2;

/// What a client is told where it does not get what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Code(ErrorCode),
    /// Its connection ends, for an answer was on its way.
    Closed,
}

/// The answer for a log that its disk refuses.
pub(super) const STORAGE: Told = Told::Code(ErrorCode::KafkaStorageError);

/// What clients know of a topic.
#[derive(Debug, Default)]
struct Seen {
    sent: BTreeSet<String>,
    /// By offset.
    acknowledged: BTreeMap<i64, String>,
}

pub(super) struct TwoDisks {
    dirs: [tempfile::TempDir; 2],
    faulty: usize,
    settings: Vec<(&'static str, &'static str)>,
    running: Option<Running>,
    seen: BTreeMap<String, Seen>,
    /// Two topics of one partition whose logs are in the faulty directory ...
    pub(super) hit: String,
    pub(super) neighbour: String,
    /// ... and one in the other.
    pub(super) beside: String,
}

impl TwoDisks {
    /// A broker with some records in each topic. The metadata lies in the first directory.
    pub(super) fn start(faulty: usize, settings: &[(&'static str, &'static str)]) -> Self {
        let mut disks = Self {
            dirs: [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()],
            faulty,
            settings: settings.to_vec(),
            running: None,
            seen: BTreeMap::new(),
            hit: String::new(),
            neighbour: String::new(),
            beside: String::new(),
        };
        disks.begin_life();
        let mut there = [Vec::new(), Vec::new()];
        for number in 0..TOPICS_MAX {
            let topic = format!("topic{number}");
            disks.running().create(&topic, 1);
            assert_eq!(disks.produce(&topic), Ok(0));
            let folder = disks.partition(&topic).reader().folder();
            there[usize::from(folder.starts_with(disks.dirs[1].path()))].push(topic);
            if there[faulty].len() >= 2 && !there[1 - faulty].is_empty() {
                break;
            }
        }
        disks.hit = there[faulty].remove(0);
        disks.neighbour = there[faulty].remove(0);
        disks.beside = there[1 - faulty].remove(0);
        for topic in disks.topics() {
            for offset in 1..3 {
                assert_eq!(disks.produce(&topic), Ok(offset));
            }
        }
        disks
    }

    pub(super) fn topics(&self) -> [String; 3] {
        [
            self.hit.clone(),
            self.neighbour.clone(),
            self.beside.clone(),
        ]
    }

    pub(super) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub(super) fn partition(&self, topic: &str) -> Arc<Partition> {
        let partitions = self.running().broker.partitions();
        partitions.partition(topic, 0).unwrap()
    }

    /// The directory that a test takes for faulty, or the other.
    pub(super) fn dir(&self, is_faulty: bool) -> &Path {
        let at = if is_faulty {
            self.faulty
        } else {
            1 - self.faulty
        };
        self.dirs[at].path()
    }

    /// As a fault names all that lies in the faulty directory.
    pub(super) fn all_in_it(&self) -> String {
        format!("{}/", self.dir(true).display())
    }

    /// Where one of the three has its log, also while the broker is down.
    pub(super) fn folder(&self, topic: &str) -> PathBuf {
        self.dir(topic != self.beside).join(format!("{topic}-0"))
    }

    /// Its first segment's file of that kind.
    pub(super) fn file(&self, topic: &str, kind: &str) -> PathBuf {
        self.folder(topic).join(format!("{:020}.{kind}", 0))
    }

    /// Whether the partition takes no writes any more.
    pub(super) fn is_offline(&self, topic: &str) -> bool {
        let partition = self.running().broker.partitions().partition(topic, 0);
        partition.is_ok_and(|here| here.reader().check_writable().is_err())
    }

    /// How many partitions are shown as offline.
    pub(super) fn offline_count(&self) -> usize {
        self.metric("milena_partitions_offline").unwrap_or_default()
    }

    /// What the metrics' page says of this series.
    pub(super) fn metric(&self, series: &str) -> Option<usize> {
        let groups = crate::group::GroupsSnapshot {
            groups: Vec::new(),
            shards_unread: 0,
        };
        let broker = &self.running().broker;
        let page = broker.metrics().render(broker, groups).unwrap();
        let mut lines = page.lines();
        let shown = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        shown.map(|value| value.parse().unwrap())
    }

    /// Whether the next life may trust what the page cache has of the directory.
    pub(super) fn is_trusted(&self, is_faulty: bool) -> bool {
        self.dir(is_faulty).join(".milena-boot").exists()
    }

    /// The file of batches that was begun last.
    pub(super) fn last_segment(&self, topic: &str) -> PathBuf {
        let files = std::fs::read_dir(self.folder(topic)).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let is_segment = |file: &PathBuf| file.extension().is_some_and(|end| end == "log");
        files.filter(is_segment).max().unwrap()
    }

    /// What is next asked of a file opens it.
    pub(super) fn close_files(&self, topic: &str) {
        let partition = self.partition(topic);
        // The first call clears what was used.
        partition.close_idle().unwrap();
        partition.close_idle().unwrap();
    }

    /// Ends the active segment, and has the next record begin another.
    pub(super) fn roll(&self, topic: &str) {
        let partition = self.partition(topic);
        partition.log_blocking().roll(1).unwrap();
    }

    fn begin_life(&mut self) {
        for dir in &self.dirs {
            // Threads of the life before may still hold it for a moment.
            until("the life before has ended", || {
                let locked = LockedFolder::lock(dir.path());
                !matches!(locked, Err(DirectoryError::InUse { .. }))
            });
        }
        let dirs: Vec<&Path> = self.dirs.iter().map(|dir| dir.path()).collect();
        self.running = Some(Running::start_on(&dirs, &self.settings));
    }

    /// Ends the process as `kill -9` does, and starts the broker anew once `before` has been done.
    pub(super) fn kill_and_start(&mut self, before: impl FnOnce(&Self)) {
        self.running = None;
        before(self);
        self.begin_life();
    }

    /// Stops in order, and starts anew; whether the stop was marked as clean.
    pub(super) fn stop_and_start(&mut self) -> bool {
        let is_clean = self.close();
        self.running = None;
        self.begin_life();
        is_clean
    }

    /// What a stop does to the data; whether it is marked as clean.
    pub(super) fn close(&self) -> bool {
        let broker = &self.running().broker;
        let (partitions, epoch) = (broker.partitions().clone(), broker.broker_epoch());
        partitions.close(epoch)
    }

    /// Sends one record and waits until all replicas have it; its offset.
    pub(super) fn produce(&mut self, topic: &str) -> Result<i64, Told> {
        let mut wire = self.running().connect();
        let value = self.send(&mut wire, topic);
        self.acknowledged(&mut wire, topic, value)
    }

    /// Sends one record without waiting for anything; its value.
    pub(super) fn send(&mut self, wire: &mut Wire, topic: &str) -> String {
        let seen = self.seen.entry(topic.to_owned()).or_default();
        let number = seen.sent.len();
        let value = format!("{topic}: {number}");
        seen.sent.insert(value.clone());
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![TopicProduceData {
                name: Str::from(topic),
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: Some(batch(number, &value)),
                }],
                ..TopicProduceData::default()
            }],
        };
        wire.send(&request, PRODUCE_VERSION);
        value
    }

    /// The answer to what was sent.
    pub(super) fn acknowledged(
        &mut self,
        wire: &mut Wire,
        topic: &str,
        value: String,
    ) -> Result<i64, Told> {
        let answer = wire.receive::<ProduceRequest>(PRODUCE_VERSION);
        let result = &answer.responses[0].partition_responses[0];
        if !result.error_code.is_none() {
            return Err(Told::Code(result.error_code));
        }
        let seen = self.seen.entry(topic.to_owned()).or_default();
        let before = seen.acknowledged.insert(result.base_offset, value);
        assert_eq!(before, None, "an offset was given twice");
        Ok(result.base_offset)
    }

    /// All that a consumer gets from the log's start on, up to the high watermark: values by offset.
    pub(super) fn read(&self, topic: &str) -> Result<BTreeMap<i64, String>, Told> {
        let mut wire = self.running().connect();
        let mut found = BTreeMap::new();
        loop {
            let next = found.last_key_value().map_or(0, |(offset, _)| offset + 1);
            wire.send(&fetch(topic, next, 0), FETCH_VERSION);
            let answer = match wire.receive_unless_closed::<FetchRequest>(FETCH_VERSION) {
                Ok(answer) => answer,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(Told::Closed),
                Err(error) => panic!("{topic}: {error}"),
            };
            let partition = &answer.responses[0].partitions[0];
            if !partition.error_code.is_none() {
                return Err(Told::Code(partition.error_code));
            }
            let Some(Records::Bytes(bytes)) = &partition.records else {
                panic!("{topic}: no bytes at {next}");
            };
            if bytes.is_empty() {
                assert_eq!(next, partition.high_watermark, "{topic}");
                return Ok(found);
            }
            for record in records(bytes, DECOMPRESSED_SIZE_MAX) {
                // Its batch was whole, with the CRC that its producer has put there.
                let record = record.unwrap();
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                found.insert(record.offset, value);
            }
        }
    }

    /// Reads all, and holds it against what clients know: all that was acknowledged is where it was said to be, and
    /// there is nothing that nobody sent.
    pub(super) fn check(&self, topic: &str) {
        let found = self.read(topic).unwrap();
        let seen = &self.seen[topic];
        for (offset, value) in &seen.acknowledged {
            assert_eq!(found.get(offset), Some(value), "{topic} at {offset}");
        }
        let offsets: Vec<i64> = found.keys().copied().collect();
        let all: Vec<i64> = (0..found.len() as i64).collect();
        assert_eq!(offsets, all, "{topic} has a gap");
        let values: BTreeSet<String> = found.values().cloned().collect();
        assert_eq!(values.len(), found.len(), "{topic} has a record twice");
        assert!(values.is_subset(&seen.sent), "{topic} has {values:?}");
    }

    /// Of a topic whose disk is well: it is written and read on time.
    pub(super) fn goes_on(&mut self, topic: &str) {
        on_time(topic, || {
            self.produce(topic).unwrap();
        });
        on_time(topic, || self.check(topic));
    }

    /// Asks where a leader's epoch ends, as a client does.
    pub(super) fn ask_for_an_epoch(&self, topic: &str) -> Answer {
        let mut wire = self.running().connect();
        let answer = wire.ask(&epoch_end(&[topic]), EPOCH_END_VERSION);
        match answer.topics[0].partitions[0].error_code {
            ErrorCode::None => Ok(()),
            code => Err(Told::Code(code)),
        }
    }

    /// Has a client delete what is before an offset; where the log starts then.
    pub(super) fn delete_records(&self, topic: &str, offset: i64) -> Result<i64, Told> {
        let mut wire = self.running().connect();
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: Str::from(topic),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: 0,
                    offset,
                }],
            }],
            timeout_ms: TIMEOUT_MS,
        };
        let answer = wire.ask(&request, DELETE_RECORDS_VERSION);
        let result = &answer.topics[0].partitions[0];
        match result.error_code {
            ErrorCode::None => Ok(result.low_watermark),
            code => Err(Told::Code(code)),
        }
    }

    /// The first offset as young as the epoch of time, as a client asks for it.
    pub(super) fn search_by_time(&self, topic: &str) -> Result<i64, Told> {
        let mut wire = self.running().connect();
        let answer =
            wire.ask::<ListOffsetsRequest>(&list_offsets(&[topic], 0), LIST_OFFSETS_VERSION);
        let found = &answer.topics[0].partitions[0];
        match found.error_code {
            ErrorCode::None => Ok(found.offset),
            code => Err(Told::Code(code)),
        }
    }
}

/// A batch of one record, as a producer sends it.
fn batch(number: usize, value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let key = format!("key{}", number % KEYS);
    let now_ms = crate::clock::Clock.now_ms();
    builder
        .push(now_ms, Some(key.as_bytes()), Some(value.as_bytes()), &[])
        .unwrap();
    builder.finish().unwrap()
}

/// A file or folder that is somewhere else until this is dropped.
pub(super) struct TakenAway(PathBuf);

impl TakenAway {
    pub(super) fn new(path: PathBuf) -> Self {
        std::fs::rename(&path, away(&path)).unwrap();
        Self(path)
    }
}

impl Drop for TakenAway {
    fn drop(&mut self) {
        // Whatever was made in its place meanwhile.
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_dir_all(&self.0);
        std::fs::rename(away(&self.0), &self.0).unwrap();
    }
}

fn away(path: &Path) -> PathBuf {
    path.with_added_extension("away")
}

/// A file that has fewer bytes until this is dropped.
pub(super) struct Shortened(PathBuf, Vec<u8>);

impl Shortened {
    /// `left` makes of its length how much is left.
    pub(super) fn new(path: PathBuf, left: fn(usize) -> usize) -> Self {
        let bytes = std::fs::read(&path).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(left(bytes.len()) as u64).unwrap();
        Self(path, bytes)
    }
}

impl Drop for Shortened {
    fn drop(&mut self) {
        std::fs::write(&self.0, &self.1).unwrap();
    }
}

/// A file or folder that its owner may not use in some way until this is dropped.
pub(super) struct Forbidden {
    path: PathBuf,
    mode: u32,
}

impl Forbidden {
    /// Gives it this mode.
    pub(super) fn new(path: PathBuf, mode: u32) -> Self {
        let before = std::fs::metadata(&path).unwrap().permissions().mode();
        set_mode(&path, mode);
        Self { path, mode: before }
    }
}

impl Drop for Forbidden {
    fn drop(&mut self) {
        set_mode(&self.path, self.mode);
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs `work` on a thread for which modes count, and on whatever threads it starts: root may do anything otherwise.
pub(super) fn as_a_user(work: impl FnOnce() + Send + 'static) {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let unprivileged = move || {
        let mut sets = capabilities(None).unwrap();
        sets.effective &= !(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
        set_capabilities(None, sets).unwrap();
        work();
    };
    let done = std::thread::spawn(unprivileged).join();
    done.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked));
}
