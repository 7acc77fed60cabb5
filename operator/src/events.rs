//! Events of a cluster: what the operator did, and what it can't do, where `kubectl describe` shows it.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder};

use crate::crd::KafkaCluster;

/// How an event is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For the record.
    Normal,
    /// Somebody may have to do something.
    Warning,
}

/// Kubernetes takes no longer notes.
const NOTE_CHARS_MAX: usize = 1_000;

/// Tells events of one cluster.
pub struct Events<'a> {
    recorder: &'a Recorder,
    about: ObjectReference,
}

impl<'a> Events<'a> {
    /// About this cluster.
    pub fn new(recorder: &'a Recorder, cluster: &KafkaCluster) -> Self {
        Self {
            recorder,
            about: cluster.object_ref(&()),
        }
    }

    /// An event that can't be told is only logged: nothing depends on it.
    pub async fn tell(&self, kind: Kind, reason: &str, note: &str) {
        let event = Event {
            type_: match kind {
                Kind::Normal => EventType::Normal,
                Kind::Warning => EventType::Warning,
            },
            reason: reason.to_owned(),
            note: Some(note.chars().take(NOTE_CHARS_MAX).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        tracing::info!(
            namespace = self.about.namespace.as_deref().unwrap_or_default(),
            name = self.about.name.as_deref().unwrap_or_default(),
            reason,
            note
        );
        if let Err(error) = self.recorder.publish(&event, &self.about).await {
            tracing::warn!(%error, reason, "an event is not told");
        }
    }
}
