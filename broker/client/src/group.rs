//! Consuming as a member of a group: the coordinator shares the partitions out, offsets are committed.
//!
//! The classic protocol, with Kafka's eager `range` assignor, so that members of other clients fit in.
//! A member joins, gets its partitions by SyncGroup, and is alive by heartbeats; when one says that the
//! group rebalances, it commits and joins again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milena_protocol::api::heartbeat::HeartbeatRequest;
use milena_protocol::api::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use milena_protocol::api::leave_group::{LeaveGroupMember, LeaveGroupRequest};
use milena_protocol::api::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use milena_protocol::{ErrorCode, Str};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::admin::{Committed, When};
use crate::assignment::{self, Assignment};
use crate::client::{call, version};
use crate::consumer::{Consumer, ConsumerOptions, Fetched};
use crate::retry::backoff;
use crate::{Client, Error};

/// Kafka's name for groups of consumers, and for the assignor.
const CONSUMER: Str = Str::from_static("consumer");
const RANGE: Str = Str::from_static("range");

/// So late the group's leader sees partitions that were added to a topic, or that it is gone.
const PARTITIONS_AGE_MAX: Duration = Duration::from_secs(5);

/// How a member behaves in its group; the times are Kafka's defaults.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// The group's id.
    pub group: String,
    /// An id of one's own, for a static member (KIP-345).
    pub instance_id: Option<String>,
    /// Without a heartbeat for so long a member is out.
    pub session_timeout: Duration,
    /// How long the others wait for a member to join again.
    pub rebalance_timeout: Duration,
    /// The time between heartbeats.
    pub heartbeat_interval: Duration,
    /// The time between commits of what `poll` returned.
    pub commit_interval: Duration,
    /// Where to begin in a partition without a committed offset.
    pub reset: When,
}

impl GroupOptions {
    /// A dynamic member of `group`.
    pub fn new(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            instance_id: None,
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_secs(60),
            heartbeat_interval: Duration::from_secs(3),
            commit_interval: Duration::from_secs(5),
            reset: When::End,
        }
    }
}

/// A member's standing in one generation of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The id that the coordinator gave.
    pub id: String,
    /// The id that a static member gave itself.
    pub instance_id: Option<String>,
    /// The generation.
    pub generation: i32,
}

/// A member that consumes what its group assigns to it.
pub struct GroupConsumer {
    client: Client,
    options: GroupOptions,
    topics: Vec<String>,
    consumer: Consumer,
    member_id: String,
    membership: Option<Membership>,
    /// The error of the last heartbeat, if it had one.
    pulse: watch::Receiver<Option<ErrorCode>>,
    heartbeat: Option<AbortHandle>,
    committed_at: Instant,
    committed: BTreeMap<(String, i32), i64>,
    /// As the group's leader: how many partitions of each topic it has shared out.
    shared_out: Option<BTreeMap<String, i32>>,
    looked_at: Instant,
}

impl GroupConsumer {
    /// A member that joins when it is first polled.
    pub fn new(
        client: Client,
        options: GroupOptions,
        topics: Vec<String>,
        mut fetching: ConsumerOptions,
    ) -> Self {
        fetching.reset.get_or_insert(options.reset);
        Self {
            consumer: Consumer::new(client.clone(), fetching),
            client,
            options,
            topics,
            member_id: String::new(),
            membership: None,
            pulse: watch::channel(None).1,
            heartbeat: None,
            committed_at: Instant::now(),
            committed: BTreeMap::new(),
            shared_out: None,
            looked_at: Instant::now(),
        }
    }

    /// The partitions assigned now, and their positions.
    pub fn positions(&self) -> &BTreeMap<(String, i32), i64> {
        self.consumer.positions()
    }

    /// Consumes the partition again from `offset`, if it is assigned.
    pub fn rewind(&mut self, partition: (String, i32), offset: i64) {
        let mut positions = self.consumer.positions().clone();
        if let Some(position) = positions.get_mut(&partition) {
            *position = offset;
            self.consumer.assign(positions);
        }
    }

    /// Joins where it is out, commits when it is time, and returns what one leader's answer brought. What
    /// was returned before counts as consumed. Dropping this future loses nothing but time.
    pub async fn poll(&mut self) -> Result<Vec<Fetched>, Error> {
        if self.membership.is_none() {
            self.join().await?;
        }
        if self.committed_at.elapsed() >= self.options.commit_interval {
            self.commit_or_rejoin().await?;
        }
        if self.looked_at.elapsed() >= PARTITIONS_AGE_MAX {
            self.look_for_partitions().await?;
        }
        tokio::select! {
            biased;
            code = beat_failed(&mut self.pulse) => {
                self.rejoin(code).await?;
                Ok(Vec::new())
            }
            fetched = self.consumer.poll() => fetched,
        }
    }

    /// The group's leader has the partitions shared out anew where their number is another.
    async fn look_for_partitions(&mut self) -> Result<(), Error> {
        self.looked_at = Instant::now();
        let Some(shared) = &self.shared_out else {
            return Ok(());
        };
        let topics: Vec<&str> = shared.keys().map(String::as_str).collect();
        match self.client.still_has(&topics).await {
            Err(error @ Error::UnknownTopic { .. }) => return Err(error),
            // Who does not answer now is heard of by the next fetch.
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        let cluster = self.client.cluster();
        let is_other = |(topic, count): (&String, &i32)| {
            let known = cluster.topics.get(topic);
            known.is_some_and(|topic| topic.partitions.len() as i32 != *count)
        };
        match shared.iter().any(is_other) {
            true => self.rejoin(ErrorCode::RebalanceInProgress).await,
            false => Ok(()),
        }
    }

    /// Commits the positions: what `poll` has returned so far.
    pub async fn commit(&mut self) -> Result<(), Error> {
        self.committed_at = Instant::now();
        let positions = self.consumer.positions();
        if self.membership.is_none() || *positions == self.committed {
            return Ok(());
        }
        let offset = |(partition, &offset): (&(String, i32), &i64)| {
            (partition.clone(), Committed::at(offset))
        };
        let offsets = positions.iter().map(offset).collect();
        let group = &self.options.group;
        self.client
            .commit(group, self.membership.as_ref(), &offsets)
            .await?;
        self.committed = positions.clone();
        Ok(())
    }

    async fn commit_or_rejoin(&mut self) -> Result<(), Error> {
        match self.commit().await {
            Err(error) => match error.code() {
                Some(code) if is_out(code) => self.rejoin(code).await,
                _ => Err(error),
            },
            Ok(()) => Ok(()),
        }
    }

    /// Commits and leaves, so that the others need not wait for the session to time out.
    pub async fn close(mut self) -> Result<(), Error> {
        let committed = self.commit().await;
        self.stop_heartbeat();
        // A static member stays, to come back to the same partitions. One that was about to join leaves too:
        // the others would wait for it until its session times out.
        if self.options.instance_id.is_none() && !self.member_id.is_empty() {
            match self.leave().await {
                Err(error) if error.code() == Some(ErrorCode::UnknownMemberId) => {}
                left => left?,
            }
        }
        committed
    }

    async fn leave(&self) -> Result<(), Error> {
        // A JoinGroup that waits holds its connection up: nothing behind it is answered.
        let client = match self.membership {
            Some(_) => self.client.clone(),
            None => Client::new(self.client.options().clone()),
        };
        let coordinator = client.coordinator(&self.options.group).await?;
        let request = LeaveGroupRequest {
            group_id: Str::from(&self.options.group),
            member_id: Str::from(&self.member_id),
            members: vec![LeaveGroupMember {
                member_id: Str::from(&self.member_id),
                ..Default::default()
            }],
        };
        let left = call(&coordinator, &request).await?;
        Error::check(format!("group {:?}", self.options.group), left.error_code)
    }

    async fn rejoin(&mut self, code: ErrorCode) -> Result<(), Error> {
        self.stop_heartbeat();
        if code == ErrorCode::RebalanceInProgress {
            // The others wait for us, so what fails here is not tried again: it is consumed again.
            self.commit().await.ok();
        }
        if code == ErrorCode::UnknownMemberId {
            self.member_id.clear();
        }
        if !is_out(code) && !crate::error::is_retriable(code) {
            let subject = format!("group {:?}", self.options.group);
            return Err(Error::refused(subject, code, None));
        }
        self.membership = None;
        self.consumer.assign(BTreeMap::new());
        Ok(())
    }

    fn stop_heartbeat(&mut self) {
        if let Some(heartbeat) = self.heartbeat.take() {
            heartbeat.abort();
        }
    }

    /// Joins, again and again while others come and go, and starts consuming what is assigned.
    async fn join(&mut self) -> Result<(), Error> {
        let begun = Instant::now();
        let mut attempts = 0;
        let (membership, assignment) = loop {
            match self.try_join().await {
                Ok(joined) => break joined,
                Err(error) if self.may_join_again(&error) && begun.elapsed() < self.patience() => {
                    attempts += 1;
                    tokio::time::sleep(backoff(attempts)).await;
                }
                Err(error) => return Err(error),
            }
        };
        let positions = self.starting_positions(&assignment).await?;
        self.committed = positions.clone();
        self.committed_at = Instant::now();
        self.consumer.assign(positions);
        self.start_heartbeat(&membership);
        self.membership = Some(membership);
        Ok(())
    }

    /// How long joining may take: others may use up their rebalance timeout.
    fn patience(&self) -> Duration {
        self.options.rebalance_timeout + self.client.options().deadline
    }

    fn may_join_again(&mut self, error: &Error) -> bool {
        if error.code() == Some(ErrorCode::UnknownMemberId) {
            self.member_id.clear();
        }
        error.is_retriable() || error.code().is_some_and(is_out)
    }

    async fn try_join(&mut self) -> Result<(Membership, Assignment), Error> {
        let coordinator = self.client.coordinator(&self.options.group).await?;
        let subject = format!("group {:?}", self.options.group);
        let request = JoinGroupRequest {
            group_id: Str::from(&self.options.group),
            session_timeout_ms: self.options.session_timeout.as_millis() as i32,
            rebalance_timeout_ms: self.options.rebalance_timeout.as_millis() as i32,
            member_id: Str::from(&self.member_id),
            group_instance_id: self.options.instance_id.as_ref().map(Str::from),
            protocol_type: CONSUMER,
            protocols: vec![JoinGroupRequestProtocol {
                name: RANGE,
                metadata: assignment::write_subscription(&self.topics),
            }],
            ..Default::default()
        };
        let version = version::<JoinGroupRequest>(&coordinator)?;
        let answer = coordinator.send(&request, version).await?;
        let joined = answer.within(self.patience()).receive().await?;
        if !joined.member_id.is_empty() {
            self.member_id = joined.member_id.to_string();
        }
        Error::check(subject.as_str(), joined.error_code)?;
        self.shared_out = None;
        let assignments = match joined.leader == joined.member_id && !joined.skip_assignment {
            true => self.share_out(&joined).await?,
            false => Vec::new(),
        };
        let request = SyncGroupRequest {
            group_id: Str::from(&self.options.group),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            group_instance_id: self.options.instance_id.as_ref().map(Str::from),
            protocol_type: Some(CONSUMER),
            protocol_name: joined.protocol_name.clone(),
            assignments,
        };
        let synced = call(&coordinator, &request).await?;
        Error::check(subject, synced.error_code)?;
        let assignment = assignment::read_assignment(&synced.assignment).map_err(|problem| {
            Error::Unexpected(format!("the assignment can't be read: {problem}"))
        })?;
        let membership = Membership {
            id: self.member_id.clone(),
            instance_id: self.options.instance_id.clone(),
            generation: joined.generation_id,
        };
        Ok((membership, assignment))
    }

    /// The leader's work: every member's subscription, and what each is to consume.
    async fn share_out(
        &mut self,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, Error> {
        let mut subscriptions = BTreeMap::new();
        for member in &joined.members {
            let topics = assignment::read_subscription(&member.metadata).map_err(|problem| {
                Error::Unexpected(format!(
                    "member {} subscribes to nothing readable: {problem}",
                    member.member_id
                ))
            })?;
            subscriptions.insert(member.member_id.to_string(), topics);
        }
        let topics: BTreeSet<&str> = subscriptions
            .values()
            .flatten()
            .map(String::as_str)
            .collect();
        let topics: Vec<&str> = topics.into_iter().collect();
        let cluster = self.client.refresh(&topics).await?;
        let mut counts = BTreeMap::new();
        for topic in topics {
            // One that is not there (yet) has no partitions to share out.
            if let Some(found) = cluster.topics.get(topic) {
                counts.insert(topic.to_owned(), found.partitions.len() as i32);
            }
        }
        self.shared_out = Some(counts.clone());
        let shared = assignment::range(&subscriptions, &counts).into_iter();
        Ok(shared
            .map(|(member, partitions)| SyncGroupRequestAssignment {
                member_id: member.into(),
                assignment: assignment::write_assignment(&partitions),
            })
            .collect())
    }

    /// The committed offset of each partition, or where `reset` says.
    async fn starting_positions(
        &self,
        assignment: &Assignment,
    ) -> Result<BTreeMap<(String, i32), i64>, Error> {
        let assigned = assignment.iter().flat_map(|(topic, partitions)| {
            partitions
                .iter()
                .map(move |&partition| (topic.clone(), partition))
        });
        let committed = self.client.committed(&self.options.group).await?;
        let (known, new): (Vec<_>, Vec<_>) =
            assigned.partition(|partition| committed.contains_key(partition));
        let mut positions = self.client.offsets(&new, self.options.reset).await?;
        positions.extend(known.into_iter().map(|partition| {
            let offset = committed[&partition].offset;
            (partition, offset)
        }));
        Ok(positions)
    }

    fn start_heartbeat(&mut self, membership: &Membership) {
        let (beats, pulse) = watch::channel(None);
        let request = HeartbeatRequest {
            group_id: Str::from(&self.options.group),
            generation_id: membership.generation,
            member_id: Str::from(&membership.id),
            group_instance_id: membership.instance_id.as_ref().map(Str::from),
        };
        let (client, group) = (self.client.clone(), self.options.group.clone());
        let interval = self.options.heartbeat_interval;
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                // What fails on the way is tried again with the next beat.
                let Ok(coordinator) = client.coordinator(&group).await else {
                    continue;
                };
                let Ok(answer) = call(&coordinator, &request).await else {
                    continue;
                };
                if is_out(answer.error_code)
                    || !(answer.error_code.is_none()
                        || crate::error::is_retriable(answer.error_code))
                {
                    beats.send_replace(Some(answer.error_code));
                    return;
                }
            }
        });
        self.pulse = pulse;
        self.heartbeat = Some(task.abort_handle());
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        self.stop_heartbeat();
    }
}

async fn beat_failed(pulse: &mut watch::Receiver<Option<ErrorCode>>) -> ErrorCode {
    // The guard must not live as long as the wait below: a member may move between threads.
    let failed = pulse.wait_for(Option::is_some).await.map(|code| *code);
    match failed {
        Ok(code) => code.unwrap_or(ErrorCode::UnknownMemberId),
        // The heartbeat is not running: it has said all.
        Err(_) => std::future::pending().await,
    }
}

/// Whether the code tells a member that it has to join again.
fn is_out(code: ErrorCode) -> bool {
    use ErrorCode as E;
    matches!(
        code,
        E::RebalanceInProgress | E::IllegalGeneration | E::UnknownMemberId | E::MemberIdRequired
    )
}
