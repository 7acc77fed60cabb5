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
    let condition = json!({
        "type": "milena.dev/BrokersStopped", "status": "True", "reason": "AllStopped",
        "message": "no broker of a KafkaCluster is left", "lastTransitionTime": Timestamp::now(),
    });
    let patch = Patch::Strategic(json!({ "status": { "conditions": [condition] } }));
    let namespaces: Api<Namespace> = Api::all(context.client.clone());
    let patched = namespaces
        .patch_status(namespace, &PatchParams::default(), &patch)
        .await;
    match patched {
        // It is gone; or the rights are those of an older release: then it takes its time.
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(()),
        other => other.map(drop),
    }
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
