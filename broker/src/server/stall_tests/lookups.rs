//! What a disk that stalls holds up of those who look for their place in a log: the lookups there, and nothing else.

use milena_log::faults::FaultGuard;
use milena_protocol::api::fetch::FetchResponse;
use tempfile::TempDir;

use super::*;

/// More than there are workers, and than there may be lookups under way.
const READERS: usize = 32;
/// New partitions go where the fewest are, and the two directories differ by few.
const TOPICS_MAX: usize = 20;
/// Lookups of one directory that wait for its disk.
const UNDER_WAY_MAX: usize = 4;

fn assert_has_records(answer: &FetchResponse) {
    let partition = &answer.responses[0].partitions[0];
    assert_eq!(partition.error_code, ErrorCode::None);
    let records = partition.records.as_ref();
    assert!(records.is_some_and(|records| !records.is_empty()));
}

/// In each of the directories a topic of one partition, with a record.
fn topic_in_each(running: &Running, dirs: [&Path; 2]) -> [String; 2] {
    let mut wire = running.connect();
    let mut topics = [None, None];
    for number in 0..TOPICS_MAX {
        let topic = format!("looked-up-{number}");
        running.create(&topic, 1);
        offset_of(&wire.ask(&produce(&[(&topic, 0)]), PRODUCE_VERSION));
        let partition = running.broker.partitions().partition(&topic, 0).unwrap();
        let folder = partition.reader().folder();
        let at = dirs.iter().position(|dir| folder.starts_with(dir));
        topics[at.unwrap()].get_or_insert(topic);
        if topics.iter().all(Option::is_some) {
            break;
        }
    }
    topics.map(Option::unwrap)
}

/// A broker with nothing in the page cache, and with two directories, of which the first stalls reads.
struct Bench {
    /// These two go before the broker, which would wait for its lookups.
    stall: FaultGuard,
    missed: [FaultGuard; 2],
    running: Running,
    /// One in each directory.
    topics: [String; 2],
    _dirs: [TempDir; 2],
}

impl Bench {
    fn start() -> Self {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let paths = dirs.each_ref().map(TempDir::path);
        let running = Running::start_on(&paths, &[]);
        let topics = topic_in_each(&running, paths);
        let parts = paths.map(|path| path.display().to_string());
        Self {
            missed: parts.each_ref().map(|part| inject(part, Fault::MissCache)),
            stall: inject(&parts[0], Fault::StallReads),
            running,
            topics,
            _dirs: dirs,
        }
    }
}

#[test]
fn stalled_lookups_hold_up_only_who_asks_for_them() {
    let bench = Bench::start();
    let (running, [cold, other]) = (&bench.running, &bench.topics);
    let mut wire = running.connect();
    let ask = |_| {
        let mut wire = running.connect();
        wire.send(&fetch(cold, 0, 0), FETCH_VERSION);
        wire
    };
    let readers: Vec<Wire> = (0..READERS).map(ask).collect();
    until("lookups wait", || bench.stall.stalled() == UNDER_WAY_MAX);
    let begun = Instant::now();
    while begun.elapsed() < STALL {
        on_time("a produce", || {
            offset_of(&wire.ask(&produce(&[(other, 0)]), PRODUCE_VERSION));
        });
        on_time("a fetch that asks another disk", || {
            assert_has_records(&wire.ask(&fetch(other, 0, 0), FETCH_VERSION));
        });
        on_time("metadata", || {
            wire.ask(&MetadataRequest::default(), 1);
        });
    }
    assert_eq!(bench.stall.stalled(), UNDER_WAY_MAX);
    drop((bench.stall, bench.missed));
    for mut reader in readers {
        assert_has_records(&reader.receive::<FetchRequest>(FETCH_VERSION));
    }
}

#[test]
fn a_fetch_that_names_a_stalled_partition_beside_others_brings_the_others() {
    let bench = Bench::start();
    let (running, [cold, other]) = (&bench.running, &bench.topics);
    let mut wire = running.connect();
    let mut both = fetch(cold, 0, TIMEOUT_MS);
    both.topics.extend(fetch(other, 0, 0).topics);
    let found = |answer: &FetchResponse| {
        let partitions = answer.responses.iter().map(|topic| &topic.partitions[0]);
        let has_records = partitions.map(|partition| {
            assert_eq!(partition.error_code, ErrorCode::None);
            let records = partition.records.as_ref();
            records.is_some_and(|records| !records.is_empty())
        });
        has_records.collect::<Vec<_>>()
    };
    for _ in 0..2 * UNDER_WAY_MAX {
        on_time("a fetch beside a stalled lookup", || {
            assert_eq!(found(&wire.ask(&both, FETCH_VERSION)), [false, true]);
        });
    }
    assert!(bench.stall.stalled() <= UNDER_WAY_MAX);
    drop((bench.stall, bench.missed));
    until("the other one is found, too", || {
        found(&running.connect().ask(&both, FETCH_VERSION)) == [true, true]
    });
}
