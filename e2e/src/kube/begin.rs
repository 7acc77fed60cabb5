//! What most scenes begin with: three brokers and a topic that ledgers are kept of; and words of the status.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::manifests::{MAIN, cluster, topic};
use super::{Scene, list, text};
use crate::ledger::Target;

/// The topic that ledgers are kept of.
pub const LEDGER: &str = "ledger";
/// Its partitions.
pub const PARTITIONS: i32 = 6;

impl Scene {
    /// Three brokers and [`LEDGER`], with a replica on each; the topic as clients outside reach it.
    pub fn three_brokers(&self) -> Result<Target> {
        self.cluster_with_ledger(&cluster(3))
    }

    /// The same with a manifest of one's own.
    pub fn cluster_with_ledger(&self, manifest: &Value) -> Result<Target> {
        self.apply(manifest)?;
        self.apply(&topic(LEDGER, PARTITIONS, 3))?;
        self.until_available(MAIN)?;
        self.until_topic(LEDGER)?;
        self.target(MAIN, LEDGER, PARTITIONS)
    }

    /// Waits until one condition of [`MAIN`] has all these words in its message, and prints it; the resource as it is then.
    pub fn until_said(&self, words: &[&str], limit: Duration) -> Result<Value> {
        let begun = Instant::now();
        let what = format!("the status says {words:?}");
        let resource = self.until_cluster(&what, MAIN, limit, |cluster| {
            said(cluster, words).map(drop).with_context(|| {
                let status = &cluster["status"];
                format!("it says {}", status["conditions"])
            })
        })?;
        let message = said(&resource, words)?;
        println!("named after {:.1?}: {message}", begun.elapsed());
        Ok(resource)
    }

    /// Waits until all these brokers have come up, and nothing is left to do; how long that took is printed.
    pub fn until_healed(&self, what: &str) -> Result<Value> {
        let begun = Instant::now();
        let resource = self.until_settled(MAIN)?;
        println!("{what}: healed after {:.1?}", begun.elapsed());
        Ok(resource)
    }

    /// An error unless all pods of [`MAIN`] are these and no container of theirs was started again.
    pub fn are_the_same_pods(&self, before: &[Value]) -> Result<()> {
        let after = self.pods(MAIN)?;
        ensure!(
            uids(before) == uids(&after) && restarts(before) == restarts(&after),
            "pods {:?} became {:?}, their restarts {:?} {:?}",
            uids(before),
            uids(&after),
            restarts(before),
            restarts(&after)
        );
        Ok(())
    }
}

/// The first message that has all these words.
fn said(resource: &Value, words: &[&str]) -> Result<String> {
    let conditions = list(&resource["status"]["conditions"]).iter();
    let mut messages = conditions.map(|condition| text(&condition["message"]));
    let found = messages.find(|message| words.iter().all(|word| message.contains(word)));
    found
        .map(str::to_owned)
        .with_context(|| format!("no condition says {words:?}"))
}

/// What the status of a cluster says of one broker.
pub fn broker_told(cluster: &Value, id: i32) -> Result<&Value> {
    let mut brokers = list(&cluster["status"]["brokers"]).iter();
    let told = brokers.find(|broker| broker["id"] == id);
    told.with_context(|| format!("nothing of broker {id}: {}", cluster["status"]["brokers"]))
}

/// What tells one life of an object from the next.
pub fn uids(objects: &[Value]) -> Vec<String> {
    let uids = objects
        .iter()
        .map(|object| text(&object["metadata"]["uid"]).to_owned());
    uids.collect()
}

/// The objects' names.
pub fn names(objects: &[Value]) -> Vec<&str> {
    let names = objects.iter().map(|object| &object["metadata"]["name"]);
    names.map(text).collect()
}

fn restarts(pods: &[Value]) -> Vec<Option<u64>> {
    pods.iter()
        .map(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_u64())
        .collect()
}
