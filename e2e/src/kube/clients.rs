//! Clients outside, and one inside: a pod with kcat, so with librdkafka, that writes lines to a topic and reads them again.

use std::time::Duration;

use anyhow::{Result, bail};
use milena_client::{Client, ClientOptions, Producer, ProducerOptions, Record};
use serde_json::json;

use super::{Scene, manifests, operator, text, until};
use crate::ledger::Target;
use crate::load::block_on;

/// Of the pod, from its creation to its end.
const CLIENT_LIMIT: Duration = Duration::from_secs(90);

/// Asks the brokers something from outside; a client's connections live no longer than its runtime.
pub fn ask<T, E>(bootstrap: &str, question: impl AsyncFnOnce(Client) -> Result<T, E>) -> Result<T>
where
    E: Into<anyhow::Error>,
{
    let client = Client::new(ClientOptions::new(bootstrap));
    block_on(question(client))?.map_err(Into::into)
}

/// Writes so many records of 1 KiB, each acknowledged by all in-sync replicas.
pub fn fill(target: &Target, records: usize) -> Result<()> {
    block_on(async {
        let client = Client::new(ClientOptions::new(&target.bootstrap));
        let producer = Producer::start(client, ProducerOptions::default()).await?;
        let mut sent = Vec::new();
        for number in 0..records {
            let record = Record::new(target.topic.as_str()).key(format!("key-{number}"));
            sent.push(producer.send(record.value(vec![b'x'; 1024])).await?);
        }
        for one in sent {
            one.placed().await?;
        }
        anyhow::Ok(())
    })?
}

/// What `e2e/kube/kcat.sh` makes.
fn kcat_image() -> String {
    format!("milena-e2e-kcat:{}", operator::VERSION)
}

/// Writes these lines to a topic from inside, and reads the topic from its beginning; what was read.
pub fn inside(scene: &Scene, bootstrap: &str, topic: &str, lines: &str) -> Result<String> {
    let (pod_security, security) = manifests::restricted();
    let container = |name: &str, arguments: &[&str]| {
        let arguments = [&["-b", bootstrap, "-t", topic], arguments].concat();
        json!({
            "name": name,
            "image": kcat_image(),
            "imagePullPolicy": "IfNotPresent",
            "args": arguments,
            "securityContext": security,
            "volumeMounts": [{"name": "lines", "mountPath": "/lines"}],
        })
    };
    scene.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "client"}, "data": {"lines": lines},
    }))?;
    scene.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": pod_security,
            "automountServiceAccountToken": false,
            "initContainers": [container("produce", &["-P", "-X", "acks=all", "-l", "/lines/lines"])],
            "containers": [container("consume", &["-C", "-q", "-o", "beginning", "-e"])],
            "volumes": [{"name": "lines", "configMap": {"name": "client"}}],
        },
    }))?;
    until("a client inside has written and read", CLIENT_LIMIT, || {
        let pod = scene.get(&["pod", "client"])?;
        match text(&pod["status"]["phase"]) {
            "Succeeded" | "Failed" => Ok(()),
            phase => bail!("the pod is {phase}: {}", pod["status"]),
        }
    })?;
    let read = scene.kubectl(&["logs", "client", "-c", "consume"])?;
    scene.kubectl(&["delete", "pod/client", "configmap/client"])?;
    Ok(read)
}
