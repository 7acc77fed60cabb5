//! All topics with what a roll minds of them, kept up by the brokers' feed of changes: one snapshot, then what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use crate::cluster::observed::TopicFacts;
use crate::cluster::throttle::{self, FOLLOWERS, LEADERS};
use crate::door::{At, Door};

/// What was read so far.
#[derive(Debug, Default)]
pub struct Topics {
    /// Where the next read goes on.
    offset: Option<i64>,
    facts: Arc<BTreeMap<String, TopicFacts>>,
}

/// `GET /v1/metadata/changes`.
#[derive(Debug, Default, Deserialize)]
struct Changes {
    offset: i64,
    #[serde(default)]
    snapshot: bool,
    #[serde(default)]
    topics: Vec<ChangedTopic>,
    #[serde(default)]
    deleted: Vec<DeletedTopic>,
}

#[derive(Debug, Default, Deserialize)]
struct ChangedTopic {
    name: String,
    partitions: i32,
    replication_factor: i32,
    #[serde(default)]
    configs: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Default, Deserialize)]
struct DeletedTopic {
    name: String,
}

impl Topics {
    /// What is known.
    pub fn facts(&self) -> Arc<BTreeMap<String, TopicFacts>> {
        self.facts.clone()
    }

    /// Reads what is new at the quorum's leader, since another's may be old. Where that fails what is known stays as it
    /// is, and the next time does it. Without any word of the topics there is nothing to decide on: that is an error.
    pub async fn follow(&mut self, door: &Door, leader: i32) -> Result<(), String> {
        let path = match self.offset {
            Some(offset) => format!("/v1/metadata/changes?since={offset}&wait_ms=0"),
            None => "/v1/metadata/changes".to_owned(),
        };
        match door.get::<Changes>(At::Broker(leader), &path).await {
            Ok(changes) => self.take(changes),
            Err(error) if self.offset.is_none() => return Err(format!("topics: {error}")),
            Err(error) => tracing::debug!(%error, "topics are not read"),
        }
        Ok(())
    }

    fn take(&mut self, changes: Changes) {
        let nothing = changes.topics.is_empty() && changes.deleted.is_empty();
        self.offset = Some(changes.offset);
        if nothing && !changes.snapshot {
            return;
        }
        let facts = Arc::make_mut(&mut self.facts);
        if changes.snapshot {
            facts.clear();
        }
        for topic in changes.deleted {
            facts.remove(&topic.name);
        }
        for topic in changes.topics {
            let own = |name: &str| topic.configs.get(name)?.as_deref();
            let names = |name: &str| own(name).map(names).unwrap_or_default();
            let list = |name: &str| -> Vec<String> { names(name).into_iter().collect() };
            let known = TopicFacts {
                partitions: topic.partitions,
                replication_factor: topic.replication_factor,
                min_in_sync: own("min.insync.replicas").and_then(|value| value.parse().ok()),
                pools: names("placement.pools"),
                racks: names("placement.racks"),
                is_throttled: throttle::is_own(&list(FOLLOWERS), &list(LEADERS)),
            };
            facts.insert(topic.name, known);
        }
    }
}

/// A list's items.
fn names(list: &str) -> BTreeSet<String> {
    let items = list.split(',').map(str::trim);
    items
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_topics_own_pools_and_racks_are_known() {
        let mut topics = Topics::default();
        let configs = json!({ "placement.pools": "fast, big", "placement.racks": "" });
        let one =
            json!({ "name": "a", "partitions": 1, "replication_factor": 1, "configs": configs });
        let snapshot = json!({ "offset": 7, "snapshot": true, "topics": [one] });
        topics.take(serde_json::from_value(snapshot).unwrap());
        let facts = &topics.facts["a"];
        assert_eq!(facts.pools, ["big".to_owned(), "fast".to_owned()].into());
        assert_eq!(facts.racks, BTreeSet::new());
    }

    #[test]
    fn a_topic_is_throttled_by_the_operator_where_both_lists_name_a_replica_or_one_names_all() {
        let is_throttled = |followers: &str, leaders: &str| {
            let configs = json!({ FOLLOWERS: followers, LEADERS: leaders });
            let one = json!({ "name": "a", "partitions": 1, "replication_factor": 1, "configs": configs });
            let mut topics = Topics::default();
            let snapshot = json!({ "offset": 7, "snapshot": true, "topics": [one] });
            topics.take(serde_json::from_value(snapshot).unwrap());
            topics.facts["a"].is_throttled
        };
        assert!(is_throttled("0:3,1:3", "1:3"));
        assert!(is_throttled("*", ""), "by an operator of before");
        assert!(!is_throttled("0:3", "0:1,0:2"), "by a tool");
        assert!(!is_throttled("0:3", ""), "by a person");
    }

    #[test]
    fn a_snapshot_replaces_what_was_known_and_changes_add_to_it() {
        let mut topics = Topics::default();
        let mut take = |changes| topics.take(serde_json::from_value(changes).unwrap());
        take(json!({ "offset": 7, "snapshot": true, "topics": [
            { "name": "a", "partitions": 1, "replication_factor": 1 },
            { "name": "b", "partitions": 2, "replication_factor": 3, "configs": { "min.insync.replicas": "3" } }] }));
        take(
            json!({ "offset": 9, "topics": [{ "name": "a", "partitions": 4, "replication_factor": 1 }],
            "deleted": [{ "name": "b", "id": "x" }] }),
        );
        take(json!({ "offset": 10 }));
        assert_eq!((topics.offset, topics.facts.len()), (Some(10), 1));
        assert_eq!(topics.facts["a"].partitions, 4);
        let snapshot = json!({ "offset": 2, "snapshot": true });
        topics.take(serde_json::from_value(snapshot).unwrap());
        assert!(topics.facts.is_empty(), "a cluster that was built anew");
    }
}
