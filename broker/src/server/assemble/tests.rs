//! Starts that end before they are done.

use std::io::Write;
use std::path::Path;

use milena_protocol::records::{BatchBuilder, BatchOptions};
use tokio::runtime::Runtime;

use super::*;
use crate::broker::tests::{append_batch, create_with};
use crate::config::Sources;

const MARK: &str = ".milena-boot";

fn config(dir: &Path) -> BrokerConfig {
    let dir = dir.display().to_string();
    Sources::of(&[("log.dirs", &dir)]).load().unwrap().0
}

/// A life that appends a record to the topic `t` and is killed.
fn live(dir: &Path) {
    Runtime::new().unwrap().block_on(async {
        let broker = assemble_alone(config(dir)).await;
        create_with(&broker, "t", 1).await;
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder
            .push(broker.now_ms(), None, Some(b"value"), &[])
            .unwrap();
        append_batch(&broker, builder).await;
    });
}

/// A life that is registered, and killed.
fn live_again(dir: &Path) {
    let life = Runtime::new().unwrap();
    life.block_on(async { drop(assemble_alone(config(dir)).await) });
}

/// A start that has everything but its registration.
struct Start {
    quorum: Quorum,
    partitions: Arc<Partitions>,
    config: Arc<BrokerConfig>,
    start_wait: StartWait,
}

impl Start {
    async fn over(dir: &Path) -> (Self, Registrant) {
        let (config, start_wait) = (Arc::new(config(dir)), StartWait::default());
        let data = LockedData::lock(&config).unwrap();
        let opening = Opening {
            config: &config,
            control: tokio::runtime::Handle::current(),
            peers: None,
            start_wait: start_wait.clone(),
        };
        let quorum = opening.open(&data).await.unwrap();
        let last_life = quorum.image().broker(data.node_id()).unwrap().epoch;
        let metadata = (dir, quorum.directory());
        let data = data.claim("c", metadata, Some(last_life)).unwrap();
        let registrant = Registrant {
            id: data.node_id(),
            endpoints: Vec::new(),
            rack: None,
            directories: data.directory_ids(),
            last_end: last_end::take(data.dirs()),
        };
        let (id, dirs) = (data.node_id(), data.into_dirs());
        let metrics = Metrics::new().unwrap();
        let start = Self {
            quorum,
            partitions: Arc::new(Partitions::new(id, dirs, Clock, metrics)),
            config,
            start_wait,
        };
        (start, registrant)
    }

    fn joining(&self) -> Joining<'_> {
        Joining {
            quorum: &self.quorum,
            partitions: &self.partitions,
            config: &self.config,
            start_wait: &self.start_wait,
        }
    }
}

/// How the life before ended, as a start has it that ends without being registered.
fn found_by_a_start_in_vain(dir: &Path) -> LastEnd {
    Runtime::new().unwrap().block_on(async {
        let (start, mut registrant) = Start::over(dir).await;
        start.quorum.stop().await;
        let last_end = registrant.last_end;
        let registered = start.joining().register(&mut registrant, last_end).await;
        registered.unwrap_err();
        last_end
    })
}

#[test]
fn an_unclean_end_is_not_forgotten_by_a_start_that_was_never_registered() {
    let dir = tempfile::tempdir().unwrap();
    live(dir.path());
    std::fs::write(dir.path().join(MARK), "another boot 1\n").unwrap();
    for _ in 0..2 {
        assert_eq!(found_by_a_start_in_vain(dir.path()), LastEnd::Unclean);
    }
    live_again(dir.path());
    assert_eq!(found_by_a_start_in_vain(dir.path()), LastEnd::Killed);
}

#[test]
fn a_start_that_has_cut_a_log_counts_as_unclean_until_the_quorum_knows() {
    let dir = tempfile::tempdir().unwrap();
    live(dir.path());
    let log = dir.path().join("t-0/00000000000000000000.log");
    let log = std::fs::File::options().append(true).open(log);
    log.unwrap().write_all(b"a torn batch").unwrap();
    Runtime::new().unwrap().block_on(async {
        let (start, registrant) = Start::over(dir.path()).await;
        assert_eq!(registrant.last_end, LastEnd::Killed);
        assert!(start.joining().open().await, "it was not cut");
    });
    assert_eq!(found_by_a_start_in_vain(dir.path()), LastEnd::Unclean);
    live_again(dir.path());
    assert_eq!(found_by_a_start_in_vain(dir.path()), LastEnd::Killed);
}
