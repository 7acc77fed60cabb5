//! The quorum's leader fences brokers that are gone. Heartbeats go to every member, voter or not, so their answers
//! are the signal; a process that dies closes its connections, which is known at once. Who is fenced is decided in
//! `liveness/verdicts.rs`.

mod verdicts;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use milena_metadata::{Broker, BrokerId, ChangeBroker, ChangeBrokers, Command, Image, Request};
use openraft::ServerState;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::member::Member;
use super::types::{Node, NodeId};
pub use verdicts::FenceReason;
use verdicts::{LOOK, Seen, TOGETHER, verdicts};

/// A leader that looks so much later than it meant to was itself away, and has heard from nobody meanwhile.
const AWAY: Duration = Duration::from_millis(500);
/// A leader that has heard from no majority for so long may itself be the one that is cut off: it fences nobody.
const MAJORITY_WITHIN: Duration = Duration::from_secs(1);
/// A command that takes longer waits for a majority, or a disk.
const DECIDED_WITHIN: Duration = Duration::from_secs(3);
/// Pause after a command that was not decided.
const AGAIN: Duration = Duration::from_millis(10);

/// How many brokers this member has fenced, by reason.
#[derive(Default)]
pub(super) struct Fencings([AtomicU64; FenceReason::ALL.len()]);

impl Fencings {
    fn count(&self, reason: FenceReason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// As of now.
    pub(super) fn read(&self) -> [(FenceReason, u64); FenceReason::ALL.len()] {
        FenceReason::ALL.map(|reason| (reason, self.0[reason as usize].load(Ordering::Relaxed)))
    }
}

/// Watches over the brokers whenever this member leads; `session` is the silence that fences.
pub(super) async fn run(member: Arc<Member>, session: Duration) {
    let mut changes = member.raft.server_metrics();
    loop {
        let elected = changes.wait_for(|metrics| metrics.state == ServerState::Leader);
        let Ok(office) = elected.await.map(|metrics| metrics.vote) else {
            return;
        };
        tokio::select! {
            () = oversee(&member, session) => return,
            over = changes.wait_for(|metrics| metrics.vote != office) => {
                // openraft has ended, and says for ever that it leads.
                if over.is_err() {
                    return;
                }
            }
        }
    }
}

/// Looks again and again; ends with the member.
async fn oversee(member: &Arc<Member>, session: Duration) {
    let mut images = member.shown.watch();
    let mut watched = Watched::new();
    let mut alone = false;
    loop {
        let image = images.borrow_and_update().clone();
        if others(&image, member).next().is_none() {
            watched.forget();
            if images.changed().await.is_err() {
                return;
            }
            continue;
        }
        if !hears_majority(member) {
            if !std::mem::replace(&mut alone, true) {
                tracing::warn!(
                    voters = member.voters().len(),
                    within = ?MAJORITY_WITHIN,
                    "this member leads the metadata quorum and hears from no majority of the voters: the metadata can be read, \
                     and changes wait until more are back"
                );
            }
            watched.forget();
            sleep(LOOK).await;
            continue;
        }
        alone = false;
        let now = Instant::now();
        if now.duration_since(watched.looked) > AWAY {
            watched.forget();
        }
        let seen = watched.look(now, member, &image, session);
        let mut verdicts = verdicts(now, session, &seen, &watched.drops);
        for id in verdicts.dial {
            watched.dial(now, member, id);
        }
        if !verdicts.fence.is_empty() {
            // Without a majority it is never decided, and the next look says so.
            let fencing = fence(member, &image, &verdicts.fence);
            let fenced = timeout(DECIDED_WITHIN, fencing).await.unwrap_or_default();
            watched.fenced(&seen, &fenced);
            watched.looked = Instant::now();
            if fenced.len() < verdicts.fence.len() {
                verdicts.again = Instant::now() + AGAIN;
            }
        }
        tokio::select! {
            () = sleep_until(verdicts.again) => {}
            () = member.peers.links().changed() => {}
        }
    }
}

/// The unfenced brokers besides the member's own.
fn others<'a>(image: &'a Image, member: &Member) -> impl Iterator<Item = &'a Arc<Broker>> {
    let own = member.me.broker;
    image
        .brokers()
        .filter(move |broker| !broker.fenced && broker.id.get() != own)
}

/// Whether enough voters have answered lately.
pub(super) fn hears_majority(member: &Member) -> bool {
    let lately = |since: Duration| since < MAJORITY_WITHIN;
    let voters = member.voters();
    let heard = voters
        .iter()
        .filter(|(id, _)| *id == member.id || member.contacts.since(*id).is_some_and(lately));
    heard.count() > voters.len() / 2
}

/// What a leader keeps in mind between two looks.
struct Watched {
    looked: Instant,
    /// By number and epoch.
    brokers: HashMap<(BrokerId, i64), Life>,
    /// When those dropped that it has fenced before their session was over.
    drops: Vec<Instant>,
}

/// One broker's life, as it is watched.
#[derive(Clone)]
struct Life {
    since: Instant,
    member: Option<(NodeId, Node)>,
    dialled: Option<Instant>,
}

impl Watched {
    fn new() -> Self {
        Self {
            looked: Instant::now(),
            brokers: HashMap::new(),
            drops: Vec::new(),
        }
    }

    /// Everybody gets a full session again.
    fn forget(&mut self) {
        self.brokers.clear();
    }

    fn look(
        &mut self,
        now: Instant,
        member: &Member,
        image: &Image,
        session: Duration,
    ) -> Vec<Seen> {
        let members = Members::of(member);
        let mut before = std::mem::take(&mut self.brokers);
        self.looked = now;
        // A drop counts for as long as one that dropped with it may still wait for its silence.
        self.drops
            .retain(|at| now.duration_since(*at) < session + TOGETHER);
        let mut seen = Vec::new();
        for broker in others(image, member) {
            let key = (broker.id, broker.epoch);
            let mut life = before.remove(&key).unwrap_or(Life {
                since: now,
                member: None,
                dialled: None,
            });
            life.member = members.present(member, broker);
            let id = life.member.as_ref().map(|(id, _)| *id);
            seen.push(Seen {
                broker: broker.id,
                since: life.since,
                answered: id.and_then(|id| member.contacts.at(id)),
                link: id.map_or_else(Default::default, |id| member.peers.links().get(id)),
                dialled: life.dialled,
            });
            self.brokers.insert(key, life);
        }
        seen
    }

    /// Finds out about it beside; what came of it shows in the links.
    fn dial(&mut self, now: Instant, member: &Arc<Member>, id: BrokerId) {
        let mut lives = self.brokers.iter_mut();
        let Some((_, life)) = lives.find(|((broker, _), _)| *broker == id) else {
            return;
        };
        life.dialled = Some(now);
        if let Some((id, node)) = life.member.clone() {
            let member = member.clone();
            tokio::spawn(async move { member.peers.dial(id, &node).await });
        }
    }

    fn fenced(&mut self, seen: &[Seen], fenced: &[BrokerId]) {
        let gone = seen.iter().filter(|seen| fenced.contains(&seen.broker));
        self.drops.extend(gone.filter_map(Seen::dropped));
    }
}

/// The quorum's members by their brokers' numbers.
struct Members(HashMap<i32, Vec<(NodeId, Node)>>);

impl Members {
    fn of(member: &Member) -> Self {
        let mut by_broker: HashMap<i32, Vec<(NodeId, Node)>> = HashMap::new();
        for (id, node) in member.nodes() {
            by_broker.entry(node.broker).or_default().push((id, node));
        }
        Self(by_broker)
    }

    /// The member that the broker's present life is. Where its disk was wiped there may be a former one: its
    /// registration names its directories, and only who is there answers.
    fn present(&self, member: &Member, broker: &Broker) -> Option<(NodeId, Node)> {
        let of_it = self.0.get(&broker.id.get())?.iter();
        let by = |(id, node): &&(NodeId, Node)| {
            let named = broker.directories.contains(&node.directory);
            (named, member.contacts.at(*id))
        };
        of_it.max_by_key(by).cloned()
    }
}

/// Fences them all with one command, and says whom it did.
async fn fence(
    member: &Member,
    image: &Image,
    brokers: &[(BrokerId, FenceReason)],
) -> Vec<BrokerId> {
    let change = |&(id, _): &(BrokerId, FenceReason)| ChangeBroker {
        id,
        epoch: image.broker(id).map_or(-1, |broker| broker.epoch),
        fenced: Some(true),
        draining: None,
        stopping: None,
    };
    let changes = brokers.iter().map(change).collect();
    let command = Command::from(ChangeBrokers { changes });
    let answers = match member.decide(command).await {
        Ok(decided) => ChangeBrokers::outcome(decided.outcome)
            .expect("a command is answered with its own outcome"),
        Err(undecided) => {
            tracing::debug!(?undecided, "brokers that are gone are not fenced yet");
            return Vec::new();
        }
    };
    let mut fenced = Vec::new();
    for (&(id, reason), answer) in brokers.iter().zip(&answers) {
        match answer {
            Ok(()) => {
                member.fencings.count(reason);
                fenced.push(id);
                tracing::warn!(
                    broker = id.get(),
                    reason = reason.name(),
                    "a broker is gone, and is fenced: others lead its partitions"
                );
            }
            // Its life has ended meanwhile.
            Err(refusal) => tracing::debug!(broker = id.get(), %refusal, "a broker is not fenced"),
        }
    }
    fenced
}
