//! What a disk that stalls holds up of those who look for their place in a log: the lookups there, and nothing else.

use milena_protocol::api::fetch::FetchResponse;

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

#[test]
fn stalled_lookups_hold_up_only_who_asks_for_them() {
    let (stalling, free) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let running = Running::start_on(&[stalling.path(), free.path()], &[]);
    let [cold, other] = topic_in_each(&running, [stalling.path(), free.path()]);
    let mut wire = running.connect();
    let [path, free_path] = [&stalling, &free].map(|dir| dir.path().display().to_string());
    let missed = [&path, &free_path].map(|path| inject(path, Fault::MissCache));
    let fault = inject(&path, Fault::StallReads);
    let ask = |_| {
        let mut wire = running.connect();
        wire.send(&fetch(&cold, 0, 0), FETCH_VERSION);
        wire
    };
    let readers: Vec<Wire> = (0..READERS).map(ask).collect();
    until("lookups wait", || fault.stalled() == UNDER_WAY_MAX);
    let begun = Instant::now();
    while begun.elapsed() < STALL {
        on_time("a produce", || {
            offset_of(&wire.ask(&produce(&[(&other, 0)]), PRODUCE_VERSION));
        });
        on_time("a fetch that asks another disk", || {
            assert_has_records(&wire.ask(&fetch(&other, 0, 0), FETCH_VERSION));
        });
        on_time("metadata", || {
            wire.ask(&MetadataRequest::default(), 1);
        });
    }
    assert_eq!(fault.stalled(), UNDER_WAY_MAX);
    drop((fault, missed));
    for mut reader in readers {
        assert_has_records(&reader.receive::<FetchRequest>(FETCH_VERSION));
    }
}

#[test]
fn a_fetch_that_names_a_stalled_partition_beside_others_brings_the_others() {
    let (stalling, free) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let running = Running::start_on(&[stalling.path(), free.path()], &[]);
    let [cold, other] = topic_in_each(&running, [stalling.path(), free.path()]);
    let mut wire = running.connect();
    let [path, free_path] = [&stalling, &free].map(|dir| dir.path().display().to_string());
    let missed = [&path, &free_path].map(|path| inject(path, Fault::MissCache));
    let fault = inject(&path, Fault::StallReads);
    let mut both = fetch(&cold, 0, TIMEOUT_MS);
    both.topics.extend(fetch(&other, 0, 0).topics);
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
    assert!(fault.stalled() <= UNDER_WAY_MAX);
    drop((fault, missed));
    until("the other one is found, too", || {
        found(&running.connect().ask(&both, FETCH_VERSION)) == [true, true]
    });
}
