//! What a group has committed over a long life: `__consumer_offsets` keeps the last of it, so that a start reads little.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::load::create_topic;
use e2e::process::poll;
use e2e::wire::Wire;
use milena_protocol::api::find_coordinator::FindCoordinatorRequest;
use milena_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use milena_protocol::api::offset_fetch::OffsetFetchRequest;
use milena_protocol::header::decode_response;

const GROUP: &str = "readers";
const TOPIC: &str = "read";
const PARTITIONS: i32 = 2;
const COMMIT_VERSION: i16 = 3;
const FETCH_VERSION: i16 = 5;
/// The last with one key a request.
const FIND_ONE_VERSION: i16 = 3;
/// Each of both partitions, in a batch of its own.
const COMMITS: i64 = 4_000;
/// Commits that are sent before an answer is read.
const BURST: i64 = 100;
/// The header of a batch alone has 61 bytes, and a record names its group and topic.
const COMMIT_BYTES_MIN: u64 = 100;
/// Some of them are written.
const SEGMENT_BYTES: u64 = 64 << 10;
/// For how long the group's coordinator may load, and the last compaction take.
const LIMIT: Duration = Duration::from_secs(20);

fn commit(offset: i64) -> OffsetCommitRequest {
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: offset + i64::from(partition_index),
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: GROUP.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: TOPIC.into(),
            partitions: (0..PARTITIONS).map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Commits once, as soon as somebody coordinates the group: who asks for that has the topic made.
fn begin(wire: &mut Wire) -> Result<()> {
    let begun = Instant::now();
    loop {
        let who = FindCoordinatorRequest {
            key: GROUP.into(),
            ..Default::default()
        };
        wire.ask(&who, FIND_ONE_VERSION)?;
        let answer = wire.ask(&commit(0), COMMIT_VERSION)?;
        let code = answer.topics[0].partitions[0].error_code;
        if code.is_none() {
            return Ok(());
        }
        ensure!(begun.elapsed() < LIMIT, "commits get {code}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Commits the offsets from 1 on, one after the other.
fn commit_all(wire: &mut Wire) -> Result<()> {
    for burst in 0..COMMITS / BURST {
        let first = burst * BURST + 1;
        for offset in first..first + BURST {
            wire.send(&commit(offset), COMMIT_VERSION, offset as i32)?;
        }
        for _ in 0..BURST {
            let frame = wire.receive()?.context("closed instead of an answer")?;
            let (_, answer) = decode_response::<OffsetCommitRequest>(frame, COMMIT_VERSION)?;
            for partition in &answer.topics[0].partitions {
                let code = partition.error_code;
                ensure!(code.is_none(), "a commit gets {code}");
            }
        }
    }
    Ok(())
}

/// What the group has committed, by partition.
fn committed(wire: &mut Wire) -> Result<Vec<(i32, i64)>> {
    let request = OffsetFetchRequest {
        group_id: GROUP.into(),
        ..Default::default()
    };
    let answer = wire.ask(&request, FETCH_VERSION)?;
    ensure!(answer.error_code.is_none(), "{}", answer.error_code);
    let topic = answer.topics.first().context("nothing is committed")?;
    let partitions = topic.partitions.iter();
    let mut offsets: Vec<(i32, i64)> = partitions
        .map(|one| (one.partition_index, one.committed_offset))
        .collect();
    offsets.sort_unstable();
    Ok(offsets)
}

/// Bytes of the batches that a start reads.
fn log_bytes(broker: &Broker) -> Result<u64> {
    let folder = broker.data().join("__consumer_offsets-0");
    let mut bytes = 0;
    for file in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let file = file?;
        if file.path().extension().is_some_and(|end| end == "log") {
            // One that a compaction has just replaced has none.
            bytes += file.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    Ok(bytes)
}

#[test]
fn offsets_that_were_committed_over_are_compacted_away_and_a_start_finds_the_last() -> Result<()> {
    let segment_bytes = format!("offsets.topic.segment.bytes={SEGMENT_BYTES}");
    let settings = [
        "offsets.topic.num.partitions=1",
        &segment_bytes,
        "log.cleaner.backoff.ms=50",
        "log.cleaner.min.cleanable.ratio=0.01",
    ];
    let arguments: Vec<&str> = settings.iter().flat_map(|one| ["--set", one]).collect();
    let mut broker = Broker::start(&arguments)?;
    create_topic(&broker.bootstrap(), TOPIC, PARTITIONS, &[])?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    begin(&mut wire)?;
    commit_all(&mut wire)?;

    let written = COMMITS as u64 * COMMIT_BYTES_MIN;
    let left_max = SEGMENT_BYTES + SEGMENT_BYTES / 2;
    ensure!(left_max * 4 < written, "too little is written to tell");
    // All but the last segment has little more than one record of each partition.
    let is_little = || log_bytes(&broker).ok().filter(|bytes| *bytes <= left_max);
    poll(LIMIT, is_little)
        .with_context(|| format!("{:?} of {written} bytes are left", log_bytes(&broker)))?;
    let last = vec![(0, COMMITS), (1, COMMITS + 1)];
    for is_clean in [true, false] {
        match is_clean {
            true => broker.stop()?,
            false => broker.kill9()?,
        }
        let read = log_bytes(&broker)?;
        println!("a start reads {read} of more than {written} bytes");
        ensure!(read <= left_max, "a start reads {read} bytes");
        broker.start_again()?;
        let mut wire = Wire::connect(&broker.bootstrap())?;
        let found = poll(LIMIT, || {
            committed(&mut wire).ok().filter(|now| *now == last)
        });
        found.with_context(|| format!("{:?} is committed", committed(&mut wire)))?;
    }
    broker.stop()
}
