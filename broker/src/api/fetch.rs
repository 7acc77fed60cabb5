//! Fetch (key 1): answers with places in the log, which the connection reads when it sends them.

pub mod old_format;
pub mod session;

use std::sync::Arc;
use std::time::Duration;

use milena_log::{ReadError, Region};
use milena_protocol::api::fetch::{
    FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse,
};
use milena_protocol::{ErrorCode, External, Records, Str, Uuid};
use tokio::time::Instant;

use super::RequestContext;
use crate::broker::Broker;
use crate::partition::Partition;
use crate::partition::waiters::{Registered, Wakeup};
use session::{Session, Told, TopicKey, Wanted};

/// One partition's part of an answer.
struct Found {
    error: ErrorCode,
    high_watermark: i64,
    log_start_offset: i64,
    region: Option<Region>,
}

/// One look at all wanted partitions.
#[derive(Default)]
struct Pass {
    found: Vec<Found>,
    bytes: usize,
    failed: bool,
}

/// Waits until enough is there or the request's time is over, and answers.
pub async fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: FetchRequest,
) -> (FetchResponse, Vec<Region>) {
    let mut session = match broker.fetch_sessions().take(&request, context.version) {
        Ok(session) => session,
        Err(error_code) => {
            return (
                FetchResponse {
                    error_code,
                    ..Default::default()
                },
                Vec::new(),
            );
        }
    };
    let bytes_max = usize::try_from(request.max_bytes)
        .unwrap_or(0)
        .min(usize::try_from(broker.config().fetch_max_bytes).unwrap_or(0));
    let pass = wait_for_enough(broker, &session, &request, bytes_max).await;
    let served = pass
        .found
        .iter()
        .take_while(|found| found.region.is_some())
        .count();
    let answer = respond(broker, context, &mut session, pass).await;
    session.rotate(served);
    broker.fetch_sessions().put_back(session);
    answer
}

async fn wait_for_enough(
    broker: &Broker,
    session: &Session,
    request: &FetchRequest,
    bytes_max: usize,
) -> Pass {
    let wait_max = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let bytes_min = usize::try_from(request.min_bytes).unwrap_or(0);
    let enough = |pass: &Pass| pass.failed || pass.bytes >= bytes_min || session.wanted.is_empty();
    let pass = look(broker, session, bytes_max);
    if enough(&pass) || wait_max.is_zero() {
        return pass;
    }
    let deadline = Instant::now() + wait_max;
    let mut before = pass.bytes;
    loop {
        let waiting = register(broker, session, bytes_min.saturating_sub(before));
        // What came between the last look and the registration is seen now.
        let pass = look(broker, session, bytes_max);
        if enough(&pass) {
            return pass;
        }
        // Counted twice where it came behind the registration: then the fetch looks once more than it must.
        waiting
            .wakeup()
            .arrived(pass.bytes.saturating_sub(before) as i64);
        before = pass.bytes;
        if tokio::time::timeout_at(deadline, waiting.wakeup().woken())
            .await
            .is_err()
        {
            return look(broker, session, bytes_max);
        }
    }
}

fn register(broker: &Broker, session: &Session, bytes_wanted: usize) -> Registered {
    let partitions = session
        .wanted
        .iter()
        .filter_map(|wanted| find(broker, wanted).ok());
    Registered::new(
        Wakeup::new(bytes_wanted.max(1) as i64),
        partitions.collect(),
    )
}

fn find(broker: &Broker, wanted: &Wanted) -> Result<Arc<Partition>, ErrorCode> {
    let topic = match &wanted.topic {
        TopicKey::Name(name) => broker
            .partitions()
            .topic(name)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?,
        TopicKey::Id(id) => broker
            .partitions()
            .topic_by_id(*id)
            .ok_or(ErrorCode::UnknownTopicId)?,
    };
    topic.find(wanted.index).cloned()
}

fn look(broker: &Broker, session: &Session, bytes_max: usize) -> Pass {
    let mut pass = Pass::default();
    pass.found.reserve(session.wanted.len());
    for wanted in &session.wanted {
        let room = bytes_max.saturating_sub(pass.bytes);
        let found = read(broker, wanted, room, pass.bytes == 0);
        pass.bytes += found.region.as_ref().map_or(0, Region::len);
        pass.failed |= !found.error.is_none();
        pass.found.push(found);
    }
    pass
}

/// Finds the place in the log. The response's first batch is whole whatever its size, so that a reader
/// always gets on (KIP-74).
fn read(broker: &Broker, wanted: &Wanted, room: usize, first: bool) -> Found {
    let partition = match find(broker, wanted) {
        Ok(partition) => partition,
        Err(error) => {
            return Found {
                error,
                high_watermark: -1,
                log_start_offset: -1,
                region: None,
            };
        }
    };
    let high_watermark = partition.high_watermark();
    let log_start_offset = partition.reader().log_start_offset();
    let found = |error, region| Found {
        error,
        high_watermark,
        log_start_offset,
        region,
    };
    if let Err(error) = partition.check_leader_epoch(wanted.leader_epoch) {
        return Found {
            error,
            high_watermark: -1,
            log_start_offset: -1,
            region: None,
        };
    }
    let bytes_max = room.min(usize::try_from(wanted.bytes_max).unwrap_or(0));
    match partition
        .reader()
        .region(wanted.offset, bytes_max, high_watermark, first)
    {
        Ok(region) => found(ErrorCode::None, region),
        Err(ReadError::OutOfRange { .. }) => found(ErrorCode::OffsetOutOfRange, None),
        Err(error) => {
            tracing::error!(topic = %partition.topic(), partition = partition.index(), %error, "read failed");
            found(ErrorCode::KafkaStorageError, None)
        }
    }
}

/// Encodes what was found; an incremental answer names only partitions that have something to say.
async fn respond(
    broker: &Broker,
    context: &RequestContext,
    session: &mut Session,
    pass: Pass,
) -> (FetchResponse, Vec<Region>) {
    let mut regions = Vec::new();
    let mut response = FetchResponse {
        session_id: session.id,
        ..Default::default()
    };
    for (wanted, found) in session.wanted.iter_mut().zip(pass.found) {
        let told = Told {
            high_watermark: found.high_watermark,
            log_start_offset: found.log_start_offset,
        };
        let news = found.region.is_some() || !found.error.is_none() || wanted.told != Some(told);
        if session.incremental && !news {
            continue;
        }
        wanted.told = Some(told);
        let partition = partition_response(broker, context, wanted, found, &mut regions).await;
        add(&mut response, &wanted.topic, partition);
    }
    (response, regions)
}

async fn partition_response(
    broker: &Broker,
    context: &RequestContext,
    wanted: &Wanted,
    found: Found,
    regions: &mut Vec<Region>,
) -> FetchPartitionResponse {
    let (mut error_code, mut records) = (found.error, Records::default());
    if let Some(region) = found.region {
        // Counted here and not where it was found: a fetch that waits looks more than once.
        if let Ok(partition) = find(broker, wanted) {
            partition.traffic().sent(region.len() as u64);
        }
        if context.version < old_format::VERBATIM_FROM {
            match old_format::convert(region, wanted.offset, context.version).await {
                Ok(bytes) => records = Records::Bytes(bytes),
                Err(error) => error_code = error,
            }
        } else {
            records = Records::External(External {
                len: region.len() as u32,
                token: regions.len() as u32,
            });
            regions.push(region);
        }
    }
    let mut response = FetchPartitionResponse {
        partition_index: wanted.index,
        error_code,
        high_watermark: found.high_watermark,
        last_stable_offset: found.high_watermark,
        log_start_offset: found.log_start_offset,
        records: Some(records),
        ..Default::default()
    };
    let moved = matches!(
        error_code,
        ErrorCode::FencedLeaderEpoch | ErrorCode::NotLeaderOrFollower
    );
    if moved && let Ok(partition) = find(broker, wanted) {
        response.current_leader.leader_id = broker.node_id();
        response.current_leader.leader_epoch = partition.leader_epoch();
    }
    response
}

/// Puts a partition under its topic; a session keeps a topic's partitions mostly together.
fn add(response: &mut FetchResponse, topic: &TopicKey, partition: FetchPartitionResponse) {
    let (name, id) = match topic {
        TopicKey::Name(name) => (name.clone(), Uuid::ZERO),
        TopicKey::Id(id) => (Str::default(), *id),
    };
    match response.responses.last_mut() {
        Some(last) if last.topic == name && last.topic_id == id => last.partitions.push(partition),
        _ => response.responses.push(FetchTopicResponse {
            topic: name,
            topic_id: id,
            partitions: vec![partition],
        }),
    }
}
