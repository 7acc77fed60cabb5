//! Moves on a broker with two data directories, and what is left of them in its next life.

use std::path::Path;

use milena_log::DataDirectory;
use milena_metadata::{DeleteTopics, DirectoryId, TopicReference};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::broker::Broker;
use crate::broker::tests::{append_batch, create_with};
use crate::config::Sources;
use crate::server::assemble_alone;
use crate::{directory_moves, replica_directories};

/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(30);
const RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
/// So slow that no move of more than a step is ever done.
const STILL: &[(&str, &str)] = &[(RATE, "1")];
/// Of four such records, one step copies one and a part.
const LARGE: usize = 900_000;

/// A broker whose data is in the folders `a` and `b`, with what moves logs.
struct Bench {
    broker: Arc<Broker>,
    stopping: CancellationToken,
    carrying: tokio::task::JoinHandle<()>,
}

impl Bench {
    async fn start(folder: &Path, more: &[(&str, &str)]) -> Self {
        let dirs = ["a", "b"].map(|name| folder.join(name).display().to_string());
        let metadata = folder.join("metadata").display().to_string();
        let dirs = dirs.join(",");
        let set = [("log.dirs", dirs.as_str()), ("metadata.log.dir", &metadata)];
        let set = [&set, more].concat();
        let broker = assemble_alone(Sources::of(&set).load().unwrap().0).await;
        let stopping = CancellationToken::new();
        let carrying = tokio::spawn(directory_moves::run(broker.clone(), stopping.clone()));
        Self {
            broker,
            stopping,
            carrying,
        }
    }

    /// As a stop does it, but for all that makes it a clean one.
    async fn stop_carrying(self) {
        self.stopping.cancel();
        self.carrying.await.unwrap();
    }

    fn partition(&self) -> Arc<Partition> {
        self.broker.partitions().partition("t", 0).unwrap()
    }

    fn place(&self) -> usize {
        self.broker.partitions().dir_of(&self.partition())
    }

    fn directory(&self, place: usize) -> &DataDirectory {
        &self.broker.partitions().dirs()[place].directory
    }

    fn end(&self) -> i64 {
        self.partition().reader().log_end_offset()
    }

    async fn append(&self, records: usize, size: usize) {
        for _ in 0..records {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            let now_ms = self.broker.now_ms();
            let value = vec![7; size];
            builder.push(now_ms, None, Some(&value), &[]).unwrap();
            append_batch(&self.broker, builder).await;
        }
    }

    async fn move_to(&self, place: usize) -> Result<(), ErrorCode> {
        let (partitions, partition) = (self.broker.partitions().clone(), self.partition());
        crate::blocking::run(move || partitions.move_to(&partition, place)).await
    }

    fn under_way(&self) -> usize {
        self.broker.partitions().moves.all.lock().len()
    }

    /// Folders of `t` whose names end so, in both directories.
    fn folders(&self, end: &str) -> usize {
        let names = |place| std::fs::read_dir(self.directory(place).path()).unwrap();
        let all = [0, 1].into_iter().flat_map(names);
        let named = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        named
            .filter(|name| name.starts_with("t-0") && name.ends_with(end))
            .count()
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + FOR_EVER;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// Runs a life of the broker, and ends it as a kill does.
fn live<T>(life: impl Future<Output = T>) -> T {
    let runtime = Runtime::new().unwrap();
    let lived = runtime.block_on(life);
    runtime.shutdown_timeout(FOR_EVER);
    lived
}

#[test]
fn a_log_moves_under_appends_and_lies_in_one_directory_in_the_next_life() {
    let folder = tempfile::tempdir().unwrap();
    let (place, end) = live(async {
        let bench = Bench::start(folder.path(), &[]).await;
        create_with(&bench.broker, "t", 1).await;
        bench.append(4, LARGE).await;
        let (from, lane) = (bench.place(), bench.partition().directory());
        bench.move_to(1 - from).await.unwrap();
        while bench.place() == from {
            bench.append(3, 1_000).await;
        }
        bench.append(3, 1_000).await;
        until("the move is over", || bench.under_way() == 0).await;
        assert_ne!(bench.partition().directory(), lane);
        assert_eq!((bench.folders("t-0"), bench.folders("-future")), (1, 0));
        let (place, end) = (bench.place(), bench.end());
        bench.stop_carrying().await;
        (place, end)
    });
    live(async {
        let bench = Bench::start(folder.path(), &[]).await;
        assert_eq!((bench.place(), bench.end()), (place, end));
        until("what was replaced is removed", || {
            bench.broker.partitions().empty_trash();
            bench.folders("-delete") == 0
        })
        .await;
        bench.append(1, 10).await;
        assert_eq!(bench.end(), end + 1);
        bench.stop_carrying().await;
    });
}

#[test]
fn what_was_deleted_before_a_move_stays_deleted_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    live(async {
        let bench = Bench::start(folder.path(), &[]).await;
        create_with(&bench.broker, "t", 1).await;
        bench.append(9, 100).await;
        let wanted = vec![(bench.partition(), 6)];
        let deleted = bench.broker.partitions().delete_records_before(wanted);
        assert_eq!(deleted.await.len(), 1);
        bench.partition().flush().unwrap();
        bench.move_to(1 - bench.place()).await.unwrap();
        until("the move is over", || bench.under_way() == 0).await;
        bench.stop_carrying().await;
    });
    live(async {
        let bench = Bench::start(folder.path(), &[]).await;
        assert_eq!(bench.partition().reader().log_start_offset(), 6);
        assert_eq!(bench.end(), 9);
        assert_eq!(bench.broker.partitions().recovery().batches_checked, 0);
        bench.stop_carrying().await;
    });
}

#[tokio::test]
async fn a_log_that_is_asked_back_stays_and_its_copy_goes() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path(), STILL).await;
    create_with(&bench.broker, "t", 1).await;
    bench.append(4, LARGE).await;
    let from = bench.place();
    bench.move_to(1 - from).await.unwrap();
    bench.move_to(1 - from).await.unwrap();
    assert_eq!(
        bench.folders("-future"),
        1,
        "what is asked for twice is done once"
    );
    let moves = bench.broker.partitions().moves();
    let progress = || moves.bound_for(1 - from)[0].progress();
    until("a part is copied", || progress().0 > 0).await;
    assert_eq!(progress().1, 3);
    bench.append(1, 10).await;
    assert_eq!(progress().1, 4);
    bench.move_to(from).await.unwrap();
    assert_eq!(bench.folders("-future"), 0);
    assert!(moves.bound_for(1 - from).is_empty());
    until("the move is over", || bench.under_way() == 0).await;
    bench.append(1, 10).await;
    assert_eq!((bench.place(), bench.end()), (from, 6));
    bench.stop_carrying().await;
}

#[tokio::test]
async fn a_topic_that_is_deleted_while_it_moves_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path(), STILL).await;
    create_with(&bench.broker, "t", 1).await;
    bench.append(4, LARGE).await;
    bench.move_to(1 - bench.place()).await.unwrap();
    let topics = vec![TopicReference::Name("t".to_owned())];
    bench.broker.change(DeleteTopics { topics }).await.unwrap();
    until("the move is over", || bench.under_way() == 0).await;
    assert_eq!((bench.folders("-future"), bench.folders("t-0")), (0, 0));
    create_with(&bench.broker, "t", 1).await;
    assert_eq!(bench.end(), 0);
    bench.stop_carrying().await;
}

#[test]
fn a_move_that_the_end_of_a_life_has_cut_short_is_made_in_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let from = live(async {
        let bench = Bench::start(folder.path(), STILL).await;
        create_with(&bench.broker, "t", 1).await;
        bench.append(4, LARGE).await;
        let from = bench.place();
        bench.move_to(1 - from).await.unwrap();
        bench.stop_carrying().await;
        from
    });
    live(async {
        let bench = Bench::start(folder.path(), &[]).await;
        until("the log is moved", || bench.place() != from).await;
        until("the move is over", || bench.under_way() == 0).await;
        assert_eq!((bench.folders("-future"), bench.end()), (0, 4));
        bench.stop_carrying().await;
    });
}

#[tokio::test]
async fn the_quorum_hears_where_a_log_is_and_before_that_that_it_may_be_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path(), &[]).await;
    let broker = bench.broker.clone();
    let telling = AbortOnDropHandle::new(tokio::spawn({
        let broker = broker.clone();
        async move { replica_directories::watch(&broker).await }
    }));
    create_with(&broker, "t", 1).await;
    let known = || broker.image().partition("t", 0).unwrap().replicas[0].directory;
    let id = |place: usize| DirectoryId(bench.directory(place).identity().directory_id);
    let from = bench.place();
    until("the quorum knows", || known() == id(from)).await;
    bench.append(1, 100).await;
    let partition = bench.partition();
    let held = partition.log().await;
    bench.move_to(1 - from).await.unwrap();
    until("the quorum is told", || known() == DirectoryId::UNASSIGNED).await;
    assert_eq!(bench.place(), from);
    drop(held);
    until("the quorum knows", || known() == id(1 - from)).await;
    assert_eq!(bench.place(), 1 - from);
    bench.stop_carrying().await;
    drop(telling);
}
