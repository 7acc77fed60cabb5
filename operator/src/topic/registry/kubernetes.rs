//! The real API server.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::debug;

use super::{Note, Registry, WriteError};
use crate::crd::Topic;
use crate::crd::topic::TopicStatus;
use crate::namespace::{self, Fate};
use crate::topic::board::Declared;
use crate::topic::metrics::Metrics;
use crate::topic::status;
use crate::topic::watch;

/// Who writes.
const MANAGER: &str = "milena-operator";
/// One write.
const WITHIN: Duration = Duration::from_secs(10);
/// Events that wait to be written. They are a courtesy: what comes beyond is dropped, and the status says it all.
const EVENTS_MAX: usize = 2_000;
/// Events written at once.
const EVENT_WRITERS: usize = 4;
/// The API server's bound on an event's text, in bytes.
const NOTE_BYTES_MAX: usize = 1_000;

/// The API server.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    metrics: Arc<Metrics>,
    events: mpsc::Sender<Event>,
}

impl Kubernetes {
    /// Writes with this client; `instance` is this operator's pod.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        let (events, waiting) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(write_events(client.clone(), waiting, metrics.clone()));
        Self {
            client,
            metrics,
            events,
        }
    }

    fn api(&self, topic: &Topic) -> Api<DynamicObject> {
        let namespace = topic.metadata.namespace.as_deref().unwrap_or_default();
        let topics = ApiResource::erase::<Topic>(&());
        Api::namespaced_with(self.client.clone(), namespace, &topics)
    }
}

impl Registry for Kubernetes {
    async fn write_status(
        &self,
        topic: &Topic,
        status: &TopicStatus,
    ) -> Result<Declared, WriteError> {
        let metadata = &topic.metadata;
        let patch = status::patch(
            topic.status.as_ref(),
            status,
            metadata.uid.as_deref(),
            metadata.resource_version.as_deref(),
        );
        let Some(patch) = patch else {
            return Err(WriteError::Failed("there is nothing to write".to_owned()));
        };
        self.metrics.write("status");
        let api = self.api(topic);
        let name = metadata.name.as_deref().unwrap_or_default();
        let (params, patch) = (PatchParams::apply(MANAGER), Patch::Merge(patch));
        bounded(api.patch_status(name, &params, &patch)).await
    }

    async fn write_finalizers(
        &self,
        topic: &Topic,
        finalizers: &[String],
    ) -> Result<Declared, WriteError> {
        let metadata = &topic.metadata;
        self.metrics.write("finalizer");
        let patch = json!({ "metadata": {
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
            "finalizers": finalizers,
        } });
        let api = self.api(topic);
        let name = metadata.name.as_deref().unwrap_or_default();
        let (params, patch) = (PatchParams::apply(MANAGER), Patch::Merge(patch));
        bounded(api.patch(name, &params, &patch)).await
    }

    async fn fate(&self, namespace: &str) -> Fate {
        namespace::fate(namespace, &self.client).await
    }

    fn tell(&self, topic: &Topic, note: Note) {
        if self.events.try_send(event(topic, &note)).is_err() {
            self.metrics.write("event_dropped");
        }
    }
}

async fn bounded(
    write: impl Future<Output = Result<DynamicObject, kube::Error>>,
) -> Result<Declared, WriteError> {
    match timeout(WITHIN, write).await {
        Ok(Ok(object)) => Ok(watch::read(object)),
        Ok(Err(kube::Error::Api(refused))) => Err(match refused.code {
            409 => WriteError::Changed,
            404 => WriteError::Gone,
            _ => WriteError::Failed(refused.message.clone()),
        }),
        Ok(Err(error)) => Err(WriteError::Failed(error.to_string())),
        Err(_) => Err(WriteError::Failed("no answer in time".to_owned())),
    }
}

fn event(topic: &Topic, note: &Note) -> Event {
    let now = Timestamp::now();
    let metadata = &topic.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let mut text = note.text.clone();
    text.truncate(text.floor_char_boundary(NOTE_BYTES_MAX));
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: metadata.namespace.clone(),
            ..Default::default()
        },
        event_time: Some(MicroTime(now)),
        action: Some("Reconcile".into()),
        reason: Some(note.reason.into()),
        note: Some(text),
        type_: Some(note.weight.to_string()),
        regarding: Some(ObjectReference {
            api_version: Some(Topic::api_version(&()).into_owned()),
            kind: Some(Topic::kind(&()).into_owned()),
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone(),
            ..Default::default()
        }),
        reporting_controller: Some(MANAGER.into()),
        reporting_instance: Some(MANAGER.into()),
        ..Default::default()
    }
}

async fn write_events(client: Client, waiting: mpsc::Receiver<Event>, metrics: Arc<Metrics>) {
    use futures::StreamExt;
    let next = |mut waiting: mpsc::Receiver<Event>| async move {
        let event = waiting.recv().await?;
        Some((event, waiting))
    };
    let waiting = futures::stream::unfold(waiting, next);
    let write = |event: Event| {
        let (client, metrics) = (client.clone(), metrics.clone());
        async move {
            let namespace = event.metadata.namespace.clone().unwrap_or_default();
            let api: Api<Event> = Api::namespaced(client, &namespace);
            metrics.write("event");
            let params = PostParams::default();
            match timeout(WITHIN, api.create(&params, &event)).await {
                Ok(Ok(_)) => {}
                // A namespace that ends takes no more events.
                Ok(Err(error)) => debug!(%error, "an event was not written"),
                Err(_) => debug!("an event was not written in time"),
            }
        }
    };
    waiting.for_each_concurrent(EVENT_WRITERS, write).await;
}
