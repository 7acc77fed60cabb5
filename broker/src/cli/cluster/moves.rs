//! `milena cluster drain`, `rebalance` and `repair`: a plan is shown, and unless it is a dry run, begun.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Moving;
use crate::cli::copying::{Copying, LOOK_EVERY, Watch};
use crate::cli::failure::{Exit, Failure};
use crate::cli::http::Http;
use crate::cli::output::{self, Format};
use crate::http::v1::brokers::{Draining, ShownBroker};
use crate::http::v1::plans::{NotMoved, ShownPlan};
use crate::http::v1::reassignments::ShownReassignment;

/// Marks the brokers as draining, and moves away what they have.
pub(super) async fn drain(
    http: &Http,
    brokers: &[i32],
    moving: &Moving,
    format: Format,
) -> Result<(), Failure> {
    let ids: Vec<String> = brokers.iter().map(i32::to_string).collect();
    let plan = format!("drain?brokers={}", ids.join(","));
    let marked = match moving.dry_run {
        true => Vec::new(),
        false => mark(http, brokers).await?,
    };
    let plan = match make(http, &plan, moving).await {
        Ok(plan) => plan,
        Err(failure) => return Err(unmark(http, &marked, failure).await),
    };
    show(&plan, format)?;
    let begun = plan.moves.len() > plan.refused.len();
    if let (false, Err(failure)) = (begun, blame(&plan)) {
        return Err(unmark(http, &marked, failure).await);
    }
    finish(http, &plan, moving)
        .await
        .map_err(|failure| match moving.dry_run {
            true => failure,
            false => failure.hint_if_none(stays_marked(brokers)),
        })?;
    match moving.wait {
        Some(_) => check_empty(http, brokers).await,
        None => Ok(()),
    }
}

/// Marks those that are not marked yet, and returns them.
async fn mark(http: &Http, brokers: &[i32]) -> Result<Vec<i32>, Failure> {
    let all: Vec<ShownBroker> = http.get("/v1/brokers").await?;
    let is_marked = |id: i32| all.iter().any(|broker| broker.id == id && broker.draining);
    let mut marked = Vec::new();
    for &id in brokers.iter().filter(|&&id| !is_marked(id)) {
        if let Err(failure) = set_draining(http, &[id], true).await {
            return Err(unmark(http, &marked, failure).await);
        }
        marked.push(id);
    }
    Ok(marked)
}

/// Takes the marks back, and says so with what went wrong.
async fn unmark(http: &Http, marked: &[i32], failure: Failure) -> Failure {
    if marked.is_empty() {
        return failure;
    }
    match set_draining(http, marked, false).await {
        Ok(()) => {
            failure.hint("the brokers are not marked as draining, and take replicas as before")
        }
        Err(_) => failure.hint(stays_marked(marked)),
    }
}

fn stays_marked(brokers: &[i32]) -> String {
    let ids: Vec<String> = brokers.iter().map(i32::to_string).collect();
    let ids = ids.join(" ");
    format!("marked as draining: {ids}; `milena cluster drain --cancel {ids}` takes that back")
}

/// The brokers take replicas again.
pub(super) async fn cancel_drain(
    http: &Http,
    brokers: &[i32],
    format: Format,
) -> Result<(), Failure> {
    set_draining(http, brokers, false).await?;
    let done = brokers.iter().map(|id| match format {
        Format::Json => output::json(&serde_json::json!({ "broker": id, "draining": false })),
        Format::Table => output::line(&format!("broker {id}: takes replicas")),
    });
    done.collect()
}

async fn set_draining(http: &Http, brokers: &[i32], draining: bool) -> Result<(), Failure> {
    let body = serde_json::to_string(&Draining { draining }).map_err(std::io::Error::from)?;
    for id in brokers {
        let path = format!("/v1/brokers/{id}/drain");
        http.post(&path, &body).await?.read::<Draining>()?;
    }
    Ok(())
}

/// New topics may have been placed there before the brokers were known to drain.
async fn check_empty(http: &Http, brokers: &[i32]) -> Result<(), Failure> {
    let all: Vec<ShownBroker> = http.get("/v1/brokers").await?;
    let mut drained = all.iter().filter(|broker| brokers.contains(&broker.id));
    match drained.find(|broker| broker.replicas > 0) {
        None => Ok(()),
        Some(broker) => {
            let (id, replicas) = (broker.id, broker.replicas);
            let text = format!("broker {id} still has {replicas} replicas");
            Err(Failure::new(Exit::Failed, text).hint("run the command again"))
        }
    }
}

/// Makes a plan, shows it, and begins it.
pub(super) async fn perform(
    http: &Http,
    plan: &str,
    moving: &Moving,
    format: Format,
) -> Result<(), Failure> {
    let plan = make(http, plan, moving).await?;
    show(&plan, format)?;
    finish(http, &plan, moving).await
}

async fn make(http: &Http, plan: &str, moving: &Moving) -> Result<ShownPlan, Failure> {
    let query = if plan.contains('?') { '&' } else { '?' };
    let path = format!("/v1/plans/{plan}{query}apply={}", !moving.dry_run);
    http.post(&path, "").await?.read()
}

/// Waits, where that is wanted, and says what could not be moved.
async fn finish(http: &Http, plan: &ShownPlan, moving: &Moving) -> Result<(), Failure> {
    if let Some(within) = moving.wait {
        wait(http, plan, within).await?;
    }
    blame(plan)
}

fn show(plan: &ShownPlan, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return output::json(plan);
    }
    if plan.moves.is_empty() {
        return output::line(match plan.stuck.is_empty() {
            true => "nothing to move",
            false => "nothing can be moved",
        });
    }
    let ids = |ids: &[i32]| {
        let ids: Vec<String> = ids.iter().map(i32::to_string).collect();
        ids.join(",")
    };
    let rows = plan.moves.iter().map(|one| {
        [
            format!("{}-{}", one.topic, one.partition),
            ids(&one.from),
            ids(&one.to),
        ]
    });
    output::table(["partition", "from", "to"], &rows.collect::<Vec<_>>())?;
    let said = match plan.applied {
        true => "on their way",
        false => "would move",
    };
    let count = plan.moves.len() - plan.refused.len();
    output::line(&format!(
        "{count} partitions {said}, {} replicas to copy",
        plan.copies
    ))
}

/// What can't be moved makes the command fail, once all that can has been seen to.
fn blame(plan: &ShownPlan) -> Result<(), Failure> {
    let said = |one: &NotMoved| format!("{}-{}: {}", one.topic, one.partition, one.reason);
    let all: Vec<String> = plan.stuck.iter().chain(&plan.refused).map(said).collect();
    if all.is_empty() {
        return Ok(());
    }
    let text = format!(
        "{} partitions can't be moved\n  {}",
        all.len(),
        all.join("\n  ")
    );
    Err(Failure::new(Exit::Failed, text))
}

/// Until none of the plan's partitions is on its way.
async fn wait(http: &Http, plan: &ShownPlan, within: Duration) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut watch = Watch::start();
    let mut left_first = 0;
    loop {
        let ways: Vec<ShownReassignment> = http.get("/v1/reassignments").await?;
        let ours = ways.iter().filter(|way| {
            let mut moves = plan.moves.iter();
            moves.any(|one| one.topic == way.topic && one.partition == way.partition)
        });
        let ours: Vec<&ShownReassignment> = ours.collect();
        if ours.is_empty() {
            watch.end();
            return Ok(());
        }
        let bytes_left: u64 = ours.iter().filter_map(|way| way.bytes_left).sum();
        left_first = bytes_left.max(left_first);
        watch.show(
            ours.len(),
            Copying {
                bytes_done: left_first - bytes_left,
                bytes_left,
            },
        );
        if begun.elapsed() > within {
            watch.end();
            let text = format!("{} partitions are still on their way", ours.len());
            return Err(
                Failure::new(Exit::TimedOut, text).hint("they go on; --wait=TIME waits longer")
            );
        }
        sleep(LOOK_EVERY).await;
    }
}
