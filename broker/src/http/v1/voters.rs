//! `POST /v1/quorum/voters`: gives a broker a vote in the metadata quorum, or takes it, as AddRaftVoter and
//! RemoveRaftVoter do. `{"add": ID}` takes the member of that broker that follows without a vote; `{"remove": ID}` the one
//! that votes. What is so already is answered as done, so that who asks again is told the same.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use milena_metadata::DirectoryId;
use milena_protocol::ErrorCode;
use serde::{Deserialize, Serialize};

use super::cluster::QUORUM_WITHIN;
use super::{Failure, Serving};
use crate::broker::into_refusal;
use crate::quorum::{MemberProgress, QuorumProgress};

/// A wanted change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Body")]
pub enum Wanted {
    /// The broker of that number is to vote.
    Add(i32),
    /// It is to vote no more.
    Remove(i32),
}

/// It has one of the two.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    add: Option<i32>,
    remove: Option<i32>,
}

impl TryFrom<Body> for Wanted {
    type Error = &'static str;

    fn try_from(body: Body) -> Result<Self, Self::Error> {
        match (body.add, body.remove) {
            (Some(id), None) => Ok(Self::Add(id)),
            (None, Some(id)) => Ok(Self::Remove(id)),
            _ => Err("give either `add` or `remove`, with a broker's number"),
        }
    }
}

/// How it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    pub broker: i32,
    /// The metadata directory with which it is a member.
    pub directory: String,
    pub votes: bool,
    /// Whether it did otherwise before.
    pub changed: bool,
}

/// `POST`.
pub async fn change(
    Serving(broker): Serving,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<Json<Vote>, Failure> {
    let Json(wanted) = wanted?;
    let (quorum, id) = (broker.quorum(), wanted.broker());
    let progress = quorum.progress(QUORUM_WITHIN).await;
    let member = choose(&progress.map_err(Failure::no_leader)?, wanted)?;
    let directory = member.directory;
    let asked = match (member.asks, wanted) {
        (true, Wanted::Add(_)) => quorum.add_voter(id, directory).await,
        (true, Wanted::Remove(_)) => quorum.remove_voter(id, directory).await,
        (false, _) => Ok(()),
    };
    let changed = match asked.map_err(into_refusal) {
        Ok(()) => member.asks,
        Err(refusal) if refusal.code == ErrorCode::DuplicateVoter => false,
        Err(refusal) => return Err(Failure::not_now(refusal)),
    };
    let votes = matches!(wanted, Wanted::Add(_));
    if changed {
        tracing::info!(broker = id, %directory, votes, "who votes in the metadata quorum has changed");
    }
    Ok(Json(Vote {
        broker: id,
        directory: directory.to_string(),
        votes,
        changed,
    }))
}

impl Wanted {
    fn broker(self) -> i32 {
        let (Self::Add(id) | Self::Remove(id)) = self;
        id
    }
}

/// The member that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chosen {
    directory: DirectoryId,
    /// Whether the quorum's leader has to say: of who votes only it knows whether the change that made it a voter is done.
    asks: bool,
}

/// Of a broker that has lost its disk, two members may be known for a while: the vote of the one that is gone is taken, and the
/// one that is there is given one.
fn choose(quorum: &QuorumProgress, wanted: Wanted) -> Result<Chosen, Failure> {
    let id = wanted.broker();
    let silence = |member: &&MemberProgress| member.silent.unwrap_or(Duration::MAX);
    let is_own = |member: &&MemberProgress| member.broker == id;
    let voter = quorum.voters.iter().filter(is_own).max_by_key(silence);
    let learner = quorum.learners.iter().filter(is_own).min_by_key(silence);
    let (voter, learner) = (voter.cloned(), learner.cloned());
    let (member, asks) = match (wanted, voter, learner) {
        (_, None, None) => {
            return Err(Failure {
                status: axum::http::StatusCode::NOT_FOUND,
                error: format!(
                    "Broker {id} is no member of the metadata quorum: start it, and it joins."
                ),
            });
        }
        (Wanted::Add(_), Some(_), Some(_)) => {
            return Err(Failure::conflict(format!(
                "Broker {id} votes with a metadata directory that it no longer has: take that vote first (\"remove\")."
            )));
        }
        (Wanted::Add(_), Some(voter), None) => (voter, true),
        (Wanted::Add(_), None, Some(learner)) => (learner, true),
        (Wanted::Remove(_), Some(voter), _) => (voter, true),
        (Wanted::Remove(_), None, Some(learner)) => (learner, false),
    };
    let directory = member.directory.ok_or_else(|| {
        Failure::no_leader("its leader is of older software, which does not name directories")
    })?;
    Ok(Chosen { directory, asks })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(broker: i32, directory: u8, silent_ms: u64) -> MemberProgress {
        MemberProgress {
            broker,
            directory: Some(DirectoryId(milena_protocol::Uuid([directory; 16]))),
            matched_index: Some(1),
            silent: Some(Duration::from_millis(silent_ms)),
        }
    }

    fn quorum(voters: &[MemberProgress], learners: &[MemberProgress]) -> QuorumProgress {
        QuorumProgress {
            leader: 1,
            term: 1,
            last_index: 1,
            committed_index: 1,
            voters: voters.to_vec(),
            learners: learners.to_vec(),
        }
    }

    fn chosen(quorum: &QuorumProgress, wanted: Wanted) -> (u8, bool) {
        let chosen = choose(quorum, wanted).unwrap();
        (chosen.directory.0.0[0], chosen.asks)
    }

    #[test]
    fn a_learner_is_given_a_vote_and_a_voter_loses_it() {
        let both = quorum(&[member(1, 11, 0)], &[member(2, 12, 5)]);
        assert_eq!(chosen(&both, Wanted::Add(2)), (12, true));
        assert_eq!(chosen(&both, Wanted::Remove(1)), (11, true));
        let halfway = "it may be one of the new set alone";
        assert_eq!(chosen(&both, Wanted::Add(1)), (11, true), "{halfway}");
        assert_eq!(chosen(&both, Wanted::Remove(2)), (12, false), "so already");
        let stranger = choose(&both, Wanted::Add(9)).unwrap_err();
        assert_eq!(stranger.status, axum::http::StatusCode::NOT_FOUND);
    }

    #[test]
    fn the_vote_of_a_lost_disk_goes_before_its_broker_votes_anew() {
        let replaced = quorum(
            &[member(1, 11, 0), member(2, 12, 900_000)],
            &[member(2, 22, 5)],
        );
        let early = choose(&replaced, Wanted::Add(2)).unwrap_err();
        assert_eq!(early.status, axum::http::StatusCode::CONFLICT);
        assert_eq!(chosen(&replaced, Wanted::Remove(2)), (12, true));
    }

    #[test]
    fn of_two_learners_of_a_broker_the_one_that_was_heard_gets_the_vote() {
        let mut lost = member(2, 12, 0);
        lost.silent = None;
        let twice = quorum(&[member(1, 11, 0)], &[member(2, 22, 5), lost]);
        assert_eq!(chosen(&twice, Wanted::Add(2)), (22, true));
    }

    #[test]
    fn of_two_votes_of_a_broker_the_one_that_was_not_heard_goes() {
        let twice = quorum(&[member(2, 12, 900_000), member(2, 22, 5)], &[]);
        assert_eq!(chosen(&twice, Wanted::Remove(2)), (12, true));
    }
}
