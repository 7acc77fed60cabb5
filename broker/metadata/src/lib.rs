//! The cluster's metadata: its records, the [`Image`] they build, and every decision on it. Pure: no I/O,
//! no clock, no randomness.
//!
//! A [`Command`] says what someone wants. [`decide`] answers it on an image with the [`Record`]s that make
//! it true and an [`Outcome`] for who asked, or a [`Refusal`]. The quorum writes the records as one atomic
//! entry, and every broker applies them to its image. Applying sets facts and decides nothing, so that two
//! versions of the software can't come apart.

mod command;
mod configs;
mod decide;
mod election;
mod features;
mod health;
mod image;
mod names;
pub mod placement;
pub mod plan;
mod policy;
mod record;
mod rule;

pub use command::{
    AllocateProducerIds, AlterConfigs, AlterPartition, AlterPartitionReassignments,
    AssignDirectories, BlockingFollower, BlockingPartition, ChangeBroker, ChangeBrokers,
    ChangeEndpoints, ChangeRack, Command, ConfigChange, ConfigOperation, ConfigValues,
    CreatePartitions, CreateTopics, CreatedTopic, DeleteTopics, DeletedTopic, ElectLeaders,
    ElectedLeader, ElectionKind, ExpireLeases, FoundCluster, GrantedLease, IncrementalAlterConfigs,
    IsrProposal, LeaseAnswer, LeaseRefusal, NeverSafe, NewPartitions, NewTopic, NotStaying,
    Outcome, PartitionProgress, ProducerIdBlock, QuorumBlocks, Refusal, RegisterBroker, Registered,
    ReleaseLease, Request, RequestLease, SeenLease, SetFeatures, SetStopping, SettlePartitions,
    TopicReference, UnregisterBroker, VoterProgress, WantedReplicas,
};
pub use configs::{ConfigResource, ConfigRules, NoConfigRules, ResourceKind};
pub use decide::{
    BROKERS_MAX, CONFIG_VALUE_BYTES_MAX, Decision, LEASE_MS_MAX, LEASE_PARTITIONS_NAMED_MAX,
    PARTITIONS_PER_REQUEST_MAX, PRODUCER_ID_BLOCK, STOPPING_MS_MAX, decide, founding_records,
};
pub use features::{Levels, SUPPORTED_FEATURES, SupportedFeature, VERSION};
pub use health::{Condition, Conditioned, Health, Scope};
pub use image::{
    Broker, Change, Configs, Image, Lease, Load, Mismatch, Partition, PartitionChange, Position,
    Topic,
};
pub use names::{
    BrokerId, DirectoryId, IncarnationId, NameError, PartitionId, TOPIC_NAME_LENGTH_MAX, TopicId,
    TopicName,
};
pub use policy::{
    MIN_INSYNC_REPLICAS, PLACEMENT_LEADER_RACK, PLACEMENT_NODE_SPREAD, PLACEMENT_POOLS,
    PLACEMENT_RACK_SPREAD, PLACEMENT_RACKS, TopicPolicy,
};
pub use record::{
    BrokerRecord, BrokerRemovedRecord, BrokerStateRecord, ClusterRecord, ClusterStateRecord,
    ConfigRecord, Elected, Endpoint, FeatureRecord, LastEnd, LeaseEndedRecord, LeaseRecord,
    PartitionRecord, ProducerIdsRecord, Reassignment, Record, RecordError, Replica, Stopping,
    TopicRecord, TopicRemovedRecord,
};
