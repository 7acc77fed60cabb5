mod back;
mod unusable;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_metadata::{
    BrokerRecord, Elected, IncarnationId, PartitionRecord, Record, TopicId, TopicRecord,
};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use tokio::runtime::Runtime;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::broker::Broker;
use crate::broker::tests::{append_batch_to, create_with};
use crate::config::Sources;
use crate::replica_directories;
use crate::server::try_assemble_alone;

/// More than a directory has files of its own, so that each gets some.
const PARTITIONS: i32 = 20;

/// The settings of a start beside its directories.
type More<'a> = &'a [(&'a str, &'a str)];

async fn start(dirs: &[&Path], more: More<'_>) -> Result<Arc<Broker>, StartError> {
    let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    let dirs = dirs.join(",");
    let mut set = vec![("log.dirs", dirs.as_str())];
    set.extend(more);
    try_assemble_alone(Sources::of(&set).load().unwrap().0).await
}

/// A life that adds a record to each partition of `t`, and ends cleanly.
fn live_and_write(dirs: &[&Path], more: More<'_>) {
    Runtime::new().unwrap().block_on(async {
        let broker = start(dirs, more).await.unwrap();
        if broker.partitions().topic("t").is_none() {
            create_with(&broker, "t", PARTITIONS).await;
        }
        for partition in 0..PARTITIONS {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            let value: &[u8] = b"kept";
            builder
                .push(broker.now_ms(), None, Some(value), &[])
                .unwrap();
            append_batch_to(&broker, partition, builder).await;
        }
        let (partitions, epoch) = (broker.partitions().clone(), broker.broker_epoch());
        let closing = crate::blocking::spawn(move || partitions.close(epoch));
        assert!(closing.await.unwrap());
    });
}

/// Where the logs of `t` end in a life with these directories; or why there is none.
fn ends(dirs: &[&Path], more: More<'_>) -> Result<Vec<i64>, String> {
    Runtime::new().unwrap().block_on(async {
        let broker = start(dirs, more).await.map_err(|error| error.to_string())?;
        let end = |partition| {
            let partition = broker.partitions().partition("t", partition);
            partition.unwrap().reader().log_end_offset()
        };
        Ok((0..PARTITIONS).map(end).collect())
    })
}

fn lost(id: &str) -> [(&str, &str); 1] {
    [("log.dirs.lost", id)]
}

fn put_back(from: &Path, to: &Path) {
    std::fs::remove_dir_all(to).unwrap();
    std::fs::rename(from, to).unwrap();
}

fn id_of(dir: &Path) -> String {
    let text = std::fs::read_to_string(dir.join("meta.properties")).unwrap();
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("directory.id="));
    id.unwrap().to_owned()
}

#[test]
fn a_broker_alone_does_not_start_without_a_directory_that_has_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, away] = ["first", "second", "away"].map(|name| folder.path().join(name));
    let dirs = &[first.as_path(), second.as_path()];
    live_and_write(dirs, &[]);
    let id = id_of(&second);
    std::fs::rename(&second, &away).unwrap();
    for _ in 0..2 {
        let refused = ends(dirs, &[]).unwrap_err();
        let says = |text: &str| assert!(refused.contains(text), "{text} is not in: {refused}");
        says(&second.display().to_string());
        says("without meta.properties");
        says(&format!("log.dirs.lost={id}"));
        assert!(
            first.join(".kafka_cleanshutdown").exists(),
            "what is there is left as it was"
        );
    }
    put_back(&away, &second);
    let whole = vec![1; PARTITIONS as usize];
    assert_eq!(ends(dirs, &[]).unwrap(), whole);

    std::fs::rename(&second, &away).unwrap();
    let without = ends(dirs, &lost(&id)).unwrap();
    assert!(
        without.contains(&0) && without.contains(&1),
        "what was elsewhere is still there: {without:?}"
    );
    assert_eq!(ends(dirs, &[]).unwrap(), without, "it is said once");
}

/// A life that tells the quorum where its logs are.
fn live_and_tell(dirs: &[&Path]) {
    Runtime::new().unwrap().block_on(async {
        let broker = start(dirs, &[]).await.unwrap();
        let _telling = AbortOnDropHandle::new(tokio::spawn({
            let broker = broker.clone();
            async move { replica_directories::watch(&broker).await }
        }));
        let is_told = |partition| {
            let image = broker.image();
            let replica = image.partition("t", partition).unwrap().replicas[0];
            replica.directory != DirectoryId::UNASSIGNED
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !(0..PARTITIONS).all(is_told) {
            assert!(Instant::now() < deadline, "the quorum is not told");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn what_was_in_a_directory_that_is_given_up_may_lack_records_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let dirs = &[first.as_path(), second.as_path()];
    live_and_write(dirs, &[]);
    live_and_tell(dirs);
    let id = id_of(&second);
    std::fs::remove_dir_all(&second).unwrap();
    Runtime::new().unwrap().block_on(async {
        let broker = start(dirs, &lost(&id)).await.unwrap();
        let image = broker.image();
        let mut lossy = 0;
        for partition in 0..PARTITIONS {
            let begins_anew = {
                let here = broker.partitions().partition("t", partition).unwrap();
                here.reader().log_end_offset() == 0
            };
            let elected = image.partition("t", partition).unwrap().elected;
            assert_eq!(elected.may_lose(), begins_anew, "{partition}");
            lossy += i32::from(begins_anew);
        }
        assert!(lossy > 0 && lossy < PARTITIONS);
    });
}

#[test]
fn a_directory_that_left_log_dirs_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    live_and_write(&[&first, &second], &[]);
    let refused = ends(&[&first], &[]).unwrap_err();
    assert!(refused.contains(&id_of(&second)), "{refused}");
}

#[test]
fn a_broker_alone_does_not_start_without_its_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, away] = ["first", "second", "away"].map(|name| folder.path().join(name));
    let dirs = &[first.as_path(), second.as_path()];
    live_and_write(dirs, &[]);
    std::fs::rename(&first, &away).unwrap();
    for _ in 0..2 {
        let refused = ends(dirs, &[]).unwrap_err();
        assert!(refused.contains("there is no metadata in"), "{refused}");
    }
    put_back(&away, &first);
    assert_eq!(ends(dirs, &[]).unwrap(), vec![1; PARTITIONS as usize]);
}

#[test]
fn a_broker_alone_does_not_start_without_all_its_directories_beside_its_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, away, metadata] =
        ["first", "second", "away", "metadata"].map(|name| folder.path().join(name));
    let dirs = &[first.as_path(), second.as_path()];
    let metadata = metadata.display().to_string();
    let beside = &[("metadata.log.dir", metadata.as_str())];
    live_and_write(dirs, beside);
    std::fs::create_dir(&away).unwrap();
    for (dir, name) in [(&first, "first"), (&second, "second")] {
        std::fs::rename(dir, away.join(name)).unwrap();
    }
    for _ in 0..2 {
        let refused = ends(dirs, beside).unwrap_err();
        assert!(refused.contains("log.dirs.lost="), "{refused}");
    }
    for (dir, name) in [(&first, "first"), (&second, "second")] {
        put_back(&away.join(name), dir);
    }
    assert_eq!(ends(dirs, beside).unwrap(), vec![1; PARTITIONS as usize]);
}

#[test]
fn a_folder_with_the_name_of_a_partition_and_no_log_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos-2024");
    std::fs::create_dir(&photos).unwrap();
    for _ in 0..2 {
        Runtime::new().unwrap().block_on(async {
            let broker = start(&[folder.path()], &[]).await.unwrap();
            let partitions = broker.partitions().clone();
            let sweeping = crate::blocking::spawn(move || partitions.sweep());
            sweeping.await.unwrap();
        });
        assert!(photos.exists());
    }
}

const HERE: DirectoryId = DirectoryId(Uuid([1; 16]));
const GONE: DirectoryId = DirectoryId(Uuid([2; 16]));
const ELSEWHERE: DirectoryId = DirectoryId(Uuid([9; 16]));

fn broker(number: i32) -> BrokerId {
    BrokerId::new(number).unwrap()
}

/// A partition `t-0` of these brokers; broker 1 has it in `directory`.
fn image(directory: DirectoryId, brokers: &[i32], isr: &[i32]) -> Image {
    let topic = TopicId(Uuid([7; 16]));
    let life = BrokerRecord {
        id: broker(1),
        epoch: 1,
        incarnation: IncarnationId(Uuid([3; 16])),
        endpoints: Vec::new(),
        node: None,
        rack: None,
        pool: None,
        directories: vec![HERE, GONE],
        software: "test".into(),
        levels: Default::default(),
        last_end: LastEnd::Clean,
        fenced: false,
        draining: false,
        stopping: false,
    };
    let replica = |&number: &i32| Replica {
        broker: broker(number),
        directory: match number {
            1 => directory,
            _ => ELSEWHERE,
        },
    };
    let state = PartitionRecord {
        topic,
        partition: PartitionId::new(0).unwrap(),
        replicas: brokers.iter().map(replica).collect(),
        isr: isr.iter().map(|number| broker(*number)).collect(),
        elr: Vec::new(),
        leader: isr.first().map(|number| broker(*number)),
        last_leader: None,
        leader_epoch: 0,
        partition_epoch: 0,
        elected: Elected::InSync,
        unopened: Vec::new(),
        reassignment: None,
    };
    let name = TopicName::new("t").unwrap();
    let records: Vec<Record> = vec![
        life.into(),
        TopicRecord { id: topic, name }.into(),
        state.into(),
    ];
    let mut image = Image::default();
    image.apply_entry(1, &records).unwrap();
    image
}

/// What broker 1 finds that comes with `HERE`.
fn found(image: &Image, lost: &[DirectoryId], has_log: bool) -> Missing {
    let present = Present {
        broker: broker(1),
        directories: BTreeSet::from([HERE]),
        has_logs: has_log,
        has_metadata_elsewhere: false,
        has_log: |_: &TopicName, _| has_log,
    };
    find(image, &present, &lost.iter().copied().collect())
}

#[test]
fn other_disks_begin_anew_also_after_a_start_that_ended_before_it_was_registered() {
    const ANEW: DirectoryId = DirectoryId(Uuid([4; 16]));
    let image = image(GONE, &[1], &[1]);
    // The directories, whether they have logs, whether the metadata was elsewhere, and whether the start is refused.
    let cases: [(&[DirectoryId], bool, bool, bool); 6] = [
        (&[], false, false, false),
        (&[ANEW], false, false, false),
        (&[], false, true, true),
        (&[ANEW], false, true, true),
        (&[ANEW], true, false, true),
        (&[ANEW, HERE], false, false, true),
    ];
    for (directories, has_logs, has_metadata_elsewhere, refused) in cases {
        let present = Present {
            broker: broker(1),
            directories: directories.iter().copied().collect(),
            has_logs,
            has_metadata_elsewhere,
            has_log: |_: &TopicName, _| false,
        };
        let missing = find(&image, &present, &BTreeSet::new());
        let case = format!("{directories:?} {has_logs} {has_metadata_elsewhere}");
        assert_eq!(!missing.only_there.is_empty(), refused, "{case}");
        let end = match refused {
            true => LastEnd::Killed,
            false => LastEnd::None,
        };
        assert_eq!(missing.end(LastEnd::Killed), end, "{case}");
    }
}

#[test]
fn a_start_is_refused_only_for_what_nobody_else_has() {
    let unassigned = DirectoryId::UNASSIGNED;
    // Where the replica is, the brokers that have one, those in sync, and whether the start is refused.
    let cases: [(DirectoryId, &[i32], &[i32], bool); 8] = [
        (GONE, &[1], &[1], true),
        (unassigned, &[1], &[1], true),
        (HERE, &[1], &[1], false),
        (GONE, &[1, 2], &[2, 1], false),
        // The quorum has nobody lead it before somebody decides who may.
        (GONE, &[1, 2], &[1], false),
        (unassigned, &[1, 2], &[2, 1], false),
        (unassigned, &[1, 2], &[1], true),
        // A replica that was made while this broker was away.
        (unassigned, &[1, 2], &[2], false),
    ];
    for (directory, brokers, isr, refused) in cases {
        let image = image(directory, brokers, isr);
        let case = format!("{directory:?} {brokers:?} {isr:?}");
        let is_refused = |lost: &[DirectoryId], has_log| {
            let missing = found(&image, lost, has_log);
            assert_eq!(missing.ids, BTreeSet::from([GONE]), "{case}");
            !missing.only_there.is_empty()
        };
        assert_eq!(is_refused(&[], false), refused, "{case}");
        assert_eq!(is_refused(&[ELSEWHERE], false), refused, "{case}");
        assert!(!is_refused(&[], true), "its log is here: {case}");
        assert!(!is_refused(&[GONE], false), "it is given up: {case}");
    }
}

#[test]
fn a_replica_that_the_quorum_trusts_without_knowing_where_it_is_counts_as_unclean() {
    let told_of = |end, directory, isr: &[i32]| {
        let image = image(directory, &[1, 2], isr);
        found(&image, &[], false).end_to_tell(end)
    };
    let told = |directory, isr: &[i32]| told_of(LastEnd::Clean, directory, isr);
    assert_eq!(told(DirectoryId::UNASSIGNED, &[2, 1]), LastEnd::Unclean);
    assert_eq!(told(DirectoryId::UNASSIGNED, &[2]), LastEnd::Clean);
    assert_eq!(told(GONE, &[2, 1]), LastEnd::Clean);
    let of_new = told_of(LastEnd::None, DirectoryId::UNASSIGNED, &[2, 1]);
    assert_eq!(of_new, LastEnd::None, "that says more");
}
