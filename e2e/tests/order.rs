//! Answers come in the order of the requests, under every mix of them, and only Produce is overlapped.

#[path = "order/expected.rs"]
mod expected;
#[path = "order/mix.rs"]
mod mix;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::broker::Broker;
use e2e::load::{
    FETCH_VERSION, PRODUCE_VERSION, batch, create_topic, fetch, fetch_one, produce, produce_one,
};
use e2e::wire::Wire;
use expected::{
    COMMIT_VERSION, Expected, FIND_COORDINATOR_VERSION, JOIN_VERSION, Seen, check, check_fetch,
};
use milena_protocol::api::find_coordinator::FindCoordinatorRequest;
use milena_protocol::api::join_group::JoinGroupRequest;
use milena_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use milena_protocol::header::decode_response;
use milena_protocol::records::Compression;
use mix::{Known, Mix, join};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const TOPIC: &str = "ordered";
/// Every record of it is on disk before it is acknowledged or shown, so that each Produce waits.
const SYNCED: &str = "synced";
/// Nobody writes to it: a fetch of it waits its whole time.
const SILENT: &str = "silent";
/// Commits without members.
const GROUP: &str = "a group";
/// For which a fetch waits, and a new group for more members.
const WAIT: Duration = Duration::from_millis(40);
/// Connections with a mix of their own, one after the other.
const ROUNDS: usize = 12;
/// Requests of one mix, all sent before the first answer is read, or bursts of them.
const REQUESTS: usize = 150;
/// For how long the group's coordinator may load.
const LOAD_TIME: Duration = Duration::from_secs(20);

/// Commits an offset without being a member.
fn commit(topic: &str, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: GROUP.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.into(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: offset,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Waits until the group has a coordinator that takes commits.
fn until_coordinated(bootstrap: &str) -> Result<()> {
    let mut wire = Wire::connect(bootstrap)?;
    let begun = Instant::now();
    loop {
        let find = FindCoordinatorRequest {
            key: GROUP.into(),
            ..Default::default()
        };
        wire.ask(&find, FIND_COORDINATOR_VERSION)?;
        let answer = wire.ask(&commit(TOPIC, 0), COMMIT_VERSION)?;
        let code = answer.topics[0].partitions[0].error_code;
        if code.is_none() {
            return Ok(());
        }
        ensure!(begun.elapsed() < LOAD_TIME, "commits get {code}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn answers_come_in_the_order_of_the_requests_under_every_mix() -> Result<()> {
    let delay = format!("group.initial.rebalance.delay.ms={}", WAIT.as_millis());
    let mut arguments = vec!["--set", "auto.create.topics.enable=false", "--set", &delay];
    // One coordinator for all groups, so that one that is there is there for each.
    arguments.extend(["--set", "offsets.topic.num.partitions=1"]);
    let broker = Broker::start(&arguments)?;
    create_topic(&broker.bootstrap(), TOPIC, 1, &[])?;
    create_topic(&broker.bootstrap(), SYNCED, 1, &[("flush.messages", "1")])?;
    create_topic(&broker.bootstrap(), SILENT, 1, &[])?;
    until_coordinated(&broker.bootstrap())?;
    let seed: u64 = match std::env::var("SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => rand::rng().random(),
    };
    println!("SEED={seed}");
    let new = |committed| Known {
        seen: Seen::all(0),
        start: 0,
        committed,
    };
    let mut known = [new(0), new(-1)];
    let mut kinds = BTreeSet::new();
    for round in 0..ROUNDS {
        let is_synced = round % 2;
        let wire = Wire::connect(&broker.bootstrap())?;
        let random = StdRng::seed_from_u64(seed.wrapping_add(round as u64));
        let topic = [TOPIC, SYNCED][is_synced];
        let mix = Mix::new(wire, random, topic, known[is_synced], round);
        let played = mix.play(REQUESTS);
        let (after, expected) = played.with_context(|| format!("round {round}"))?;
        known[is_synced] = after;
        kinds.extend(expected);
    }
    ensure!(kinds.len() == Expected::KINDS, "only {kinds:?}");
    Ok(())
}

#[test]
fn nothing_starts_behind_a_waiting_fetch() -> Result<()> {
    let broker = Broker::start(&[])?;
    create_topic(&broker.bootstrap(), TOPIC, 1, &[])?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    let records = batch(&[Some(b"later")], Compression::None);
    // The fetch waits for the very record that stands behind it on the connection: it must wait in vain.
    let begun = Instant::now();
    wire.send(&fetch(TOPIC, 0, 0, 500), FETCH_VERSION, 1)?;
    wire.send(&produce(TOPIC, 0, -1, records), PRODUCE_VERSION, 2)?;
    check_fetch(wire.receive()?.context("closed")?, Seen::all(0))?;
    ensure!(
        begun.elapsed() >= Duration::from_millis(450),
        "it did not wait"
    );
    check(&Expected::Produced(0), wire.receive()?.context("closed")?)?;
    // Another connection's record does wake it.
    let begun = Instant::now();
    wire.send(&fetch(TOPIC, 0, 1, 20_000), FETCH_VERSION, 3)?;
    let mut other = Wire::connect(&broker.bootstrap())?;
    produce_one(
        &mut other,
        TOPIC,
        0,
        batch(&[Some(b"now")], Compression::None),
    )??;
    check_fetch(wire.receive()?.context("closed")?, Seen::all(2))?;
    ensure!(begun.elapsed() < Duration::from_secs(10), "nothing woke it");
    Ok(())
}

#[test]
fn nothing_starts_behind_a_member_that_waits_for_others() -> Result<()> {
    const DELAY: Duration = Duration::from_secs(2);
    let delay = format!("group.initial.rebalance.delay.ms={}", DELAY.as_millis());
    let broker = Broker::start(&["--set", &delay])?;
    create_topic(&broker.bootstrap(), TOPIC, 1, &[])?;
    until_coordinated(&broker.bootstrap())?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    let records = batch(&[Some(b"later")], Compression::None);
    let begun = Instant::now();
    wire.send(&join(GROUP), JOIN_VERSION, 1)?;
    wire.send(&produce(TOPIC, 0, -1, records), PRODUCE_VERSION, 2)?;
    // Another connection waits in vain for the record behind it.
    let mut other = Wire::connect(&broker.bootstrap())?;
    let early = fetch_one(&mut other, TOPIC, 0, 0)??;
    let seen_after = begun.elapsed();
    let frame = wire.receive()?.context("closed")?;
    let waited = begun.elapsed();
    let (_, joined) = decode_response::<JoinGroupRequest>(frame, JOIN_VERSION)?;
    joined.error_code.ok()?;
    ensure!(waited >= DELAY, "only {waited:?}");
    ensure!(
        early.is_empty() || seen_after >= DELAY,
        "it was shown after {seen_after:?}"
    );
    check(&Expected::Produced(0), wire.receive()?.context("closed")?)
}

#[test]
fn a_failed_produce_without_acks_closes_the_connection_after_earlier_answers() -> Result<()> {
    let broker = Broker::start(&["--set", "auto.create.topics.enable=false"])?;
    create_topic(&broker.bootstrap(), TOPIC, 1, &[])?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    let records = || batch(&[Some(b"value")], Compression::None);
    wire.send(&produce(TOPIC, 0, -1, records()), PRODUCE_VERSION, 1)?;
    wire.send(&produce("nowhere", 0, 0, records()), PRODUCE_VERSION, 2)?;
    let first = wire.receive()?.context("closed before the first answer")?;
    check(&Expected::Produced(0), first)?;
    if wire.receive()?.is_some() {
        bail!("a produce without acks was answered");
    }
    let mut other = Wire::connect(&broker.bootstrap())?;
    let kept = fetch_one(&mut other, TOPIC, 0, 0)??;
    ensure!(!kept.is_empty(), "the first produce is gone");
    Ok(())
}
