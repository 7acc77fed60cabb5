//! Which partitions break which rule of their placement now: pods move, and configurations change.

use std::sync::Arc;

use super::{Floor, Ground, NodeSpread, Wish, candidates};
use crate::configs::ConfigRules;
use crate::image::Image;
use crate::names::{BrokerId, PartitionId, TopicName};

/// A rule that a partition's replicas break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// Two replicas or more on one node; where that is only preferred not to be, a running broker on another node could
    /// take one.
    SharedNode {
        /// The node.
        node: Arc<str>,
        /// The brokers on it.
        brokers: Vec<BrokerId>,
    },
    /// Brokers outside the topic's pools and racks.
    NotAllowed {
        /// Which.
        brokers: Vec<BrokerId>,
    },
    /// A rack has two replicas more than another that has room.
    UnevenRacks {
        /// The one with more; empty for brokers without a rack.
        crowded: Arc<str>,
        /// The one with room.
        free: Arc<str>,
    },
    /// The preferred leader is not in the topic's leader rack, where a running broker could take it.
    LeaderRack {
        /// The preferred leader.
        leader: BrokerId,
    },
}

/// A partition that is not where it should be, nor on its way there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// At least one.
    pub breaches: Vec<Breach>,
}

/// All misplaced partitions. One that is reassigned is judged by where it is going.
pub fn misplaced(image: &Image, rules: &dyn ConfigRules) -> Vec<Misplaced> {
    let floor = Floor::of(&candidates(image));
    let mut found = Vec::new();
    for topic in image.topics() {
        let ground = floor.ground(&Wish::of(image, rules, &topic.name));
        for (number, partition) in topic.partitions() {
            let replicas = floor.sites_of(&partition.target()).unwrap_or_default();
            let breaches = breaches(&floor, &ground, &replicas);
            if !breaches.is_empty() {
                found.push(Misplaced {
                    topic: topic.name.clone(),
                    partition: number,
                    breaches,
                });
            }
        }
    }
    found
}

/// The rules that these replicas break, the preferred leader first.
pub(crate) fn breaches(floor: &Floor, ground: &Ground, replicas: &[usize]) -> Vec<Breach> {
    let mut found = match may_share(floor, ground, replicas) {
        true => Vec::new(),
        false => shared_nodes(floor, replicas),
    };
    let strangers: Vec<usize> = replicas
        .iter()
        .copied()
        .filter(|&site| !ground.allowed[site])
        .collect();
    if !strangers.is_empty() {
        let brokers = floor.ids(&strangers);
        found.push(Breach::NotAllowed { brokers });
    }
    if let Some((crowded, free)) = uneven(floor, ground, replicas) {
        let name = |rack: usize| floor.racks[rack].clone().unwrap_or_default();
        found.push(Breach::UnevenRacks {
            crowded: name(crowded),
            free: name(free),
        });
    }
    if let Some(&first) = replicas.first()
        && ground.shuns_leader(floor.sites[first].rack)
        && floor.usable(ground).any(|site| {
            !floor.sites[site].fenced && Some(floor.sites[site].rack) == ground.leader_rack
        })
    {
        let leader = floor.sites[first].id;
        found.push(Breach::LeaderRack { leader });
    }
    found
}

/// Whether replicas are on one node for want of another.
fn may_share(floor: &Floor, ground: &Ground, replicas: &[usize]) -> bool {
    let is_better =
        |site: usize| !floor.sites[site].fenced && is_on_free_node(floor, replicas, site);
    ground.node_spread == NodeSpread::Preferred && !floor.usable(ground).any(is_better)
}

fn is_on_free_node(floor: &Floor, replicas: &[usize], site: usize) -> bool {
    let node = floor.sites[site].node;
    !replicas.iter().any(|&used| floor.sites[used].node == node)
}

fn shared_nodes(floor: &Floor, replicas: &[usize]) -> Vec<Breach> {
    let node = |site: usize| floor.sites[site].node;
    let mut found = Vec::new();
    for (place, &site) in replicas.iter().enumerate() {
        let first = !replicas[..place]
            .iter()
            .any(|&other| node(other) == node(site));
        let later = replicas[place + 1..]
            .iter()
            .any(|&other| node(other) == node(site));
        if first && later {
            let here: Vec<usize> = replicas
                .iter()
                .copied()
                .filter(|&other| node(other) == node(site))
                .collect();
            found.push(Breach::SharedNode {
                node: floor.nodes[node(site)].clone(),
                brokers: floor.ids(&here),
            });
        }
    }
    found
}

/// A rack that has two replicas more than another in which a running broker on an unused node could take one.
pub(crate) fn uneven(floor: &Floor, ground: &Ground, replicas: &[usize]) -> Option<(usize, usize)> {
    let used = |rack: usize| {
        let there = replicas
            .iter()
            .filter(|&&site| floor.sites[site].rack == rack);
        there.count()
    };
    let crowded = replicas
        .iter()
        .map(|&site| floor.sites[site].rack)
        .max_by_key(|&rack| (used(rack), std::cmp::Reverse(rack)))?;
    let most = used(crowded);
    if most < 2 {
        return None;
    }
    let free = floor.usable(ground).find(|&index| {
        let site = &floor.sites[index];
        !site.fenced && used(site.rack) + 1 < most && is_on_free_node(floor, replicas, index)
    })?;
    Some((crowded, floor.sites[free].rack))
}
