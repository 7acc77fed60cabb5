//! What the quorum's leader does at times: stop leases end, leaderships go back to where they are preferred,
//! internal topics grow with the cluster, and changes of voters are ended that were interrupted. What to do is decided in
//! `milena_metadata`.

mod leases;

use std::sync::Arc;
use std::time::Duration;

use milena_metadata::{
    AlterPartitionReassignments, Command, ConfigRules, ElectLeaders, ElectionKind, Image, Lease,
    Outcome, SettlePartitions, placement, plan,
};
use openraft::ServerState;
use tokio::time::{Instant, sleep};

use self::leases::WatchedLeases;
use super::member::Member;
use super::members;
use super::{Leading, Rebalance};
use crate::clock::Clock;

/// How often it is looked whether something is due: a lease may be seen so much late, and end so much later.
const LOOK: Duration = Duration::from_secs(1);
/// An internal topic that can't have its replicas yet is tried again so often: the plan looks at every partition.
const GROW_AGAIN: Duration = Duration::from_secs(10);
/// Partitions of one round of growing: each is then to be copied.
const GROW_MAX: usize = 1_000;
/// How often misplaced replicas are looked for.
const MISPLACED_EVERY: Duration = Duration::from_secs(300);

/// When what was done last, and is due next.
struct Round {
    rebalance: Instant,
    grow: Instant,
    misplaced: Instant,
    misplaced_count: usize,
}

/// Does its duties whenever this member leads.
pub(super) async fn run(member: Arc<Member>, leading: Leading, rules: Arc<dyn ConfigRules>) {
    let mut changes = member.raft.server_metrics();
    loop {
        let elected = changes.wait_for(|metrics| metrics.state == ServerState::Leader);
        let Ok(office) = elected.await.map(|metrics| metrics.vote) else {
            return;
        };
        tokio::select! {
            () = serve(&member, &leading, &rules) => return,
            () = members::end_interrupted_changes(&member) => return,
            over = changes.wait_for(|metrics| metrics.vote != office) => {
                // openraft has ended, and says for ever that it leads.
                if over.is_err() {
                    return;
                }
            }
        }
    }
}

/// Ends with the member.
async fn serve(member: &Arc<Member>, leading: &Leading, rules: &Arc<dyn ConfigRules>) {
    let mut images = member.shown.watch();
    let mut round = Round::from(Instant::now(), leading);
    let mut leases = WatchedLeases::default();
    let mut settled = false;
    loop {
        let image = images.borrow_and_update().clone();
        if is_idle(&image) {
            if images.changed().await.is_err() {
                return;
            }
            continue;
        }
        sleep(LOOK).await;
        let (now, image) = (Instant::now(), member.shown.image());
        if !settled {
            settled = decide(member, SettlePartitions {}.into()).await.is_some();
        }
        if let Some(command) = leases.expired(now, &image, Clock.now_ms())
            && let Some(Outcome::ExpireLeases(ended)) = decide(member, command).await
        {
            tell_ended(&ended);
        }
        if let Some(how) = leading.rebalance.filter(|_| now >= round.rebalance) {
            round.rebalance = now + rebalance(member, &image, how).await;
        }
        if now >= round.grow && grows(&image, &leading.internal_topics) {
            round.grow = now + GROW_AGAIN;
            grow(member, &image, leading, rules).await;
        }
        if now >= round.misplaced {
            round.misplaced = now + MISPLACED_EVERY;
            round.misplaced_count = tell_misplaced(&image, rules, round.misplaced_count).await;
        }
    }
}

impl Round {
    fn from(now: Instant, leading: &Leading) -> Self {
        let every = leading.rebalance.map(|rebalance| rebalance.every);
        Self {
            rebalance: now + every.unwrap_or_default(),
            grow: now,
            misplaced: now + MISPLACED_EVERY,
            misplaced_count: 0,
        }
    }
}

/// A broker alone has nothing to move, and without a lease nothing to end.
fn is_idle(image: &Image) -> bool {
    image.leases().len() == 0 && image.stopping().is_none() && image.brokers().count() <= 1
}

/// Whether a partition of an internal topic has fewer replicas than it shall have and brokers allow by their number.
fn grows(image: &Image, topics: &[(String, usize)]) -> bool {
    let unfenced = image.brokers().filter(|broker| !broker.fenced).count();
    let is_short = |(name, factor): &(String, usize)| {
        let Some(topic) = image.topic(name) else {
            return false;
        };
        let reachable = (*factor).min(unfenced);
        topic
            .partitions()
            .any(|(_, partition)| partition.target().len() < reachable)
    };
    topics.iter().any(is_short)
}

/// How long until the next round: soon where this one was full.
async fn rebalance(member: &Member, image: &Arc<Image>, how: Rebalance) -> Duration {
    let percentage = how.imbalance_percentage;
    let partitions = beside(image, move |image| plan::preferred(image, percentage)).await;
    let count = partitions.len();
    if count == 0 {
        return how.every;
    }
    tracing::info!(
        partitions = count,
        "leaderships go back to preferred leaders"
    );
    let command = ElectLeaders {
        kind: ElectionKind::Preferred,
        partitions: Some(partitions),
    };
    decide(member, command.into()).await;
    match count < plan::PREFERRED_ELECTIONS_MAX {
        true => how.every,
        false => LOOK,
    }
}

async fn grow(
    member: &Member,
    image: &Arc<Image>,
    leading: &Leading,
    rules: &Arc<dyn ConfigRules>,
) {
    let (topics, rules) = (leading.internal_topics.clone(), rules.clone());
    let plan = beside(image, move |image| {
        let wanted: Vec<(&str, usize)> = topics
            .iter()
            .map(|(name, factor)| (name.as_str(), *factor))
            .collect();
        plan::grow(image, &*rules, &wanted)
    });
    let moves = plan.await.moves;
    if moves.is_empty() {
        return;
    }
    tracing::info!(
        partitions = moves.len(),
        "internal topics get more replicas"
    );
    let command = AlterPartitionReassignments {
        partitions: moves
            .iter()
            .take(GROW_MAX)
            .map(plan::Move::wanted)
            .collect(),
        allow_replication_factor_change: true,
    };
    decide(member, command.into()).await;
}

/// Says how many replicas are not where they should be, where that is news: people move them.
async fn tell_misplaced(image: &Arc<Image>, rules: &Arc<dyn ConfigRules>, told: usize) -> usize {
    let rules = rules.clone();
    let misplaced = beside(image, move |image| placement::misplaced(image, &*rules)).await;
    if misplaced.len() != told {
        let first = misplaced.first();
        tracing::warn!(
            partitions = misplaced.len(),
            first = first.map(|first| format!("{}-{}", first.topic, first.partition)),
            "partitions whose replicas are not where their topics want them"
        );
    }
    misplaced.len()
}

/// Every partition is looked at: not on the thread that heartbeats need.
async fn beside<T: Default + Send + 'static>(
    image: &Arc<Image>,
    look: impl FnOnce(&Image) -> T + Send + 'static,
) -> T {
    let image = image.clone();
    let looked = crate::blocking::spawn(move || look(&image)).await;
    looked.unwrap_or_default()
}

/// What does not come about now is due again with the next look.
/// What came of it; none where it waits until the next look.
async fn decide(member: &Member, command: Command) -> Option<Outcome> {
    let decided = member.decide(command).await;
    match decided {
        Ok(decided) => Some(decided.outcome),
        Err(undecided) => {
            tracing::debug!(?undecided, "a duty of the quorum's leader waits");
            None
        }
    }
}

fn tell_ended(leases: &[Lease]) {
    for lease in leases {
        tracing::warn!(
            broker = %lease.broker,
            "a stop lease has ended by its time, and the broker never stopped: it has to ask again before it may"
        );
    }
}
