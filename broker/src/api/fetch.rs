//! Fetch (key 1): answers with places in the log, which the connection reads when it sends them.

mod nearby;
pub mod old_format;
pub mod session;

use std::collections::VecDeque;
use std::time::Duration;

use milena_log::{ReadError, Region};
use milena_metadata::BrokerId;
use milena_protocol::api::fetch::{
    FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse,
};
use milena_protocol::{ErrorCode, External, Records, Str, Uuid};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::RequestContext;
use crate::broker::Broker;
use crate::current_leader;
use crate::partition::leadership::Member;
use crate::partition::waiters::Reads;
use nearby::Consumer;
use session::{Session, Told, TopicKey, Wanted};

/// From here on a follower names its life (KIP-903).
const REPLICA_STATE_FROM: i16 = 15;

/// How long one look at several partitions waits for disks, all together: above what a lookup takes on a disk that
/// works, and so little that on one that stalls it costs the others next to nothing.
const LOOKUPS_WITHIN: Duration = Duration::from_millis(20);

/// Who reads.
#[derive(Debug, Clone, Copy)]
enum Reader<'a> {
    Consumer(Consumer<'a>),
    Follower(Member),
}

impl<'a> Reader<'a> {
    /// A follower's fetch says what it has, and moves the high watermark: it is heard on the peers' listener alone.
    fn of(
        broker: &Broker,
        context: &'a RequestContext,
        request: &'a FetchRequest,
    ) -> Result<Self, ErrorCode> {
        let (id, epoch) = if context.version >= REPLICA_STATE_FROM {
            let state = &request.replica_state;
            (state.replica_id, state.replica_epoch)
        } else {
            (request.replica_id, -1)
        };
        if id < 0 {
            return Ok(Self::Consumer(Consumer::of(broker, context, request)));
        }
        if !context.is_from_peer(broker) {
            return Err(ErrorCode::ClusterAuthorizationFailed);
        }
        let broker = BrokerId::new(id).map_err(|_| ErrorCode::InvalidRequest)?;
        Ok(Self::Follower(Member { broker, epoch }))
    }

    fn is_follower(self) -> bool {
        matches!(self, Self::Follower(_))
    }

    /// Followers hear of a new high watermark at once only where consumers may read from them: each time is a fetch more
    /// (KAFKA-9731).
    fn reads(self, broker: &Broker) -> Reads {
        match self {
            Self::Consumer(_) => Reads::Committed,
            Self::Follower(_) if broker.config().replica_selector_class.is_some() => {
                Reads::AppendedForConsumers
            }
            Self::Follower(_) => Reads::Appended,
        }
    }
}

/// One partition's part of an answer.
struct Found {
    slot: u32,
    error: ErrorCode,
    high_watermark: i64,
    log_start_offset: i64,
    /// Up to where this reader may read.
    bound: i64,
    /// Where a follower's log comes apart from this one: the last epoch that both may have, and its end here.
    diverging: Option<(i32, i64)>,
    /// A replica that is nearer to the reader, where it had better ask.
    nearer: Option<BrokerId>,
    region: Option<Region>,
    /// Whether the disk has not said yet where it is.
    is_looking: bool,
}

impl Found {
    fn failed(slot: u32, error: ErrorCode) -> Self {
        Self {
            slot,
            error,
            high_watermark: -1,
            log_start_offset: -1,
            bound: -1,
            diverging: None,
            nearer: None,
            region: None,
            is_looking: false,
        }
    }

    fn told(&self) -> Told {
        Told {
            high_watermark: self.high_watermark,
            log_start_offset: self.log_start_offset,
        }
    }

    /// Whether the client is to hear of it at once.
    fn ends_wait(&self) -> bool {
        !self.error.is_none() || self.diverging.is_some() || self.nearer.is_some()
    }

    /// Whether the high watermark is one that the client has not been told.
    fn has_committed(&self, wanted: &Wanted) -> bool {
        let told = wanted.told.map_or(-1, |told| told.high_watermark);
        self.high_watermark > told
    }

    /// Whether this says what the client does not know yet.
    fn is_news(&self, wanted: &Wanted) -> bool {
        self.region.is_some() || self.ends_wait() || wanted.told != Some(self.told())
    }

    /// Whether more can be fetched, now or after this answer.
    fn has_more(&self, wanted: &Wanted) -> bool {
        wanted.offset < self.bound
    }
}

/// One look at all partitions that are ready.
#[derive(Default)]
struct Pass {
    found: Vec<Found>,
    bytes: usize,
    failed: bool,
    /// Whether a disk is still looking for the place of some partition.
    is_looking: bool,
}

/// Waits until enough is there or the request's time is over, and answers.
pub async fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: FetchRequest,
) -> (FetchResponse, Vec<Region>) {
    let taken = Reader::of(broker, context, &request).and_then(|reader| {
        let sessions = broker.fetch_sessions();
        Ok((
            reader,
            sessions.take(&request, context.version, reader.reads(broker))?,
        ))
    });
    let (reader, mut session) = match taken {
        Ok(taken) => taken,
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
    let hurry = context.hurry.as_ref().filter(|_| reader.is_follower());
    let pass = wait_for_enough(broker, (reader, hurry), &mut session, &request, bytes_max).await;
    if !reader.is_follower() {
        count(broker, &mut session, &pass);
    }
    let answer = respond(broker, context, &mut session, pass).await;
    broker.fetch_sessions().put_back(session);
    answer
}

/// A follower that has another request behind this one waits no longer: it has new partitions to ask for.
async fn wait_for_enough(
    broker: &Broker,
    (reader, hurry): (Reader<'_>, Option<&CancellationToken>),
    session: &mut Session,
    request: &FetchRequest,
    bytes_max: usize,
) -> Pass {
    // Nobody waits longer than a connection may be silent; -1 is no bound.
    let idle_max_ms = u64::try_from(broker.config().connections_max_idle_ms).unwrap_or(u64::MAX);
    let wait_max_ms = u64::try_from(request.max_wait_ms).unwrap_or(0);
    let wait_max = Duration::from_millis(wait_max_ms.min(idle_max_ms));
    // More than an answer may hold would never be there.
    let bytes_min = usize::try_from(request.min_bytes)
        .unwrap_or(0)
        .min(bytes_max);
    let deadline = Instant::now() + wait_max;
    let wakeup = session.wakeup().clone();
    if session.id != 0 {
        session.watch(broker.partitions());
    }
    loop {
        wakeup.want(bytes_min.max(1) as i64);
        let pass = look(broker, reader, session, bytes_max).await;
        let enough = pass.failed || pass.bytes >= bytes_min || session.is_empty();
        let is_hurried = hurry.is_some_and(CancellationToken::is_cancelled);
        let ended = is_hurried || broker.waits_ended().is_cancelled();
        if enough || ended || Instant::now() >= deadline {
            return pass;
        }
        // What came between the look and the registration is seen by the next look, which may also wait for a disk.
        if session.watch(broker.partitions()) || pass.is_looking {
            continue;
        }
        // Counted twice where it came between `want` and the look: then the fetch looks once more than it must.
        wakeup.arrived(pass.bytes as i64);
        // Where the time is over, the next look is the last.
        tokio::select! {
            _ = tokio::time::timeout_at(deadline, wakeup.woken()) => {}
            () = broker.waits_ended().cancelled() => {}
            () = hurried(hurry) => {}
        }
    }
}

async fn hurried(hurry: Option<&CancellationToken>) {
    match hurry {
        Some(hurry) => hurry.cancelled().await,
        None => std::future::pending().await,
    }
}

/// Looks at what is ready. What has nothing to say is not looked at again before it has news; a full answer names
/// all partitions.
async fn look(
    broker: &Broker,
    reader: Reader<'_>,
    session: &mut Session,
    bytes_max: usize,
) -> Pass {
    let ready = session.take_ready();
    let mut pass = Pass::default();
    pass.found.reserve(ready.len());
    let mut looked_at = Vec::with_capacity(ready.len());
    let mut still_ready = VecDeque::with_capacity(ready.len());
    let all = !session.incremental;
    let hurries = reader.reads(broker) == Reads::AppendedForConsumers;
    let patience = session
        .names_several()
        .then(|| Instant::now() + LOOKUPS_WITHIN);
    for slot in ready {
        let Some(wanted) = session.wanted(slot) else {
            continue;
        };
        looked_at.push(slot);
        let room = bytes_max.saturating_sub(pass.bytes);
        let first = pass.bytes == 0;
        let read = read(broker, reader, wanted, slot, (room, first, patience)).await;
        let found = read.unwrap_or_else(|error| Found::failed(slot, error));
        pass.is_looking |= found.is_looking;
        pass.bytes += found.region.as_ref().map_or(0, Region::len);
        pass.failed |= found.ends_wait() || (hurries && found.has_committed(wanted));
        let news = all || found.is_news(wanted);
        if news || found.has_more(wanted) || !wanted.is_watched() {
            still_ready.push_back(slot);
        }
        if news {
            pass.found.push(found);
        }
    }
    session.put_ready(&looked_at, still_ready);
    pass
}

/// Finds the place in the log. The response's first batch is whole whatever its size, so that a reader
/// always gets on (KIP-74).
async fn read(
    broker: &Broker,
    reader: Reader<'_>,
    wanted: &mut Wanted,
    slot: u32,
    (room, first, patience): (usize, bool, Option<Instant>),
) -> Result<Found, ErrorCode> {
    let partition = wanted.partition(broker.partitions())?;
    let nearer = match reader {
        Reader::Consumer(consumer) if consumer.reads_followers => {
            partition.check_hosts(wanted.leader_epoch)?;
            consumer.nearer(broker, &partition, wanted.offset)
        }
        _ => {
            partition.check_leads(wanted.leader_epoch)?;
            None
        }
    };
    let high_watermark = partition.high_watermark();
    let mut found = Found {
        slot,
        error: ErrorCode::None,
        high_watermark,
        log_start_offset: partition.reader().log_start_offset(),
        bound: match reader {
            Reader::Consumer(_) => high_watermark,
            Reader::Follower(_) => partition.reader().log_end_offset(),
        },
        diverging: None,
        nearer,
        region: None,
        is_looking: false,
    };
    if found.nearer.is_some() {
        return Ok(found);
    }
    if wanted.offset > found.bound && !partition.leads() {
        // The leader has committed more than this follower has heard of.
        return Err(ErrorCode::OffsetNotAvailable);
    }
    if reader.is_follower() {
        found.diverging = partition.diverging((wanted.last_fetched_epoch, wanted.offset))?;
        if found.diverging.is_some() {
            return Ok(found);
        }
    }
    let bytes_max = usize::try_from(wanted.bytes_max).unwrap_or(0);
    let wants = (wanted.offset, room.min(bytes_max));
    let region = partition.region(wants, found.bound, first, patience).await;
    found.is_looking = region.is_none();
    found.region = match region.unwrap_or(Ok(None)) {
        Ok(region) => region,
        Err(ReadError::OutOfRange { .. }) => {
            found.error = ErrorCode::OffsetOutOfRange;
            return Ok(found);
        }
        Err(error) => {
            tracing::error!(topic = %partition.topic(), partition = partition.index(), %error, "read failed");
            return Err(ErrorCode::KafkaStorageError);
        }
    };
    if let Reader::Follower(member) = reader {
        let may_join = partition.follower_fetched(member, (wanted.leader_epoch, wanted.offset))?;
        found.high_watermark = partition.high_watermark();
        if may_join {
            broker.isr().look_at(partition);
        }
    }
    Ok(found)
}

/// Counts what consumers are sent. Not where it is found: a fetch that waits looks more than once.
fn count(broker: &Broker, session: &mut Session, pass: &Pass) {
    for found in &pass.found {
        let (Some(region), Some(wanted)) = (&found.region, session.wanted(found.slot)) else {
            continue;
        };
        let offset = wanted.offset;
        if let Ok(partition) = wanted.partition(broker.partitions()) {
            let behind = region.offset_behind();
            let records = u64::try_from(behind.saturating_sub(offset)).unwrap_or(0);
            partition.traffic().sent(region.len() as u64, records);
        }
    }
}

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
    let served = pass.found.iter().filter(|found| found.region.is_some());
    session.served(&served.map(|found| found.slot).collect::<Vec<_>>());
    for found in pass.found {
        let Some(wanted) = session.wanted(found.slot) else {
            continue;
        };
        wanted.told = Some(found.told());
        let partition = partition_response(context, wanted, found, &mut regions).await;
        add(&mut response, &wanted.topic, partition);
    }
    let (version, listener) = (context.version, &context.listener);
    current_leader::tell_reader(&mut response, &broker.image(), version, listener);
    (response, regions)
}

async fn partition_response(
    context: &RequestContext,
    wanted: &mut Wanted,
    found: Found,
    regions: &mut Vec<Region>,
) -> FetchPartitionResponse {
    let (mut error_code, mut records) = (found.error, Records::default());
    if let Some(region) = found.region {
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
        preferred_read_replica: found.nearer.map_or(-1, |id| id.get()),
        records: Some(records),
        ..Default::default()
    };
    if let Some((epoch, end_offset)) = found.diverging {
        response.diverging_epoch.epoch = epoch;
        response.diverging_epoch.end_offset = end_offset;
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

#[cfg(test)]
mod follower_tests;
#[cfg(test)]
mod nearby_tests;
#[cfg(test)]
mod tests;
