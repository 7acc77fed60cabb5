//! A cluster's topics as its brokers tell of them: the answers of `GET /v1/metadata/changes`, put together.
//!
//! | answer | is taken |
//! | --- | --- |
//! | a snapshot, the first or no older than what is known | as all there is |
//! | changes since what is known | on top of it |
//! | anything older: a broker that lags | not, but for a snapshot when nothing newer came for a minute: the cluster was made anew |

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

/// How long only older snapshots may come before they are believed.
pub const OLDER_BELIEVED_AFTER: Duration = Duration::from_secs(60);

/// A topic as the brokers have it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct KnownTopic {
    pub name: String,
    /// As Kafka's tools print it.
    pub id: String,
    pub partitions: i32,
    pub replication_factor: i32,
    #[serde(default)]
    pub internal: bool,
    /// What was set on the topic itself.
    #[serde(default)]
    pub configs: BTreeMap<String, String>,
}

/// A topic that is no more.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct GoneTopic {
    pub name: String,
    pub id: String,
}

/// One answer of the feed.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Changes {
    /// The metadata's offset that this leads to.
    pub offset: i64,
    /// Whether these are all topics, and not what changed.
    #[serde(default)]
    pub snapshot: bool,
    #[serde(default)]
    pub topics: Vec<KnownTopic>,
    #[serde(default)]
    pub deleted: Vec<GoneTopic>,
}

/// What is to be done with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    Take,
    /// It tells of a time that is known already.
    PassOver,
}

/// How far the feed has been followed.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    since: Option<i64>,
    older_from: Option<Instant>,
}

impl Cursor {
    /// What to ask for: what changed since then, or all.
    pub fn since(&self) -> Option<i64> {
        self.since
    }

    /// Looks at an answer that came at `now`, and moves on where it is to be taken.
    pub fn judge(&mut self, changes: &Changes, now: Instant) -> Judgement {
        let older = self.since.is_some_and(|since| changes.offset < since);
        if older && !(changes.snapshot && self.waited(now)) {
            return Judgement::PassOver;
        }
        if self.since.is_none() && !changes.snapshot {
            return Judgement::PassOver;
        }
        self.since = Some(changes.offset);
        self.older_from = None;
        Judgement::Take
    }

    fn waited(&mut self, now: Instant) -> bool {
        let from = *self.older_from.get_or_insert(now);
        now.duration_since(from) >= OLDER_BELIEVED_AFTER
    }
}

/// All topics of a cluster, by name.
#[derive(Debug, Default)]
pub struct Known {
    topics: HashMap<String, KnownTopic>,
}

impl Known {
    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Option<&KnownTopic> {
        self.topics.get(name)
    }

    /// Takes an answer over, and returns the names of the topics that are not what they were.
    pub fn take(&mut self, changes: Changes) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        if changes.snapshot {
            let listed: BTreeSet<&String> =
                changes.topics.iter().map(|topic| &topic.name).collect();
            self.topics.retain(|name, _| {
                let stays = listed.contains(name);
                if !stays {
                    changed.insert(name.clone());
                }
                stays
            });
        }
        // A topic made anew under the same name comes with its predecessor's end.
        for gone in changes.deleted {
            let known = self.topics.get(&gone.name);
            if known.is_some_and(|known| known.id == gone.id) {
                self.topics.remove(&gone.name);
                changed.insert(gone.name);
            }
        }
        for topic in changes.topics {
            if self.topics.get(&topic.name) != Some(&topic) {
                changed.insert(topic.name.clone());
                self.topics.insert(topic.name.clone(), topic);
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, id: &str) -> KnownTopic {
        KnownTopic {
            name: name.into(),
            id: id.into(),
            partitions: 1,
            replication_factor: 1,
            ..Default::default()
        }
    }

    fn snapshot(offset: i64, topics: &[(&str, &str)]) -> Changes {
        Changes {
            offset,
            snapshot: true,
            topics: topics.iter().map(|(name, id)| topic(name, id)).collect(),
            deleted: Vec::new(),
        }
    }

    fn names(changed: BTreeSet<String>) -> Vec<String> {
        changed.into_iter().collect()
    }

    #[test]
    fn a_snapshot_is_all_there_is_and_names_only_what_differs() {
        let mut known = Known::default();
        assert_eq!(
            names(known.take(snapshot(1, &[("a", "1"), ("b", "2")]))),
            ["a", "b"]
        );
        let changed = known.take(snapshot(5, &[("b", "2"), ("c", "3")]));
        assert_eq!(names(changed), ["a", "c"]);
        assert!(known.topic("a").is_none() && known.topic("b").is_some());
    }

    #[test]
    fn a_topic_made_anew_in_one_answer_is_the_new_one() {
        let mut known = Known::default();
        known.take(snapshot(1, &[("a", "1")]));
        let changes = Changes {
            offset: 2,
            topics: vec![topic("a", "2")],
            deleted: vec![GoneTopic {
                name: "a".into(),
                id: "1".into(),
            }],
            ..Default::default()
        };
        assert_eq!(names(known.take(changes)), ["a"]);
        assert_eq!(known.topic("a").unwrap().id, "2");
    }

    #[test]
    fn the_end_of_another_topic_of_that_name_ends_nothing() {
        let mut known = Known::default();
        known.take(snapshot(1, &[("a", "2")]));
        let changes = Changes {
            offset: 2,
            deleted: vec![GoneTopic {
                name: "a".into(),
                id: "1".into(),
            }],
            ..Default::default()
        };
        assert!(known.take(changes).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_view_of_a_broker_that_lags_is_passed_over() {
        let mut cursor = Cursor::default();
        let now = Instant::now();
        let changes = Changes {
            offset: 9,
            ..Default::default()
        };
        assert_eq!(
            cursor.judge(&changes, now),
            Judgement::PassOver,
            "no snapshot yet"
        );
        assert_eq!(cursor.judge(&snapshot(10, &[]), now), Judgement::Take);
        assert_eq!(cursor.judge(&changes, now), Judgement::PassOver);
        assert_eq!(cursor.judge(&snapshot(9, &[]), now), Judgement::PassOver);
        assert_eq!(cursor.since(), Some(10));
        assert_eq!(cursor.judge(&snapshot(12, &[]), now), Judgement::Take);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_made_anew_is_believed_after_a_minute() {
        let mut cursor = Cursor::default();
        let now = Instant::now();
        cursor.judge(&snapshot(10, &[]), now);
        assert_eq!(cursor.judge(&snapshot(2, &[]), now), Judgement::PassOver);
        let later = now + OLDER_BELIEVED_AFTER;
        assert_eq!(cursor.judge(&snapshot(2, &[]), later), Judgement::Take);
        assert_eq!(cursor.since(), Some(2));
    }
}
