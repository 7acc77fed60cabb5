//! A member, and what the members' offers amount to together.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, Bytes};
use milena_protocol::api::join_group::JoinGroupResponse;
use milena_protocol::api::sync_group::SyncGroupResponse;

use super::{ClassicGroup, JoinReply, Now, SyncReply};

/// An assignor that a member knows, and its subscription for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Such as `range` or `cooperative-sticky`.
    pub name: String,
    /// The subscription, opaque but for consumers.
    pub metadata: Bytes,
}

/// One client in a group.
#[derive(Debug)]
pub struct Member {
    pub(super) id: String,
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    /// The first is the one it likes best.
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// When it is taken for gone; `None` while it waits for the others.
    pub(super) deadline: Option<u64>,
    /// Whether it waits for its first generation.
    pub(super) is_new: bool,
    pub(super) joining: Option<JoinReply>,
    pub(super) syncing: Option<SyncReply>,
}

impl Member {
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its `group.instance.id`, if it is static.
    pub fn instance_id(&self) -> Option<&str> {
        self.instance_id.as_deref()
    }

    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Its client's address, as Kafka shows it: `/192.0.2.1`.
    pub fn client_host(&self) -> &str {
        &self.client_host
    }

    pub fn assignment(&self) -> &Bytes {
        &self.assignment
    }

    /// Its subscription for the assignor `protocol`; empty where it does not know that.
    pub fn subscription(&self, protocol: &str) -> Bytes {
        let known = self.protocols.iter().find(|known| known.name == protocol);
        known
            .map(|known| known.metadata.clone())
            .unwrap_or_default()
    }

    pub(super) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|known| known.name == protocol)
    }

    pub(super) fn keep_alive(&mut self, now: Now) {
        self.deadline = Some(now.after(self.session_timeout_ms));
    }

    /// Whether silence is no sign of death: it waits for us. A new member's wait is bounded all the same.
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }

    /// Answers its JoinGroup, if it waits for that.
    pub(super) fn answer_join(&mut self, response: JoinGroupResponse) {
        if let Some(reply) = self.joining.take() {
            // A closed connection no longer waits for its answer.
            let _ = reply.send(response);
        }
    }

    /// Answers its SyncGroup; false where it does not wait for that.
    pub(super) fn answer_sync(&mut self, response: SyncGroupResponse) -> bool {
        let Some(reply) = self.syncing.take() else {
            return false;
        };
        let _ = reply.send(response);
        true
    }
}

impl ClassicGroup {
    /// Whether someone who offers `protocols` can be a member: all the others know one of them too.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == super::GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|protocol| self.all_support(&protocol.name))
    }

    fn all_support(&self, protocol: &str) -> bool {
        self.members
            .values()
            .all(|member| member.supports(protocol))
    }

    /// The assignor that most members like best among those that all know; the first by name of equals.
    /// `None` only where there is none, which [`Self::supports`] keeps from happening.
    pub(super) fn vote(&self) -> Option<String> {
        let first = self.members.values().next()?;
        let candidates: BTreeSet<&str> = first
            .protocols
            .iter()
            .map(|protocol| protocol.name.as_str())
            .filter(|name| self.all_support(name))
            .collect();
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let mut names = member
                .protocols
                .iter()
                .map(|protocol| protocol.name.as_str());
            if let Some(choice) = names.find(|name| candidates.contains(name)) {
                *votes.entry(choice).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes
            .into_iter()
            .find(|&(_, count)| count == most)
            .map(|(name, _)| name.to_owned())
    }

    /// The topics that a consumer group's members subscribe to; `None` where they can't be known.
    pub(super) fn read_subscriptions(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type.as_deref() != Some(super::CONSUMER) {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscribed_topics(member.subscription(protocol))?);
        }
        Some(topics)
    }

    pub(super) fn add(&mut self, member: Member) {
        if self.members.is_empty() || self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members
                .insert(instance_id.clone(), member.id.clone());
        }
        self.pending.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    pub(super) fn remove(&mut self, member_id: &str) {
        if let Some(Member {
            instance_id: Some(instance_id),
            ..
        }) = self.members.remove(member_id)
        {
            self.static_members.remove(&instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending.remove(member_id);
        self.awaiting_sync.remove(member_id);
    }
}

/// The topics of a consumer's subscription: a version, then a list of names in every version
/// (ConsumerProtocolSubscription).
fn subscribed_topics(mut subscription: Bytes) -> Option<Vec<String>> {
    subscription.try_get_i16().ok()?;
    let count = subscription.try_get_i32().ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        let len = usize::try_from(subscription.try_get_i16().ok()?).ok()?;
        let name = subscription.get(..len)?;
        topics.push(std::str::from_utf8(name).ok()?.to_owned());
        subscription.advance(len);
    }
    Some(topics)
}
