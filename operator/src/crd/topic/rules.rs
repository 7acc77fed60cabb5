//! What is refused of a `Topic` at once, and how it is said. Rules that compare with the old object stand on the parent,
//! as in `crd/cluster/rules.rs`. `namespace` is a word of CEL's own, and a field of that name is `__namespace__`.

use crate::crd::schema::{Bound, Rule};

/// The rules, from the root down.
pub const RULES: &[Rule] = &[
    Rule {
        at: "",
        check: "has(self.spec.topicName) || self.metadata.name.size() <= 249",
        says: "a topic's name has at most 249 letters: give a shorter spec.topicName",
    },
    Rule {
        at: "spec",
        check: "self.clusterRef.name == oldSelf.clusterRef.name && \
                has(self.clusterRef.__namespace__) == has(oldSelf.clusterRef.__namespace__) && \
                (!has(self.clusterRef.__namespace__) || self.clusterRef.__namespace__ == oldSelf.clusterRef.__namespace__)",
        says: "clusterRef can't be changed: a topic does not move between clusters; make another Topic there",
    },
    Rule {
        at: "spec",
        check: "has(self.topicName) == has(oldSelf.topicName) && \
                (!has(self.topicName) || self.topicName == oldSelf.topicName)",
        says: "topicName can't be changed, set or removed: a topic is not renamed; make another Topic",
    },
    Rule {
        at: "spec",
        check: "!has(self.topicName) || !(self.topicName in ['.', '..', '__consumer_offsets', '__transaction_state'])",
        says: "topicName is reserved: choose another name",
    },
    Rule {
        at: "spec",
        check: "self.partitions >= oldSelf.partitions",
        says: "partitions may only grow: records would be lost; make another Topic with fewer",
    },
    Rule {
        at: "spec",
        check: "!has(self.replicationFactor) || !has(self.config) || !has(self.config.minInSyncReplicas) || \
                self.config.minInSyncReplicas <= self.replicationFactor",
        says: "config.minInSyncReplicas is more than replicationFactor: no record could be written with acks=all",
    },
    Rule {
        at: "spec.placement",
        check: "!has(self.leaderRack) || !has(self.racks) || self.racks.size() == 0 || self.leaderRack in self.racks",
        says: "leaderRack is none of racks: name it there too, or leave racks empty",
    },
];

/// Bounds of types that are not ours.
pub const BOUNDS: &[Bound] = &[Bound {
    at: "status.conditions[].message",
    key: "maxLength",
    most: 32_768,
}];
