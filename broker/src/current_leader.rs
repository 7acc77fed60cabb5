//! Where a partition is led now: for a client that asked a broker that does not lead it (KIP-951).

use milena_metadata::{Image, Topic, TopicId};
use milena_protocol::api::fetch::{FetchNodeEndpoint, FetchPartitionResponse, FetchResponse};
use milena_protocol::api::produce::{ProduceNodeEndpoint, ProduceResponse};
use milena_protocol::{ErrorCode, Str, Uuid};

/// The first Produce that tells leaders and where they are reached.
const PRODUCE_TELLS_FROM: i16 = 10;
/// The first Fetch that tells leaders.
const FETCH_TELLS_FROM: i16 = 12;
/// The first Fetch that tells where they are reached.
const FETCH_TELLS_ENDPOINTS_FROM: i16 = 16;

/// Writes the leaders of partitions that are led elsewhere into an answer, and how they are reached by the listener
/// that the client came in by.
pub fn tell_producer(
    response: &mut ProduceResponse,
    image: impl FnOnce() -> std::sync::Arc<Image>,
    version: i16,
    listener: &str,
) {
    let results = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    if version < PRODUCE_TELLS_FROM || !{ results }.any(|result| is_elsewhere(result.error_code)) {
        return;
    }
    let image = image();
    let mut leaders = Vec::new();
    for answer in &mut response.responses {
        let topic = find(&image, &answer.name, answer.topic_id);
        for result in &mut answer.partition_responses {
            if let Some((id, epoch)) = leader(topic, result.error_code, result.index) {
                result.current_leader.leader_id = id;
                result.current_leader.leader_epoch = epoch;
                leaders.push(id);
            }
        }
    }
    let endpoints = reached(&image, leaders, listener);
    response.node_endpoints = endpoints
        .map(|(node_id, host, port, rack)| ProduceNodeEndpoint {
            node_id,
            host,
            port,
            rack,
        })
        .collect();
}

/// The same for a reader.
pub fn tell_reader(response: &mut FetchResponse, image: &Image, version: i16, listener: &str) {
    if version < FETCH_TELLS_FROM {
        return;
    }
    let mut leaders = Vec::new();
    for answer in &mut response.responses {
        let is_moved = |result: &&mut FetchPartitionResponse| is_elsewhere(result.error_code);
        for result in answer.partitions.iter_mut().filter(is_moved) {
            let topic = find(image, &answer.topic, answer.topic_id);
            if let Some((id, epoch)) = leader(topic, result.error_code, result.partition_index) {
                result.current_leader.leader_id = id;
                result.current_leader.leader_epoch = epoch;
                leaders.push(id);
            }
        }
    }
    if version < FETCH_TELLS_ENDPOINTS_FROM {
        return;
    }
    let endpoints = reached(image, leaders, listener);
    response.node_endpoints = endpoints
        .map(|(node_id, host, port, rack)| FetchNodeEndpoint {
            node_id,
            host,
            port,
            rack,
        })
        .collect();
}

fn is_elsewhere(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch
    )
}

/// By name in old versions, by id in newer ones.
fn find<'a>(image: &'a Image, name: &str, id: Uuid) -> Option<&'a Topic> {
    let topic = match id {
        Uuid::ZERO => image.topic(name),
        id => image.topic_by_id(TopicId(id)),
    };
    topic.map(|topic| &**topic)
}

/// Id and epoch of the leader of a partition that is led elsewhere; id -1 where nobody leads.
fn leader(topic: Option<&Topic>, error: ErrorCode, index: i32) -> Option<(i32, i32)> {
    let partition = topic.filter(|_| is_elsewhere(error))?.partition(index)?;
    let id = partition.leader.map_or(-1, |leader| leader.get());
    Some((id, partition.leader_epoch))
}

/// Id, host, port and rack of each of these brokers that has an address on the listener.
fn reached(
    image: &Image,
    mut ids: Vec<i32>,
    listener: &str,
) -> impl Iterator<Item = (i32, Str, i32, Option<Str>)> {
    ids.sort_unstable();
    ids.dedup();
    let brokers = image.brokers();
    let brokers = brokers.filter(move |broker| ids.binary_search(&broker.id.get()).is_ok());
    brokers.filter_map(move |broker| {
        let endpoint = broker.endpoint(listener)?;
        let (host, port) = (Str::from(&*endpoint.host), i32::from(endpoint.port));
        let rack = broker.rack.as_deref().map(Str::from);
        Some((broker.id.get(), host, port, rack))
    })
}
