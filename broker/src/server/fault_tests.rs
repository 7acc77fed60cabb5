//! Faults of one data directory of two, played on a whole broker: what its clients are told, what is offline, that the
//! other directory serves as ever, and that a start after the fault has all that was acknowledged and nothing half-written.
//!
//! A log that its disk has refused stays offline for this life of the broker, also where the fault has gone meanwhile: what
//! the page cache and the file have is trusted again only once an opening has read it.

use std::any::Any;
use std::io::Write;

use milena_log::Checkpoint;
use milena_log::faults::{Fault, FaultGuard, inject};
use milena_protocol::ErrorCode;
use milena_protocol::api::fetch::FetchRequest;

use super::stall_tests::{on_time, until};
use super::*;
use crate::broker::tests::beside::{batch, create_on, partition, register};
use crate::broker::tests::broker_with_peers;
use crate::partition::Partition;
use crate::partitions::moves::Finish;
use two_disks::{Forbidden, STORAGE, Shortened, TakenAway, Told, TwoDisks, as_a_user};

mod at_start;
mod directories;
mod slow;
mod two_disks;
mod unusable;

const EIO: i32 = 5;
const EROFS: i32 = 30;
/// A batch's header and some of its records.
const TORN: usize = 70;

type Answer = Result<(), Told>;
/// What undoes a fault when it is dropped.
type Undo = Box<dyn Any>;

/// A fault, and all that it may and may not do.
struct Case {
    name: &'static str,
    settings: &'static [(&'static str, &'static str)],
    /// Before the fault.
    prepare: fn(&mut TwoDisks),
    fault: fn(&TwoDisks) -> Undo,
    /// What the broker, or another client, does while the fault is there.
    meanwhile: fn(&TwoDisks),
    /// While the fault is there a producer to the topic that it hits is told this, then a consumer, then a producer ...
    told: [Answer; 3],
    /// ... and a producer to another topic of that directory.
    neighbour: Answer,
    /// Whether the partition is offline from then on.
    is_offline: bool,
    /// Whether the next life is told not to trust the directory's page cache.
    is_distrusted: bool,
    /// What a consumer is told once the fault is gone, in the same life.
    read_after: Answer,
    /// What a crash has left behind the log's end.
    left: &'static [u8],
}

const REFUSED: Answer = Err(STORAGE);

/// A disk that takes no writes.
const WRITES: Case = Case {
    name: "",
    settings: &[],
    prepare: |_| {},
    fault: |_| Box::new(()),
    meanwhile: |_| {},
    told: [REFUSED, Ok(()), REFUSED],
    neighbour: REFUSED,
    is_offline: true,
    is_distrusted: true,
    read_after: Ok(()),
    left: &[],
};

fn on_all(disks: &TwoDisks, fault: Fault) -> Undo {
    Box::new(inject(&disks.all_in_it(), fault))
}

fn on_one(disks: &TwoDisks, fault: Fault) -> Undo {
    let folder = format!("{}/", disks.folder(&disks.hit).display());
    Box::new(inject(&folder, fault))
}

const OF_WRITES: &[Case] = &[
    Case {
        name: "the disk is full",
        fault: |disks| on_all(disks, Fault::FailWrites(0)),
        ..WRITES
    },
    Case {
        name: "the disk is full in the middle of a batch",
        fault: |disks| on_all(disks, Fault::FailWrites(TORN)),
        ..WRITES
    },
    Case {
        name: "a write is cut short, and the process dies before it takes the part back",
        fault: |disks| on_all(disks, Fault::RefuseWrites(10, EIO)),
        left: &[0; TORN],
        ..WRITES
    },
    Case {
        name: "a write fails",
        fault: |disks| on_all(disks, Fault::RefuseWrites(0, EIO)),
        ..WRITES
    },
    Case {
        name: "the file system was made read-only",
        fault: |disks| on_all(disks, Fault::RefuseWrites(0, EROFS)),
        ..WRITES
    },
    Case {
        name: "the file system was made read-only while the log's files were closed",
        prepare: |disks| disks.close_files(&disks.hit),
        fault: |disks| on_one(disks, Fault::RefuseOpens(EROFS)),
        neighbour: Ok(()),
        ..WRITES
    },
    Case {
        name: "one log's writes fail",
        fault: |disks| on_one(disks, Fault::RefuseWrites(TORN, EIO)),
        neighbour: Ok(()),
        ..WRITES
    },
];

/// A disk that does not bring to itself what was written.
const SYNCS: Case = Case {
    fault: |disks| on_all(disks, Fault::FailSyncs),
    ..WRITES
};

const OF_SYNCS: &[Case] = &[
    Case {
        name: "a sync that an acknowledgement waits for fails",
        settings: &[("log.flush.interval.messages", "1")],
        ..SYNCS
    },
    Case {
        name: "the sync of a full segment fails",
        meanwhile: |disks| {
            disks.roll(&disks.hit);
            let partitions = disks.running().broker.partitions();
            (0..2).for_each(|dir| partitions.flush_due(dir));
        },
        neighbour: Ok(()),
        ..SYNCS
    },
    Case {
        name: "the sync before a compaction fails",
        settings: &[("log.cleanup.policy", "compact")],
        prepare: |disks| disks.roll(&disks.hit),
        meanwhile: |disks| {
            // The second round has nothing to do with a log that is offline.
            compact(disks);
            compact(disks);
            assert_eq!(disks.metric(COMPACTION_FAILURES), Some(1));
            assert!(!disks.is_trusted(true));
        },
        neighbour: Ok(()),
        ..SYNCS
    },
];

/// Memory for the keys of a compaction.
const MAP_BYTES: usize = 1 << 20;
const UNHURRIED: Allowance = Allowance {
    map_bytes: MAP_BYTES,
    bytes_per_second: 0.0,
};
const COMPACTION_FAILURES: &str = "milena_log_care_failures_total{work=\"compaction\"}";

fn compact(disks: &TwoDisks) {
    let partitions = disks.running().broker.partitions();
    (0..2).for_each(|dir| partitions.compact(dir, &|| UNHURRIED, &CancellationToken::new()));
}

/// A bad block in one log.
const READS: Case = Case {
    fault: |disks| on_one(disks, Fault::FailReads),
    told: [REFUSED; 3],
    neighbour: Ok(()),
    read_after: REFUSED,
    ..WRITES
};

const OF_READS: &[Case] = &[
    Case {
        name: "a consumer's read fails",
        // Of the leaders' epochs nothing is read.
        meanwhile: |disks| assert_eq!(disks.ask_for_an_epoch(&disks.hit), Ok(())),
        told: [Ok(()), REFUSED, REFUSED],
        ..READS
    },
    Case {
        name: "a search by time can't read",
        meanwhile: |disks| {
            assert_eq!(disks.search_by_time(&disks.hit), Err(STORAGE));
            until("it is noted", || disks.is_offline(&disks.hit));
        },
        ..READS
    },
    Case {
        name: "a search by time can't read its own index",
        prepare: |disks| {
            disks.roll(&disks.hit);
            let hit = disks.hit.clone();
            disks.produce(&hit).unwrap();
        },
        fault: |disks| {
            let index = disks.file(&disks.hit, "timeindex");
            Box::new(inject(&index.display().to_string(), Fault::FailReads))
        },
        meanwhile: |disks| {
            assert_eq!(disks.search_by_time(&disks.hit), Err(STORAGE));
            until("it is noted", || disks.is_offline(&disks.hit));
        },
        // Of the batches all can be read.
        told: [REFUSED, Ok(()), REFUSED],
        read_after: Ok(()),
        ..READS
    },
    Case {
        name: "a compaction can't read",
        settings: &[("log.cleanup.policy", "compact")],
        prepare: |disks| {
            disks.roll(&disks.hit);
            let partition = disks.partition(&disks.hit);
            partition.flush().unwrap();
        },
        meanwhile: |disks| {
            compact(disks);
            assert!(disks.is_offline(&disks.hit));
        },
        ..READS
    },
];

/// A file is gone when it is opened next.
const GONE: Case = Case {
    prepare: |disks| disks.close_files(&disks.hit),
    told: [REFUSED; 3],
    neighbour: Ok(()),
    ..WRITES
};

const OF_FILES: &[Case] = &[
    Case {
        name: "the file that takes the appends is gone",
        fault: |disks| Box::new(TakenAway::new(disks.file(&disks.hit, "log"))),
        ..GONE
    },
    Case {
        name: "the log's folder is gone",
        fault: |disks| Box::new(TakenAway::new(disks.folder(&disks.hit))),
        ..GONE
    },
    Case {
        name: "the folder may not be entered",
        fault: |disks| Box::new(Forbidden::new(disks.folder(&disks.hit), 0)),
        ..GONE
    },
    Case {
        name: "the file may not be opened",
        fault: |disks| Box::new(Forbidden::new(disks.file(&disks.hit, "log"), 0)),
        ..GONE
    },
    Case {
        name: "no file may be made in the folder, and the segment is full",
        settings: &[("log.segment.bytes", "1048576")],
        prepare: |_| {},
        fault: |disks| Box::new(Forbidden::new(disks.folder(&disks.hit), 0o500)),
        meanwhile: |disks| {
            let partition = disks.partition(&disks.hit);
            partition.log_blocking().roll(1).unwrap_err();
        },
        told: [REFUSED, Ok(()), REFUSED],
        ..GONE
    },
];

/// Plays it to its end.
fn play(case: &Case) {
    eprintln!("{}", case.name);
    let mut disks = TwoDisks::start(1, case.settings);
    let [hit, neighbour, beside] = disks.topics();
    (case.prepare)(&mut disks);
    let fault = (case.fault)(&disks);
    (case.meanwhile)(&disks);
    let produced = disks.produce(&hit).map(drop);
    let read = disks.read(&hit).map(drop);
    let produced_again = disks.produce(&hit).map(drop);
    assert_eq!([produced, read, produced_again], case.told, "{}", case.name);
    assert_eq!(disks.produce(&neighbour).map(drop), case.neighbour);
    disks.goes_on(&beside);
    disks.running().http_get("/healthz/ready");
    drop(fault);

    // The same life, without the fault.
    let offline = [&hit, &neighbour].map(|topic| disks.is_offline(topic));
    assert_eq!(offline, [case.is_offline, case.neighbour.is_err()]);
    let count = offline.into_iter().filter(|is_offline| *is_offline).count();
    assert_eq!(disks.offline_count(), count);
    let produced = disks.produce(&hit).map(drop);
    assert_eq!(produced.is_err(), case.is_offline, "{produced:?}");
    assert_eq!(disks.read(&hit).map(drop), case.read_after);
    if case.read_after.is_ok() {
        disks.check(&hit);
    }
    assert_eq!(disks.is_trusted(true), !case.is_distrusted);
    assert!(disks.is_trusted(false), "of the directory that is well");

    // A start brings it back, a second one has the same.
    disks.kill_and_start(|disks| {
        let mut file = std::fs::File::options();
        let mut file = file.append(true).open(disks.last_segment(&hit)).unwrap();
        file.write_all(case.left).unwrap();
    });
    disks.topics().iter().for_each(|topic| disks.goes_on(topic));
    assert!(disks.stop_and_start(), "the stop was not clean");
    disks.topics().iter().for_each(|topic| disks.goes_on(topic));
}

#[test]
fn a_disk_that_takes_no_writes_costs_the_logs_that_are_written_there() {
    OF_WRITES.iter().for_each(play);
}

#[test]
fn a_disk_that_does_not_sync_costs_the_logs_that_it_was_asked_for() {
    OF_SYNCS.iter().for_each(play);
}

#[test]
fn a_bad_block_costs_its_log_whoever_comes_upon_it() {
    OF_READS.iter().for_each(play);
}

#[test]
fn a_file_that_is_gone_or_forbidden_costs_its_log() {
    as_a_user(|| OF_FILES.iter().for_each(play));
}

/// A file of a segment that takes no more appends is out of reach: the first who needs it finds that out.
const FULL: Case = Case {
    prepare: |disks| {
        disks.roll(&disks.hit);
        let hit = disks.hit.clone();
        disks.produce(&hit).unwrap();
        disks.close_files(&hit);
    },
    told: [Ok(()), REFUSED, REFUSED],
    ..GONE
};

const OF_FULL_SEGMENTS: &[Case] = &[
    Case {
        name: "a full segment is gone, and a consumer reads it",
        fault: |disks| Box::new(TakenAway::new(disks.file(&disks.hit, "log"))),
        ..FULL
    },
    Case {
        name: "a full segment may not be opened",
        fault: |disks| Box::new(Forbidden::new(disks.file(&disks.hit, "log"), 0)),
        ..FULL
    },
    Case {
        name: "a full segment is gone, and a search by time needs it",
        fault: |disks| Box::new(TakenAway::new(disks.file(&disks.hit, "log"))),
        meanwhile: |disks| {
            assert_eq!(disks.search_by_time(&disks.hit), Err(STORAGE));
            until("it is noted", || disks.is_offline(&disks.hit));
        },
        told: [REFUSED; 3],
        ..FULL
    },
];

/// Of a full segment the disk has fewer bytes than were written. Who reads it first loses its connection.
const SHORT: Case = Case {
    meanwhile: |disks| {
        disks.read(&disks.hit).unwrap_err();
        assert!(disks.is_offline(&disks.hit));
    },
    told: [REFUSED; 3],
    read_after: REFUSED,
    ..FULL
};

const OF_SHORT_SEGMENTS: &[Case] = &[
    Case {
        name: "a full segment has lost all behind the middle of its second batch",
        fault: |disks| Box::new(Shortened::new(disks.file(&disks.hit, "log"), |len| len / 2)),
        ..SHORT
    },
    Case {
        name: "a full segment has lost all its bytes",
        fault: |disks| Box::new(Shortened::new(disks.file(&disks.hit, "log"), |_| 0)),
        // Nobody was being handed a part of it: what is there again is read.
        read_after: Ok(()),
        ..SHORT
    },
];

#[test]
fn a_full_segment_that_has_become_shorter_costs_its_log() {
    OF_SHORT_SEGMENTS.iter().for_each(play);
}

#[test]
fn a_full_segment_that_is_gone_or_forbidden_costs_its_log() {
    as_a_user(|| OF_FULL_SEGMENTS.iter().for_each(play));
}

#[tokio::test]
async fn after_a_followers_failed_append_the_next_life_does_not_trust_the_page_cache() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker_with_peers(dir.path(), &[]).await;
    register(&broker, 101, None).await;
    create_on(&broker, "t", &[&[101, broker.node_id()]]).await;
    let follower = partition(&broker, "t", 0);
    let append = |offset| {
        let follower = follower.clone();
        async move {
            follower
                .append_fetched(&batch(offset, 0), 0, (0, 0), 1)
                .await
        }
    };
    append(0).await.unwrap();
    let mark = dir.path().join(".milena-boot");
    assert!(mark.exists());
    let folder = format!("{}/", dir.path().display());
    let _full = inject(&folder, Fault::FailWrites(TORN));
    let refused = append(1).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::KafkaStorageError);
    assert!(!mark.exists());
}

#[test]
fn a_stop_whose_sync_fails_is_not_taken_for_a_kill() {
    let disks = TwoDisks::start(1, &[]);
    let fails = on_all(&disks, Fault::FailSyncs);
    assert!(!disks.close(), "it is marked as clean");
    drop(fails);
    assert!(!disks.is_trusted(true) && disks.is_trusted(false));
}

/// Something in the directory's file system did not get to the disk, and no file that is open is told.
fn on_the_file_system(disks: &TwoDisks) -> Undo {
    let held_since_the_start = format!("{}/.lock", disks.dir(true).display());
    Box::new(inject(&held_since_the_start, Fault::FailSyncs))
}

#[test]
fn a_stop_heeds_a_write_back_that_failed_of_a_file_which_is_closed() {
    let mut disks = TwoDisks::start(1, &[]);
    let fails = on_the_file_system(&disks);
    assert!(!disks.close(), "it is marked as clean");
    drop(fails);
    assert!(!disks.is_trusted(true) && disks.is_trusted(false));
    let checked_from = |topic: &str| {
        let offsets = Checkpoint::RecoveryPoint.read(disks.dir(topic != disks.beside));
        offsets.unwrap().get(&(topic.to_owned(), 0)).copied()
    };
    assert_eq!(checked_from(&disks.hit), Some(0));
    assert_eq!(checked_from(&disks.beside), Some(3));
    disks.kill_and_start(|_| {});
    disks.topics().iter().for_each(|topic| disks.goes_on(topic));
}

#[test]
fn what_was_recovered_is_offline_where_its_write_back_may_have_failed() {
    let mut disks = TwoDisks::start(1, &[]);
    let [hit, neighbour, beside] = disks.topics();
    let mut fails = None;
    disks.kill_and_start(|disks| fails = Some(on_the_file_system(disks)));
    for topic in [&hit, &neighbour] {
        until("it is noted", || disks.is_offline(topic));
    }
    disks.goes_on(&beside);
    assert!(!disks.is_trusted(true) && disks.is_trusted(false));
    drop(fails);
    disks.kill_and_start(|_| {});
    disks.topics().iter().for_each(|topic| disks.goes_on(topic));
}
