//! Through a broker without listeners whose data is in two directories.

use std::time::Duration;

use milena_log::faults::{Fault, FaultGuard, inject};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use tokio::time::{Instant, sleep};

use super::*;
use crate::broker::Broker;
use crate::broker::tests::{append_batch_to, create_with};
use crate::config::Sources;
use crate::server::assemble_alone;

/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(30);
/// Five such records are more than a chunk, and less than two.
const LARGE: usize = 900_000;
const CHUNK: usize = 4 << 20;
const PARTITIONS: i32 = 4;
const EIO: i32 = 5;
const ENOSYS: i32 = 38;

struct Bench {
    broker: Arc<Broker>,
    folder: tempfile::TempDir,
}

impl Bench {
    /// Each directory has two partitions.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dirs = ["a", "b"].map(|name| folder.path().join(name).display().to_string());
        let metadata = folder.path().join("metadata").display().to_string();
        let dirs = dirs.join(",");
        let set = [("log.dirs", dirs.as_str()), ("metadata.log.dir", &metadata)];
        let broker = assemble_alone(Sources::of(&set).load().unwrap().0).await;
        create_with(&broker, "t", PARTITIONS).await;
        let bench = Self { broker, folder };
        assert_eq!(bench.in_directory(0).len(), 2);
        bench
    }

    fn in_directory(&self, dir: usize) -> Vec<Arc<Partition>> {
        let partitions = self.broker.partitions();
        let mut all = partitions.all();
        all.retain(|partition| partitions.dir_of(partition) == dir);
        all
    }

    /// Meets a directory.
    fn inject(&self, dir: usize, fault: Fault) -> FaultGuard {
        let path = self.folder.path().join(["a/", "b/"][dir]);
        inject(path.to_str().unwrap(), fault)
    }

    /// More than a chunk, to each partition.
    async fn append(&self) {
        for partition in 0..PARTITIONS {
            for _ in 0..5 {
                let mut builder = BatchBuilder::new(BatchOptions::default());
                let now_ms = self.broker.now_ms();
                builder.push(now_ms, None, Some(&[7; LARGE]), &[]).unwrap();
                append_batch_to(&self.broker, partition, builder).await;
            }
        }
    }

    async fn tick(&self) {
        let partitions = self.broker.partitions().clone();
        crate::blocking::run(move || (0..2).for_each(|dir| partitions.flush_due(dir))).await;
    }

    async fn until_idle(&self, dir: usize) {
        let write_back = &self.broker.partitions().write_backs[dir];
        until("nobody asks", || {
            !write_back.is_busy.load(Ordering::Acquire)
        })
        .await;
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + FOR_EVER;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_disk_that_takes_no_more_holds_one_thread_and_no_append_flush_or_other_disk() {
    let bench = Bench::start().await;
    let (stalled, other) = (
        bench.inject(0, Fault::StallWriteBack),
        bench.inject(1, Fault::CountSyncs),
    );
    bench.append().await;
    bench.tick().await;
    until("the other disk has its own", || {
        other.written_back() == 2 * CHUNK
    })
    .await;
    until("one asks", || stalled.stalled() == 1).await;
    bench.append().await;
    bench.tick().await;
    until("the other disk has all", || {
        other.written_back() == 4 * CHUNK
    })
    .await;
    for partition in bench.in_directory(0) {
        partition.flush().unwrap();
        assert_eq!(partition.high_watermark(), 10);
    }
    assert_eq!((stalled.stalled(), stalled.written_back()), (1, CHUNK));
    let count = bench.inject(0, Fault::CountSyncs);
    drop(stalled);
    bench.until_idle(0).await;
    bench.tick().await;
    // One had asked for its first chunk, and the other for both when its turn came.
    until("all is asked for", || count.written_back() == 3 * CHUNK).await;
}

#[tokio::test]
async fn a_log_at_rest_asks_for_nothing() {
    let bench = Bench::start().await;
    bench.append().await;
    bench.tick().await;
    for dir in [0, 1] {
        bench.until_idle(dir).await;
    }
    let counts = [0, 1].map(|dir| bench.inject(dir, Fault::CountSyncs));
    let partitions = bench.broker.partitions().all();
    for _ in 0..2 {
        assert!(!partitions.iter().any(|one| one.is_write_back_due()));
        bench.tick().await;
    }
    assert!(counts.iter().all(|count| count.written_back() == 0));
}

#[tokio::test]
async fn a_disk_that_fails_takes_its_logs_offline() {
    let bench = Bench::start().await;
    let _fails = bench.inject(0, Fault::RefuseWriteBack(EIO));
    bench.append().await;
    bench.tick().await;
    bench.until_idle(0).await;
    for (dir, is_well) in [(0, false), (1, true)] {
        for partition in bench.in_directory(dir) {
            assert_eq!(partition.reader().check_writable().is_ok(), is_well);
            assert_eq!(partition.claimed_end(), if is_well { 5 } else { 0 });
        }
    }
}

#[tokio::test]
async fn a_file_system_without_it_is_asked_once() {
    let bench = Bench::start().await;
    let lacks = bench.inject(0, Fault::RefuseWriteBack(ENOSYS));
    for _ in 0..2 {
        bench.append().await;
        bench.tick().await;
        bench.until_idle(0).await;
    }
    assert_eq!(lacks.written_back(), CHUNK);
    let is_writable = |one: &Arc<Partition>| one.reader().check_writable().is_ok();
    assert!(bench.in_directory(0).iter().all(is_writable));
}
