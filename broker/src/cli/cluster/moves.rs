//! `milena cluster drain`, `rebalance` and `repair`: a plan is shown, and unless it is a dry run, begun.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use milena_client::admin::Sizes;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::Moving;
use crate::cli::copying::{self, Copying, LOOK_EVERY, Watch};
use crate::cli::failure::{Exit, Failure};
use crate::cli::http::Http;
use crate::cli::output::{self, Format};
use crate::cli::target::ClusterArgs;
use crate::cli::throttle::{self, Throttled};
use crate::http::v1::brokers::{Draining, ShownBroker};
use crate::http::v1::cluster::ShownCluster;
use crate::http::v1::plans::{NotMoved, ShownMove, ShownPlan};
use crate::http::v1::reassignments::ShownReassignment;

/// Sizes are worth no more: the plan is shown without those that are not known by then.
const SIZES_WITHIN: Duration = Duration::from_secs(5);
/// Of the partitions that can't be moved for one reason, so many are named: it is often the same for all.
const STUCK_SHOWN_MAX: usize = 10;
/// Of the moves that go on after a drain is cancelled, so many are named.
const GOING_ON_MAX: usize = 20;

/// Where a plan is made and moved, and how.
pub(super) struct Mover<'a> {
    http: Http,
    cluster: &'a ClusterArgs,
    moving: &'a Moving,
}

impl<'a> Mover<'a> {
    pub(super) fn new(http: Http, cluster: &'a ClusterArgs, moving: &'a Moving) -> Self {
        Self {
            http,
            cluster,
            moving,
        }
    }
}

/// Marks the brokers as draining, and moves away what they have. A mark moves leaderships at once: where nothing can be
/// moved, none is made.
pub(super) async fn drain(mover: &Mover<'_>, brokers: &[i32]) -> Result<(), Failure> {
    let Mover { http, moving, .. } = mover;
    let ids: Vec<String> = brokers.iter().map(i32::to_string).collect();
    let plan = format!("drain?brokers={}", ids.join(","));
    if !moving.dry_run {
        refuse_hopeless(mover, &ask(http, &plan, false).await?).await?;
    }
    let marked = match moving.dry_run {
        true => Vec::new(),
        false => mark(http, brokers).await?,
    };
    let plan = match make(mover, &plan).await {
        Ok(plan) => plan,
        Err(failure) => return Err(unmark(http, &marked, failure).await),
    };
    show(mover, &plan).await?;
    let begun = plan.moves.len() > plan.refused.len();
    if let (false, Err(failure)) = (begun, blame(&plan)) {
        return Err(unmark(http, &marked, failure).await);
    }
    finish(mover, &plan)
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

/// Fails where a plan moves nothing that it would have to.
async fn refuse_hopeless(mover: &Mover<'_>, plan: &ShownPlan) -> Result<(), Failure> {
    if !plan.moves.is_empty() || plan.stuck.is_empty() {
        return Ok(());
    }
    show(mover, plan).await?;
    blame(plan).map_err(|failure| failure.hint("nothing was done: no broker was marked"))
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

/// The brokers take replicas again. What leaves them goes on: who meant that, too, is told how to give it up.
pub(super) async fn cancel_drain(
    http: &Http,
    brokers: &[i32],
    format: Format,
) -> Result<(), Failure> {
    set_draining(http, brokers, false).await?;
    let ways: Vec<ShownReassignment> = http.get("/v1/reassignments").await?;
    brokers.iter().try_for_each(|id| {
        let away = ways.iter().filter(|way| leaves(way, *id));
        let away: Vec<String> = away
            .map(|way| format!("{}-{}", way.topic, way.partition))
            .collect();
        match format {
            Format::Json => output::json(
                &serde_json::json!({ "broker": id, "draining": false, "on_their_way": away }),
            ),
            Format::Table => output::line(&takes_again(*id, &away)),
        }
    })
}

fn leaves(way: &ShownReassignment, broker: i32) -> bool {
    way.from.contains(&broker) && !way.to.contains(&broker)
}

fn takes_again(broker: i32, away: &[String]) -> String {
    if away.is_empty() {
        return format!("broker {broker}: takes replicas");
    }
    let named: Vec<&str> = away.iter().take(GOING_ON_MAX).map(String::as_str).collect();
    let more = match away.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "broker {broker}: takes replicas; {} partitions are still on their way from it: {}{more}\n\
         `milena topic move {} --cancel` gives one up, and without the number all of its topic",
        away.len(),
        named.join(" "),
        away[0],
    )
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

/// Moves what is misplaced.
pub(super) async fn repair(mover: &Mover<'_>) -> Result<(), Failure> {
    let plan = make(mover, "repair").await?;
    show(mover, &plan).await?;
    finish(mover, &plan).await
}

/// Makes replicas and preferred leaders even. That is not who leads now: where nothing moves, a person is told of it.
pub(super) async fn rebalance(mover: &Mover<'_>) -> Result<(), Failure> {
    let plan = make(mover, "rebalance").await?;
    show(mover, &plan).await?;
    if plan.moves.is_empty() && mover.cluster.output == Format::Table {
        let cluster: ShownCluster = mover.http.get("/v1/cluster").await?;
        if let Some(told) = leaders_in_words(cluster.partitions.not_preferred) {
            output::line(&told)?;
        }
    }
    finish(mover, &plan).await
}

fn leaders_in_words(not_preferred: usize) -> Option<String> {
    (not_preferred > 0).then(|| {
        format!(
            "{not_preferred} partitions are not led by their preferred leader: a broker's go back together where they are \
             more than leader.imbalance.per.broker.percentage, every leader.imbalance.check.interval.seconds (300); \
             `kafka-leader-election --election-type preferred` does it now"
        )
    })
}

/// Has a plan made, and begun where it is no dry run.
async fn make(mover: &Mover<'_>, plan: &str) -> Result<ShownPlan, Failure> {
    match mover.moving.throttle {
        Some(rate) if !mover.moving.dry_run => make_throttled(mover, plan, rate).await,
        _ => ask(&mover.http, plan, !mover.moving.dry_run).await,
    }
}

async fn ask(http: &Http, plan: &str, apply: bool) -> Result<ShownPlan, Failure> {
    let query = if plan.contains('?') { '&' } else { '?' };
    let path = format!("/v1/plans/{plan}{query}apply={apply}");
    http.post(&path, "").await?.read()
}

/// The throttle is there before the copies begin.
async fn make_throttled(mover: &Mover<'_>, plan: &str, rate: i64) -> Result<ShownPlan, Failure> {
    let client = mover.cluster.reach().await?;
    let wanted = throttled(&ask(&mover.http, plan, false).await?);
    wanted.begin(&client, rate).await?;
    match ask(&mover.http, plan, true).await {
        Ok(begun) => {
            // The cluster may have changed between the two questions.
            throttled(&begun).begin(&client, rate).await?;
            Ok(begun)
        }
        Err(failure) => {
            wanted.end(&client).await.ok();
            Err(failure)
        }
    }
}

fn throttled(plan: &ShownPlan) -> Throttled {
    let mut throttled = Throttled::default();
    for one in &plan.moves {
        throttled.add(&one.topic, one.partition, &one.from, &one.to);
    }
    throttled
}

/// Waits, where that is wanted, and says what could not be moved.
async fn finish(mover: &Mover<'_>, plan: &ShownPlan) -> Result<(), Failure> {
    let moving = mover.moving;
    let waited = match moving.wait {
        Some(within) => wait(&mover.http, plan, within).await,
        None => Ok(()),
    };
    let throttled = throttled(plan);
    if moving.throttle.is_some() && !moving.dry_run && !throttled.is_empty() {
        match (moving.wait, &waited) {
            (Some(_), Ok(())) => throttled.end(&mover.cluster.client()).await?,
            _ => eprintln!("{}", throttle::STAYS),
        }
    }
    waited?;
    blame(plan)
}

/// A plan with what it weighs.
#[derive(Serialize)]
struct Weighed<'a> {
    moves: Vec<WeighedMove<'a>>,
    /// None where the size of one is not known.
    bytes_to_copy: Option<u64>,
    stuck: &'a [NotMoved],
    copies: usize,
    applied: bool,
    refused: &'a [NotMoved],
}

#[derive(Serialize)]
struct WeighedMove<'a> {
    #[serde(flatten)]
    one: &'a ShownMove,
    /// What its leader has.
    bytes: Option<u64>,
}

impl WeighedMove<'_> {
    /// What all new replicas have to get.
    fn bytes_to_copy(&self) -> Option<u64> {
        let ShownMove { from, to, .. } = self.one;
        let copies = to.iter().filter(|id| !from.contains(id)).count() as u64;
        match copies {
            0 => Some(0),
            copies => self.bytes.map(|bytes| bytes * copies),
        }
    }
}

async fn weigh<'a>(cluster: &ClusterArgs, plan: &'a ShownPlan) -> Weighed<'a> {
    let asked = timeout(SIZES_WITHIN, sizes(cluster, plan)).await;
    let sizes = asked.unwrap_or_default();
    let moves = plan.moves.iter().map(|one| WeighedMove {
        one,
        bytes: sizes.get(&(one.topic.clone(), one.partition)).copied(),
    });
    let moves: Vec<WeighedMove<'_>> = moves.collect();
    Weighed {
        bytes_to_copy: moves.iter().map(WeighedMove::bytes_to_copy).sum(),
        moves,
        stuck: &plan.stuck,
        copies: plan.copies,
        applied: plan.applied,
        refused: &plan.refused,
    }
}

/// What the leaders say; none where nobody can be asked.
async fn sizes(cluster: &ClusterArgs, plan: &ShownPlan) -> Sizes {
    if plan.moves.is_empty() {
        return Sizes::new();
    }
    let Ok(client) = cluster.reach().await else {
        return Sizes::new();
    };
    let known = client.refresh_all().await.ok();
    let leader = |one: &ShownMove| {
        let topic = known.as_ref()?.topics.get(&one.topic)?;
        topic.partition(one.partition).ok()?.leader
    };
    let led = plan.moves.iter().filter_map(|one| {
        let here = (one.topic.clone(), one.partition);
        Some((leader(one)?, here))
    });
    let told = copying::weigh(&client, led).await;
    told.into_values().flatten().collect()
}

async fn show(mover: &Mover<'_>, plan: &ShownPlan) -> Result<(), Failure> {
    let weighed = weigh(mover.cluster, plan).await;
    if mover.cluster.output == Format::Json {
        return output::json(&weighed);
    }
    if plan.moves.is_empty() {
        return output::line(match plan.stuck.is_empty() {
            true => "nothing to move",
            false => "nothing can be moved",
        });
    }
    table(&weighed, plan)
}

fn table(weighed: &Weighed<'_>, plan: &ShownPlan) -> Result<(), Failure> {
    let ids = |ids: &[i32]| {
        let ids: Vec<String> = ids.iter().map(i32::to_string).collect();
        ids.join(",")
    };
    let rows = weighed.moves.iter().map(|WeighedMove { one, bytes }| {
        [
            format!("{}-{}", one.topic, one.partition),
            ids(&one.from),
            ids(&one.to),
            copying::size_in_words(*bytes),
        ]
    });
    let headers = ["partition", "from", "to", "size"];
    output::table(headers, &rows.collect::<Vec<_>>())?;
    let said = match plan.applied {
        true => "on their way",
        false => "would move",
    };
    let count = plan.moves.len() - plan.refused.len();
    let copies = plan.copies;
    let bytes = match weighed.bytes_to_copy {
        Some(bytes) => format!("{} in all", copying::size_in_words(Some(bytes))),
        None => "not all sizes are known".to_owned(),
    };
    output::line(&format!(
        "{count} partitions {said}, {copies} replicas to copy, {bytes}"
    ))
}

/// What can't be moved makes the command fail, once all that can has been seen to.
fn blame(plan: &ShownPlan) -> Result<(), Failure> {
    let all: Vec<&NotMoved> = plan.stuck.iter().chain(&plan.refused).collect();
    if all.is_empty() {
        return Ok(());
    }
    let text = format!(
        "{} partitions can't be moved\n  {}",
        all.len(),
        by_reason(&all).join("\n  ")
    );
    Err(Failure::new(Exit::Failed, text))
}

/// A line for each reason, with the partitions that it holds for.
fn by_reason(all: &[&NotMoved]) -> Vec<String> {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for one in all {
        let partition = format!("{}-{}", one.topic, one.partition);
        reasons.entry(&one.reason).or_default().push(partition);
    }
    let line = |(reason, partitions): (&str, Vec<String>)| {
        let shown = partitions.len().min(STUCK_SHOWN_MAX);
        let more = match partitions.len() - shown {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{}{more}: {reason}", partitions[..shown].join(" "))
    };
    reasons.into_iter().map(line).collect()
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

#[cfg(test)]
mod tests;
