//! What a client can ask of a cluster, and how its refusals read: one broker, all the way over the wire.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::load::{block_on, create_topic};
use milena_client::admin::Election;
use milena_client::{Client, ClientOptions, Error};
use milena_protocol::{ErrorCode, Uuid};

fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>, code: ErrorCode) -> Result<()> {
    let error = outcome.err().context("it was not refused")?;
    ensure!(error.code() == Some(code), "{error}");
    Ok(())
}

#[test]
fn a_client_reads_and_changes_the_cluster() -> Result<()> {
    let mut broker = Broker::start(&["--set", "broker.rack=r1"])?;
    create_topic(&broker.bootstrap(), "t", 2, &[])?;
    let client = Client::new(ClientOptions::new(&broker.bootstrap()));
    block_on(async {
        let cluster = client.describe_cluster().await?;
        let [only] = &cluster.brokers[..] else {
            anyhow::bail!("one broker: {cluster:?}");
        };
        let me = only.broker.id;
        ensure!(cluster.id.is_some() && cluster.controller == Some(me));
        ensure!(only.broker.rack.as_deref() == Some("r1") && !only.is_fenced);
        quorum(&client, me).await?;
        features(&client).await?;
        replicas(&client, me).await?;
        refused(
            client.unregister_broker(me).await,
            ErrorCode::InvalidRequest,
        )
    })??;
    broker.stop()
}

async fn quorum(client: &Client, me: i32) -> Result<()> {
    let quorum = client.describe_quorum().await?;
    ensure!(quorum.leader == Some(me) && quorum.observers.is_empty());
    let [voter] = &quorum.voters[..] else {
        anyhow::bail!("one voter: {quorum:?}");
    };
    ensure!(voter.log_end_offset == Some(quorum.high_watermark) && voter.last_fetch_ms.is_some());
    let again = client.add_raft_voter(me, voter.directory, &[]).await;
    refused(again, ErrorCode::DuplicateVoter)?;
    let stranger = client.add_raft_voter(9, Uuid::random(), &[]).await;
    refused(stranger, ErrorCode::VoterNotFound)?;
    let last = client.remove_raft_voter(me, voter.directory).await;
    refused(last, ErrorCode::InvalidRequest)
}

async fn features(client: &Client) -> Result<()> {
    let found = client.features().await?;
    let feature = found.first().context("no feature is told of")?;
    let level = (feature.name.clone(), feature.level_max);
    client.update_features(&[level], false, false).await?;
    ensure!(client.features().await?[0].level == feature.level_max);
    let off = [(feature.name.clone(), 0)];
    let without_a_word = client.update_features(&off, false, false).await;
    refused(without_a_word, ErrorCode::InvalidUpdateVersion)?;
    client.update_features(&off, true, true).await?;
    ensure!(
        client.features().await?[0].level == feature.level_max,
        "only tried"
    );
    client.update_features(&off, true, false).await?;
    ensure!(client.features().await?[0].level == 0);
    Ok(())
}

async fn replicas(client: &Client, me: i32) -> Result<()> {
    let partition = ("t".to_owned(), 0);
    let dirs = client.describe_log_dirs(me).await?;
    ensure!(dirs.len() == 1 && dirs[0].error.is_none() && dirs[0].total_bytes.is_some());
    ensure!(dirs[0].replicas.keys().any(|key| *key == partition));
    ensure!(
        client
            .elect_leaders(Election::Preferred, None)
            .await?
            .is_empty()
    );
    let asked = [partition.clone()];
    let mut answers = client
        .elect_leaders(Election::Unclean, Some(&asked))
        .await?;
    let named = answers.remove(&partition).context("not answered")?;
    refused(named, ErrorCode::ElectionNotNeeded)?;
    let wanted = BTreeMap::from([(partition.clone(), Some(vec![me, 9]))]);
    let moved = client.alter_partition_reassignments(&wanted, true).await?;
    let moved = moved.into_values().next().context("not answered")?;
    refused(moved, ErrorCode::InvalidReplicaAssignment)?;
    ensure!(client.list_partition_reassignments(None).await?.is_empty());
    Ok(())
}
