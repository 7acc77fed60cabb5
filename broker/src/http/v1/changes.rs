//! `GET /v1/metadata/changes`: what has changed in topics, for an operator that follows them.
//!
//! | query | answer |
//! | --- | --- |
//! | none, or a `since` that is not known (any more) | all topics, and `"snapshot": true` |
//! | `since=N` | the topics that have changed after that offset of the metadata, as they are now, and those deleted |
//! | `since=N&wait_ms=M` | the same as soon as there is something, or nothing after `M`, at most 30 s |
//!
//! Shown is what a topic was asked to be: its partitions, replicas, and the settings of its own. Who leads and who is in
//! sync is no news here. An offset means the same on every broker, so that any may be asked next. A topic may be told of
//! again without a change, and one that came and went may be told of only as deleted.

mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use milena_metadata::{Image, ResourceKind, Topic, TopicId, TopicName};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use super::{Failure, Serving, Stage, look};
use crate::broker::Broker;
use window::{News, Window};

/// The longest wait: below what proxies and connections bear.
const WAIT_MS_MAX: u64 = 30_000;
/// Polls that wait at once. HTTP has 64 connections, and probes and scrapes need room.
const POLLS_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    since: Option<u64>,
    #[serde(default)]
    wait_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// How far this is: what to ask for next.
    pub offset: u64,
    /// Whether these are all topics; what is not among them is not there.
    pub snapshot: bool,
    /// Topics as they are, by name.
    pub topics: Vec<ShownTopic>,
    /// Topics that are gone; empty in a snapshot.
    pub deleted: Vec<GoneTopic>,
}

/// What a topic was asked to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownTopic {
    pub name: String,
    /// Its id: a topic that was deleted and made anew has another.
    pub id: String,
    pub partitions: usize,
    /// How many replicas each has, once all reassignments are done; the least, where they differ.
    pub replication_factor: usize,
    /// Whether it is Kafka's own.
    pub internal: bool,
    /// What it sets itself; what is not here has its default.
    pub configs: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneTopic {
    /// Its name, which another topic may have by now.
    pub name: String,
    pub id: String,
}

/// What those who follow share. Nothing is remembered before the first asks.
pub struct Feed {
    window: Mutex<Option<Window>>,
    polls: Semaphore,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            window: Mutex::default(),
            polls: Semaphore::new(POLLS_MAX),
        }
    }
}

impl Feed {
    /// Takes an image into account, and says what there is after `since` in the newest that was.
    fn after(&self, image: Arc<Image>, since: u64) -> (Arc<Image>, News) {
        let mut window = self.window.lock();
        let window = window.get_or_insert_with(|| Window::from(image.clone()));
        window.follow(image);
        (window.image().clone(), window.after(since))
    }
}

/// `GET`.
pub(in crate::http) async fn follow(
    Serving(broker): Serving,
    State(stage): State<Arc<Stage>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Changes>, Failure> {
    let Query(Asked { since, wait_ms }) = asked?;
    if wait_ms > WAIT_MS_MAX {
        let text = format!("wait_ms is {wait_ms}, and {WAIT_MS_MAX} at most");
        return Err(Failure::bad_request(text));
    }
    let Some(since) = since else {
        let image = broker.image();
        // What changes from here on is known to whoever asks next.
        stage.changes.after(image.clone(), image.position().offset);
        return snapshot(&broker, image).await;
    };
    let _place = stage.changes.polls.try_acquire().map_err(|_| Failure {
        status: StatusCode::TOO_MANY_REQUESTS,
        error: format!("{POLLS_MAX} others follow the metadata here: ask another broker, or later"),
    })?;
    let deadline = Instant::now() + Duration::from_millis(wait_ms);
    let mut images = broker.quorum().watch();
    loop {
        let image = images.borrow_and_update().clone();
        let (image, news) = stage.changes.after(image, since);
        match news {
            News::Unknown => return snapshot(&broker, image).await,
            News::Changed(topics) => {
                let told = look(&broker, move |_| difference(&image, &topics)).await?;
                return Ok(Json(told));
            }
            News::None | News::Ahead => {}
        }
        let goes_on = tokio::select! {
            changed = images.changed() => changed.is_ok(),
            () = sleep_until(deadline) => false,
            () = broker.waits_ended().cancelled() => false,
        };
        if goes_on {
            continue;
        }
        return match news {
            // Waited for as long as may be: the offset is of another cluster, or of a past that was given up.
            News::Ahead => snapshot(&broker, image).await,
            _ => Ok(Json(difference(&image, &BTreeSet::new()))),
        };
    }
}

async fn snapshot(broker: &Arc<Broker>, image: Arc<Image>) -> Result<Json<Changes>, Failure> {
    let all = look(broker, move |_| Changes {
        offset: image.position().offset,
        snapshot: true,
        topics: image.topics().map(|topic| shown(&image, topic)).collect(),
        deleted: Vec::new(),
    });
    Ok(Json(all.await?))
}

/// These topics, as an image has them.
fn difference(image: &Image, changed: &BTreeSet<(TopicName, TopicId)>) -> Changes {
    let mut changes = Changes {
        offset: image.position().offset,
        snapshot: false,
        topics: Vec::new(),
        deleted: Vec::new(),
    };
    for (name, id) in changed {
        match image.topic_by_id(*id) {
            Some(topic) => changes.topics.push(shown(image, topic)),
            None => changes.deleted.push(GoneTopic {
                name: name.to_string(),
                id: id.to_string(),
            }),
        }
    }
    changes
}

fn shown(image: &Image, topic: &Topic) -> ShownTopic {
    let configs = image.configs(ResourceKind::Topic, topic.name.as_str());
    let configs = configs.into_iter().flat_map(|configs| configs.iter());
    ShownTopic {
        name: topic.name.to_string(),
        id: topic.id.to_string(),
        partitions: topic.partition_count(),
        replication_factor: replication_factor(topic),
        internal: topic.name.is_internal(),
        configs: configs
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
    }
}

/// See [`ShownTopic::replication_factor`].
fn replication_factor(topic: &Topic) -> usize {
    let wanted = topic.partitions().map(|(_, partition)| {
        let reassignment = partition.reassignment.as_ref();
        reassignment.map_or(partition.replicas.len(), |way| way.to.len())
    });
    wanted.min().unwrap_or(0)
}
