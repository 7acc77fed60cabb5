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
mod image;
mod names;
pub mod placement;
mod record;

pub use command::{
    AllocateProducerIds, AlterConfigs, ChangeBroker, Command, ConfigChange, ConfigOperation,
    ConfigValues, CreatePartitions, CreateTopics, CreatedTopic, DeleteTopics, DeletedTopic,
    FoundCluster, IncrementalAlterConfigs, NewPartitions, NewTopic, Outcome, ProducerIdBlock,
    Refusal, RegisterBroker, Registered, Request, SetFeatures, TopicReference,
};
pub use configs::{ConfigResource, ConfigRules, NoConfigRules, ResourceKind};
pub use decide::{
    BROKERS_MAX, CONFIG_VALUE_BYTES_MAX, Decision, PARTITIONS_PER_REQUEST_MAX, PRODUCER_ID_BLOCK,
    decide,
};
pub use features::{SUPPORTED_FEATURES, SupportedFeature};
pub use image::{Broker, Configs, Image, Load, Mismatch, Partition, Position, Topic};
pub use names::{
    BrokerId, DirectoryId, IncarnationId, NameError, PartitionId, TOPIC_NAME_LENGTH_MAX, TopicId,
    TopicName,
};
pub use record::{
    BrokerRecord, BrokerStateRecord, ClusterRecord, ConfigRecord, Endpoint, FeatureRecord, LastEnd,
    PartitionRecord, ProducerIdsRecord, Record, RecordError, Replica, TopicRecord,
    TopicRemovedRecord,
};
