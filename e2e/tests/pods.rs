//! What whoever runs brokers in pods relies on: a broker is ready only when it is back in sync, it is in the rack that its
//! pod is annotated with, and its data is bound to its volume.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::cluster::{Cluster, Plan};
use e2e::http::{get, is_ready, itself};
use e2e::load::{batch, block_on, produce_one};
use e2e::process::poll;
use e2e::wire::Wire;
use milena_client::admin::NewTopic;
use milena_protocol::records::Compression;

/// Until a broker says what it was told, or ends because of it.
const TOLD_LIMIT: Duration = Duration::from_secs(30);
/// Until a wiped broker has copied everything, at [`COPIED_PER_SECOND`].
const COPIED_LIMIT: Duration = Duration::from_secs(120);
const TOPIC: &str = "kept";
const PARTITIONS: i32 = 3;
/// Bytes in each partition.
const KEPT_BYTES: usize = 600_000;
/// A wiped broker takes some seconds to copy everything at this rate, so that it is seen to wait.
const COPIED_PER_SECOND: usize = 300_000;

fn fill(cluster: &mut Cluster) -> Result<()> {
    let throttled = ("follower.replication.throttled.replicas", "*");
    let topic = NewTopic {
        name: TOPIC.to_owned(),
        partitions: Some(PARTITIONS),
        replication_factor: Some(3),
        configs: vec![(throttled.0.to_owned(), throttled.1.to_owned())],
    };
    block_on(async { cluster.client().create_topic(&topic, false).await })??;
    let value = vec![b'v'; KEPT_BYTES];
    for partition in 0..PARTITIONS {
        let leader = cluster.leader(TOPIC, partition)?;
        let mut wire = Wire::connect(&cluster.node(leader).bootstrap())?;
        let sent = batch(&[Some(&value)], Compression::None);
        produce_one(&mut wire, TOPIC, partition, sent)??;
    }
    cluster.until_in_sync()
}

#[test]
fn a_wiped_broker_is_ready_when_it_is_in_every_isr_and_stays_so_without_a_quorum() -> Result<()> {
    Cluster::with("ready-again", &Plan::of(3), |cluster| {
        fill(cluster)?;
        let http = cluster.node(3).http();
        let first = itself(&http)?;
        cluster.node(3).kill9()?;
        cluster.node(3).wipe()?;
        let slowly = format!("follower.replication.throttled.rate={COPIED_PER_SECOND}");
        cluster.node(3).set(&slowly);
        cluster.node(3).start()?;
        let mut waited = None;
        let ready = poll(COPIED_LIMIT, || {
            let answer = get(&http, "/healthz/ready").ok()?;
            if answer.body.contains("waits for") && answer.body.contains(TOPIC) {
                waited = Some(answer.body.clone());
            }
            (answer.status == 200).then_some(())
        });
        ready.context("it never gets ready")?;
        let view = cluster.view_of(3)?;
        ensure!(view.is_in_sync(), "it is ready, and {view}");
        let waited = waited.context("it was ready at once, with nothing copied")?;
        ensure!(waited.lines().count() == 1, "{waited}");
        println!("it said: {waited}");
        let second = itself(&http)?;
        ensure!(second["cluster_id"] == first["cluster_id"], "{second}");
        ensure!(second["directory_id"] != first["directory_id"], "{second}");
        ensure!(second["incarnation"] != first["incarnation"], "{second}");
        for other in [1, 2] {
            cluster.node(other).kill9()?;
        }
        let lost = poll(TOLD_LIMIT, || {
            let answer = get(&http, "/v1/cluster").ok()?;
            (answer.status == 503 || answer.body.contains("\"quorum\":null")).then_some(())
        });
        lost.context("it never misses the quorum")?;
        ensure!(is_ready(&http), "a lost quorum has unset it");
        Ok(())
    })
}

/// As kubelet does: a new file under the old name.
fn annotate(file: &Path, zone: &str, claim_uid: &str) -> Result<()> {
    let next = file.with_extension("next");
    let text = format!("milena.dev/claim-uid={claim_uid:?}\nmilena.dev/zone={zone:?}\n");
    fs::write(&next, text)?;
    Ok(fs::rename(next, file)?)
}

#[test]
fn a_broker_follows_its_pods_annotations_and_refuses_a_volume_that_is_not_its_own() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let (file, of_all, of_one) = (path("annotations"), path("all.properties"), path("1.yaml"));
    let settings = format!("broker.annotations.file={}\n", file.display());
    fs::write(&of_all, format!("{settings}broker.node=nowhere\n"))?;
    fs::write(&of_one, "broker.node: worker-1\n")?;
    let config = [&of_all, &of_one].map(|path| path.display().to_string());
    let mut broker = Broker::start(&["--config", &config[0], "--config", &config[1]])?;
    let http = broker.http();
    let early = itself(&http)?;
    ensure!(early["node"] == "worker-1", "{early}");
    ensure!(
        early["rack"].is_null() && early["claim_uid"].is_null(),
        "{early}"
    );
    annotate(&file, "eu-1a", "3f-1")?;
    let says = |key: &str, value: &str| itself(&http).is_ok_and(|told| told[key] == value);
    let told = poll(TOLD_LIMIT, || {
        (says("rack", "eu-1a") && says("claim_uid", "3f-1")).then_some(())
    });
    told.with_context(|| format!("{:?}", itself(&http)))?;
    let late = itself(&http)?;
    ensure!(
        late["incarnation"] == early["incarnation"],
        "it has restarted"
    );

    broker.kill9()?;
    fs::remove_file(&file)?;
    broker.start_again()?;
    let again = itself(&http)?;
    ensure!(
        again["rack"] == "eu-1a" && again["claim_uid"] == "3f-1",
        "{again}"
    );

    annotate(&file, "eu-1a", "3f-2")?;
    let status = broker.ended(TOLD_LIMIT).context("it serves a copy")?;
    ensure!(!status.success(), "it ended with {status}");
    let refused = broker.start_again().expect_err("it serves a copy");
    let told = format!("{refused:#}");
    ensure!(told.contains("3f-1") && told.contains("3f-2"), "{told}");
    Ok(())
}
