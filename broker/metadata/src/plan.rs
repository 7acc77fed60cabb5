//! What to move, and where: reassignments that one could ask for, as values. Nothing is decided here: a plan is
//! made on an image, shown to whoever wants it (`--dry-run`), and sent as `AlterPartitionReassignments`.
//!
//! Every plan keeps the rules of [`crate::placement`] and copies as few replicas as it can, to brokers that run: where
//! these do not suffice, a partition is stuck.

mod board;
mod even;
mod preferred;

use crate::command::WantedReplicas;
use crate::configs::ConfigRules;
use crate::image::Image;
use crate::names::{BrokerId, PartitionId, TopicName};
use crate::placement::PlacementRefusal;

use board::Board;
pub use preferred::{PREFERRED_ELECTIONS_MAX, preferred};

/// One partition's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// Its brokers now, or where it is going already.
    pub from: Vec<BrokerId>,
    /// Its brokers then, the preferred leader first.
    pub to: Vec<BrokerId>,
}

impl Move {
    /// The brokers that have to copy the partition.
    pub fn copies(&self) -> impl Iterator<Item = BrokerId> {
        let joins = |id: &BrokerId| !self.from.contains(id);
        self.to.iter().copied().filter(joins)
    }

    /// The move as a wish of `AlterPartitionReassignments`.
    pub fn wanted(&self) -> WantedReplicas {
        WantedReplicas {
            topic: self.topic.to_string(),
            partition: self.partition.get(),
            brokers: Some(self.to.iter().map(|id| id.get()).collect()),
        }
    }
}

/// A partition that would have to move, and can't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// The rule that can't be met.
    pub why: PlacementRefusal,
}

/// Moves, and what can't be moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// By topic and partition.
    pub moves: Vec<Move>,
    /// By topic and partition.
    pub stuck: Vec<Stuck>,
}

impl Plan {
    /// Replicas to copy.
    pub fn copies(&self) -> usize {
        self.moves.iter().map(|one| one.copies().count()).sum()
    }
}

/// Takes every replica from these brokers, be they marked as draining or not.
pub fn drain(image: &Image, rules: &dyn ConfigRules, brokers: &[BrokerId]) -> Plan {
    let mut board = Board::of(image, rules);
    let leaving: Vec<usize> = board.close(brokers);
    for item in board.items() {
        let stays = |site: usize| !leaving.contains(&site);
        if board.replicas(item).iter().any(|&site| !stays(site)) {
            board.refill(item, stays);
        }
    }
    board.plan()
}

/// Moves what is misplaced, and nothing else.
pub fn repair(image: &Image, rules: &dyn ConfigRules) -> Plan {
    let mut board = Board::of(image, rules);
    board.repair();
    board.plan()
}

/// Repairs, empties draining brokers, and makes replicas and preferred leaders even.
pub fn rebalance(image: &Image, rules: &dyn ConfigRules) -> Plan {
    let mut board = Board::of(image, rules);
    for item in board.items() {
        board.leave_closed(item);
    }
    board.repair();
    even::replicas(&mut board);
    even::leaders(&mut board);
    board.plan()
}

/// Gives one topic another number of replicas.
pub fn replication(image: &Image, rules: &dyn ConfigRules, topic: &str, factor: usize) -> Plan {
    let mut board = Board::of(image, rules);
    for item in board.items_of(topic) {
        board.resize(item, factor.max(1));
    }
    board.plan()
}

/// Gives topics that have fewer replicas than configured as many as the brokers allow now: for internal topics,
/// created when there were fewer brokers. None loses a replica.
pub fn grow(image: &Image, rules: &dyn ConfigRules, wanted: &[(&str, usize)]) -> Plan {
    let mut board = Board::of(image, rules);
    for &(topic, factor) in wanted {
        for item in board.items_of(topic) {
            board.grow(item, factor);
        }
    }
    board.plan()
}
