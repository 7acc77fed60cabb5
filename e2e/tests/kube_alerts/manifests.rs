//! Manifests that can't be followed.

use anyhow::{Context, Result};
use e2e::kube::manifests::{MAIN, topic};
use e2e::kube::{LEDGER, PARTITIONS};
use serde_json::{Value, json};

use crate::stage::{BROKERS, Stage};
use crate::undo::Undo;

const SECOND: &str = "second";

/// A second Topic for one topic; a topic with more replicas than its rack has brokers; and a roll, while there are topics
/// that no stop is safe for.
pub fn cannot_be_followed<'a>(stage: &'a Stage<'_>) -> Result<Undo<'a>> {
    let scene = stage.scene;
    let main = format!("kafkacluster/{MAIN}");
    let ledger = format!("topics.milena.dev/{LEDGER}");
    let cluster = scene.get(&[&main])?;
    let rack = cluster["status"]["brokers"][0]["rack"].as_str();
    let rack = rack.context("a broker without a rack")?.to_owned();
    let undo = Undo::by({
        let (main, ledger) = (main.clone(), ledger.clone());
        move || {
            scene.patch(&main, &json!({"spec": {"restartedAt": Value::Null}}))?;
            scene.patch(&ledger, &json!({"spec": {"placement": Value::Null}}))?;
            let delete = [
                "delete",
                "topics.milena.dev",
                SECOND,
                "--ignore-not-found",
                "--timeout=60s",
            ];
            scene.kubectl(&delete).map(drop)
        }
    });
    let mut second = topic(SECOND, PARTITIONS, BROKERS.len() as i32);
    second["spec"]["topicName"] = json!(LEDGER);
    scene.apply(&second)?;
    scene.patch(&ledger, &json!({"spec": {"placement": {"racks": [rack]}}}))?;
    let roll = json!({"spec": {"restartedAt": "2026-01-02T03:04:05Z"}});
    scene.patch(&main, &roll)?;
    Ok(undo)
}
