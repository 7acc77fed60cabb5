//! Brokers that are silent, and one that starts again and again. A silent broker is continued within 50 s: after a minute
//! its kubelet would end it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::kube::{LEDGER, broker, until};
use e2e::load::block_on;
use e2e::wire::Wire;
use milena_client::admin::{NewTopic, Resource};
use milena_protocol::api::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResource, IncrementalAlterableConfig,
};
use milena_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use milena_protocol::header::decode_response;

use crate::stage::{BROKERS, Stage, others, pod_name, write};
use crate::undo::Undo;

/// Threads that change the metadata.
const CHANGERS: u32 = 3;
/// A topic that is there for its settings.
const CHANGED: &str = "changed";
/// More leaders than are usual in that time.
const ELECTIONS: usize = 7;
/// So many of those who led are silent for their session.
const FENCINGS: usize = 4;
/// Others elect within a second; a session is 3 s.
const TURN_LIMIT: Duration = Duration::from_secs(15);
/// More starts than are usual in that time.
const STARTS: usize = 4;
/// From a pod's deletion until the next one's metrics were read.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The first version that knows what may be left out here.
const COMMIT_VERSION: i16 = 7;
const COMMIT_ID: i32 = 5;
const GROUP: &str = "waiting";

/// Stops these brokers' processes.
fn silence<'a>(stage: &'a Stage<'_>, brokers: &[i32]) -> Result<Undo<'a>> {
    let pods: Result<Vec<_>> = brokers.iter().map(|id| stage.pod(*id)).collect();
    let (stopped, kube) = (pods?, &stage.scene.kube);
    let pods = stopped.clone();
    let undo = Undo::by(move || {
        let continued = pods.iter().map(|pod| broker::signal(kube, pod, "CONT"));
        // Each, also behind one that is not there any more.
        continued.fold(Ok(()), Result::and)
    });
    for pod in &stopped {
        broker::signal(kube, pod, "STOP")?;
    }
    Ok(undo)
}

/// A follower of the quorum is silent; what others have to wait for until it is fenced is asked of them, and much of the
/// metadata is changed meanwhile.
pub fn one_is_silent<'a>(stage: &'a Stage<'_>) -> Result<Undo<'a>> {
    let leader = stage.quorum_leader(BROKERS[0])?;
    let silent = others(leader)[0];
    let view = stage.view(leader)?;
    let led = (0..stage.target.partitions).find(|at| view.leader(LEDGER, *at) == Some(leader));
    let led = led.with_context(|| format!("broker {leader} leads nothing: {view}"))?;
    let mut wire = Wire::connect(stage.address(leader))?;
    // One that has just started has no such series, and Prometheus sees no increase in one that was not there.
    ensure!(write(&mut wire, LEDGER, led, 1)?, "a write is refused");
    let pod = pod_name(leader);
    let seen = format!("milena_request_duration_seconds_count{{api=\"Produce\",pod=\"{pod}\"}}");
    until("a first write is seen", TURN_LIMIT, || {
        ensure!(!stage.prometheus.query(&seen)?.is_empty(), "none is");
        Ok(())
    })?;
    block_on(stage.client(&[leader]).create_topic(
        &NewTopic {
            name: CHANGED.to_owned(),
            partitions: Some(1),
            replication_factor: Some(2),
            configs: Vec::new(),
        },
        false,
    ))??;
    let changes = Changes::at(stage.address(leader))?;
    let silent = silence(stage, &[silent])?;
    let undo = Undo::by(move || {
        silent.end()?;
        changes.end()
    });
    ensure!(write(&mut wire, LEDGER, led, 1)?, "a write is refused");
    Ok(undo)
}

/// Threads that change the metadata again and again. Changes that come while an entry is under way share the next one: a
/// few threads make more entries than one, and many make no more.
struct Changes {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<u32>>>,
}

impl Changes {
    /// Asked of one broker: what clients take for the controller is any, also a silent one.
    fn at(address: &str) -> Result<Self> {
        let end = Arc::new(AtomicBool::new(false));
        let change = |thread: u32| -> Result<_> {
            let (wire, end) = (Wire::connect(address)?, end.clone());
            Ok(spawn(move || change_metadata(wire, thread, &end)))
        };
        let threads: Result<_> = (1..=CHANGERS).map(change).collect();
        Ok(Self {
            end,
            threads: threads?,
        })
    }

    fn end(self) -> Result<()> {
        self.end.store(true, Ordering::Relaxed);
        let mut changes = 0;
        for thread in self.threads {
            let made = thread.join();
            changes += made.unwrap_or_else(|_| bail!("who changes the metadata has panicked"))?;
        }
        println!("{changes} changes of the metadata");
        Ok(())
    }
}

/// No two changes say the same, which would be none; how many there were.
fn change_metadata(mut wire: Wire, thread: u32, end: &AtomicBool) -> Result<u32> {
    let mut made = 0;
    while !end.load(Ordering::Relaxed) {
        made += 1;
        let request = IncrementalAlterConfigsRequest {
            resources: vec![IncrementalAlterConfigsResource {
                resource_type: Resource::Topic as i8,
                resource_name: CHANGED.into(),
                configs: vec![IncrementalAlterableConfig {
                    name: "retention.ms".into(),
                    config_operation: 0,
                    value: Some((thread * 1_000_000 + made).to_string().into()),
                }],
            }],
            validate_only: false,
        };
        let answer = wire.ask(&request, 1)?;
        let mut resources = answer.responses.iter();
        resources.try_for_each(|resource| resource.error_code.ok())?;
    }
    Ok(made)
}

/// Two of three are silent, so that nobody is fenced; a group's offsets are committed at the third, and wait for the others.
pub fn a_majority_is_silent<'a>(stage: &'a Stage<'_>) -> Result<Undo<'a>> {
    let client = stage.client(&BROKERS);
    let coordinator = block_on(client.coordinator(GROUP))??;
    let mut ids = BROKERS.into_iter();
    let coordinator = ids.find(|id| stage.address(*id) == coordinator.address());
    let coordinator = coordinator.context("the coordinator is no broker")?;
    let mut wire = Wire::connect(stage.address(coordinator))?;
    // So that the group's partition is loaded.
    check(&wire.ask(&commit(1), COMMIT_VERSION)?)?;
    let silent = silence(stage, &others(coordinator))?;
    wire.send(&commit(2), COMMIT_VERSION, COMMIT_ID)?;
    Ok(Undo::by(move || {
        silent.end()?;
        let answer = wire.receive()?.context("closed instead of an answer")?;
        let (id, answer) = decode_response::<OffsetCommitRequest>(answer, COMMIT_VERSION)?;
        ensure!(id == COMMIT_ID, "the answer to another request, {id}");
        check(&answer)
    }))
}

fn commit(offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: GROUP.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: LEDGER.into(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: offset,
                ..OffsetCommitRequestPartition::default()
            }],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

fn check(answer: &OffsetCommitResponse) -> Result<()> {
    let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let partition = partitions.next().context("no partition is answered")?;
    partition.error_code.ok()?;
    Ok(())
}

/// Nobody is left for the operator to ask.
pub fn all_are_silent<'a>(stage: &'a Stage<'_>) -> Result<Undo<'a>> {
    silence(stage, &BROKERS)
}

/// Whoever leads the quorum is silent until another leads, and some of them until they are fenced as well.
pub fn leaders_fall_silent<'a>(stage: &'a Stage<'_>) -> Result<Undo<'a>> {
    for turn in 0..ELECTIONS {
        let leader = until("the quorum is led", TURN_LIMIT, || {
            stage.quorum_leader(BROKERS[0])
        })?;
        let silent = silence(stage, &[leader])?;
        let asked = others(leader)[0];
        let is_in_sync = |wanted: bool| {
            let view = stage.view(asked)?;
            let is_so = view.in_sync(LEDGER, 0).contains(&leader) == wanted;
            ensure!(is_so, "broker {leader}: {view}");
            Ok(())
        };
        if turn < FENCINGS {
            // By the one that leads next.
            until("who led is fenced", TURN_LIMIT, || is_in_sync(false))?;
        } else {
            until("another leads", TURN_LIMIT, || {
                ensure!(stage.quorum_leader(asked)? != leader, "{leader} does");
                Ok(())
            })?;
        }
        silent.end()?;
        until("who led is back", TURN_LIMIT, || is_in_sync(true))?;
    }
    Ok(Undo::nothing())
}

/// A pod is deleted again and again: its next containers have to wait for no back-off.
pub fn one_starts_again_and_again<'a>(stage: &'a Stage<'_>) -> Result<Undo<'a>> {
    for _ in 0..STARTS {
        start_again(stage, BROKERS[1])?;
    }
    Ok(Undo::nothing())
}

/// Ends a broker with its pod, and waits until Prometheus has seen the next one.
pub fn start_again(stage: &Stage, broker: i32) -> Result<()> {
    let before = started(stage, broker)?;
    stage
        .scene
        .kubectl(&["delete", "pod", &pod_name(broker), "--grace-period=1"])?;
    until("the broker's next start is seen", START_LIMIT, || {
        let now = started(stage, broker)?;
        ensure!(now > before, "it started at {now}");
        Ok(())
    })
}

/// When a broker's process started that Prometheus saw last, in seconds since 1970.
fn started(stage: &Stage, broker: i32) -> Result<f64> {
    let pod = pod_name(broker);
    let query = format!("last_over_time(process_start_time_seconds{{pod=\"{pod}\"}}[1m])");
    let found = stage.prometheus.query(&query)?;
    let line = found.first().context("it was not seen for a minute")?;
    let value = line
        .split_once("=> ")
        .and_then(|(_, rest)| rest.split_once(" @"));
    let (value, _) = value.with_context(|| format!("no value: {line}"))?;
    Ok(value.parse()?)
}
