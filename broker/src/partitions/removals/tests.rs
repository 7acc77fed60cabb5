//! Through a broker without listeners whose data is in two directories, and that deletes without a delay.

use std::fs::{self, File};
use std::path::PathBuf;

use milena_log::faults::{Fault, inject};
use milena_metadata::{DeleteTopics, TopicReference};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use super::*;
use crate::broker::Broker;
use crate::broker::tests::{append_batch_to, create_with};
use crate::config::Sources;
use crate::server::assemble_alone;

/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(60);
/// Bytes of a sparse file whose removal takes a hundred pauses and more.
const LARGE: u64 = 7 << 30;
const PARTITIONS: i32 = 2;

/// A broker with `t`, which stays, and `big`, of which each directory has a partition with a record.
struct Bench {
    broker: Arc<Broker>,
    /// The folder of a partition of `big`, and where it goes when it is deleted.
    folder: PathBuf,
}

async fn broker_in(folder: &Path) -> Arc<Broker> {
    let dirs = ["a", "b"].map(|name| folder.join(name).display().to_string());
    let metadata = folder.join("metadata").display().to_string();
    let dirs = dirs.join(",");
    let set = [
        ("log.dirs", dirs.as_str()),
        ("metadata.log.dir", &metadata),
        ("log.segment.delete.delay.ms", "0"),
    ];
    assemble_alone(Sources::of(&set).load().unwrap().0).await
}

impl Bench {
    async fn start(folder: &Path) -> Self {
        let broker = broker_in(folder).await;
        create_with(&broker, "t", PARTITIONS).await;
        create_with(&broker, "big", PARTITIONS).await;
        let big = broker.partitions().partition("big", 0).unwrap();
        let folder = big.reader().folder();
        fs::create_dir_all(&folder).unwrap();
        let bench = Self { broker, folder };
        bench.append().await;
        bench
    }

    /// Deletes `big`, of which one folder has a large file.
    async fn delete(&self) {
        let large = self.folder.join("00000000000000000009.log");
        File::create(large).unwrap().set_len(LARGE).unwrap();
        let topics = vec![TopicReference::Name("big".to_owned())];
        self.broker.change(DeleteTopics { topics }).await.unwrap();
        assert_eq!(self.deleted().len(), 1);
        self.broker.partitions().empty_trash();
    }

    /// What there is of the folder with the large file: where it is now.
    fn deleted(&self) -> Vec<PathBuf> {
        deleted_in(self.folder.parent().unwrap())
    }

    async fn append(&self) {
        for partition in 0..PARTITIONS {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            let now_ms = self.broker.now_ms();
            builder.push(now_ms, None, Some(b"value"), &[]).unwrap();
            append_batch_to(&self.broker, partition, builder).await;
        }
    }
}

fn deleted_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.display().to_string().ends_with("-delete"));
    paths
}

fn bytes_in(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|file| Some(file.metadata().ok()?.len()))
        .sum()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + FOR_EVER;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn the_removal_of_a_large_topic_holds_up_no_append_and_no_other_removal() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    // As a file system stands that has many blocks to free: those of a sparse file cost it nothing.
    let deleted = bench.folder.with_file_name("big-0.").display().to_string();
    let freeing = inject(&deleted, Fault::StallResizes);
    bench.delete().await;
    let large = bench.deleted().remove(0);
    until("it is being cut", || freeing.stalled() > 0).await;
    bench.append().await;
    // Of another deletion, in the other directory.
    let place = bench.broker.partitions().dir_with(&large);
    let other = bench.broker.partitions().dirs()[1 - place].directory.path();
    let small = other.join("x-0.0123456789abcdef0123456789abcdef-delete");
    fs::create_dir(&small).unwrap();
    bench.broker.partitions().trash.lock().put(small.clone(), 0);
    bench.broker.partitions().empty_trash();
    until("the small one is gone", || !small.exists()).await;
    assert!(bytes_in(&large) >= LARGE, "the large one was cut before");
    drop(freeing);
    until("the large one is gone", || !large.exists()).await;
}

#[tokio::test]
async fn the_files_of_a_deleted_topic_are_closed_so_that_they_can_be_cut() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    let is_open = |topic: &str| {
        let descriptors = fs::read_dir("/proc/self/fd").unwrap().flatten();
        let mut opened = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        let part = format!("/{topic}-0");
        opened.any(|path| path.starts_with(folder.path()) && path.to_string_lossy().contains(&part))
    };
    assert!(is_open("t"));
    let partition = bench.broker.partitions().partition("t", 0).unwrap();
    let topics = vec![TopicReference::Name("t".to_owned())];
    bench.broker.change(DeleteTopics { topics }).await.unwrap();
    assert!(!is_open("t"));
    drop(partition);
}

#[test]
fn a_stop_ends_a_removal_and_the_next_life_goes_on_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let large = runtime.block_on(async {
        let bench = Bench::start(folder.path()).await;
        bench.delete().await;
        let large = bench.deleted().remove(0);
        until("it is cut", || bytes_in(&large) < LARGE).await;
        let partitions = bench.broker.partitions().clone();
        let epoch = bench.broker.broker_epoch();
        assert!(crate::blocking::run(move || partitions.close(epoch)).await);
        large
    });
    // It waits for the threads that may block.
    drop(runtime);
    assert!(bytes_in(&large) > 0);
    Runtime::new().unwrap().block_on(async {
        let broker = broker_in(folder.path()).await;
        let partitions = broker.partitions().clone();
        until("the rest is gone", || {
            partitions.empty_trash();
            !large.exists()
        })
        .await;
    });
}
