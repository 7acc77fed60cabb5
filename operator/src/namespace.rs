//! Whether a namespace ends. With it go its pods first, then all the rest; nothing can be made in it any more.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, ObjectReference};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Status;
use kube::{Api, Client};
use serde_json::json;
use tokio::time::timeout;

use crate::apply::MANAGER;
use crate::context::Context;

/// One question.
const WITHIN: Duration = Duration::from_secs(10);
/// Kubernetes looks within this after it was told.
const AGAIN_AFTER: Duration = Duration::from_secs(6);
/// On a namespace whose brokers have gone.
const CONDITION: &str = "milena.dev/BrokersStopped";

/// What becomes of a namespace, asked afresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nobody deletes it.
    Stays,
    /// It is being deleted, or is gone.
    Ends,
    /// The API server did not say.
    Unknown,
}

/// A namespace that ends takes nothing new: that is asked with an event that is never kept, since events may be written
/// where namespaces may not be read.
pub async fn fate(namespace: &str, client: &Client) -> Fate {
    let probe = Event {
        metadata: ObjectMeta {
            name: Some("milena-operator-asks".into()),
            namespace: Some(namespace.to_owned()),
            ..Default::default()
        },
        event_time: Some(MicroTime(Timestamp::now())),
        action: Some("Ask".into()),
        reason: Some("Ask".into()),
        type_: Some("Normal".into()),
        regarding: Some(ObjectReference {
            namespace: Some(namespace.to_owned()),
            ..Default::default()
        }),
        reporting_controller: Some(MANAGER.into()),
        reporting_instance: Some(MANAGER.into()),
        ..Default::default()
    };
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match timeout(WITHIN, api.create(&params, &probe)).await {
        Ok(Ok(_)) => Fate::Stays,
        Ok(Err(kube::Error::Api(refused))) => fate_by(&refused),
        Ok(Err(_)) | Err(_) => Fate::Unknown,
    }
}

/// Has Kubernetes go on with the end of a namespace, now that no broker is left in it. It looks again by itself only after
/// half of the pods' grace period, or a few seconds after the namespace has changed: so a condition of ours is set on it.
pub async fn look_again(namespace: &str, context: &Context) -> Result<(), kube::Error> {
    let namespaces: Api<Namespace> = Api::all(context.client.clone());
    let now = Timestamp::now();
    let metadata = match namespaces.get_opt(namespace).await {
        Ok(Some(seen)) if looks_already(&seen, now) => return Ok(()),
        Ok(Some(seen)) => {
            json!({ "uid": seen.metadata.uid, "resourceVersion": seen.metadata.resource_version })
        }
        Ok(None) => return Ok(()),
        // It may not be read where the operator's rights are limited to it.
        Err(kube::Error::Api(status)) if status.code == 403 => json!({}),
        Err(error) => return Err(error),
    };
    let condition = json!({
        "type": CONDITION, "status": "True", "reason": "AllStopped",
        "message": "no broker of a KafkaCluster is left", "lastTransitionTime": now,
    });
    let patch = json!({ "metadata": metadata, "status": { "conditions": [condition] } });
    let patched = namespaces
        .patch_status(namespace, &PatchParams::default(), &Patch::Strategic(patch))
        .await;
    match patched {
        // It is gone, or has changed, so that Kubernetes looks; or the rights are those of an older release: then it takes
        // its time.
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 409) => Ok(()),
        other => other.map(drop),
    }
}

/// It stays, or Kubernetes was made to look a moment ago.
fn looks_already(seen: &Namespace, now: Timestamp) -> bool {
    let conditions = seen.status.iter().flat_map(|status| &status.conditions);
    let mut ours = conditions.flatten().filter(|one| one.type_ == CONDITION);
    let told = ours.find_map(|one| one.last_transition_time.as_ref());
    let age = told.map(|told| now.duration_since(told.0));
    let lately = age.is_some_and(|age| age.unsigned_abs() < AGAIN_AFTER);
    seen.metadata.deletion_timestamp.is_none() || lately
}

fn fate_by(refused: &Status) -> Fate {
    let causes = refused.details.iter().flat_map(|details| &details.causes);
    let ends = causes
        .map(|cause| cause.reason.as_str())
        .any(|reason| reason == "NamespaceTerminating");
    match ends || refused.code == 404 {
        true => Fate::Ends,
        false => Fate::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_is_made_to_look_once_in_a_while_at_a_namespace_that_ends() {
        let now: Timestamp = "2026-01-01T12:00:10Z".parse().unwrap();
        let seen = |deleted: Option<&str>, told: Option<&str>| -> Namespace {
            let condition = told
                .map(|at| json!({ "type": CONDITION, "status": "True", "lastTransitionTime": at }));
            let object = json!({
                "metadata": { "deletionTimestamp": deleted },
                "status": { "conditions": condition.into_iter().collect::<Vec<_>>() },
            });
            serde_json::from_value(object).unwrap()
        };
        let deleted = Some("2026-01-01T12:00:00Z");
        assert!(looks_already(&seen(None, None), now));
        assert!(!looks_already(&seen(deleted, None), now));
        assert!(looks_already(
            &seen(deleted, Some("2026-01-01T12:00:06Z")),
            now
        ));
        assert!(!looks_already(
            &seen(deleted, Some("2026-01-01T12:00:03Z")),
            now
        ));
    }
}
