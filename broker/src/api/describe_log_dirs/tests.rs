//! What DescribeLogDirs says of directories that are not well.

use milena_log::faults::{Fault, inject};
use tokio::runtime::Runtime;

use super::*;
use crate::broker::tests::beside::{batch, partition};
use crate::broker::tests::{context, create_with};
use crate::config::Sources;
use crate::server::assemble_alone;

/// So many that each of two directories has some.
const PARTITIONS: i32 = 4;

async fn broker(paths: &[String; 2]) -> Arc<Broker> {
    let dirs = paths.join(",");
    let set = [("log.dirs", dirs.as_str())];
    assemble_alone(Sources::of(&set).load().unwrap().0).await
}

/// By directory: what is wrong, and how many partitions are listed.
async fn described(broker: &Broker) -> [(ErrorCode, usize); 2] {
    let request = DescribeLogDirsRequest::default();
    let results = handle(broker, &context(4), request).await.results;
    let described: Vec<_> = results
        .iter()
        .map(|dir| {
            let partitions = dir.topics.iter().map(|topic| topic.partitions.len());
            (dir.error_code, partitions.sum())
        })
        .collect();
    described.try_into().unwrap()
}

fn paths(folder: &tempfile::TempDir) -> [String; 2] {
    ["a", "b"].map(|name| folder.path().join(name).display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_whose_disk_has_refused_a_log_is_told_as_failed_with_all_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let paths = paths(&folder);
    let broker = broker(&paths).await;
    create_with(&broker, "t", PARTITIONS).await;
    let half = PARTITIONS as usize / 2;
    assert_eq!(described(&broker).await, [(ErrorCode::None, half); 2]);
    let mut all = broker.partitions().all().into_iter();
    let is_in_second = |one: &Arc<Partition>| one.reader().folder().starts_with(&paths[1]);
    let hit = all.find(is_in_second).unwrap();
    let full = inject(&paths[1], Fault::FailWrites(0));
    let refused = hit.log().await.append_as_follower(&batch(0, 0), 1);
    assert!(refused.is_err());
    drop(full);
    let expected = [
        (ErrorCode::None, half),
        (ErrorCode::KafkaStorageError, half),
    ];
    assert_eq!(described(&broker).await, expected);
}

#[test]
fn a_directory_with_a_log_that_could_not_be_opened_is_told_as_failed() {
    let folder = tempfile::tempdir().unwrap();
    let paths = paths(&folder);
    let segment = Runtime::new().unwrap().block_on(async {
        let broker = broker(&paths).await;
        create_with(&broker, "t", 1).await;
        let hit = partition(&broker, "t", 0);
        hit.log().await.append_as_follower(&batch(0, 0), 1).unwrap();
        hit.flush().unwrap();
        broker.partitions().checkpoint().unwrap();
        hit.reader().folder().join("00000000000000000000.log")
    });
    std::fs::write(&segment, [9; 200]).unwrap();
    let told = Runtime::new().unwrap().block_on(async {
        let broker = broker(&paths).await;
        described(&broker).await
    });
    let expected = paths.map(|path| match segment.starts_with(path) {
        true => (ErrorCode::KafkaStorageError, 0),
        false => (ErrorCode::None, 0),
    });
    assert_eq!(told, expected);
}
