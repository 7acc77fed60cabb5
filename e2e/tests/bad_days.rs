//! What people get wrong with a cluster, and what they lose: each ends in words that say so, and harms nothing else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Plan};
use e2e::load::{batch, block_on, fetch_one, produce_one};
use e2e::process::poll;
use e2e::wire::Wire;
use milena_client::admin::NewTopic;
use milena_client::{Client, ClientOptions, Error};
use milena_protocol::ErrorCode;
use milena_protocol::records::{Compression, batches};

/// Until a broker says what is wrong, or ends because of it.
const TOLD_LIMIT: Duration = Duration::from_secs(30);
/// For a client that asks for what can't be done.
const REFUSED_LIMIT: Duration = Duration::from_secs(40);
const TOPIC: &str = "kept";

/// Asks for a topic; the broker's refusal.
fn refused_topic(cluster: &Cluster, replicas: i16) -> Result<(ErrorCode, String)> {
    let mut options = ClientOptions::new(&cluster.bootstrap());
    options.deadline = REFUSED_LIMIT;
    let topic = NewTopic {
        name: "refused".to_owned(),
        partitions: Some(1),
        replication_factor: Some(replicas),
        configs: Vec::new(),
    };
    let created = block_on(async { Client::new(options).create_topic(&topic, false).await })?;
    // What may pass is tried again until the deadline.
    let told = match created {
        Err(Error::Deadline { last, .. }) => Err(*last),
        told => told,
    };
    match told {
        Err(Error::Refused { code, message, .. }) => Ok((code, message.unwrap_or_default())),
        other => anyhow::bail!("not refused in so many words: {other:?}"),
    }
}

#[test]
fn a_replication_factor_beyond_the_brokers_is_refused_with_both_numbers() -> Result<()> {
    Cluster::with("too-many-replicas", &Plan::of(3), |cluster| {
        let (code, message) = refused_topic(cluster, 4)?;
        ensure!(code == ErrorCode::InvalidReplicationFactor, "{code:?}");
        ensure!(message.contains('4') && message.contains('3'), "{message}");
        Ok(())
    })
}

#[test]
fn replicas_that_would_share_a_node_are_refused_and_the_rule_is_named() -> Result<()> {
    let plan = Plan::of(3);
    let mut cluster = Cluster::prepare("shared-node", &plan)?;
    for (broker, machine) in [(1, "a"), (2, "a"), (3, "b")] {
        cluster.node(broker).set(&format!("broker.node={machine}"));
    }
    cluster.run(|cluster| {
        let (code, message) = refused_topic(cluster, 3)?;
        ensure!(code == ErrorCode::InvalidReplicationFactor, "{code:?}");
        ensure!(
            message.contains("no two replicas may share one"),
            "{message}"
        );
        cluster.create_topic(TOPIC, 4, 2)?;
        let view = cluster.view()?;
        for partition in 0..4 {
            let replicas = view.replicas(TOPIC, partition);
            ensure!(
                replicas.contains(&3),
                "{replicas:?} are on the same machine"
            );
        }
        Ok(())
    })
}

#[test]
fn voters_that_were_told_of_different_voters_found_nothing_and_say_so() -> Result<()> {
    let mut cluster = Cluster::prepare("other-voters", &Plan::of(3))?;
    let other = format!(
        "controller.quorum.voters=1@{},3@{}",
        cluster.node(1).peers(),
        cluster.node(3).peers()
    );
    cluster.node(3).set(&other);
    cluster.start_all()?;
    cluster.node(1).until_logged(
        &["controller.quorum.voters", "have to be the same"],
        TOLD_LIMIT,
    )?;
    for broker in cluster.ids() {
        ensure!(
            cluster.view_of(broker).is_err(),
            "broker {broker} serves clients"
        );
    }
    cluster.remove()
}

#[test]
fn of_two_brokers_with_one_number_one_ends_and_says_why() -> Result<()> {
    Cluster::with("one-number-twice", &Plan::of(3), |cluster| {
        cluster.create_topic(TOPIC, 3, 3)?;
        let mut second = cluster.stranger(4, 2)?;
        second.set(&cluster.bootstrap_setting());
        second.start()?;
        let ended = poll(TOLD_LIMIT, || {
            let status = second.ended(Duration::ZERO);
            status.map(|status| (status, second.log_tail()))
        });
        let (status, log) = ended.context("both go on, and the second never ends")?;
        ensure!(!status.success(), "it ended with {status}:\n{log}");
        ensure!(log.contains("node.id"), "{log}");
        ensure!(cluster.node(2).is_running(), "the first has ended too");
        cluster.until_in_sync()
    })
}

#[test]
fn a_node_of_another_cluster_is_kept_out() -> Result<()> {
    Cluster::with("another-cluster", &Plan::of(3), |cluster| {
        let id = cluster.view()?.cluster_id();
        let mut other = cluster.stranger(4, 4)?;
        other.start()?;
        let other_id = poll(TOLD_LIMIT, || other.view().ok()?.cluster_id());
        ensure!(other_id.is_some() && other_id != id, "{other_id:?}, {id:?}");
        other.terminate()?;
        other.ended(TOLD_LIMIT).context("it does not stop")?;
        other.set(&cluster.bootstrap_setting());
        other.start()?;
        other.until_logged(&["cluster", &id.context("no cluster id")?], TOLD_LIMIT)?;
        ensure!(!cluster.view()?.has_broker(4), "it was let in");
        Ok(())
    })
}

#[test]
fn without_a_majority_reads_go_on_and_changes_are_refused() -> Result<()> {
    Cluster::with("lost-majority", &Plan::of(3), |cluster| {
        cluster.create_topic(TOPIC, 3, 3)?;
        let survivor = cluster.leader(TOPIC, 0)?;
        let address = cluster.node(survivor).bootstrap();
        let mut wire = Wire::connect(&address)?;
        let sent = batch(&[Some(b"kept")], Compression::None);
        let offset = produce_one(&mut wire, TOPIC, 0, sent.clone())??;
        let before = cluster.node(survivor).log_end();
        for broker in cluster.ids() {
            if broker != survivor {
                cluster.node(broker).kill9()?;
            }
        }
        let words = ["majority", "the metadata can be read"];
        let survives = cluster.node(survivor);
        survives.until_logged_since(before, &words, TOLD_LIMIT)?;
        // Nobody can take the dead replicas out of the ISR.
        let written = produce_one(&mut wire, TOPIC, 0, sent)?;
        ensure!(written == Err(ErrorCode::RequestTimedOut), "{written:?}");
        let fetched = fetch_one(&mut wire, TOPIC, 0, offset)??;
        ensure!(batches(&fetched).count() == 1, "nothing is read any more");
        ensure!(
            cluster.view()?.partitions(TOPIC) == 3,
            "the metadata is gone"
        );
        let (code, message) = refused_topic(cluster, 3)?;
        ensure!(message.contains("majority"), "{code:?}: {message}");
        cluster.start_all()?;
        cluster.until_in_sync()
    })
}
