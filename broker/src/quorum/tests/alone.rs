//! A broker alone.

use std::path::Path;

use milena_metadata::{AllocateProducerIds, DeleteTopics, TopicReference};

use super::*;
use crate::quorum::store::{Change, Writer};
use crate::quorum::types::{Applied, Proposal, Vote};

async fn open_with(options: QuorumOptions) -> Quorum {
    Quorum::open(options, rules(), None, Handle::current())
        .await
        .unwrap()
}

async fn open(dir: &Path) -> Quorum {
    open_with(QuorumOptions::alone(dir.to_owned(), 1)).await
}

#[tokio::test]
async fn what_was_answered_is_in_the_image_and_there_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = open(dir.path()).await;
    let mut changes = quorum.watch();
    quorum.request(registration()).await.unwrap();
    let created = quorum
        .request(topics(["a".into(), "a".into(), "b".into()], 3))
        .await
        .unwrap();
    assert_eq!(
        created.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [false, false, true]
    );
    assert!(changes.has_changed().unwrap());
    assert_eq!(changes.borrow_and_update().topics().count(), 1);
    let (image, status) = (quorum.image(), quorum.status());
    assert_eq!(image.topic("b").unwrap().partition_count(), 3);
    quorum.stop().await;
    assert!(matches!(
        quorum.request(registration()).await,
        Err(QuorumError::Stopped)
    ));
    let reopened = open(dir.path()).await;
    reopened.request(topics([], 1)).await.unwrap();
    assert_eq!(*reopened.image(), *image);
    assert_eq!(reopened.status().id, status.id);
    assert_eq!(reopened.directory(), quorum.directory());
}

#[tokio::test]
async fn a_core_that_panics_ends_the_member_and_nobody_waits_for_it() {
    let (dir, soon) = (tempfile::tempdir().unwrap(), Duration::from_secs(5));
    let quorum = open(dir.path()).await;
    quorum.request(registration()).await.unwrap();
    let panics = |_: &_| panic!("this is the test's own");
    quorum.member.raft.external_request(panics);
    let ended = tokio::time::timeout(soon, quorum.failed()).await;
    let why = ended.expect("it is noticed").to_string();
    assert!(why.contains("start it again"), "{why}");
    let asked = tokio::time::timeout(soon, quorum.request(registration()));
    let refused = asked.await.expect("it is refused at once").unwrap_err();
    assert!(matches!(refused, QuorumError::Failed(_)), "{refused}");
}

#[tokio::test]
async fn a_member_that_is_stopped_has_not_failed() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = open(dir.path()).await;
    quorum.stop().await;
    let failed = tokio::time::timeout(Duration::from_millis(100), quorum.failed());
    assert!(failed.await.is_err());
}

#[tokio::test]
async fn concurrent_producers_never_get_the_same_ids() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = Arc::new(open(dir.path()).await);
    let epoch = quorum.request(registration()).await.unwrap().epoch;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let quorum = quorum.clone();
        asked.spawn(async move {
            let broker = BrokerId::new(1).unwrap();
            let ask = AllocateProducerIds {
                broker,
                broker_epoch: epoch,
            };
            quorum.request(ask).await.unwrap().first
        });
    }
    let mut firsts = asked.join_all().await;
    firsts.sort();
    assert_eq!(
        firsts,
        (0..50).map(|block| block * 1_000).collect::<Vec<i64>>()
    );
}

#[tokio::test]
async fn a_refusal_has_kafkas_code_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = open(dir.path()).await;
    let before = quorum.image();
    let broker = BrokerId::new(7).unwrap();
    let ask = AllocateProducerIds {
        broker,
        broker_epoch: 1,
    };
    let error = quorum.request(ask).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::BrokerIdNotRegistered);
    assert_eq!(*quorum.image(), *before);
}

#[tokio::test]
async fn ten_thousand_partitions_are_there_after_a_reopen_and_gone_when_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = open(dir.path()).await;
    quorum.request(registration()).await.unwrap();
    let names: Vec<String> = (0..10_000).map(|topic| format!("topic-{topic}")).collect();
    let created = quorum.request(topics(names.clone(), 1)).await.unwrap();
    assert!(created.iter().all(Result::is_ok));
    quorum.stop().await;
    let quorum = open(dir.path()).await;
    let topics = names.into_iter().map(TopicReference::Name).collect();
    let deleted = quorum.request(DeleteTopics { topics }).await.unwrap();
    assert_eq!(
        deleted.iter().filter(|deleted| deleted.is_ok()).count(),
        10_000
    );
    assert_eq!(quorum.image().partition_count(), 0);
}

#[tokio::test]
async fn a_life_of_a_broker_that_takes_several_entries_begins_with_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = open(dir.path()).await;
    quorum.request(registration()).await.unwrap();
    let names = ["a", "b", "c"];
    for name in names {
        let created = quorum.request(topics([name.into()], 10_000)).await.unwrap();
        assert!(created[0].is_ok());
    }
    let before = quorum.status().last_index;
    let again = quorum.request(registration()).await.unwrap();
    assert!(quorum.status().last_index > before + 1, "several entries");
    let (image, id) = (quorum.image(), BrokerId::new(1).unwrap());
    assert_eq!(image.broker(id).unwrap().epoch, again.epoch);
    let mut states = names
        .iter()
        .flat_map(|name| image.topic(name).unwrap().partitions());
    assert!(states.all(|(_, state)| state.leader == Some(id) && state.leader_epoch == 1));
}

#[tokio::test]
async fn the_store_stays_short_whatever_is_written_and_a_reopen_reads_its_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let options = QuorumOptions {
        log_bytes_max: 20_000,
        entries_kept: 5,
        ..QuorumOptions::alone(dir.path().to_owned(), 1)
    };
    let quorum = open_with(options.clone()).await;
    for _ in 0..300 {
        quorum.request(registration()).await.unwrap();
    }
    let mut metrics = quorum.member.raft.metrics();
    let bound = Duration::from_secs(10);
    let purged =
        metrics.wait_for(|metrics| metrics.purged.is_some_and(|purged| purged.index > 100));
    tokio::time::timeout(bound, purged).await.unwrap().unwrap();
    assert!(quorum.store.log_bytes().unwrap() < 60_000);
    let image = quorum.image();
    quorum.stop().await;
    let reopened = open_with(options).await;
    reopened.request(topics([], 1)).await.unwrap();
    assert_eq!(*reopened.image(), *image);
}

#[tokio::test]
async fn an_entry_decided_on_another_image_is_skipped_and_its_proposer_told() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = open(dir.path()).await;
    quorum.request(registration()).await.unwrap();
    let before = quorum.image();
    let stale = Proposal {
        based_on: before.position().offset - 1,
        imported: None,
        records: Arc::new(before.records().collect()),
    };
    let written = quorum.member.raft.client_write(stale).await.unwrap();
    assert!(matches!(written.data, Applied::Skipped(why) if why.contains("decided at offset")));
    assert_eq!(*quorum.image(), *before);
    quorum.request(topics(["after".into()], 1)).await.unwrap();
    assert_eq!(quorum.image().topics().count(), 1);
}

#[tokio::test]
async fn the_store_of_older_software_is_imported_once_with_its_ids_and_epochs() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/quorum/import/fixture");
    for file in std::fs::read_dir(fixture).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    let expected = import::read(dir.path()).unwrap().unwrap();
    let options = QuorumOptions {
        cluster_id: Some("uXrgk6mQQqyZ-eZ9mAJkmQ".into()),
        ..QuorumOptions::alone(dir.path().to_owned(), 1)
    };
    let quorum = open_with(options.clone()).await;
    assert_eq!(*quorum.image(), expected);
    assert!(
        import::read(dir.path()).unwrap().is_none(),
        "the older files have gone"
    );
    let registered = quorum.request(registration()).await.unwrap();
    assert_eq!(registered.epoch, 197);
    let image = quorum.image();
    quorum.stop().await;
    let reopened = open_with(options.clone()).await;
    reopened.request(topics([], 1)).await.unwrap();
    assert_eq!(*reopened.image(), *image);
    reopened.stop().await;
    let other = QuorumOptions {
        cluster_id: Some("another".into()),
        ..options
    };
    let refused = Quorum::open(other, rules(), None, Handle::current())
        .await
        .err()
        .unwrap();
    assert!(matches!(refused, OpenError::Cluster { .. }), "{refused}");
}

#[tokio::test]
async fn a_vote_and_an_append_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let identity = store.identity(None).unwrap();
    let writer = Writer::start(store.clone()).unwrap();
    let vote = Vote::new(7, identity.id);
    writer.write(Change::Vote(vote)).await.unwrap();
    let entry = r#"{"log_id":{"leader_id":{"term":7,"node_id":1},"index":3},"payload":"Blank"}"#;
    writer
        .write(Change::Append(vec![(3, entry.as_bytes().to_vec())]))
        .await
        .unwrap();
    // As a crash leaves it: nothing is closed.
    let crashed = tempfile::tempdir().unwrap();
    std::fs::copy(
        dir.path().join("metadata.redb"),
        crashed.path().join("metadata.redb"),
    )
    .unwrap();
    let reopened = Store::open(crashed.path()).unwrap();
    assert_eq!(reopened.identity(None).unwrap(), identity);
    assert_eq!(reopened.vote().unwrap(), Some(vote));
    assert_eq!(reopened.last_entry().unwrap().unwrap().log_id.index, 3);
    let other = DirectoryId::random();
    assert!(matches!(
        reopened.identity(Some(other)),
        Err(StoreError::Foreign { .. })
    ));
}

#[test]
fn a_store_is_its_first_brokers_and_refuses_another_naming_both() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.identity(None).unwrap();
    store.bind_to(3).unwrap();
    store.bind_to(3).unwrap();
    let refused = store.bind_to(4).unwrap_err().to_string();
    assert!(
        refused.contains("broker 3") && refused.contains("is 4"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_store_with_bytes_changed_is_refused_or_reads_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = open(dir.path()).await;
    for name in ["a", "b", "c"] {
        quorum.request(registration()).await.unwrap();
        quorum.request(topics([name.into()], 3)).await.unwrap();
    }
    let image = quorum.image();
    quorum.stop().await;
    let whole = std::fs::read(dir.path().join("metadata.redb")).unwrap();
    let mut refused = 0;
    for byte in (0..whole.len()).step_by(997) {
        let copy = tempfile::tempdir().unwrap();
        let mut changed = whole.clone();
        changed[byte] ^= 0x10;
        std::fs::write(copy.path().join("metadata.redb"), changed).unwrap();
        let options = QuorumOptions::alone(copy.path().to_owned(), 1);
        match Quorum::open(options, rules(), None, Handle::current()).await {
            Ok(reopened) => {
                reopened.request(topics([], 1)).await.unwrap();
                assert_eq!(*reopened.image(), *image, "byte {byte}");
                reopened.stop().await;
            }
            Err(error) => {
                assert!(error.to_string().contains("metadata.redb"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
}
