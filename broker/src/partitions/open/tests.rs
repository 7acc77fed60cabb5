//! Logs that lack something of what their checkpoints say, or are damaged, when a broker's next life opens them.

mod unopened;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_log::Checkpoint;
use milena_log::faults::{Fault, inject};
use milena_metadata::PartitionId;
use milena_protocol::ErrorCode;
use tokio::runtime::Runtime;

use super::{LogToOpen, open_all};
use crate::broker::Broker;
use crate::broker::tests::beside::{batch, create_on, partition, register};
use crate::broker::tests::create_with;
use crate::config::Sources;
use crate::server::assemble_alone;

const RECORDS: i64 = 9;

async fn broker(dir: &Path) -> Arc<Broker> {
    let dir = dir.display().to_string();
    let set = [
        ("log.dirs", dir.as_str()),
        // Nobody is fenced for being silent.
        ("broker.session.timeout.ms", "3600000"),
    ];
    assemble_alone(Sources::of(&set).load().unwrap().0).await
}

fn segment(dir: &Path) -> PathBuf {
    dir.join("t-0/00000000000000000000.log")
}

fn strays(dir: &Path) -> usize {
    let names = fs::read_dir(dir).unwrap();
    let is_stray = |name: &str| name.starts_with("t-0.") && name.ends_with("-stray");
    names
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            is_stray(name.to_str().unwrap())
        })
        .count()
}

/// A life with a log of [`RECORDS`] records, which this broker leads or broker 101 does, and which ends cleanly or not.
fn first_life(dir: &Path, leads: bool, is_clean: bool) {
    first_life_with(dir, leads, is_clean, None);
}

/// The same, where a second segment begins at an offset.
fn first_life_with(dir: &Path, leads: bool, is_clean: bool, rolls_at: Option<i64>) {
    Runtime::new().unwrap().block_on(async {
        let broker = broker(dir).await;
        register(&broker, 101, None).await;
        let me = broker.node_id();
        match leads {
            true => create_on(&broker, "t", &[&[me]]).await,
            false => create_on(&broker, "t", &[&[101, me]]).await,
        }
        let partition = partition(&broker, "t", 0);
        {
            let mut log = partition.log().await;
            for offset in 0..RECORDS {
                if rolls_at == Some(offset) {
                    log.roll(1).unwrap();
                }
                log.append_as_follower(&batch(offset, 0), 1).unwrap();
            }
        }
        partition.flush().unwrap();
        match is_clean {
            true => {
                let (partitions, epoch) = (broker.partitions().clone(), broker.broker_epoch());
                let closing = crate::blocking::spawn(move || partitions.close(epoch));
                assert!(closing.await.unwrap());
            }
            false => broker.partitions().checkpoint().unwrap(),
        }
    });
    let known = Checkpoint::RecoveryPoint.read(dir).unwrap();
    assert_eq!(known.get(&("t".to_owned(), 0)), Some(&RECORDS));
}

/// The records that the next life has, and whether its logs were cut.
fn next_life(dir: &Path) -> (Result<i64, ErrorCode>, bool) {
    Runtime::new().unwrap().block_on(async {
        let broker = broker(dir).await;
        let found = broker.partitions().partition("t", 0);
        let end = found.map(|partition| partition.reader().log_end_offset());
        (end, broker.partitions().were_cut())
    })
}

/// Takes the last record off, whole.
fn shorten(dir: &Path) {
    let bytes = fs::read(segment(dir)).unwrap();
    let left = bytes.len() / RECORDS as usize * (RECORDS as usize - 1);
    fs::write(segment(dir), &bytes[..left]).unwrap();
}

/// Takes the first of several segments away.
fn behead(dir: &Path) {
    fs::remove_file(segment(dir)).unwrap();
}

/// Makes the last record's batch none.
fn spoil(dir: &Path) {
    let mut bytes = fs::read(segment(dir)).unwrap();
    let last = bytes.len() / RECORDS as usize * (RECORDS as usize - 1);
    bytes[last + 16] = 9;
    fs::write(segment(dir), bytes).unwrap();
}

#[test]
fn a_log_that_is_shorter_than_when_it_was_stopped_is_offline_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    first_life(dir.path(), true, true);
    shorten(dir.path());
    let before = fs::read(segment(dir.path())).unwrap();
    assert_eq!(
        next_life(dir.path()),
        (Err(ErrorCode::KafkaStorageError), false)
    );
    assert_eq!(fs::read(segment(dir.path())).unwrap(), before);
    assert_eq!(strays(dir.path()), 0);
}

#[test]
fn a_log_without_its_first_segment_is_offline_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    first_life_with(dir.path(), true, true, Some(4));
    behead(dir.path());
    let logs = || {
        let entries = fs::read_dir(dir.path().join("t-0")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.extension().is_some_and(|it| it == "log"))
            .count()
    };
    assert_eq!(
        next_life(dir.path()),
        (Err(ErrorCode::KafkaStorageError), false)
    );
    assert_eq!((logs(), strays(dir.path())), (1, 0));
}

#[test]
fn after_a_crash_a_log_that_nobody_else_has_and_that_lacks_what_had_reached_the_disk_is_offline() {
    let dir = tempfile::tempdir().unwrap();
    first_life(dir.path(), true, false);
    assert_eq!(next_life(dir.path()), (Ok(RECORDS), false));
    shorten(dir.path());
    let before = fs::read(segment(dir.path())).unwrap();
    for _ in 0..2 {
        let (found, _) = next_life(dir.path());
        assert_eq!(found, Err(ErrorCode::KafkaStorageError));
    }
    assert_eq!(fs::read(segment(dir.path())).unwrap(), before);
    let known = Checkpoint::RecoveryPoint.read(dir.path()).unwrap();
    assert_eq!(
        known.get(&("t".to_owned(), 0)),
        Some(&RECORDS),
        "it still tells"
    );
}

#[test]
fn a_log_that_begins_anew_is_not_held_against_the_checkpoints_of_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    first_life(dir.path(), true, true);
    fs::remove_dir_all(dir.path().join("t-0")).unwrap();
    Runtime::new().unwrap().block_on(async {
        let broker = broker(dir.path()).await;
        let partition = partition(&broker, "t", 0);
        let mut log = partition.log().await;
        log.append_as_follower(&batch(0, 0), 1).unwrap();
        // It is killed before it writes its checkpoints again.
    });
    assert_eq!(next_life(dir.path()), (Ok(1), false));
}

#[test]
fn after_a_crash_a_log_that_lacks_what_had_reached_the_disk_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    first_life(dir.path(), false, false);
    assert_eq!(next_life(dir.path()), (Ok(RECORDS), false));
    shorten(dir.path());
    assert_eq!(next_life(dir.path()), (Ok(RECORDS - 1), true));
}

#[test]
fn a_damaged_log_that_another_broker_leads_is_set_aside_and_begins_anew() {
    for (is_clean, harm) in [(true, spoil as fn(&Path)), (true, shorten), (false, spoil)] {
        let dir = tempfile::tempdir().unwrap();
        first_life(dir.path(), false, is_clean);
        harm(dir.path());
        let harmed = fs::read(segment(dir.path())).unwrap();
        assert_eq!(next_life(dir.path()), (Ok(0), true));
        assert_eq!(strays(dir.path()), 1, "what was there is kept");
        let kept = fs::read_dir(dir.path()).unwrap().find_map(|entry| {
            let path = entry.unwrap().path();
            fs::read(path.join("00000000000000000000.log")).ok()
        });
        assert_eq!(kept, Some(harmed));
        let known = Checkpoint::RecoveryPoint.read(dir.path()).unwrap();
        assert_eq!(known.get(&("t".to_owned(), 0)), Some(&0));
    }
}

#[test]
fn a_log_that_may_have_lost_its_first_segment_in_a_crash_is_copied_anew_from_its_leader() {
    let dir = tempfile::tempdir().unwrap();
    first_life_with(dir.path(), false, false, Some(4));
    behead(dir.path());
    assert_eq!(next_life(dir.path()), (Ok(0), true));
    assert_eq!(strays(dir.path()), 1, "what is there is kept");
    let dir = tempfile::tempdir().unwrap();
    first_life_with(dir.path(), true, false, Some(4));
    behead(dir.path());
    assert_eq!(next_life(dir.path()), (Ok(RECORDS), false));
}

/// A life that reads all of the log, and is killed.
fn read_through(dir: &Path) {
    Runtime::new().unwrap().block_on(async {
        meet_damage(&broker(dir).await).await;
    });
}

async fn meet_damage(broker: &Arc<Broker>) {
    let reader = partition(broker, "t", 0).reader().clone();
    let read = crate::blocking::spawn(move || {
        let slice = reader.read(0, 1 << 20, RECORDS, true).unwrap();
        (slice.read().is_err(), reader.check_writable().is_err())
    });
    assert_eq!(read.await.unwrap(), (true, true));
}

/// Makes the first segment's second batch none.
fn spoil_sealed(dir: &Path) {
    let mut bytes = fs::read(segment(dir)).unwrap();
    let second = bytes.len() / SEALED as usize;
    bytes[second + 16] = 9;
    fs::write(segment(dir), bytes).unwrap();
}

/// Records in the first segment of two.
const SEALED: i64 = 4;

#[test]
fn damage_that_a_reader_has_met_has_the_next_life_copy_the_log_anew_from_its_leader() {
    for harm in [spoil_sealed as fn(&Path), empty_sealed] {
        let dir = tempfile::tempdir().unwrap();
        first_life_with(dir.path(), false, true, Some(SEALED));
        // No opening looks at that segment.
        assert_eq!(next_life(dir.path()), (Ok(RECORDS), false));
        spoil_sealed(dir.path());
        read_through(dir.path());
        harm(dir.path());
        assert_eq!(next_life(dir.path()), (Ok(0), true));
        assert_eq!(strays(dir.path()), 1);
    }
}

/// As a file system that has lost its blocks.
fn empty_sealed(dir: &Path) {
    fs::write(segment(dir), []).unwrap();
}

#[test]
fn damage_that_a_reader_has_met_keeps_a_log_that_nobody_else_leads_offline_until_it_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    first_life_with(dir.path(), true, true, Some(SEALED));
    let whole = fs::read(segment(dir.path())).unwrap();
    spoil_sealed(dir.path());
    read_through(dir.path());
    for _ in 0..2 {
        let (found, _) = next_life(dir.path());
        assert_eq!(found, Err(ErrorCode::KafkaStorageError));
    }
    fs::write(segment(dir.path()), whole).unwrap();
    for _ in 0..2 {
        assert_eq!(next_life(dir.path()), (Ok(RECORDS), false));
    }
    assert_eq!(strays(dir.path()), 0);
}

#[test]
fn how_far_a_log_is_compacted_is_told_by_the_directory_that_it_lies_in() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [a, b] = [dirs[0].path(), dirs[1].path()].map(|path| path.display().to_string());
    for (first, last) in [(&a, &b), (&b, &a)] {
        let paths = format!("{first},{last}");
        let set = [
            ("log.dirs", paths.as_str()),
            ("metadata.log.dir", a.as_str()),
        ];
        Runtime::new().unwrap().block_on(async {
            let broker = assemble_alone(Sources::of(&set).load().unwrap().0).await;
            if broker.partitions().topic("t").is_none() {
                create_with(&broker, "t", 1).await;
                let here = partition(&broker, "t", 0);
                let mut log = here.log().await;
                log.append_as_follower(&batch(0, 0), 1).unwrap();
            }
            let folder = partition(&broker, "t", 0).reader().folder();
            for path in [&a, &b] {
                let offset = if folder.starts_with(path) { 1 } else { 700 };
                let offsets = [(("t".to_owned(), 0), offset)].into();
                Checkpoint::Cleaner
                    .write(Path::new(path), &offsets)
                    .unwrap();
            }
        });
        Runtime::new().unwrap().block_on(async {
            let broker = assemble_alone(Sources::of(&set).load().unwrap().0).await;
            let cleaned_to = broker.partitions().cleaned_to.lock().clone();
            assert_eq!(cleaned_to.get(&("t".to_owned(), 0)), Some(&1));
        });
    }
}

#[test]
fn a_damaged_log_that_nobody_else_leads_stays_offline_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    first_life(dir.path(), true, true);
    spoil(dir.path());
    let before = fs::read(segment(dir.path())).unwrap();
    for _ in 0..2 {
        let (found, _) = next_life(dir.path());
        assert_eq!(found, Err(ErrorCode::KafkaStorageError));
    }
    assert_eq!(fs::read(segment(dir.path())).unwrap(), before);
    assert_eq!(strays(dir.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_its_disk_keeps_waiting_holds_up_no_other_and_what_is_left_is_told() {
    const LOGS: i32 = 4;
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    create_with(&broker, "t", LOGS).await;
    let mut logs = Vec::new();
    for index in 0..LOGS {
        let here = partition(&broker, "t", index);
        let mut log = here.log().await;
        log.append_as_follower(&batch(0, 0), 1).unwrap();
        logs.push(LogToOpen {
            place: 0,
            topic: broker.image().topic("t").unwrap().clone(),
            id: PartitionId::new(index).unwrap(),
            config: here.config(),
        });
    }
    let first = dir.path().join("t-0/");
    let stall = inject(first.to_str().unwrap(), Fault::StallReads);
    let (partitions, config) = (broker.partitions().clone(), broker.config());
    let opening = std::thread::spawn(move || open_all(&partitions, &config, logs, 2));
    let left = |count: usize| {
        let page = broker.metrics().render_starting().unwrap();
        page.contains(&format!("\nmilena_logs_to_open {count}\n"))
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !left(1) {
        assert!(Instant::now() < deadline, "they wait for each other");
        std::thread::yield_now();
    }
    assert!(!opening.is_finished());
    drop(stall);
    let opened = opening.join().unwrap().by_place(1).remove(0);
    assert_eq!(opened.len(), LOGS as usize);
    assert!(left(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_of_a_log_is_counted_while_the_rest_of_it_is_still_to_be_checked() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    create_with(&broker, "t", 1).await;
    let here = partition(&broker, "t", 0);
    {
        let mut log = here.log().await;
        log.append_as_follower(&batch(0, 0), 1).unwrap();
        log.roll(1).unwrap();
        log.append_as_follower(&batch(1, 0), 1).unwrap();
    }
    let logs = vec![LogToOpen {
        place: 0,
        topic: broker.image().topic("t").unwrap().clone(),
        id: PartitionId::new(0).unwrap(),
        config: here.config(),
    }];
    let second = dir.path().join("t-0/00000000000000000001.log");
    let stall = inject(second.to_str().unwrap(), Fault::StallReads);
    let (partitions, config) = (broker.partitions().clone(), broker.config());
    let opening = std::thread::spawn(move || open_all(&partitions, &config, logs, 1));
    let deadline = Instant::now() + Duration::from_secs(60);
    let first = fs::metadata(segment(dir.path())).unwrap().len();
    while broker.metrics().recovery_bytes() < first {
        assert!(Instant::now() < deadline, "nothing is counted");
        std::thread::yield_now();
    }
    assert!(!opening.is_finished());
    drop(stall);
    assert_eq!(opening.join().unwrap().by_place(1).remove(0).len(), 1);
    assert!(broker.metrics().recovery_bytes() > first);
}
