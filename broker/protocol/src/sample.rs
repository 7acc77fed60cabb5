//! Random messages, for tests and fuzzing: each fills every field of its version, and no other.

use bytes::Bytes;

use crate::api::*;
use crate::{ErrorCode, Nullable, Records, Request, Str, Uuid};

/// A message gets about this many list elements in all: enough for lengths of two bytes, and quick.
const ELEMENTS_MAX: usize = 200;

/// Random numbers from a seed, and the version to fill a message for.
#[derive(Debug)]
pub struct Source {
    state: u64,
    version: i16,
    elements_left: usize,
}

impl Source {
    /// The same seed gives the same message.
    pub fn new(seed: u64, version: i16) -> Self {
        Self {
            state: seed,
            version,
            elements_left: ELEMENTS_MAX,
        }
    }

    /// The version to fill.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Any 64 bits (SplitMix64).
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit as u64) as usize
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A value that is null at times, where null is `allowed`.
    pub(crate) fn nullable<T: Sample + Nullable>(&mut self, allowed: bool) -> T {
        loop {
            let value = T::sample(self);
            if allowed || !value.is_null() {
                return value;
            }
        }
    }

    /// A length: mostly small, at times one that takes two bytes in flexible versions.
    fn length(&mut self, large: usize) -> usize {
        if self.once_in(20) {
            self.below(large)
        } else {
            self.below(4)
        }
    }

    /// Any number, or one of those that matter.
    fn number(&mut self) -> i64 {
        let bits = self.bits() as i64;
        match self.below(5) {
            0 => bits,
            1 => -1,
            2 => i64::MAX,
            3 => i64::MIN,
            _ => 0,
        }
    }
}

/// A value that can be made up.
pub trait Sample {
    /// Makes one up for the source's version.
    fn sample(source: &mut Source) -> Self;
}

macro_rules! sample_numbers {
    ($($number:ty),*) => {$(
        impl Sample for $number {
            fn sample(source: &mut Source) -> Self {
                // The highest bits, so that an end of the i64 range is an end of this one's.
                (source.number() >> (64 - <$number>::BITS)) as Self
            }
        }
    )*};
}
sample_numbers!(i8, i16, u16, i32, i64);

impl Sample for bool {
    fn sample(source: &mut Source) -> Self {
        source.once_in(2)
    }
}

impl Sample for ErrorCode {
    fn sample(source: &mut Source) -> Self {
        Self::from(source.below(135) as i16 - 1)
    }
}

impl Sample for Uuid {
    fn sample(source: &mut Source) -> Self {
        if source.once_in(4) {
            return Self::ZERO;
        }
        let (high, low) = (source.bits(), source.bits());
        Self((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    }
}

impl Sample for Str {
    fn sample(source: &mut Source) -> Self {
        let len = source.length(300);
        let letters = ['a', 'Z', '0', '-', '\0', '\u{e9}', '\u{4e16}', '\u{1f600}'];
        let text: String = (0..len).map(|_| letters[source.below(8)]).collect();
        text.into()
    }
}

impl Sample for Bytes {
    fn sample(source: &mut Source) -> Self {
        let len = source.length(5000);
        (0..len).map(|_| source.bits() as u8).collect()
    }
}

impl Sample for Records {
    fn sample(source: &mut Source) -> Self {
        Self::Bytes(Bytes::sample(source))
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(source: &mut Source) -> Self {
        let len = source.length(300).min(source.elements_left);
        source.elements_left -= len;
        (0..len).map(|_| T::sample(source)).collect()
    }
}

impl<T: Sample> Sample for Box<T> {
    fn sample(source: &mut Source) -> Self {
        Self::new(T::sample(source))
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(source: &mut Source) -> Self {
        (!source.once_in(4)).then(|| T::sample(source))
    }
}

/// Something to be done with each API.
pub trait Visitor {
    /// Does it with one API.
    fn visit<R>(&mut self)
    where
        R: Request + Sample + PartialEq + std::fmt::Debug + Clone,
        R::Response: Sample + PartialEq + std::fmt::Debug + Clone;
}

/// Takes the visitor to every API of [`crate::api`], in the order of their keys.
pub fn visit_apis(visitor: &mut impl Visitor) {
    visitor.visit::<produce::ProduceRequest>();
    visitor.visit::<fetch::FetchRequest>();
    visitor.visit::<list_offsets::ListOffsetsRequest>();
    visitor.visit::<metadata::MetadataRequest>();
    visitor.visit::<offset_commit::OffsetCommitRequest>();
    visitor.visit::<offset_fetch::OffsetFetchRequest>();
    visitor.visit::<find_coordinator::FindCoordinatorRequest>();
    visitor.visit::<join_group::JoinGroupRequest>();
    visitor.visit::<heartbeat::HeartbeatRequest>();
    visitor.visit::<leave_group::LeaveGroupRequest>();
    visitor.visit::<sync_group::SyncGroupRequest>();
    visitor.visit::<describe_groups::DescribeGroupsRequest>();
    visitor.visit::<list_groups::ListGroupsRequest>();
    visitor.visit::<api_versions::ApiVersionsRequest>();
    visitor.visit::<create_topics::CreateTopicsRequest>();
    visitor.visit::<delete_topics::DeleteTopicsRequest>();
    visitor.visit::<delete_records::DeleteRecordsRequest>();
    visitor.visit::<init_producer_id::InitProducerIdRequest>();
    visitor.visit::<offset_for_leader_epoch::OffsetForLeaderEpochRequest>();
    visitor.visit::<describe_configs::DescribeConfigsRequest>();
    visitor.visit::<alter_configs::AlterConfigsRequest>();
    visitor.visit::<alter_replica_log_dirs::AlterReplicaLogDirsRequest>();
    visitor.visit::<describe_log_dirs::DescribeLogDirsRequest>();
    visitor.visit::<create_partitions::CreatePartitionsRequest>();
    visitor.visit::<delete_groups::DeleteGroupsRequest>();
    visitor.visit::<elect_leaders::ElectLeadersRequest>();
    visitor.visit::<incremental_alter_configs::IncrementalAlterConfigsRequest>();
    visitor.visit::<alter_partition_reassignments::AlterPartitionReassignmentsRequest>();
    visitor.visit::<list_partition_reassignments::ListPartitionReassignmentsRequest>();
    visitor.visit::<offset_delete::OffsetDeleteRequest>();
    visitor.visit::<describe_quorum::DescribeQuorumRequest>();
    visitor.visit::<update_features::UpdateFeaturesRequest>();
    visitor.visit::<describe_cluster::DescribeClusterRequest>();
    visitor.visit::<describe_producers::DescribeProducersRequest>();
    visitor.visit::<unregister_broker::UnregisterBrokerRequest>();
    visitor.visit::<list_config_resources::ListConfigResourcesRequest>();
    visitor.visit::<describe_topic_partitions::DescribeTopicPartitionsRequest>();
    visitor.visit::<add_raft_voter::AddRaftVoterRequest>();
    visitor.visit::<remove_raft_voter::RemoveRaftVoterRequest>();
}
