//! What the configuration says to the decisions: a topic's own value, else the cluster's, else the start's.
//!
//! A value that one broker sets for itself says nothing here: the cluster decides alike wherever it is decided.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::configs::{ConfigRules, ResourceKind};
use crate::image::Image;
use crate::placement::{NodeSpread, RackSpread, Wish};

/// In-sync replicas that acknowledged writes need.
pub const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
/// Whether a replica that may lack records leads where nobody else can.
pub(crate) const UNCLEAN_ELECTION: &str = "unclean.leader.election.enable";
/// Records that need not be on disk before they count.
const FLUSH_MESSAGES: &str = "flush.messages";

/// The pools whose brokers may host a topic: a list; empty for all.
pub const PLACEMENT_POOLS: &str = "placement.pools";
/// The racks whose brokers may host a topic: a list; empty for all.
pub const PLACEMENT_RACKS: &str = "placement.racks";
/// The rack that a topic's preferred leaders should be in; empty for any.
pub const PLACEMENT_LEADER_RACK: &str = "placement.leader.rack";
/// `required` or `preferred`: whether two replicas of a partition may share a node where there are too few.
pub const PLACEMENT_NODE_SPREAD: &str = "placement.node.spread";
/// `preferred` or `required`: whether replicas may be uneven over racks where an even spread can't be had.
pub const PLACEMENT_RACK_SPREAD: &str = "placement.rack.spread";

/// What a topic's configuration says about who leads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicPolicy {
    /// `min.insync.replicas`, at least 1. See [`crate::Partition::min_isr`].
    pub min_insync_replicas: usize,
    /// `unclean.leader.election.enable`.
    pub unclean_election: bool,
    /// The topic's own `flush.messages` is 1: what a replica counted for is on its disk, however its broker ends. A
    /// default does not count, which brokers may have for themselves.
    pub synced: bool,
}

impl TopicPolicy {
    /// The policy of the topic of that name.
    pub fn of(image: &Image, rules: &dyn ConfigRules, topic: &str) -> Self {
        let min = value(image, rules, topic, MIN_INSYNC_REPLICAS);
        let unclean = value(image, rules, topic, UNCLEAN_ELECTION);
        let own = image.configs(ResourceKind::Topic, topic);
        let flush = own.and_then(|configs| configs.get(FLUSH_MESSAGES));
        Self {
            min_insync_replicas: min
                .and_then(|min| min.trim().parse().ok())
                .map_or(1, |min: usize| min.max(1)),
            unclean_election: unclean.is_some_and(|flag| flag.trim().eq_ignore_ascii_case("true")),
            synced: flush.is_some_and(|messages| messages.trim() == "1"),
        }
    }
}

impl Wish {
    /// What the configuration wishes for a topic of that name, there or yet to be created. The numbers are the
    /// caller's.
    pub fn of(image: &Image, rules: &dyn ConfigRules, topic: &str) -> Self {
        let mut wish = Self::default();
        for key in [
            PLACEMENT_POOLS,
            PLACEMENT_RACKS,
            PLACEMENT_LEADER_RACK,
            PLACEMENT_NODE_SPREAD,
            PLACEMENT_RACK_SPREAD,
        ] {
            if let Some(text) = value(image, rules, topic, key) {
                wish.set(key, &text);
            }
        }
        wish
    }

    /// Takes over one key's value; other keys say nothing about placement.
    pub(crate) fn set(&mut self, key: &str, text: &str) {
        let text = text.trim();
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        match key {
            PLACEMENT_POOLS => self.pools = names(text),
            PLACEMENT_RACKS => self.racks = names(text),
            PLACEMENT_LEADER_RACK => self.leader_rack = (!text.is_empty()).then(|| text.into()),
            PLACEMENT_NODE_SPREAD if is("preferred") => self.node_spread = NodeSpread::Preferred,
            PLACEMENT_NODE_SPREAD => self.node_spread = NodeSpread::Required,
            PLACEMENT_RACK_SPREAD if is("required") => self.rack_spread = RackSpread::Required,
            PLACEMENT_RACK_SPREAD => self.rack_spread = RackSpread::Preferred,
            _ => {}
        }
    }
}

fn names(list: &str) -> BTreeSet<Arc<str>> {
    let names = list.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(Into::into)
        .collect()
}

fn value<'a>(
    image: &'a Image,
    rules: &dyn ConfigRules,
    topic: &str,
    key: &str,
) -> Option<Cow<'a, str>> {
    let own = |kind, name| image.configs(kind, name)?.get(key);
    own(ResourceKind::Topic, topic)
        .or_else(|| own(ResourceKind::Broker, ""))
        .map(|text| Cow::Borrowed(&**text))
        .or_else(|| {
            rules
                .default_value(ResourceKind::Topic, key)
                .map(Cow::Owned)
        })
}
