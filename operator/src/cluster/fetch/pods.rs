//! A pod, as far as its broker's roll minds.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerStateTerminated, ContainerStatus, Pod as PodObject, PodCondition, PodStatus,
};
use kube::ResourceExt;

use super::{POOL_LABEL, ordinal};
use crate::cluster::build::asked::ASKED;
use crate::cluster::build::{REVISION, TEMPLATE_REVISION};
use crate::cluster::observed::Pod;
use crate::cluster::step::notes::{CLAIM_UID, ZONE};

/// Kubernetes sets a pod's conditions for the first time within this after its start; what changes later has changed.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// Of a line of a broker's log that is put into messages, in letters.
const LAST_WORDS_MAX: usize = 500;
/// The broker's container.
const CONTAINER: &str = "broker";

/// The broker id, and what is known of its pod.
pub fn pod(object: &PodObject) -> Option<(i32, Pod)> {
    let pool = object.labels().get(POOL_LABEL)?.clone();
    let id = ordinal(&object.name_any())?;
    let annotation = |key: &str| object.annotations().get(key).cloned();
    let status = object.status.clone().unwrap_or_default();
    let container = container(&status);
    let ready = condition(&status, "Ready");
    let is_ready = ready.is_some_and(|ready| ready.status == "True");
    let (trouble, trouble_text) = trouble(&status, container);
    let spec = object.spec.as_ref();
    let image = spec.and_then(|spec| spec.containers.first()?.image.clone());
    let time = |time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time| time.0;
    let since = ready.and_then(|ready| ready.last_transition_time.as_ref().map(time));
    let start = status.start_time.as_ref().map(time);
    let created = object.creation_timestamp().as_ref().map(time);
    let pod = Pod {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        pool,
        node: spec.and_then(|spec| spec.node_name.clone()),
        ip: status.pod_ip.clone(),
        host_ip: status.host_ip.clone(),
        revision: annotation(REVISION).unwrap_or_default(),
        asked: asked(annotation(ASKED)),
        template_revision: annotation(TEMPLATE_REVISION).unwrap_or_default(),
        zone: annotation(ZONE),
        claim_uid: annotation(CLAIM_UID),
        owners: object
            .owner_references()
            .iter()
            .map(|owner| owner.uid.clone())
            .collect(),
        image: image.unwrap_or_default(),
        ready_since: since.filter(|_| is_ready),
        unready_since: since.or(created).filter(|_| !is_ready),
        was_ready: is_ready || changed_later(start, since),
        started: container.is_some_and(has_run),
        answers: container.is_some_and(has_answered),
        trouble,
        trouble_text,
        deadline: object.metadata.deletion_timestamp.as_ref().map(time),
        created: created.unwrap_or_default(),
    };
    Some((id, pod))
}

fn container(status: &PodStatus) -> Option<&ContainerStatus> {
    let all = status.container_statuses.as_ref()?;
    let named = all.iter().find(|container| container.name == CONTAINER);
    named.or_else(|| all.first())
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a PodCondition> {
    let mut all = status.conditions.iter().flatten();
    all.find(|condition| condition.type_ == kind)
}

/// A pod that is not ready since its very start has never been.
fn changed_later(start: Option<Timestamp>, since: Option<Timestamp>) -> bool {
    let (Some(start), Some(since)) = (start, since) else {
        return false;
    };
    Duration::try_from(since.duration_since(start)).is_ok_and(|later| later > SETTLED_AFTER)
}

fn has_run(container: &ContainerStatus) -> bool {
    let state = container.state.as_ref();
    container.restart_count > 0
        || state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
}

/// What is no JSON tells nothing.
fn asked(text: Option<String>) -> BTreeMap<String, String> {
    text.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

/// The kubelet says so once the startup probe was answered, and no more from the container's next start on.
fn has_answered(container: &ContainerStatus) -> bool {
    let state = container.state.as_ref();
    container.started == Some(true) && state.is_some_and(|state| state.running.is_some())
}

/// Kubernetes' word for what keeps the broker from running, and its explanation.
fn trouble(status: &PodStatus, container: Option<&ContainerStatus>) -> (Option<String>, String) {
    let state = container.and_then(|container| container.state.as_ref());
    if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
        let reason = waiting.reason.clone().unwrap_or_default();
        let message = waiting.message.clone().unwrap_or_default();
        let last =
            container.and_then(|container| container.last_state.as_ref()?.terminated.as_ref());
        return match (reason.as_str(), last) {
            ("" | "ContainerCreating" | "PodInitializing", _) => (None, message),
            ("CrashLoopBackOff", Some(ended)) => (Some(reason), end(ended)),
            _ => (Some(reason), message),
        };
    }
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        let reason = ended.reason.clone().unwrap_or_else(|| "Error".to_owned());
        return (Some(reason), end(ended));
    }
    match condition(status, "PodScheduled") {
        Some(PodCondition {
            status,
            reason,
            message,
            ..
        }) if status == "False" => {
            let reason = reason.clone().unwrap_or_else(|| "Unschedulable".to_owned());
            (Some(reason), message.clone().unwrap_or_default())
        }
        _ => (None, String::new()),
    }
}

/// How a broker ended, and its last words: the end of its log, where Kubernetes brings it.
fn end(ended: &ContainerStateTerminated) -> String {
    let code = ended.exit_code;
    let mut lines = ended.message.as_deref().unwrap_or_default().lines().rev();
    match lines.find(|line| !line.trim().is_empty()) {
        Some(last) => {
            let last: String = last.trim().chars().take(LAST_WORDS_MAX).collect();
            format!("it ended with the code {code}: {last}")
        }
        None => format!("it ended with the code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed(status: Value) -> Pod {
        let object = json!({
            "metadata": { "name": "main-broker-3", "uid": "u", "labels": { "milena.dev/pool": "broker" },
                          "annotations": { "milena.dev/revision": "r1" } },
            "spec": { "nodeName": "n", "containers": [{ "name": "broker", "image": "i" }] },
            "status": status,
        });
        let (id, pod) = pod(&serde_json::from_value(object).unwrap()).unwrap();
        assert_eq!(id, 3);
        pod
    }

    fn ready(status: &str, at: &str) -> Value {
        json!([{ "type": "Ready", "status": status, "lastTransitionTime": at }])
    }

    #[test]
    fn a_pod_was_ready_if_its_readiness_changed_after_its_start() {
        let start = "2026-01-01T00:00:00Z";
        let with =
            |conditions: Value| parsed(json!({ "startTime": start, "conditions": conditions }));
        assert!(with(ready("True", "2026-01-01T00:00:09Z")).was_ready);
        assert!(with(ready("False", "2026-01-01T00:01:00Z")).was_ready);
        assert!(!with(ready("False", start)).was_ready);
        assert!(!parsed(json!({})).was_ready);
    }

    #[test]
    fn a_broker_answers_once_its_container_has_passed_its_startup_probe() {
        let answers = |started: bool, state: Value| {
            parsed(json!({ "containerStatuses": [{ "name": "broker", "image": "i", "imageID": "", "ready": false,
                "restartCount": 3, "started": started, "state": state }] }))
            .answers
        };
        let running = json!({ "running": {} });
        assert!(answers(true, running.clone()));
        assert!(!answers(false, running), "it was just started again");
        assert!(!answers(
            true,
            json!({ "waiting": { "reason": "CrashLoopBackOff" } })
        ));
    }

    #[test]
    fn what_keeps_a_pod_from_running_has_kubernetes_word() {
        let waiting = |reason: &str| {
            json!({ "containerStatuses": [{ "name": "broker", "image": "i", "imageID": "", "ready": false,
                    "restartCount": 0, "state": { "waiting": { "reason": reason, "message": "m" } } }] })
        };
        let pulled = parsed(waiting("ErrImagePull"));
        assert_eq!(pulled.trouble.as_deref(), Some("ErrImagePull"));
        assert!(!pulled.started);
        assert_eq!(parsed(waiting("ContainerCreating")).trouble, None);
        let crashing = parsed(json!({ "containerStatuses": [{
            "name": "broker", "image": "i", "imageID": "", "ready": false, "restartCount": 3,
            "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 40s" } },
            "lastState": { "terminated": { "exitCode": 2, "message": "first\nerror: a setting\n\n" } } }] }));
        assert_eq!(crashing.trouble.as_deref(), Some("CrashLoopBackOff"));
        assert_eq!(
            crashing.trouble_text,
            "it ended with the code 2: error: a setting"
        );
        let unscheduled = json!({ "conditions": [{ "type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/4 nodes" }] });
        let unscheduled = parsed(unscheduled);
        assert_eq!(unscheduled.trouble.as_deref(), Some("Unschedulable"));
        assert_eq!(unscheduled.trouble_text, "0/4 nodes");
    }
}
