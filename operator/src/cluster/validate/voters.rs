//! Who is to vote in the metadata quorum: apart from each other, and as few changes as can be.
//!
//! | voters now | then |
//! | --- | --- |
//! | too few | a broker of a rack without a voter joins, else one of a node without, else the pools in turn; one that is away last |
//! | too many | one goes by whose going most racks and nodes keep a voter: one that is away first, the leader last, else the highest id |
//! | enough | one is exchanged, where that takes a vote to another rack or node and nothing else is going on |
//!
//! An exchange is first one too many, then one that goes. It takes the votes to more racks, or to more nodes and no
//! fewer racks, so that there is no way back.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Problems, Reason, WantedPool};
use crate::cluster::observed::Place;
use crate::crd::cluster::KafkaClusterSpec;

/// What is known of the brokers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// The voters as the brokers say, else as they were last told; empty where nothing is known.
    pub voters: Vec<i32>,
    /// The one that leads the quorum: its going takes an election.
    pub leader: Option<i32>,
    /// Where registered brokers are; empty where nothing is known.
    pub places: BTreeMap<i32, Place>,
    /// Nothing is going on, so that votes may move for a better place.
    pub at_rest: bool,
}

/// Racks and nodes with a voter.
type Spread = (usize, usize);

pub(super) fn check(
    spec: &KafkaClusterSpec,
    pools: &[WantedPool],
    standing: &Standing,
    problems: &mut Problems,
) -> Vec<i32> {
    let brokers: usize = pools.iter().map(|pool| pool.ids.len()).sum();
    let derived = match brokers {
        0..3 => 1,
        3..10 => 3,
        _ => 5,
    };
    let asked = spec
        .quorum
        .as_ref()
        .map(|quorum| usize::try_from(quorum.voters).unwrap_or(0));
    let count = asked.unwrap_or(derived);
    if ![1, 3, 5].contains(&count) || count > brokers {
        let message =
            format!("{count} voters of {brokers} brokers can't be: 1, 3 or 5 of them vote");
        problems.add(Reason::InvalidSpec, "spec.quorum.voters", message);
        return Vec::new();
    }
    choose(count, &in_turn(pools), standing)
}

/// The brokers of the pools in turn, the lowest ids first.
fn in_turn(pools: &[WantedPool]) -> Vec<i32> {
    let longest = pools.iter().map(|pool| pool.ids.len()).max().unwrap_or(0);
    let at = |at: usize| {
        pools
            .iter()
            .filter_map(move |pool| pool.ids.clone().nth(at))
    };
    (0..longest).flat_map(at).collect()
}

/// Of these brokers, so many in rising order.
fn choose(count: usize, brokers: &[i32], standing: &Standing) -> Vec<i32> {
    let now = standing.voters.iter().copied();
    let mut voters: BTreeSet<i32> = now.filter(|id| brokers.contains(id)).collect();
    if voters.len() == count && standing.at_rest {
        voters.extend(newcomer(&voters, brokers, standing));
    }
    while voters.len() > count {
        let Some(out) = least_needed(&voters, standing) else {
            break;
        };
        voters.remove(&out);
    }
    while voters.len() < count {
        let others = brokers.iter().copied().filter(|id| !voters.contains(id));
        let order = |id: &i32| {
            let with = voters.iter().copied().chain([*id]);
            (standing.is_away(*id), Reverse(standing.spread(with)))
        };
        let Some(next) = others.min_by_key(order) else {
            break;
        };
        voters.insert(next);
    }
    voters.into_iter().collect()
}

/// The broker whose vote in place of another's makes racks, or nodes, with a voter more.
fn newcomer(voters: &BTreeSet<i32>, brokers: &[i32], standing: &Standing) -> Option<i32> {
    let comparable = standing.known(voters)?;
    let now = standing.spread(voters.iter().copied());
    let gained = |id: i32| {
        let with: BTreeSet<i32> = voters.iter().copied().chain([id]).collect();
        if standing.known(&with)? != comparable {
            return None;
        }
        let without = |out: &i32| standing.spread(with.iter().copied().filter(|id| id != out));
        let best = voters.iter().map(without).max()?;
        (best > now).then_some(best)
    };
    let others = brokers.iter().copied().filter(|id| !voters.contains(id));
    let serving = others.filter(|id| standing.serves(*id));
    let better = serving.filter_map(|id| Some((Reverse(gained(id)?), id)));
    better.min_by_key(|(gained, _)| *gained).map(|(_, id)| id)
}

fn least_needed(voters: &BTreeSet<i32>, standing: &Standing) -> Option<i32> {
    voters.iter().copied().min_by_key(|out| {
        let rest = voters.iter().copied().filter(|id| id != out);
        (
            !standing.is_away(*out),
            Reverse(standing.spread(rest)),
            standing.leader == Some(*out),
            Reverse(*out),
        )
    })
}

impl Standing {
    /// One whose rack or node is not known adds none.
    fn spread(&self, ids: impl Iterator<Item = i32>) -> Spread {
        let places: Vec<&Place> = ids.filter_map(|id| self.places.get(&id)).collect();
        let racks: BTreeSet<&String> = places.iter().filter_map(|it| it.rack.as_ref()).collect();
        let nodes: BTreeSet<&String> = places.iter().filter_map(|it| it.node.as_ref()).collect();
        (racks.len(), nodes.len())
    }

    /// Whether racks, and nodes, can be compared: all of these brokers have one, or none has. Nothing where some have.
    fn known(&self, ids: &BTreeSet<i32>) -> Option<(bool, bool)> {
        let places: Option<Vec<&Place>> = ids.iter().map(|id| self.places.get(id)).collect();
        let places = places?;
        let all_or_none = |has: fn(&Place) -> bool| {
            let first = places.first().is_some_and(|place| has(place));
            let alike = places.iter().all(|place| has(place) == first);
            alike.then_some(first)
        };
        let racks = all_or_none(|place| place.rack.is_some())?;
        let nodes = all_or_none(|place| place.node.is_some())?;
        Some((racks, nodes))
    }

    /// It is registered, and does not serve.
    fn is_away(&self, id: i32) -> bool {
        self.places.get(&id).is_some_and(|place| !place.serves)
    }

    fn serves(&self, id: i32) -> bool {
        self.places.get(&id).is_some_and(|place| place.serves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Brokers from 0 on that serve, each with its node and rack; nothing is going on.
    fn standing(voters: &[i32], places: &[(&str, &str)]) -> Standing {
        let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let place = |(node, rack): &(&str, &str)| Place {
            node: name(node),
            rack: name(rack),
            serves: true,
        };
        Standing {
            voters: voters.to_vec(),
            leader: None,
            places: (0..).zip(places.iter().map(place)).collect(),
            at_rest: true,
        }
    }

    /// As `step/voters.rs` does it: those that are missing are added, then those too many removed, one at a time.
    fn settle(count: usize, brokers: &[i32], standing: &mut Standing) -> Vec<Vec<i32>> {
        let mut seen = Vec::new();
        for _ in 0..20 {
            let wanted = choose(count, brokers, standing);
            let votes = |id: &&i32| standing.voters.contains(id);
            if let Some(missing) = wanted.iter().find(|id| !votes(id)) {
                standing.voters.push(*missing);
            } else if let Some(extra) = standing.voters.iter().position(|id| !wanted.contains(id)) {
                standing.voters.remove(extra);
            } else {
                return seen;
            }
            standing.voters.sort_unstable();
            seen.push(standing.voters.clone());
        }
        panic!("it never ends: {seen:?}");
    }

    #[test]
    fn a_new_cluster_has_voters_of_its_pools_in_turn() {
        let nothing = Standing::default();
        assert_eq!(choose(3, &[0, 1000, 1, 1001], &nothing), [0, 1, 1000]);
    }

    #[test]
    fn a_new_voter_is_of_a_rack_without_one_then_of_a_node_without_one() {
        let places = [("a", "r"), ("b", "r"), ("c", "s"), ("d", "t")];
        assert_eq!(
            choose(3, &[0, 1, 2, 3], &standing(&[0], &places)),
            [0, 2, 3]
        );
        let nodes = [("a", ""), ("a", ""), ("b", ""), ("c", "")];
        assert_eq!(choose(3, &[0, 1, 2, 3], &standing(&[0], &nodes)), [0, 2, 3]);
        let busy = Standing {
            at_rest: false,
            ..standing(&[0], &places)
        };
        assert_eq!(choose(3, &[0, 1, 2, 3], &busy), [0, 2, 3]);
    }

    #[test]
    fn of_voters_that_are_as_good_the_leader_stays() {
        let places = [("a", "r"), ("b", "s"), ("c", "t"), ("d", "t")];
        let mut standing = standing(&[0, 1, 2, 3], &places);
        assert_eq!(choose(3, &[0, 1, 2, 3], &standing), [0, 1, 2]);
        standing.leader = Some(3);
        assert_eq!(choose(3, &[0, 1, 2, 3], &standing), [0, 1, 3]);
    }

    #[test]
    fn voters_of_one_rack_are_exchanged_one_at_a_time_by_adding_before_removing() {
        let places = [("a", "r"), ("b", "r"), ("c", "r"), ("d", "s"), ("e", "t")];
        let mut standing = standing(&[0, 1, 2], &places);
        let seen = settle(3, &[0, 1, 2, 3, 4], &mut standing);
        let expected = [
            vec![0, 1, 2, 3],
            vec![0, 1, 3],
            vec![0, 1, 3, 4],
            vec![0, 3, 4],
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn voters_of_one_node_are_exchanged_where_another_has_none() {
        let places = [("a", "r"), ("a", "r"), ("b", "s"), ("c", "r")];
        let mut standing = standing(&[0, 1, 2], &places);
        let seen = settle(3, &[0, 1, 2, 3], &mut standing);
        assert_eq!(seen, [vec![0, 1, 2, 3], vec![0, 2, 3]]);
    }

    #[test]
    fn an_exchange_that_takes_no_vote_to_another_place_is_not_made() {
        let apart = [("a", "r"), ("b", "s"), ("c", "r"), ("d", "s"), ("e", "r")];
        let ids = [0, 1, 2, 3, 4];
        assert_eq!(choose(3, &ids, &standing(&[0, 2, 3], &apart)), [0, 2, 3]);
        assert_eq!(choose(3, &ids, &standing(&[1, 2, 4], &apart)), [1, 2, 4]);
    }

    #[test]
    fn what_is_not_known_moves_no_vote() {
        let some = [("a", "r"), ("b", ""), ("c", "r"), ("d", "s")];
        let ids = [0, 1, 2, 3];
        assert_eq!(choose(3, &ids, &standing(&[0, 1, 2], &some)), [0, 1, 2]);
        let newcomer = [("a", "r"), ("b", "r"), ("c", "r"), ("d", "")];
        assert_eq!(choose(3, &ids, &standing(&[0, 1, 2], &newcomer)), [0, 1, 2]);
        let mut unregistered = standing(&[0, 1, 2], &newcomer);
        unregistered.places.clear();
        assert_eq!(choose(3, &ids, &unregistered), [0, 1, 2]);
    }

    #[test]
    fn a_broker_that_is_away_gets_no_vote_and_loses_none_while_votes_are_not_too_many() {
        let places = [("a", "r"), ("b", "r"), ("c", "t"), ("d", "s")];
        let ids = [0, 1, 2, 3];
        let mut away = standing(&[0, 1, 2], &places);
        away.places.get_mut(&3).unwrap().serves = false;
        assert_eq!(choose(3, &ids, &away), [0, 1, 2]);
        let mut away = standing(&[0, 1, 2], &places);
        away.places.get_mut(&0).unwrap().serves = false;
        away.at_rest = false;
        assert_eq!(choose(3, &ids, &away), [0, 1, 2]);
        away.voters = vec![1, 2];
        assert_eq!(choose(3, &ids, &away), [1, 2, 3]);
        away.places.get_mut(&3).unwrap().serves = false;
        assert_eq!(choose(3, &ids, &away), [1, 2, 3], "of two the better place");
        away.places.get_mut(&3).unwrap().serves = true;
        // Half way through an exchange, and whoever was to stay ends.
        away.voters = vec![0, 1, 2, 3];
        assert_eq!(choose(3, &ids, &away), [1, 2, 3]);
    }
}
