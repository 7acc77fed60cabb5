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

/// Bytes of a note, and of an action: Kubernetes takes no longer ones.
const NOTE_MAX: usize = 1_024;
const ACTION_MAX: usize = 128;

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
        let event = event(kind, reason, note);
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

/// Events of one reason about one cluster are folded into the first one, of whose note alone people then read, unless
/// their actions differ, too. So what is said is also the action: the second broker's restart is an event of its own.
fn event(kind: Kind, reason: &str, note: &str) -> Event {
    let cut = |most: usize| note[..note.floor_char_boundary(most)].to_owned();
    Event {
        type_: match kind {
            Kind::Normal => EventType::Normal,
            Kind::Warning => EventType::Warning,
        },
        reason: reason.to_owned(),
        note: Some(cut(NOTE_MAX)),
        action: cut(ACTION_MAX),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_two_brokers_is_not_folded_into_one_event() {
        let of = |broker: i32| {
            event(
                Kind::Normal,
                "BrokerRestarting",
                &format!("Broker {broker}"),
            )
        };
        assert_ne!(of(0).action, of(1).action);
        assert_eq!(of(0).action, of(0).action);
    }

    #[test]
    fn long_words_are_cut_to_what_kubernetes_takes() {
        let event = event(Kind::Warning, "Refused", &"\u{20ac}".repeat(1_000));
        assert_eq!(event.action.len(), 126);
        assert_eq!(event.note.map(|note| note.len()), Some(1_023));
    }
}
