//! The routing table, and one file a Kafka API.
//!
//! Each file has one `handle(broker, context, request) -> response`: the request is decoded, the version
//! checked and the answer encoded here, so that what is advertised is what is routed.

pub mod add_raft_voter;
pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod alter_replica_log_dirs;
pub mod api_versions;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod remove_raft_voter;
pub mod sync_group;
pub mod unregister_broker;
pub mod update_features;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::api as schema;
use milena_protocol::header::{RequestHeader, encode_response};
use milena_protocol::{DecodeError, Request, Str};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::connection::ConnectionError;
use crate::connection::outbox::Response;
use crate::connection::pending::PendingProduce;
use crate::connection::reader;
use schema::api_versions::ApiVersionsRequest;
use schema::fetch::FetchRequest;
use schema::join_group::JoinGroupRequest;
use schema::produce::ProduceRequest;
use schema::sync_group::SyncGroupRequest;

/// What is the same for all requests of a connection.
#[derive(Debug, Clone)]
pub struct Call {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The listener's name that the connection came in by, such as `PLAINTEXT`.
    pub listener: Arc<str>,
}

/// Who asks, from where, and in which version: every handler's second argument.
#[derive(Debug, Clone)]
pub struct RequestContext {
    pub version: i16,
    /// The client's name for itself, empty where it gave none.
    pub client_id: Str,
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The listener's name that the connection came in by, such as `PLAINTEXT`.
    pub listener: Arc<str>,
    /// Of a Fetch: cancelled when the connection has another request behind it.
    pub hurry: Option<CancellationToken>,
}

impl RequestContext {
    /// Whether the connection came in by the listener that brokers have for each other.
    pub fn is_from_peer(&self, broker: &Broker) -> bool {
        let config = broker.config();
        let peers = config.peers_listener();
        peers.is_some_and(|listener| *listener.name == *self.listener)
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Route {
    pub key: i16,
    pub name: &'static str,
    pub versions: RangeInclusive<i16>,
    flexible_from: i16,
}

impl Route {
    const fn of<R: Request>() -> Self {
        Self {
            key: R::KEY,
            name: R::NAME,
            versions: R::VERSIONS,
            flexible_from: R::FLEXIBLE_FROM,
        }
    }
}

/// A request that is not Produce, read up to its body.
pub struct Unanswered {
    context: RequestContext,
    key: i16,
    correlation_id: i32,
    body: Bytes,
    started: Instant,
    /// Keeps the frame's bytes counted while the request is in hand.
    _request: reader::Request,
}

impl Unanswered {
    /// To be cancelled when another request waits behind this one: a follower's fetch then answers with what there is.
    pub fn hurry(&self) -> Option<CancellationToken> {
        self.context.hurry.clone()
    }

    /// Whether it may be given up while it waits, when its client has gone. A fetch changes nothing. A join or sync is
    /// with its group by then, which keeps the member until its session ends, as Kafka's does; only the answer is lost.
    pub fn can_be_given_up(&self) -> bool {
        matches!(
            self.key,
            FetchRequest::KEY | JoinGroupRequest::KEY | SyncGroupRequest::KEY
        )
    }
}

/// A request on its way.
pub enum Started {
    /// Appended; its answer may wait for replicas while later requests are read.
    Produce(Box<PendingProduce>),
    /// To be answered when all before it are.
    Other(Box<Unanswered>),
}

macro_rules! routes {
    ($($module:ident $request:ident,)*) => {
        /// Every API that is served.
        pub static ROUTES: &[Route] = &[
            Route::of::<ProduceRequest>(),
            Route::of::<FetchRequest>(),
            $(Route::of::<schema::$module::$request>(),)*
        ];

        /// Decodes the body, calls the API's handler and encodes its answer.
        async fn dispatch(broker: &Arc<Broker>, request: &Unanswered) -> Result<Response, DecodeError> {
            let (context, body) = (&request.context, request.body.clone());
            match request.key {
                FetchRequest::KEY => answer_fetch(broker, request).await,
                $(schema::$module::$request::KEY => {
                    let decoded = schema::$module::$request::decode(body, context.version)?;
                    // Boxed, so that an idle connection has room for none of the handlers' states.
                    let response = Box::pin($module::handle(broker, context, decoded)).await;
                    let (version, id) = (context.version, request.correlation_id);
                    Ok(encode_response::<schema::$module::$request>(&response, version, id).into())
                })*
                key => unreachable!("API key {key} was looked up in the table"),
            }
        }
    };
}

routes! {
    add_raft_voter AddRaftVoterRequest,
    alter_configs AlterConfigsRequest,
    alter_partition_reassignments AlterPartitionReassignmentsRequest,
    alter_replica_log_dirs AlterReplicaLogDirsRequest,
    api_versions ApiVersionsRequest,
    create_partitions CreatePartitionsRequest,
    create_topics CreateTopicsRequest,
    delete_groups DeleteGroupsRequest,
    delete_records DeleteRecordsRequest,
    delete_topics DeleteTopicsRequest,
    describe_cluster DescribeClusterRequest,
    describe_configs DescribeConfigsRequest,
    describe_groups DescribeGroupsRequest,
    describe_log_dirs DescribeLogDirsRequest,
    describe_producers DescribeProducersRequest,
    describe_quorum DescribeQuorumRequest,
    describe_topic_partitions DescribeTopicPartitionsRequest,
    elect_leaders ElectLeadersRequest,
    find_coordinator FindCoordinatorRequest,
    heartbeat HeartbeatRequest,
    incremental_alter_configs IncrementalAlterConfigsRequest,
    init_producer_id InitProducerIdRequest,
    join_group JoinGroupRequest,
    leave_group LeaveGroupRequest,
    list_config_resources ListConfigResourcesRequest,
    list_groups ListGroupsRequest,
    list_offsets ListOffsetsRequest,
    list_partition_reassignments ListPartitionReassignmentsRequest,
    metadata MetadataRequest,
    offset_commit OffsetCommitRequest,
    offset_delete OffsetDeleteRequest,
    offset_fetch OffsetFetchRequest,
    offset_for_leader_epoch OffsetForLeaderEpochRequest,
    remove_raft_voter RemoveRaftVoterRequest,
    sync_group SyncGroupRequest,
    unregister_broker UnregisterBrokerRequest,
    update_features UpdateFeaturesRequest,
}

/// The row of an API, if it is served.
pub fn route(key: i16) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.key == key)
}

/// Reads a request's header; appends at once what a Produce brings.
pub async fn start(
    broker: &Broker,
    call: &Call,
    request: reader::Request,
) -> Result<Started, ConnectionError> {
    let started = Instant::now();
    let flexible = |key, version| route(key).is_some_and(|route| version >= route.flexible_from);
    let (header, body) = RequestHeader::read(request.frame.clone(), flexible)
        .map_err(|source| malformed("a request", -1, source))?;
    let context = context(call, &header);
    match route(header.api_key) {
        Some(route) if route.versions.contains(&header.api_version) => {}
        // Answered in version 0 with the ranges, whatever was asked (KIP-511).
        Some(route) if route.key == ApiVersionsRequest::KEY => {}
        _ => {
            return Err(ConnectionError::NotServed {
                key: header.api_key,
                version: header.api_version,
            });
        }
    }
    if header.api_key != ProduceRequest::KEY {
        let (key, correlation_id) = (header.api_key, header.correlation_id);
        let unanswered = Unanswered {
            context,
            key,
            correlation_id,
            body,
            started,
            _request: request,
        };
        return Ok(Started::Other(Box::new(unanswered)));
    }
    let produce = ProduceRequest::decode(body, header.api_version)
        .map_err(|source| malformed(ProduceRequest::NAME, header.api_version, source))?;
    let pending = produce::start(broker, &context, produce, header.correlation_id, started).await;
    Ok(Started::Produce(Box::new(pending)))
}

fn context(call: &Call, header: &RequestHeader) -> RequestContext {
    RequestContext {
        version: header.api_version,
        client_id: header.client_id.clone().unwrap_or_default(),
        address: call.address,
        listener: call.listener.clone(),
        hurry: (header.api_key == FetchRequest::KEY).then(CancellationToken::new),
    }
}

fn malformed(api: &'static str, version: i16, source: DecodeError) -> ConnectionError {
    ConnectionError::Malformed {
        api,
        version,
        source,
    }
}

/// Answers a request that [`start`] has read.
pub async fn answer(
    broker: &Arc<Broker>,
    request: Box<Unanswered>,
) -> Result<Response, ConnectionError> {
    let name = route(request.key).map_or("a request", |route| route.name);
    let version = request.context.version;
    let unsupported =
        request.key == ApiVersionsRequest::KEY && !ApiVersionsRequest::VERSIONS.contains(&version);
    let response = if unsupported {
        let response = api_versions::unsupported(broker);
        encode_response::<ApiVersionsRequest>(&response, 0, request.correlation_id).into()
    } else {
        dispatch(broker, &request)
            .await
            .map_err(|source| malformed(name, version, source))?
    };
    broker
        .metrics()
        .answered(request.key, response.frame.first_error(), request.started);
    Ok(response)
}

async fn answer_fetch(broker: &Broker, request: &Unanswered) -> Result<Response, DecodeError> {
    let version = request.context.version;
    let fetch = FetchRequest::decode(request.body.clone(), version)?;
    let (response, regions) = Box::pin(fetch::handle(broker, &request.context, fetch)).await;
    let frame = encode_response::<FetchRequest>(&response, version, request.correlation_id);
    Ok(Response { frame, regions })
}
