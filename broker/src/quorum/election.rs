//! When a voter calls an election. openraft's own timer is off: it would wait for lease and timeout whatever is
//! known of the leader, and has no way to ask first.
//!
//! An election is called when the leader has been silent for longer than its lease and
//! - its connection was closed by the other end and dialling it is refused: the process is gone; or
//! - the silence has lasted for another election timeout;
//!
//! and when a majority say that they would vote, having heard of no leader for a lease either. So one bad link
//! calls no election: it would cost a leader that all others hear. Whether votes are given is openraft's to say. It waits
//! for a vote no longer than [`VOTE_WITHIN`], and a vote has to be on disk before it is given, so that on disks that are
//! slower than that none would ever be given in time: a majority first has the vote on disk that it is going to be asked
//! for, however long that takes. Who has just founded the cluster goes on calling elections until it has led once: the others know of no cluster yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::Rng;
use tokio::time::{Instant, sleep, timeout_at};

use super::member::Member;
use super::types::{Node, NodeId, Vote};
use crate::peer::{Answer, Lane, Promise, Promised, Request, WouldVote, network};
use crate::rule::is_broken;

/// A leader's heartbeats.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(50);
/// The election timeout's bounds.
pub(super) const TIMEOUT_MIN: Duration = Duration::from_millis(150);
pub(super) const TIMEOUT_MAX: Duration = Duration::from_millis(300);
/// A voter gives no vote for so long after it has heard of a leader; openraft takes it from the timeout's bound.
pub(super) const LEASE: Duration = TIMEOUT_MAX;

/// openraft waits so long for a vote; it wants less than the lease.
pub(super) const VOTE_WITHIN: Duration = Duration::from_millis(299);

/// A majority that has not put a vote on disk by then has disks that stand still.
const PROMISED_WITHIN: Duration = Duration::from_secs(2);
/// Who has promised its vote calls no election for so long: the other's disk may be a little slower.
const PROMISE_HELD: Duration = Duration::from_millis(500);
/// How often a voter looks.
const LOOK: Duration = Duration::from_millis(10);
/// How much later than its lease a voter moves: others heard of the leader a little later.
const LATER_MIN: Duration = Duration::from_millis(10);
const LATER_MAX: Duration = Duration::from_millis(30);
/// How much later each next voter moves, by the order of their ids: two that move at once disturb each other, and
/// a vote has to be on disk before it is given.
const LATER_EACH: Duration = Duration::from_millis(50);
/// Dialling a leader that may be gone, and asking the others.
const ASK_WITHIN: Duration = Duration::from_millis(100);
/// How often a lost majority is told of.
const TELL: Duration = Duration::from_secs(10);

/// What a voter knows of its leader.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// For how long it has heard nothing.
    silence: Duration,
    /// The leader's end closed the connection.
    closed: bool,
    /// It has just given or promised its vote to another, who may be about to lead.
    voted: bool,
}

/// This voter's share of chance, drawn for each leader.
#[derive(Debug, Clone, Copy)]
struct Patience {
    later: Duration,
    timeout: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Look again later.
    Wait,
    /// Dial the leader; if that is refused, ask the others.
    Dial,
    Ask,
}

impl Patience {
    /// `place` is this voter's among those that may follow the leader.
    fn draw(place: usize) -> Self {
        let mut rng = rand::rng();
        let turn = LATER_EACH * u32::try_from(place).unwrap_or(u32::MAX);
        Self {
            later: rng.random_range(LATER_MIN..LATER_MAX) + turn,
            timeout: rng.random_range(TIMEOUT_MIN..TIMEOUT_MAX),
        }
    }

    fn next(&self, seen: Seen) -> Step {
        if seen.voted {
            Step::Wait
        } else if seen.silence >= LEASE + self.timeout {
            Step::Ask
        } else if seen.closed && seen.silence >= LEASE + self.later {
            Step::Dial
        } else {
            Step::Wait
        }
    }
}

/// How many voters answered when they were last asked, the one that asks included.
#[derive(Default)]
pub(super) struct Reached(AtomicUsize);

impl Reached {
    /// `None` where nobody has been asked since the last leader.
    pub(super) fn voters(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&count| count > 0)
    }

    fn set(&self, count: usize) {
        self.0.store(count, Ordering::Relaxed);
    }
}

/// Calls elections for as long as the member runs.
pub(super) async fn run(member: Arc<Member>) {
    let mut patience = Patience::draw(0);
    let mut told: Option<Instant> = None;
    loop {
        sleep(LOOK).await;
        if !member.is_voter() || member.is_leader() {
            member.reached.set(0);
            member.until_it_may_elect().await;
            member.heard.start_over();
            continue;
        }
        let others = member.other_voters();
        if others.is_empty() {
            // Its own election may be under way.
            if member.heard.silence() > TIMEOUT_MIN {
                elect(&member).await;
            }
            continue;
        }
        let seen = Seen {
            silence: member.heard.silence(),
            closed: member.heard.closed_by().is_some(),
            voted: member.heard.voted_within(TIMEOUT_MIN)
                || member.heard.promised_within(PROMISE_HELD),
        };
        let ask = match patience.next(seen) {
            Step::Wait => false,
            Step::Dial => is_gone(&member).await,
            Step::Ask => true,
        };
        if !ask {
            if seen.silence < LEASE {
                (told, patience) = (None, Patience::draw(place(&member, &others)));
                member.reached.set(0);
            }
            continue;
        }
        let before = member.vote();
        let (reached, willing) = ask_all(&member, &others).await;
        member.reached.set(reached);
        let voters = others.len() + 1;
        let majority = voters / 2 + 1;
        let may_elect = is_broken!(ElectsUnasked)
            || (willing >= majority && is_promised(&member, &others, &before).await)
            || (reached >= majority && has_only_founded(&member));
        if may_elect {
            // It may have given its vote meanwhile: another election would undo that one.
            if member.vote() == before {
                elect(&member).await;
            }
        } else if reached < majority && told.is_none_or(|told| told.elapsed() > TELL) {
            told = Some(Instant::now());
            tracing::warn!(
                reached,
                voters = others.len() + 1,
                majority,
                "no majority of the quorum is reached: the metadata can be read, and not changed, until more voters \
                 are back: {}",
                named(&others)
            );
        }
    }
}

/// Whether it has founded a cluster and never led it: then nobody else knows of the cluster, so that nothing of it can be
/// lost, and nobody says that it would vote. What openraft asked for at the founding may have been answered too late.
fn has_only_founded(member: &Member) -> bool {
    !is_broken!(FoundsOnce) && member.last_log().is_some_and(|last| last.index == 0)
}

/// This voter's place among those that may follow the leader.
fn place(member: &Member, others: &[(NodeId, Node)]) -> usize {
    let leader = member.leader().map(|(id, _)| id);
    let before = |id: NodeId| id < member.id && Some(id) != leader;
    others.iter().filter(|(id, _)| before(*id)).count()
}

/// Whether nobody listens where the leader did.
async fn is_gone(member: &Member) -> bool {
    let leader = member.heard.closed_by().and_then(|id| member.node(id));
    match leader {
        Some(node) => network::is_refused(&node.host, node.port, ASK_WITHIN).await,
        None => true,
    }
}

/// How many voters answer, and how many would vote; both count this one.
async fn ask_all(member: &Arc<Member>, others: &[(NodeId, Node)]) -> (usize, usize) {
    let last_log = member.last_log();
    let mut asked = tokio::task::JoinSet::new();
    for (id, node) in others.iter().cloned() {
        let member = member.clone();
        asked.spawn(async move {
            let request = Request::WouldVote(WouldVote { last_log });
            member
                .peers
                .call(Lane::Raft, (id, &node), &request, ASK_WITHIN)
                .await
        });
    }
    let (mut reached, mut willing) = (1, 1);
    while let Some(answer) = asked.join_next().await {
        if let Ok(Ok(Answer::WouldVote(would))) = answer {
            reached += 1;
            willing += usize::from(would);
        }
    }
    (reached, willing)
}

/// Whether it is time to ask for votes: a majority, this member included, has the next one on disk, or somebody knows of
/// a later term, which only an election brings here.
async fn is_promised(member: &Arc<Member>, others: &[(NodeId, Node)], before: &Vote) -> bool {
    let promise = Promise {
        vote: Vote::new(before.leader_id().term + 1, member.id),
        candidate: WouldVote {
            last_log: member.last_log(),
        },
    };
    let mut asked = tokio::task::JoinSet::new();
    let (me, vote) = (member.clone(), promise.vote);
    // Where it has promised another a vote of a later term, its own is written when it is asked for.
    asked.spawn(async move {
        me.log
            .promise(vote)
            .await
            .map_or(Promised::Refused, |_| Promised::Kept)
    });
    for (id, node) in others.iter().cloned() {
        let (member, request) = (member.clone(), Request::Promise(promise.clone()));
        asked.spawn(async move {
            let peers = &member.peers;
            let answer = peers.call(Lane::Raft, (id, &node), &request, PROMISED_WITHIN);
            match answer.await {
                Ok(Answer::Promise(promised)) => promised,
                _ => Promised::Refused,
            }
        });
    }
    let voters = others.len() + 1;
    let (majority, mut promised) = (voters / 2 + 1, 0);
    let deadline = Instant::now() + PROMISED_WITHIN;
    while promised < majority {
        match timeout_at(deadline, asked.join_next()).await {
            Ok(Some(Ok(Promised::Kept))) => promised += 1,
            Ok(Some(Ok(Promised::Behind))) => return true,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return false,
        }
    }
    true
}

/// Calls the election, and gives it its time.
async fn elect(member: &Member) {
    let pause = rand::rng().random_range(TIMEOUT_MIN..TIMEOUT_MAX);
    let mut changes = member.raft.server_metrics();
    let before = member.vote();
    // Until then the former leader is still told of.
    let decided = changes.wait_for(|now| now.vote > before && now.current_leader.is_some());
    if member.raft.trigger().elect().await.is_err() {
        return;
    }
    // Whether it was won or not: the next look will show.
    let _ = tokio::time::timeout(pause, decided).await;
}

fn named(nodes: &[(NodeId, Node)]) -> String {
    let names = nodes.iter().map(|(_, node)| node.to_string());
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_election_waits_for_the_lease_and_dials_only_a_leader_that_closed() {
        let ms = Duration::from_millis;
        let patience = Patience {
            later: ms(20),
            timeout: ms(200),
        };
        let step = |silence, closed| {
            let (silence, voted) = (ms(silence), false);
            let seen = Seen {
                silence,
                closed,
                voted,
            };
            let voted = Seen {
                voted: true,
                ..seen
            };
            assert_eq!(patience.next(voted), Step::Wait);
            patience.next(seen)
        };
        assert_eq!(step(299, true), Step::Wait);
        assert_eq!(step(320, true), Step::Dial);
        assert_eq!(step(320, false), Step::Wait);
        assert_eq!(step(500, false), Step::Ask);
        assert_eq!(step(500, true), Step::Ask);
    }
}
