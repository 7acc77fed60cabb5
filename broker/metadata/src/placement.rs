//! Which brokers a partition's replicas go to.
//!
//! 1. No two replicas of a partition on one node, unless the wish says [`NodeSpread::Preferred`].
//! 2. Spread over racks as evenly as the count allows.
//! 3. Even replicas and even preferred leaders per broker, and where that leaves a choice, per rack.
//! 4. What is placed already stays where it is; see [`crate::plan`] for what moves.

mod floor;
mod misplaced;

use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) use floor::{Floor, Ground};
pub use misplaced::{Breach, Misplaced, misplaced};
pub(crate) use misplaced::{breaches, uneven};

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
    /// It can't lead now, being fenced or about to stop: taken for new partitions where others do not suffice, and never
    /// as all of their replicas; for a partition that is there never.
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
    /// No rack that may be used has two replicas more than another: a wish that needs it is refused. So with as many
    /// racks as replicas no two share one, and with fewer they are even.
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
    /// More replicas than brokers that the topic allows.
    #[error(
        "The target replication factor of {wanted} cannot be reached because only {brokers} of {open} broker(s) \
         are in the pools and racks that the topic allows (placement.pools, placement.racks)."
    )]
    TooFewAllowed {
        /// Replicas wished for.
        wanted: usize,
        /// Brokers that the wish allows and that take replicas.
        brokers: usize,
        /// Brokers that take replicas.
        open: usize,
    },
    /// The racks can't share the replicas evenly.
    #[error(
        "The replicas cannot be spread evenly over {racks} racks because rack '{short}' has room for only {room}, \
         and placement.rack.spread is required."
    )]
    UnevenRacks {
        /// Racks that may be used.
        racks: usize,
        /// The one that is too small; empty for brokers without a rack.
        short: Arc<str>,
        /// Replicas that it can take.
        room: usize,
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
            fenced: broker.fenced || broker.stopping,
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
    let mut floor = Floor::of(brokers);
    let ground = floor.ground(wish);
    floor.check(wish, &ground)?;
    let mut assignment = today.to_vec();
    while assignment.len() < wish.partitions {
        let mut chosen = Vec::with_capacity(wish.replication_factor);
        floor.fill(wish, &ground, wish.replication_factor, &mut chosen)?;
        floor.take(&chosen);
        assignment.push(floor.ids(&chosen));
    }
    Ok(assignment)
}

#[cfg(test)]
mod tests;
