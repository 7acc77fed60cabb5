//! What the topic controller asks of a cluster's brokers: the feed of changes, and changes in batches.

mod real;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use real::Opener;

use super::known::Changes;
use crate::cluster::throttle::Copies;

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    pub partitions: i32,
    /// The cluster's default where `None`.
    pub replication_factor: Option<i32>,
    pub configs: BTreeMap<String, String>,
}

/// Changes of a topic's settings; `None` takes one back to its default.
pub type ConfigChanges = BTreeMap<String, Option<String>>;

/// A partition on its way to other brokers, of `GET /v1/reassignments`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Move {
    pub topic: String,
    /// What the joining replicas lack; none where the leader does not say.
    #[serde(default)]
    pub bytes_left: Option<u64>,
}

/// A partition that breaks a rule of its placement, of `GET /v1/misplaced`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Misplaced {
    pub topic: String,
    pub partition: i32,
    pub breaches: Vec<String>,
}

/// Why the brokers do not do something for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is a topic of that name: the view here is behind.
    Exists,
    /// There is no such topic: the view here is behind.
    Missing,
    /// Another attempt may succeed as it is.
    NotNow(String),
    /// Something has to change first.
    No(String),
}

/// The brokers could not be asked, or gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Trouble(pub String);

/// One result a topic, in the order of the question.
pub type Each<T> = Result<Vec<Result<T, Refusal>>, Trouble>;

/// One cluster's brokers. Every call is bounded in time.
pub trait Brokers: Send + Sync + 'static {
    /// What changed since then, as soon as there is something, or all topics.
    fn changes(&self, since: Option<i64>) -> impl Future<Output = Result<Changes, Trouble>> + Send;
    /// Makes topics; their ids.
    fn create(&self, topics: &[NewTopic]) -> impl Future<Output = Each<String>> + Send;
    /// Changes settings.
    fn alter(&self, topics: &[(String, ConfigChanges)]) -> impl Future<Output = Each<()>> + Send;
    /// Adds partitions, so that there are so many in all.
    fn grow(&self, topics: &[(String, i32)]) -> impl Future<Output = Each<()>> + Send;
    /// Deletes topics by id.
    fn delete(&self, ids: &[String]) -> impl Future<Output = Each<()>> + Send;
    /// What another number of replicas would have copied: nothing where that is refused.
    fn copies(
        &self,
        topic: &str,
        factor: i32,
    ) -> impl Future<Output = Result<Copies, Trouble>> + Send;
    /// Has brokers copy these no faster than so many bytes a second.
    fn bound(
        &self,
        copies: &Copies,
        bytes_per_second: u64,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// Begins to give a topic another number of replicas.
    fn replicate(
        &self,
        topic: &str,
        factor: i32,
    ) -> impl Future<Output = Result<Result<(), Refusal>, Trouble>> + Send;
    /// What is on its way.
    fn moves(&self) -> impl Future<Output = Result<Vec<Move>, Trouble>> + Send;
    /// What is not where it should be.
    fn misplaced(&self) -> impl Future<Output = Result<Vec<Misplaced>, Trouble>> + Send;
}

/// Opens the way to a cluster's brokers.
pub trait Open: Send + Sync + 'static {
    /// The brokers behind it.
    type Brokers: Brokers;
    /// Connects to nobody yet; an error says what is missing.
    fn open(
        &self,
        cluster: &crate::crd::KafkaCluster,
    ) -> impl Future<Output = Result<Self::Brokers, Trouble>> + Send;
}
