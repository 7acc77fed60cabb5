//! The cluster from outside: its brokers, its quorum and who votes there, its features.

use milena_protocol::api::add_raft_voter::{AddRaftVoterListener, AddRaftVoterRequest};
use milena_protocol::api::api_versions::ApiVersionsRequest;
use milena_protocol::api::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest};
use milena_protocol::api::describe_quorum::{
    DescribeQuorumNode, DescribeQuorumPartition, DescribeQuorumReplica, DescribeQuorumRequest,
    DescribeQuorumRequestPartition, DescribeQuorumRequestTopic, DescribeQuorumResponse,
};
use milena_protocol::api::remove_raft_voter::RemoveRaftVoterRequest;
use milena_protocol::api::unregister_broker::UnregisterBrokerRequest;
use milena_protocol::api::update_features::{FeatureUpdateKey, UpdateFeaturesRequest};
use milena_protocol::{ErrorCode, Request, Uuid};

use super::refusal;
use crate::client::call;
use crate::retry::retry;
use crate::{Broker, Client, Error};

/// The topic by which Kafka names the metadata quorum.
const QUORUM_TOPIC: &str = "__cluster_metadata";
/// UpdateFeatures' kinds of upgrade.
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;

/// The cluster and its brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// The cluster's id; `None` where the broker is too old to tell.
    pub id: Option<String>,
    /// The broker to which administration goes; `None` where none is up.
    pub controller: Option<i32>,
    /// The brokers by node id: fenced ones too, where the broker knows how to tell of them.
    pub brokers: Vec<ClusterBroker>,
}

/// A registered broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterBroker {
    /// Its node id, rack and address.
    pub broker: Broker,
    /// Whether it is down, or not ready.
    pub is_fenced: bool,
}

/// The metadata quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumDescription {
    /// The leader's node id, if there is one.
    pub leader: Option<i32>,
    /// The term.
    pub epoch: i32,
    /// The offset below which the metadata is committed.
    pub high_watermark: i64,
    /// Those that vote, by node id.
    pub voters: Vec<QuorumMember>,
    /// Those that follow without a vote, by node id.
    pub observers: Vec<QuorumMember>,
}

/// A member of the metadata quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumMember {
    /// Its node id.
    pub id: i32,
    /// The directory of its metadata; zero where the broker is too old to tell.
    pub directory: Uuid,
    /// Where it is reached, `host:port` each.
    pub addresses: Vec<String>,
    /// The end of its log; `None` where that is not known.
    pub log_end_offset: Option<i64>,
    /// When it last asked the leader, ms since 1970, if known.
    pub last_fetch_ms: Option<i64>,
    /// When it last had everything, ms since 1970, if known.
    pub last_caught_up_ms: Option<i64>,
}

/// A feature's levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// The lowest level that the broker that was asked supports.
    pub level_min: i16,
    /// The highest.
    pub level_max: i16,
    /// The level that the cluster has settled on; 0 where it is off.
    pub level: i16,
}

impl Client {
    /// The cluster and all its brokers, those that are fenced included.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, Error> {
        let request = DescribeClusterRequest {
            include_fenced_brokers: true,
            ..Default::default()
        };
        retry(self.options().deadline, || async {
            let connection = self.any().await?;
            if connection.served(DescribeClusterRequest::KEY).is_none() {
                return self.cluster_by_metadata().await;
            }
            let told = call(&connection, &request).await?;
            refusal("the cluster", told.error_code, &told.error_message)?;
            let mut brokers: Vec<_> = told.brokers.iter().map(cluster_broker).collect();
            brokers.sort_by_key(|one| one.broker.id);
            Ok(ClusterDescription {
                id: Some(told.cluster_id.to_string()),
                controller: Some(told.controller_id).filter(|&id| id >= 0),
                brokers,
            })
        })
        .await
    }

    /// Brokers before Kafka 2.8 tell by Metadata alone.
    async fn cluster_by_metadata(&self) -> Result<ClusterDescription, Error> {
        let cluster = self.refresh(&[]).await?;
        let brokers = cluster.brokers.values().map(|broker| ClusterBroker {
            broker: broker.clone(),
            is_fenced: false,
        });
        Ok(ClusterDescription {
            id: cluster.id.clone(),
            controller: cluster.controller,
            brokers: brokers.collect(),
        })
    }

    /// The metadata quorum, as its leader sees it.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription, Error> {
        let request = DescribeQuorumRequest {
            topics: vec![DescribeQuorumRequestTopic {
                topic_name: QUORUM_TOPIC.into(),
                partitions: vec![DescribeQuorumRequestPartition { partition_index: 0 }],
            }],
        };
        retry(self.options().deadline, || async {
            let told = call(&self.any().await?, &request).await?;
            quorum(told)
        })
        .await
    }

    /// The features that a broker supports, with the levels that hold.
    pub async fn features(&self) -> Result<Vec<Feature>, Error> {
        let request = ApiVersionsRequest {
            client_software_name: "milena".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        };
        let told = retry(self.options().deadline, || async {
            let told = call(&self.any().await?, &request).await?;
            Error::check("features", told.error_code).map(|()| told)
        })
        .await?;
        let level = |name: &str| {
            let finalized = told.finalized_features.iter();
            let mut known = finalized.filter(|feature| *feature.name == *name);
            known.next().map_or(0, |feature| feature.max_version_level)
        };
        let features = told.supported_features.iter().map(|feature| Feature {
            name: feature.name.to_string(),
            level_min: feature.min_version,
            level_max: feature.max_version,
            level: level(&feature.name),
        });
        Ok(features.collect())
    }

    /// Sets feature levels, all or none; 0 switches off. Lower ones than today's only with `downgrade`.
    pub async fn update_features(
        &self,
        levels: &[(String, i16)],
        downgrade: bool,
        validate_only: bool,
    ) -> Result<(), Error> {
        let updates = levels.iter().map(|(name, level)| FeatureUpdateKey {
            feature: name.into(),
            max_version_level: *level,
            allow_downgrade: downgrade,
            upgrade_type: if downgrade { SAFE_DOWNGRADE } else { UPGRADE },
        });
        let request = UpdateFeaturesRequest {
            timeout_ms: self.timeout_ms(),
            feature_updates: updates.collect(),
            validate_only,
        };
        self.call_controller(&request, |told| {
            refusal("features", told.error_code, &told.error_message)?;
            told.results
                .iter()
                .try_for_each(|one| refusal(&one.feature, one.error_code, &one.error_message))
        })
        .await
        .map(drop)
    }

    /// Has the cluster forget a broker that is stopped for good.
    pub async fn unregister_broker(&self, id: i32) -> Result<(), Error> {
        let request = UnregisterBrokerRequest { broker_id: id };
        let subject = format!("broker {id}");
        self.call_controller(&request, |told| {
            refusal(&subject, told.error_code, &told.error_message)
        })
        .await
        .map(drop)
    }

    /// Gives a member of the metadata quorum a vote: node id and directory as [`Client::describe_quorum`] names
    /// them. Its address is known to this cluster; Apache Kafka wants it told, as (listener, host, port).
    pub async fn add_raft_voter(
        &self,
        id: i32,
        directory: Uuid,
        listeners: &[(String, String, u16)],
    ) -> Result<(), Error> {
        let listeners = listeners
            .iter()
            .map(|(name, host, port)| AddRaftVoterListener {
                name: name.into(),
                host: host.into(),
                port: *port,
            });
        let request = AddRaftVoterRequest {
            timeout_ms: self.timeout_ms(),
            voter_id: id,
            voter_directory_id: directory,
            listeners: listeners.collect(),
            ..Default::default()
        };
        let subject = format!("voter {id}");
        self.call_controller(&request, |told| {
            refusal(&subject, told.error_code, &told.error_message)
        })
        .await
        .map(drop)
    }

    /// Takes a member of the metadata quorum its vote.
    pub async fn remove_raft_voter(&self, id: i32, directory: Uuid) -> Result<(), Error> {
        let request = RemoveRaftVoterRequest {
            cluster_id: None,
            voter_id: id,
            voter_directory_id: directory,
        };
        let subject = format!("voter {id}");
        self.call_controller(&request, |told| {
            refusal(&subject, told.error_code, &told.error_message)
        })
        .await
        .map(drop)
    }
}

fn cluster_broker(told: &DescribeClusterBroker) -> ClusterBroker {
    ClusterBroker {
        broker: Broker {
            id: told.broker_id,
            host: told.host.to_string(),
            port: told.port,
            rack: told.rack.as_deref().map(str::to_owned),
        },
        is_fenced: told.is_fenced,
    }
}

fn quorum(told: DescribeQuorumResponse) -> Result<QuorumDescription, Error> {
    let subject = "the metadata quorum";
    refusal(subject, told.error_code, &told.error_message)?;
    let mut partitions = told.topics.iter().flat_map(|topic| &topic.partitions);
    let Some(partition) = partitions.next() else {
        return Err(Error::refused(subject, ErrorCode::UnknownServerError, None));
    };
    refusal(subject, partition.error_code, &partition.error_message)?;
    Ok(described(partition, &told.nodes))
}

fn described(
    partition: &DescribeQuorumPartition,
    nodes: &[DescribeQuorumNode],
) -> QuorumDescription {
    let members = |all: &[DescribeQuorumReplica]| {
        let mut members: Vec<_> = all.iter().map(|one| member(one, nodes)).collect();
        members.sort_by_key(|member| (member.id, member.directory));
        members
    };
    QuorumDescription {
        leader: Some(partition.leader_id).filter(|&id| id >= 0),
        epoch: partition.leader_epoch,
        high_watermark: partition.high_watermark,
        voters: members(&partition.current_voters),
        observers: members(&partition.observers),
    }
}

fn member(told: &DescribeQuorumReplica, nodes: &[DescribeQuorumNode]) -> QuorumMember {
    let known = |number: i64| Some(number).filter(|&number| number >= 0);
    let node = nodes.iter().find(|node| node.node_id == told.replica_id);
    let listeners = node.map_or(&[][..], |node| &node.listeners);
    let address = |host: &str, port: u16| match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    QuorumMember {
        id: told.replica_id,
        directory: told.replica_directory_id,
        addresses: listeners
            .iter()
            .map(|listener| address(&listener.host, listener.port))
            .collect(),
        log_end_offset: known(told.log_end_offset),
        last_fetch_ms: known(told.last_fetch_timestamp),
        last_caught_up_ms: known(told.last_caught_up_timestamp),
    }
}
