//! Who votes is changed on running processes, and a survivor goes on when the majority is lost for good.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Plan, View};
use e2e::command::CommandLine;
use e2e::process::poll;
use serde_json::Value;

/// Until a member with a new disk is known, has caught up, and votes.
const JOINED_LIMIT: Duration = Duration::from_secs(30);
/// Until a new topic is everywhere.
const CREATED_LIMIT: Duration = Duration::from_secs(30);

/// The quorum as the cluster describes it.
fn quorum(milena: &CommandLine) -> Result<Value> {
    let mut described = milena.prints_json("cluster describe")?;
    Ok(described["cluster"]["quorum"].take())
}

fn brokers(members: &Value) -> Vec<i64> {
    let members = members.as_array().into_iter().flatten();
    let mut brokers: Vec<i64> = members.filter_map(|one| one["broker"].as_i64()).collect();
    brokers.sort_unstable();
    brokers
}

/// Waits until these vote, and those follow.
fn until_members(milena: &CommandLine, voters: &[i64], learners: &[i64]) -> Result<()> {
    let mut last = Value::Null;
    let are_so = poll(JOINED_LIMIT, || {
        last = quorum(milena).unwrap_or_default();
        let found = (brokers(&last["voters"]), brokers(&last["learners"]));
        (found == (voters.to_vec(), learners.to_vec())).then_some(())
    });
    are_so.with_context(|| format!("not voters {voters:?} and learners {learners:?}: {last:#}"))
}

/// Creates a topic once the others are known to be away: it has its replicas on `on`.
fn create(cluster: &Cluster, topic: &str, on: &[i32]) -> Result<()> {
    let milena = cluster.command_line();
    let others_are_fenced = || {
        let described = milena.prints_json("cluster describe").ok()?;
        let brokers = described["brokers"].as_array()?;
        let is_on = |broker: &Value| on.iter().any(|id| broker["id"] == *id);
        let mut others = brokers.iter().filter(|broker| !is_on(broker));
        others.all(|other| other["state"] == "fenced").then_some(())
    };
    poll(JOINED_LIMIT, others_are_fenced).context("who is away is not fenced")?;
    milena.prints(&format!("topic create {topic} -p 1 -r {}", on.len()))?;
    cluster.until("the topic is there", CREATED_LIMIT, |view| {
        let mut replicas = view.replicas(topic, 0);
        replicas.sort_unstable();
        replicas == on && view.leader(topic, 0).is_some()
    })
}

#[test]
fn a_wiped_voter_is_replaced_and_the_next_loss_is_survived() -> Result<()> {
    Cluster::with("replaced-voter", &Plan::of(3), |cluster| {
        let milena = cluster.command_line();
        until_members(&milena, &[1, 2, 3], &[])?;
        cluster.node(3).kill9()?;
        cluster.node(3).wipe()?;
        cluster.start(3)?;
        until_members(&milena, &[1, 2, 3], &[3])?;
        let refused = milena.run(&["cluster", "voter", "add", "3"])?;
        refused.failed(1, &["that it no longer has", "voter remove 3"])?;
        milena.prints("cluster voter remove 3")?;
        until_members(&milena, &[1, 2], &[3])?;
        milena.prints("cluster voter add 3")?;
        until_members(&milena, &[1, 2, 3], &[])?;
        // With two votes of three on lost disks this would be the end.
        let killed = cluster.quorum_leader()?;
        let killed = if killed == 3 { 1 } else { killed };
        cluster.node(killed).kill9()?;
        let left: Vec<i32> = cluster
            .ids()
            .into_iter()
            .filter(|id| *id != killed)
            .collect();
        create(cluster, "after", &left)
    })
}

/// Members that join one behind the other keep each other from having their former selves forgotten.
#[test]
fn brokers_that_lose_their_disks_together_leave_no_former_member_behind() -> Result<()> {
    Cluster::with("former-members", &Plan::of(3), |cluster| {
        for broker in [4, 5, 6] {
            cluster.join(broker)?;
        }
        let milena = cluster.command_line();
        until_members(&milena, &[1, 2, 3], &[4, 5, 6])?;
        for _ in 0..3 {
            for broker in [4, 5, 6] {
                cluster.node(broker).kill9()?;
                cluster.node(broker).wipe()?;
            }
            for broker in [4, 5, 6] {
                cluster.node(broker).start()?;
            }
            cluster.until_ready()?;
            until_members(&milena, &[1, 2, 3], &[4, 5, 6])?;
        }
        Ok(())
    })
}

#[test]
fn a_rescued_survivor_goes_on_and_the_others_join_it_anew() -> Result<()> {
    Cluster::with("rescue", &Plan::of(3), |cluster| {
        cluster.create_topic("kept", 1, 3)?;
        let id = cluster.view()?.cluster_id();
        let data = cluster.node(3).data();
        let data = data.display().to_string();
        let milena = cluster.command_line();
        let refused = milena.run(&["cluster", "rescue", "--data", &data])?;
        refused.failed(1, &["in use by another process", "stop that broker"])?;
        for broker in cluster.ids() {
            cluster.node(broker).kill9()?;
        }
        let rescue = format!("cluster rescue --data {data}");
        let shown = milena.prints(&rescue)?;
        ensure!(shown.contains("nothing was changed"), "{shown}");
        ensure!(shown.contains("the highest term goes on"), "{shown}");
        let done = milena.prints_json(&format!("{rescue} --apply"))?;
        ensure!(done["applied"] == true && done["broker"] == 3, "{done:#}");

        cluster.start(3)?;
        let milena = CommandLine::new(&cluster.node(3).bootstrap());
        until_members(&milena, &[3], &[1, 2])?;
        // One has lost its disk, the other its metadata alone.
        cluster.node(2).wipe()?;
        let metadata = cluster.node(1).data().join("quorum");
        fs::remove_dir_all(metadata).context("remove the old metadata")?;
        cluster.node(2).start()?;
        cluster.until_ready()?;
        milena.prints("cluster voter add 2")?;
        until_members(&milena, &[2, 3], &[1])?;
        create(cluster, "after", &[2, 3])?;
        cluster.node(1).start()?;
        cluster.until_in_sync()?;
        milena.prints("cluster voter add 1")?;
        until_members(&milena, &[1, 2, 3], &[])?;
        let kept = |view: &View| view.partitions("kept") == 1 && view.cluster_id() == id;
        ensure!(kept(&cluster.view()?), "what was there is gone");
        Ok(())
    })
}
