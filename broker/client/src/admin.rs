//! Administration: topics, their configs and records. The cluster, groups, offsets and replicas are in their own files.

mod batches;
mod cluster;
mod groups;
mod lists;
mod offsets;
mod reassignments;
mod replicas;

use std::collections::BTreeMap;

use milena_protocol::api::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterableConfig,
};
use milena_protocol::api::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use milena_protocol::api::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use milena_protocol::api::delete_topics::DeleteTopicsRequest;
use milena_protocol::api::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use milena_protocol::api::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResource, IncrementalAlterableConfig,
};
use milena_protocol::{ErrorCode, Request, Str};

use crate::client::{call, version};
use crate::retry::retry;
use crate::{Client, Error};

pub use batches::Each;
pub use cluster::{ClusterBroker, ClusterDescription, Feature, QuorumDescription, QuorumMember};
pub use groups::{Committed, GroupDescription, GroupMember, GroupSummary};
pub use lists::{ListChange, ListEdit};
pub(crate) use offsets::by_topic;
pub use offsets::{Offsets, When};
pub use reassignments::{OngoingReassignment, Sizes, WantedReplicas};
pub use replicas::{Election, LogDir, PartitionResults, Reassignment, ReplicaInDir, ReplicaWishes};

/// DescribeConfigs' source of a value that someone set on the topic itself.
const SOURCE_TOPIC: i8 = 1;
/// DescribeConfigs' source of a value that nobody set.
const SOURCE_DEFAULT: i8 = 5;
/// The first CreateTopics version in which -1 asks for the broker's default (KIP-464).
const CREATE_WITH_DEFAULTS_FROM: i16 = 4;

/// What configs belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Resource {
    /// A topic, by name.
    Topic = 2,
    /// A broker, by node id; all brokers where the name is empty.
    Broker = 4,
}

/// A topic to be.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; the broker's default where `None`.
    pub partitions: Option<i32>,
    /// How many replicas each has; the broker's default where `None`.
    pub replication_factor: Option<i16>,
    /// Configs that differ from the defaults.
    pub configs: Vec<(String, String)>,
}

/// One config's value and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// Its value; `None` where it has none, or is a secret.
    pub value: Option<String>,
    /// Whether it was set on the resource itself.
    pub is_own: bool,
    /// Whether nobody has set it.
    pub is_default: bool,
    /// Whether it can't be changed while the broker runs.
    pub read_only: bool,
}

/// One change of a config; `None` takes back to the default.
pub type ConfigChange = (String, Option<String>);

impl Client {
    /// Creates the topic, or with `validate_only` says whether it could be created.
    pub async fn create_topic(&self, topic: &NewTopic, validate_only: bool) -> Result<(), Error> {
        let controller = retry(self.options().deadline, || self.controller()).await?;
        let knows_defaults =
            version::<CreateTopicsRequest>(&controller)? >= CREATE_WITH_DEFAULTS_FROM;
        let default = if knows_defaults { -1 } else { 1 };
        let configs = topic
            .configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: name.into(),
                value: Some(value.into()),
            });
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Str::from(&topic.name),
                num_partitions: topic.partitions.unwrap_or(default),
                replication_factor: topic.replication_factor.unwrap_or(default as i16),
                assignments: Vec::new(),
                configs: configs.collect(),
            }],
            timeout_ms: self.timeout_ms(),
            validate_only,
        };
        self.call_controller(&request, |response| {
            response.topics.iter().try_for_each(|result| {
                refusal(&topic.name, result.error_code, &result.error_message)
            })
        })
        .await
        .map(drop)
    }

    /// Deletes the topic with all its records.
    pub async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        let request = DeleteTopicsRequest {
            topic_names: vec![name.into()],
            timeout_ms: self.timeout_ms(),
            ..Default::default()
        };
        self.call_controller(&request, |response| {
            response
                .responses
                .iter()
                .try_for_each(|result| refusal(name, result.error_code, &result.error_message))
        })
        .await
        .map(drop)
    }

    /// Gives the topic more partitions: `count` in all.
    pub async fn add_partitions(
        &self,
        name: &str,
        count: i32,
        validate_only: bool,
    ) -> Result<(), Error> {
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: name.into(),
                count,
                assignments: None,
            }],
            timeout_ms: self.timeout_ms(),
            validate_only,
        };
        self.call_controller(&request, |response| {
            response
                .results
                .iter()
                .try_for_each(|result| refusal(name, result.error_code, &result.error_message))
        })
        .await
        .map(drop)
    }

    /// The configs of resources of one kind, by resource name.
    pub async fn configs(
        &self,
        resource: Resource,
        names: &[&str],
    ) -> Result<BTreeMap<String, Vec<Config>>, Error> {
        let wanted = names.iter().map(|name| DescribeConfigsResource {
            resource_type: resource as i8,
            resource_name: (*name).into(),
            configuration_keys: None,
        });
        let request = DescribeConfigsRequest {
            resources: wanted.collect(),
            ..Default::default()
        };
        let response = retry(self.options().deadline, || async {
            let connection = match resource {
                Resource::Broker => self.broker_named(names).await?,
                Resource::Topic => self.any().await?,
            };
            call(&connection, &request).await
        })
        .await?;
        let mut configs = BTreeMap::new();
        for result in &response.results {
            refusal(
                &result.resource_name,
                result.error_code,
                &result.error_message,
            )?;
            let of_one = result.configs.iter().map(config).collect();
            configs.insert(result.resource_name.to_string(), of_one);
        }
        Ok(configs)
    }

    /// A broker tells only its own configs.
    async fn broker_named(&self, names: &[&str]) -> Result<crate::Connection, Error> {
        match names.first().map(|name| name.parse()) {
            Some(Ok(id)) => self.broker(id).await,
            _ => self.any().await,
        }
    }

    /// Changes configs of one resource and leaves its others as they are.
    pub async fn alter_configs(
        &self,
        resource: Resource,
        name: &str,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<(), Error> {
        let connection = retry(self.options().deadline, || self.controller()).await?;
        let incremental = connection.served(IncrementalAlterConfigsRequest::KEY);
        if incremental.is_none() {
            return self
                .alter_configs_as_a_whole(resource, name, changes, validate_only)
                .await;
        }
        let configs = changes
            .iter()
            .map(|(name, value)| IncrementalAlterableConfig {
                name: name.into(),
                config_operation: i8::from(value.is_none()),
                value: value.as_ref().map(Str::from),
            });
        let request = IncrementalAlterConfigsRequest {
            resources: vec![IncrementalAlterConfigsResource {
                resource_type: resource as i8,
                resource_name: name.into(),
                configs: configs.collect(),
            }],
            validate_only,
        };
        self.call_controller(&request, |response| {
            response
                .responses
                .iter()
                .try_for_each(|result| refusal(name, result.error_code, &result.error_message))
        })
        .await
        .map(drop)
    }

    /// Kafka before 2.3 only replaces all configs at once (KIP-339), so those that are set go along.
    async fn alter_configs_as_a_whole(
        &self,
        resource: Resource,
        name: &str,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<(), Error> {
        let described = self.configs(resource, &[name]).await?;
        let set = described
            .into_values()
            .flatten()
            .filter(|config| config.is_own);
        let mut all: BTreeMap<_, _> = set.map(|config| (config.name, config.value)).collect();
        all.extend(changes.iter().cloned());
        let kept = all.iter().filter(|(_, value)| value.is_some());
        let request = AlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: resource as i8,
                resource_name: name.into(),
                configs: kept
                    .map(|(name, value)| AlterableConfig {
                        name: name.into(),
                        value: value.as_ref().map(Str::from),
                    })
                    .collect(),
            }],
            validate_only,
        };
        self.call_controller(&request, |response| {
            response
                .responses
                .iter()
                .try_for_each(|result| refusal(name, result.error_code, &result.error_message))
        })
        .await
        .map(drop)
    }

    /// The operation's time as the broker is told it.
    pub(crate) fn timeout_ms(&self) -> i32 {
        let millis = self.options().connection.request_timeout.as_millis();
        i32::try_from(millis).unwrap_or(i32::MAX)
    }
}

pub(crate) fn refusal(subject: &str, code: ErrorCode, message: &Option<Str>) -> Result<(), Error> {
    code.ok()
        .map_err(|code| Error::refused(subject, code, message.as_deref()))
}

fn config(answered: &DescribeConfigsResourceResult) -> Config {
    Config {
        name: answered.name.to_string(),
        value: answered.value.as_deref().map(str::to_owned),
        is_own: answered.config_source == SOURCE_TOPIC,
        is_default: answered.is_default || answered.config_source == SOURCE_DEFAULT,
        read_only: answered.read_only,
    }
}
