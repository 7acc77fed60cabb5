//! What the topic controller writes to the API server: statuses, finalizers and events.

mod kubernetes;

use std::fmt;

pub use kubernetes::Kubernetes;

use super::board::Declared;
use crate::crd::Topic;
use crate::crd::topic::TopicStatus;
use crate::namespace::Fate;

/// Why a write was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The resource has changed since; its newest version is on its way here.
    #[error("it has changed meanwhile")]
    Changed,
    /// It is no more.
    #[error("it is no more")]
    Gone,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// How serious an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Normal,
    Warning,
}

/// An event of a Topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub weight: Weight,
    pub reason: &'static str,
    pub text: String,
}

impl Note {
    pub fn normal(reason: &'static str, text: impl Into<String>) -> Self {
        Self {
            weight: Weight::Normal,
            reason,
            text: text.into(),
        }
    }

    pub fn warning(reason: &'static str, text: impl Into<String>) -> Self {
        Self {
            weight: Weight::Warning,
            reason,
            text: text.into(),
        }
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        })
    }
}

/// The API server. Every write is tied to the version and the uid of the resource that it was decided on.
pub trait Registry: Send + Sync + 'static {
    /// Writes what differs from the status that `topic` has; the resource then.
    fn write_status(
        &self,
        topic: &Topic,
        status: &TopicStatus,
    ) -> impl Future<Output = Result<Declared, WriteError>> + Send;
    /// Replaces the finalizers; the resource then.
    fn write_finalizers(
        &self,
        topic: &Topic,
        finalizers: &[String],
    ) -> impl Future<Output = Result<Declared, WriteError>> + Send;
    /// What becomes of a namespace as of now: what is watched may be behind.
    fn fate(&self, namespace: &str) -> impl Future<Output = Fate> + Send;
    /// Tells of something, soon and if it can be.
    fn tell(&self, topic: &Topic, note: Note);
}
