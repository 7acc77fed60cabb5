//! Waiting for what a resource says, within bounds.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{list, text};

/// Between two looks; each is a process that asks the API server.
const PAUSE: Duration = Duration::from_millis(400);

/// Looks until `attempt` finds something. What it could not find yet it tells as an error: the last one is in the
/// message where the time is over.
pub fn until<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Ok(found) => return Ok(found),
            Err(last) if begun.elapsed() >= limit => {
                return Err(last).with_context(|| format!("{what}: not within {limit:?}"));
            }
            Err(_) => sleep(PAUSE),
        }
    }
}

/// Looks for so long, and is an error as soon as `check` is one: what does not happen can only be watched.
pub fn holds(what: &str, time: Duration, mut check: impl FnMut() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < time {
        check().with_context(|| format!("{what}: not after {:.1?}", begun.elapsed()))?;
        sleep(PAUSE);
    }
    Ok(())
}

/// A condition of a resource's status.
pub fn condition<'a>(resource: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = list(&resource["status"]["conditions"]);
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// An error with all conditions unless this one is true of the newest spec.
pub fn is_true(resource: &Value, kind: &str) -> Result<()> {
    let generation = &resource["metadata"]["generation"];
    let is_so = condition(resource, kind).is_some_and(|condition| {
        let seen = &condition["observedGeneration"];
        condition["status"] == "True" && (seen.is_null() || seen == generation)
    });
    let observed = &resource["status"]["observedGeneration"];
    if is_so && observed == generation {
        return Ok(());
    }
    bail!(
        "{kind} is not true of generation {generation}; observed {observed}, {}",
        told(resource)
    )
}

/// What the conditions and the rollout say, in one line.
pub fn told(resource: &Value) -> String {
    let conditions = list(&resource["status"]["conditions"]).iter();
    let mut words: Vec<String> = conditions
        .map(|condition| {
            format!(
                "{}={} {}: {}",
                text(&condition["type"]),
                text(&condition["status"]),
                text(&condition["reason"]),
                text(&condition["message"])
            )
        })
        .collect();
    let waiting = text(&resource["status"]["rollout"]["waitingFor"]);
    if !waiting.is_empty() {
        words.push(format!("rollout waits for {waiting}"));
    }
    words.join("; ")
}
