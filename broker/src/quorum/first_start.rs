//! A member's first start: found a cluster, join one, or wait. What is founded twice is never one cluster again,
//! so an empty member founds only if
//! - it is alone, by its configuration; or
//! - it has the lowest number of the voters it was told of, each of the others has answered that it is empty too
//!   and was told of the same voters, and somebody said that this cluster is new.
//!
//! Where any voter knows of a cluster, it joins that one as a learner: its disk may have been wiped, and a voter
//! that has forgotten its vote could give it twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::QuorumOptions;
use super::member::Member;
use super::types::{Node, NodeId};
use crate::config::Voter;
use crate::peer::{Answer, Probed, Request};

/// One question to one voter.
const PROBE_WITHIN: Duration = Duration::from_secs(2);
/// Pause before all are asked again.
const PROBE_AGAIN: Duration = Duration::from_millis(100);

/// What a member was told of its cluster.
#[derive(Debug, Clone)]
pub enum Told {
    /// It is a cluster of its own.
    Alone,
    /// These vote.
    Voters {
        voters: Vec<Voter>,
        /// Whether the cluster is new, and may be founded.
        is_new: bool,
    },
    /// Others vote.
    Others,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Found(BTreeMap<NodeId, Node>),
    Join,
    Wait(String),
}

/// Returns when this member is part of a cluster, or is to join one.
pub(super) async fn settle(
    member: &Arc<Member>,
    options: &QuorumOptions,
    has_import: bool,
) -> Result<(), String> {
    while member.is_empty() {
        let step = match &options.told {
            Told::Others => return Ok(()),
            Told::Alone => Step::Found(alone(member)),
            // It holds a cluster's metadata, kept by older software.
            Told::Voters { .. } if has_import => Step::Found(alone(member)),
            Told::Voters { voters, is_new } => {
                let answers = probe_all(member, voters).await;
                next(&member.probed(), voters, *is_new, &answers)
            }
        };
        match step {
            Step::Join => return Ok(()),
            Step::Found(nodes) => return found(member, nodes).await,
            Step::Wait(why) => {
                options.start_wait.tell(why);
                sleep(PROBE_AGAIN).await;
            }
        }
    }
    Ok(())
}

fn alone(member: &Member) -> BTreeMap<NodeId, Node> {
    BTreeMap::from([(member.id, member.me.clone())])
}

async fn found(member: &Member, nodes: BTreeMap<NodeId, Node>) -> Result<(), String> {
    if nodes.len() > 1 {
        tracing::info!(voters = nodes.len(), "founding the metadata quorum");
    }
    member
        .raft
        .initialize(nodes)
        .await
        .map_err(|error| error.to_string())
}

type Probe = Result<Probed, String>;

async fn probe_all(member: &Arc<Member>, voters: &[Voter]) -> Vec<(Voter, Probe)> {
    let others = voters
        .iter()
        .filter(|voter| voter.broker != member.me.broker);
    let mut asked = tokio::task::JoinSet::new();
    for voter in others.cloned() {
        let member = member.clone();
        asked.spawn(async move {
            let peers = &member.peers;
            let asked = peers.call_address(&voter.host, voter.port, &Request::Probe, PROBE_WITHIN);
            let probe = match asked.await {
                Ok((_, Answer::Probe(probed))) => Ok(probed),
                Ok((_, other)) => Err(format!("an unexpected answer: {other:?}")),
                Err(error) => Err(error.to_string()),
            };
            (voter, probe)
        });
    }
    let mut answers = asked.join_all().await;
    // The same is named first each time.
    answers.sort_by_key(|(voter, _)| voter.broker);
    answers
}

/// What a broker says that was to vote and whose metadata directory is new, where others know of the cluster: it has no
/// vote there, and waits for those who have.
pub(super) async fn voteless(member: &Arc<Member>, told: &Told) -> Option<String> {
    let Told::Voters { voters, .. } = told else {
        return None;
    };
    let me = member.me.broker;
    let was_to_vote = voters.iter().any(|voter| voter.broker == me);
    match was_to_vote && !member.is_voter() {
        true => Some(tell_voteless(me, &probe_all(member, voters).await)),
        false => None,
    }
}

fn tell_voteless(me: i32, answers: &[(Voter, Probe)]) -> String {
    let named = |is_so: fn(&Probe) -> bool| {
        let those = answers.iter().filter(|(_, probe)| is_so(probe));
        let those: Vec<String> = those.map(|(voter, _)| voter.to_string()).collect();
        match those.is_empty() {
            true => "none".to_owned(),
            false => those.join(", "),
        }
    };
    let knows = named(|probe| probe.as_ref().is_ok_and(|there| !there.empty));
    let empty = named(|probe| probe.as_ref().is_ok_and(|there| there.empty));
    let silent = named(Probe::is_err);
    format!(
        "the metadata directory of this broker, {me}, is new, so that it has no vote, and no majority of those who have \
         takes it in. Of the other voters know the cluster: {knows}; are new as well: {empty}; do not answer: {silent}. \
         Bring back voters with their metadata; where most of them are lost for good, stop one that has it and run \
         `milena cluster rescue` on it, and then `milena cluster voter add {me}`"
    )
}

fn next(me: &Probed, voters: &[Voter], is_new: bool, answers: &[(Voter, Probe)]) -> Step {
    let answered = || {
        answers
            .iter()
            .filter_map(|(voter, probe)| Some((voter, probe.as_ref().ok()?)))
    };
    if answered().any(|(_, probed)| !probed.empty) {
        return Step::Join;
    }
    if let Some((voter, probed)) =
        answered().find(|(voter, probed)| voter.broker != probed.node.broker)
    {
        return Step::Wait(format!(
            "controller.quorum.voters has {voter}, and broker {} answers there",
            probed.node.broker
        ));
    }
    if let Some((voter, probed)) =
        answered().find(|(_, probed)| sorted(&probed.voters) != sorted(&me.voters))
    {
        return Step::Wait(format!(
            "controller.quorum.voters names the brokers {:?} here and {:?} at {voter}: they have to be the same",
            sorted(&me.voters),
            sorted(&probed.voters)
        ));
    }
    if let Some((voter, Err(why))) = answers.iter().find(|(_, probe)| probe.is_err()) {
        return Step::Wait(format!("voter {voter} does not answer: {why}"));
    }
    let lowest = voters.iter().map(|voter| voter.broker).min();
    if lowest != Some(me.node.broker) {
        let lowest = lowest.unwrap_or_default();
        return Step::Wait(format!(
            "all voters are empty, and broker {lowest} is to found the cluster"
        ));
    }
    if !is_new {
        return Step::Wait(
            "all voters are empty, and nobody has said that this cluster is new: if it is, set cluster.found=true on \
             this broker; if not, bring back a voter's metadata"
                .into(),
        );
    }
    let others = answered().map(|(_, probed)| (probed.id, probed.node.clone()));
    Step::Found(others.chain([(me.id, me.node.clone())]).collect())
}

fn sorted(brokers: &[i32]) -> Vec<i32> {
    let mut sorted = brokers.to_vec();
    sorted.sort_unstable();
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(broker: i32) -> Voter {
        Voter {
            broker,
            host: format!("h{broker}"),
            port: 9091,
        }
    }

    fn probed(broker: i32) -> Probed {
        Probed {
            id: broker as NodeId + 100,
            node: Node {
                broker,
                ..Node::default()
            },
            empty: true,
            voters: vec![1, 2, 3],
        }
    }

    fn step(me: i32, is_new: bool, answers: [Probe; 2]) -> Step {
        let others = [1, 2, 3]
            .into_iter()
            .filter(|&broker| broker != me)
            .map(voter);
        let answers: Vec<_> = others.zip(answers).collect();
        next(&probed(me), &[1, 2, 3].map(voter), is_new, &answers)
    }

    fn waits(step: Step, what: &str) {
        assert!(
            matches!(&step, Step::Wait(why) if why.contains(what)),
            "{step:?}"
        );
    }

    #[test]
    fn the_lowest_of_all_empty_voters_founds_when_it_is_told_that_the_cluster_is_new() {
        let all = || [Ok(probed(2)), Ok(probed(3))];
        let Step::Found(nodes) = step(1, true, all()) else {
            panic!("it founds");
        };
        assert_eq!(nodes.into_keys().collect::<Vec<_>>(), [101, 102, 103]);
        waits(step(1, false, all()), "cluster.found=true");
        waits(
            step(2, true, [Ok(probed(1)), Ok(probed(3))]),
            "broker 1 is to found",
        );
    }

    #[test]
    fn nobody_founds_while_a_voter_is_silent_or_knows_a_cluster() {
        let gone = || Err("refused".to_owned());
        waits(step(1, true, [Ok(probed(2)), gone()]), "does not answer");
        let full = Probed {
            empty: false,
            ..probed(3)
        };
        assert_eq!(step(1, true, [gone(), Ok(full.clone())]), Step::Join);
        assert_eq!(step(2, true, [Ok(probed(1)), Ok(full)]), Step::Join);
    }

    #[test]
    fn a_voter_on_a_new_disk_names_who_answers_and_what_to_do() {
        let full = Probed {
            empty: false,
            ..probed(1)
        };
        let answers = [(voter(1), Ok(full)), (voter(2), Err("refused".to_owned()))];
        let told = tell_voteless(3, &answers);
        for part in [
            format!("know the cluster: {};", voter(1)),
            "new as well: none;".to_owned(),
            format!("do not answer: {}.", voter(2)),
            "`milena cluster rescue`".to_owned(),
            "`milena cluster voter add 3`".to_owned(),
        ] {
            assert!(told.contains(&part), "{part}: {told}");
        }
    }

    #[test]
    fn lists_and_addresses_that_disagree_are_named() {
        let other = Probed {
            voters: vec![1, 2, 4],
            ..probed(2)
        };
        waits(
            step(1, true, [Ok(other), Ok(probed(3))]),
            "they have to be the same",
        );
        waits(
            step(1, true, [Ok(probed(3)), Ok(probed(3))]),
            "broker 3 answers there",
        );
    }
}
