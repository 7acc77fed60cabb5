//! Which brokers a partition's replicas go to.
//!
//! 1. No two replicas of a partition on one node, unless the wish says [`NodeSpread::Preferred`].
//! 2. Spread over racks as evenly as the count allows.
//! 3. Even replicas and even preferred leaders per broker.
//! 4. What is placed already stays where it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::image::{Image, Load};
use crate::names::BrokerId;

/// A broker as a placement sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its number.
    pub id: BrokerId,
    /// The machine it runs on; a broker without one counts as a machine of its own.
    pub node: Option<Arc<str>>,
    /// Its rack; brokers without one share the rack that has no name.
    pub rack: Option<Arc<str>>,
    /// Its pool.
    pub pool: Option<Arc<str>>,
    /// It takes no new replica.
    pub draining: bool,
    /// It can't lead now: taken for new replicas where others do not suffice, and never as all of them.
    pub fenced: bool,
    /// What it carries before the placement.
    pub load: Load,
}

/// Whether two replicas of a partition may share a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NodeSpread {
    /// Never: a wish that needs it is refused.
    #[default]
    Required,
    /// Where there are too few nodes.
    Preferred,
}

/// Whether the replicas of a partition must be spread evenly over racks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RackSpread {
    /// As evenly as the brokers allow.
    #[default]
    Preferred,
    /// No rack that may be used has two replicas more than another: a wish that needs it is refused.
    Required,
}

/// What is wished for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// All partitions, those of today included.
    pub partitions: usize,
    /// Replicas of each partition.
    pub replication_factor: usize,
    /// The pools that may be used; empty for all.
    pub pools: BTreeSet<Arc<str>>,
    /// The racks that may be used; empty for all.
    pub racks: BTreeSet<Arc<str>>,
    /// The rack that preferred leaders should be in.
    pub leader_rack: Option<Arc<str>>,
    /// Whether replicas of a partition may share a node.
    pub node_spread: NodeSpread,
    /// Whether replicas of a partition may be unevenly spread over racks.
    pub rack_spread: RackSpread,
}

/// The brokers of each partition, the preferred leader first.
pub type Assignment = Vec<Vec<BrokerId>>;

/// Why a wish can't be met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementRefusal {
    /// Nothing was wished for.
    #[error("Invalid replication factor 0: the replication factor must be positive.")]
    NoReplicas,
    /// No broker can lead.
    #[error("All brokers are currently fenced or in controlled shutdown.")]
    NobodyLeads,
    /// More replicas than brokers.
    #[error(
        "The target replication factor of {wanted} cannot be reached because only {brokers} broker(s) are \
         registered."
    )]
    TooFewBrokers {
        /// Replicas wished for.
        wanted: usize,
        /// Brokers that the wish allows and that take replicas.
        brokers: usize,
    },
    /// More replicas than machines.
    #[error(
        "The target replication factor of {wanted} cannot be reached because the {brokers} brokers run on \
         only {nodes} node(s), and no two replicas may share one."
    )]
    TooFewNodes {
        /// Replicas wished for.
        wanted: usize,
        /// Brokers that the wish allows and that take replicas.
        brokers: usize,
        /// The nodes they run on.
        nodes: usize,
    },
}

/// The candidates that an image offers.
pub fn candidates(image: &Image) -> Vec<Candidate> {
    image
        .brokers()
        .map(|broker| Candidate {
            id: broker.id,
            node: broker.node.clone(),
            rack: broker.rack.clone(),
            pool: broker.pool.clone(),
            draining: broker.draining,
            fenced: broker.fenced,
            load: image.load(broker.id),
        })
        .collect()
}

/// Places the partitions that `today` does not hold yet; those that it holds stay as they are.
pub fn place(
    brokers: &[Candidate],
    wish: &Wish,
    today: &[Vec<BrokerId>],
) -> Result<Assignment, PlacementRefusal> {
    let mut allowed: Vec<Candidate> = brokers
        .iter()
        .filter(|broker| allows(wish, broker))
        .cloned()
        .collect();
    check(&allowed, wish)?;
    let mut assignment = today.to_vec();
    while assignment.len() < wish.partitions {
        let chosen = place_partition(&allowed, wish);
        for (place, &index) in chosen.iter().enumerate() {
            allowed[index].load.replicas += 1;
            allowed[index].load.leaders += u32::from(place == 0);
        }
        assignment.push(chosen.iter().map(|&index| allowed[index].id).collect());
    }
    Ok(assignment)
}

fn allows(wish: &Wish, broker: &Candidate) -> bool {
    let named = |names: &BTreeSet<Arc<str>>, name: &Option<Arc<str>>| {
        names.is_empty() || name.as_ref().is_some_and(|name| names.contains(name))
    };
    !broker.draining && named(&wish.pools, &broker.pool) && named(&wish.racks, &broker.rack)
}

fn check(allowed: &[Candidate], wish: &Wish) -> Result<(), PlacementRefusal> {
    let (wanted, brokers) = (wish.replication_factor, allowed.len());
    let nodes = allowed.iter().map(node).collect::<BTreeSet<_>>().len();
    if wanted == 0 {
        Err(PlacementRefusal::NoReplicas)
    } else if wanted > brokers {
        Err(PlacementRefusal::TooFewBrokers { wanted, brokers })
    } else if allowed.iter().all(|broker| broker.fenced) {
        Err(PlacementRefusal::NobodyLeads)
    } else if wanted > nodes && wish.node_spread == NodeSpread::Required {
        Err(PlacementRefusal::TooFewNodes {
            wanted,
            brokers,
            nodes,
        })
    } else {
        Ok(())
    }
}

/// Chooses one partition's brokers, the preferred leader first, as places in `allowed`. Each choice takes the
/// broker that breaks the rules least; since it uses up exactly one node, no choice spoils a later one.
fn place_partition(allowed: &[Candidate], wish: &Wish) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::with_capacity(wish.replication_factor);
    let mut on_node: BTreeMap<Node, usize> = BTreeMap::new();
    let mut in_rack: BTreeMap<&Option<Arc<str>>, usize> = BTreeMap::new();
    while chosen.len() < wish.replication_factor {
        let leads = chosen.is_empty();
        let cost = |&index: &usize| {
            let broker = &allowed[index];
            let first = if leads { broker.load.leaders } else { 0 };
            (
                on_node.get(&node(broker)).copied().unwrap_or(0),
                leads && broker.fenced,
                leads && wish.leader_rack.is_some() && broker.rack != wish.leader_rack,
                in_rack.get(&broker.rack).copied().unwrap_or(0),
                broker.fenced,
                (first, broker.load.replicas),
                broker.id,
            )
        };
        let best = (0..allowed.len())
            .filter(|index| !chosen.contains(index))
            .min_by_key(cost)
            .expect("the wish was checked against the number of brokers");
        *on_node.entry(node(&allowed[best])).or_default() += 1;
        *in_rack.entry(&allowed[best].rack).or_default() += 1;
        chosen.push(best);
    }
    chosen
}

/// A machine: named, or known only by the broker on it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node<'a> {
    Named(&'a str),
    Of(BrokerId),
}

fn node(broker: &Candidate) -> Node<'_> {
    match &broker.node {
        Some(name) => Node::Named(name),
        None => Node::Of(broker.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn brokers(of: &[(Option<u8>, u8)]) -> Vec<Candidate> {
        of.iter()
            .enumerate()
            .map(|(id, (node, rack))| Candidate {
                id: BrokerId::new(id as i32).unwrap(),
                node: node.map(|node| format!("node-{rack}-{node}").into()),
                rack: Some(format!("rack-{rack}").into()),
                pool: None,
                draining: false,
                fenced: false,
                load: Load::default(),
            })
            .collect()
    }

    fn wish(partitions: usize, replication_factor: usize) -> Wish {
        Wish {
            partitions,
            replication_factor,
            ..Wish::default()
        }
    }

    #[test]
    fn one_broker_takes_everything_and_no_second_replica() {
        let one = brokers(&[(None, 0)]);
        let placed = place(&one, &wish(3, 1), &[]).unwrap();
        assert_eq!(placed, vec![vec![one[0].id]; 3]);
        let refusal = place(&one, &wish(1, 2), &[]).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "The target replication factor of 2 cannot be reached because only 1 broker(s) are registered."
        );
    }

    #[test]
    fn a_shared_node_is_refused_unless_it_is_only_preferred_not_to() {
        let shared = brokers(&[(Some(1), 0), (Some(1), 0), (Some(2), 0)]);
        let refusal = place(&shared, &wish(1, 3), &[]).unwrap_err();
        assert!(matches!(
            refusal,
            PlacementRefusal::TooFewNodes { nodes: 2, .. }
        ));
        let lenient = Wish {
            node_spread: NodeSpread::Preferred,
            ..wish(1, 3)
        };
        assert_eq!(place(&shared, &lenient, &[]).unwrap()[0].len(), 3);
    }

    #[test]
    fn what_is_placed_stays_and_a_draining_broker_gets_nothing_new() {
        let mut three = brokers(&[(None, 0), (None, 1), (None, 2)]);
        three[0].draining = true;
        let today = vec![vec![three[0].id]];
        let placed = place(&three, &wish(5, 1), &today).unwrap();
        assert_eq!(placed[0], today[0]);
        assert!(
            placed[1..]
                .iter()
                .all(|brokers| !brokers.contains(&three[0].id))
        );
    }

    proptest! {
        #[test]
        fn replicas_are_on_distinct_nodes_over_all_racks_and_leaders_are_even(
            of in prop::collection::vec((prop::option::of(0..4u8), 0..3u8), 1..9),
            partitions in 1..40usize,
            factor in 1..5usize,
        ) {
            let brokers = brokers(&of);
            let by_id = |id: BrokerId| &brokers[id.get() as usize];
            let Ok(placed) = place(&brokers, &wish(partitions, factor), &[]) else {
                let nodes: BTreeSet<_> = brokers.iter().map(node).collect();
                prop_assert!(nodes.len() < factor);
                return Ok(());
            };
            for replicas in &placed {
                let nodes: BTreeSet<_> = replicas.iter().map(|&id| node(by_id(id))).collect();
                prop_assert_eq!(nodes.len(), factor);
                let nodes_in = |rack: &Option<Arc<str>>| {
                    let there = brokers.iter().filter(|broker| broker.rack == *rack);
                    there.map(node).collect::<BTreeSet<_>>().len()
                };
                let used = |rack: &Option<Arc<str>>| {
                    replicas.iter().filter(|&&id| by_id(id).rack == *rack).count()
                };
                // A rack may fall behind another by more than one only where its nodes are used up.
                for (one, other) in brokers.iter().zip(brokers.iter().skip(1)) {
                    let (few, many) = (used(&one.rack), used(&other.rack));
                    prop_assert!(many <= few + 1 || few == nodes_in(&one.rack));
                }
            }
            let mut leaders = vec![0; brokers.len()];
            placed.iter().for_each(|replicas| leaders[replicas[0].get() as usize] += 1);
            let (least, most) = (leaders.iter().min(), leaders.iter().max());
            prop_assert!(most.unwrap() - least.unwrap() <= 1);
        }
    }
}
