//! A directory that refuses, and what the broker does with the others: their checkpoints, deletions, compactions and new
//! partitions.

use super::*;

/// New topics: where one in two would go to a directory that refuses, some of them do.
const NEW: usize = 4;

#[test]
fn a_directory_that_takes_no_checkpoints_leaves_the_others_theirs() {
    let mut disks = TwoDisks::start(0, &[]);
    let beside = disks.beside.clone();
    let _full = on_all(&disks, Fault::FailWrites(0));
    disks.goes_on(&beside);
    disks.partition(&beside).flush().unwrap();
    disks
        .running()
        .broker
        .partitions()
        .checkpoint()
        .unwrap_err();
    let written = |checkpoint: Checkpoint| {
        let offsets = checkpoint.read(disks.dir(false)).unwrap();
        offsets.get(&(beside.clone(), 0)).copied()
    };
    assert_eq!(written(Checkpoint::RecoveryPoint), Some(4));
    assert_eq!(written(Checkpoint::HighWatermark), Some(4));
}

#[test]
fn records_are_deleted_where_another_directory_refuses_its_checkpoint() {
    let mut disks = TwoDisks::start(1, &[]);
    let [hit, neighbour, beside] = disks.topics();
    let full = on_all(&disks, Fault::FailWrites(0));
    assert_eq!(disks.delete_records(&beside, 2), Ok(2));
    assert_eq!(disks.delete_records(&hit, 2), Err(STORAGE));
    drop(full);
    disks.kill_and_start(|_| {});
    let start = |topic: &str| disks.partition(topic).reader().log_start_offset();
    assert_eq!((start(&beside), start(&hit)), (2, 0));
    disks.goes_on(&hit);
    disks.goes_on(&neighbour);
}

#[test]
fn a_log_is_compacted_where_another_directory_refuses_its_checkpoint() {
    let disks = TwoDisks::start(1, &[("log.cleanup.policy", "compact")]);
    let beside = disks.beside.clone();
    disks.roll(&beside);
    disks.partition(&beside).flush().unwrap();
    let _full = on_all(&disks, Fault::FailWrites(0));
    compact(&disks);
    assert_eq!(disks.metric(COMPACTION_FAILURES).unwrap_or(0), 0);
    let cleaned = Checkpoint::Cleaner.read(disks.dir(false)).unwrap();
    assert_eq!(cleaned.get(&(beside, 0)), Some(&3));
}

fn create(disks: &TwoDisks, name: &str) -> Vec<String> {
    let names: Vec<String> = (0..NEW).map(|number| format!("{name}{number}")).collect();
    names
        .iter()
        .for_each(|name| disks.running().create(name, 1));
    names
}

#[test]
fn new_partitions_go_to_no_directory_that_has_refused() {
    // Either finds out: who appends, and who writes checkpoints.
    for appends in [true, false] {
        let mut disks = TwoDisks::start(1, &[]);
        let [hit, ..] = disks.topics();
        let full = on_all(&disks, Fault::FailWrites(0));
        if appends {
            assert_eq!(disks.produce(&hit), Err(STORAGE));
        } else {
            let partitions = disks.running().broker.partitions();
            partitions.checkpoint().unwrap_err();
        }
        for topic in create(&disks, "new") {
            disks.goes_on(&topic);
        }
        drop(full);
        disks.kill_and_start(|_| {});
        let new = create(&disks, "newer");
        new.iter().for_each(|topic| disks.goes_on(topic));
        let is_there = |topic: &&String| disks.folder(topic).is_dir();
        assert!(new.iter().any(|topic| is_there(&topic)), "it is well again");
    }
}

#[test]
fn where_all_directories_refuse_a_new_partition_is_offline_and_one_that_comes_after_is_served() {
    let mut disks = TwoDisks::start(1, &[]);
    let [hit, _, beside] = disks.topics();
    let other = format!("{}/", disks.dir(false).display());
    let full = [
        on_all(&disks, Fault::FailWrites(0)),
        Box::new(inject(&other, Fault::FailWrites(0))),
    ];
    assert_eq!(disks.produce(&hit), Err(STORAGE));
    assert_eq!(disks.produce(&beside), Err(STORAGE));
    let refused = create(&disks, "refused");
    assert_eq!(disks.offline_count(), 2 + NEW);
    for topic in &refused {
        assert_eq!(disks.produce(topic), Err(STORAGE));
        assert_eq!(disks.read(topic), Err(STORAGE));
    }
    drop(full);
    let new = create(&disks, "new");
    new.iter().for_each(|topic| disks.goes_on(topic));
    disks.kill_and_start(|_| {});
    for topic in disks.topics().iter().chain(&refused).chain(&new) {
        disks.goes_on(topic);
    }
}

#[test]
fn new_partitions_are_spread_by_what_is_known_to_be_here_and_no_disk_is_asked() {
    let mut disks = TwoDisks::start(1, &[]);
    for number in 0..10 {
        std::fs::create_dir(disks.dir(true).join(format!("anybodys{number}"))).unwrap();
    }
    let new = create(&disks, "new");
    new.iter().for_each(|topic| disks.goes_on(topic));
    let is_there = |topic: &&String| disks.folder(topic).is_dir();
    let there = new.iter().filter(is_there).count();
    assert!((1..NEW).contains(&there), "{there} of {NEW}");
}
