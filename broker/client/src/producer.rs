//! Producing: records collect in batches for each partition, and batches go out five at a time.
//!
//! [`Producer::send`] puts a record into its partition's open batch and returns. Each partition has a
//! lane: a task that sends its batches in order, and in that order again if one fails. With idempotence
//! (the default) the broker drops what it has stored already, so a record is stored once.

mod batch;
mod lane;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use milena_protocol::records::{Compression, Header};
use parking_lot::Mutex;
use rand::Rng;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::partitioner::partition_of;
use crate::{Client, Error};
use batch::{Identity, Outcome};
use lane::Lane;

/// Kafka's brokers remember five batches of a producer, so more in flight could not be told apart.
const IN_FLIGHT_MAX: usize = 5;

/// When a broker answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum Acks {
    /// When every in-sync replica has the records.
    All = -1,
    /// Never: what is lost is not noticed.
    None = 0,
    /// When the leader has the records.
    Leader = 1,
}

/// What is called with the fate of each batch.
pub type OnDelivery = Arc<dyn Fn(&Delivered) + Send + Sync>;

/// How a producer batches and when it gives up.
#[derive(Clone)]
pub struct ProducerOptions {
    /// When a broker answers. Idempotence needs `All`.
    pub acks: Acks,
    /// Whether the broker drops what it has stored already.
    pub idempotent: bool,
    /// How batches are compressed.
    pub compression: Compression,
    /// A batch that has reached this size goes out, whatever `linger` says.
    pub batch_bytes: usize,
    /// How long a batch waits to be filled.
    pub linger: Duration,
    /// Batches of one partition on their way at once, at most 5.
    pub in_flight: usize,
    /// What may wait for brokers in all; beyond it `send` waits.
    pub buffer_bytes: usize,
    /// How long a record may take from `send` until it has failed for good.
    pub delivery_timeout: Duration,
    /// Called for each batch when its fate is known.
    pub on_delivery: Option<OnDelivery>,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotent: true,
            compression: Compression::None,
            batch_bytes: 64 << 10,
            linger: Duration::from_millis(5),
            in_flight: IN_FLIGHT_MAX,
            buffer_bytes: 32 << 20,
            delivery_timeout: Duration::from_secs(120),
            on_delivery: None,
        }
    }
}

/// A record to send.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Where to; `None` lets the key decide, and without a key takes a partition at random for a while.
    pub partition: Option<i32>,
    /// The topic's name.
    pub topic: Arc<str>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; `None` deletes the key from a compacted topic.
    pub value: Option<Bytes>,
    /// Headers, in their order.
    pub headers: Vec<Header>,
    /// Milliseconds since 1970; now where `None`.
    pub timestamp: Option<i64>,
}

impl Record {
    /// A record for `topic`, still empty.
    pub fn new(topic: impl Into<Arc<str>>) -> Self {
        Self {
            topic: topic.into(),
            ..Self::default()
        }
    }

    /// With this key.
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With this value.
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }
}

/// Where a record was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub partition: i32,
    /// Its offset; -1 where the broker does not tell (acks=0, or stored before).
    pub offset: i64,
}

/// A record on its way.
#[derive(Debug)]
pub struct Delivery {
    partition: i32,
    index: i64,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Delivery {
    /// Waits until the record is stored, or has failed for good.
    pub async fn placed(mut self) -> Result<Placed, Error> {
        let outcome = self.outcome.wait_for(Option::is_some).await;
        let outcome = outcome.map_err(|_| Error::Unexpected("the producer was dropped".into()))?;
        match outcome.as_ref() {
            Some(Err(error)) => Err(error.clone()),
            Some(&Ok(base_offset)) if base_offset >= 0 => Ok(Placed {
                partition: self.partition,
                offset: base_offset + self.index,
            }),
            _ => Ok(Placed {
                partition: self.partition,
                offset: -1,
            }),
        }
    }
}

/// The fate of one batch.
#[derive(Debug)]
pub struct Delivered<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The first record's offset, -1 where the broker does not tell; or why the batch failed.
    pub outcome: &'a Outcome,
    /// When each of its records was sent.
    pub sent_at: &'a [Instant],
}

/// Sends records; [`Producer::flush`] before dropping it, for what is still on its way is given up then.
pub struct Producer {
    shared: Arc<Shared>,
    lanes: Mutex<Lanes>,
}

/// What the lanes share.
struct Shared {
    client: Client,
    options: ProducerOptions,
    /// The id with which lanes start; one that had to fail a batch goes on with an id of its own.
    identity: Option<Identity>,
    memory: Semaphore,
    /// How many wait in `flush`.
    flushing: AtomicUsize,
}

#[derive(Default)]
struct Lanes {
    topics: HashMap<Arc<str>, TopicLanes>,
    tasks: JoinSet<()>,
}

struct TopicLanes {
    partitions: Vec<Option<Arc<Lane>>>,
    sticky: Sticky,
}

/// Where records without a key go until a batch's worth has gone there (KIP-794).
#[derive(Default)]
struct Sticky {
    partition: i32,
    bytes_left: usize,
}

impl Sticky {
    fn next(&mut self, count: i32, size: usize, batch_bytes: usize) -> i32 {
        if self.bytes_left == 0 || self.partition >= count {
            self.partition = rand::rng().random_range(0..count);
            self.bytes_left = batch_bytes;
        }
        self.bytes_left = self.bytes_left.saturating_sub(size);
        self.partition
    }
}

/// A producer id and epoch that nobody has had: for those who build batches themselves.
pub async fn producer_id(client: &Client) -> Result<(i64, i16), Error> {
    let given = batch::new_identity(client).await?;
    Ok((given.producer_id, given.epoch))
}

impl Producer {
    /// A producer; an idempotent one gets its id from the cluster first.
    pub async fn start(client: Client, mut options: ProducerOptions) -> Result<Self, Error> {
        options.in_flight = options.in_flight.clamp(1, IN_FLIGHT_MAX);
        if options.idempotent && options.acks != Acks::All {
            return Err(Error::Invalid(
                "an idempotent producer needs acks=all: ask for that, or turn idempotence off"
                    .into(),
            ));
        }
        let identity = match options.idempotent {
            true => Some(batch::new_identity(&client).await?),
            false => None,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                memory: Semaphore::new(options.buffer_bytes),
                client,
                options,
                identity,
                flushing: AtomicUsize::new(0),
            }),
            lanes: Mutex::default(),
        })
    }

    /// Queues the record, once there is room for it. Fails for a topic or partition that is not there.
    pub async fn send(&self, record: Record) -> Result<Delivery, Error> {
        let size = batch::size_estimate(&record);
        let charge = size.min(self.shared.options.buffer_bytes);
        match self.shared.memory.try_acquire_many(charge as u32) {
            Ok(permit) => permit.forget(),
            Err(_) => self.wait_for_memory(charge).await?,
        }
        let lane = match self.lane(&record, size) {
            Some(lane) => lane,
            None => self.open_lane(&record, size).await.inspect_err(|_| {
                self.shared.memory.add_permits(charge);
            })?,
        };
        let queued = lane.push(&record, size, charge, &self.shared.options);
        queued.inspect_err(|_| self.shared.memory.add_permits(charge))
    }

    async fn wait_for_memory(&self, charge: usize) -> Result<(), Error> {
        // What waits for its linger could be what takes the memory.
        let _hurry = self.hurry();
        let permit = self.shared.memory.acquire_many(charge as u32).await;
        permit
            .map_err(|_| Error::Invalid("the producer is closed".into()))?
            .forget();
        Ok(())
    }

    /// The record's lane, if it is open.
    fn lane(&self, record: &Record, size: usize) -> Option<Arc<Lane>> {
        let mut lanes = self.lanes.lock();
        let topic = lanes.topics.get_mut(&record.topic)?;
        let partition = topic.choose(record, size, self.shared.options.batch_bytes);
        topic
            .partitions
            .get(usize::try_from(partition).ok()?)?
            .clone()
    }

    async fn open_lane(&self, record: &Record, size: usize) -> Result<Arc<Lane>, Error> {
        let described = self.shared.client.topic(&record.topic).await?;
        let mut lanes = self.lanes.lock();
        let Lanes { topics, tasks } = &mut *lanes;
        let topic = topics
            .entry(record.topic.clone())
            .or_insert_with(|| TopicLanes {
                partitions: vec![None; described.partitions.len()],
                sticky: Sticky::default(),
            });
        let partition = topic.choose(record, size, self.shared.options.batch_bytes);
        described.partition(partition)?;
        let slot = usize::try_from(partition).ok();
        let slot = slot.and_then(|index| topic.partitions.get_mut(index));
        let Some(slot) = slot else {
            return Err(Error::UnknownPartition {
                topic: described.name.clone(),
                partition,
                count: topic.partitions.len() as i32,
            });
        };
        let lane = slot.get_or_insert_with(|| {
            let lane = Arc::new(Lane::new(record.topic.clone(), partition));
            tasks.spawn(lane::run(lane.clone(), self.shared.clone()));
            lane
        });
        Ok(lane.clone())
    }

    /// Waits until the fate of every record sent before is known.
    pub async fn flush(&self) {
        let _hurry = self.hurry();
        // All memory is free when no record is left; sends that come later queue behind this.
        let all = self.shared.options.buffer_bytes as u32;
        drop(self.shared.memory.acquire_many(all).await);
    }

    /// Lets no batch linger while the returned value lives.
    fn hurry(&self) -> Hurry<'_> {
        self.shared.flushing.fetch_add(1, Ordering::Relaxed);
        for topic in self.lanes.lock().topics.values() {
            topic
                .partitions
                .iter()
                .flatten()
                .for_each(|lane| lane.wake());
        }
        Hurry(&self.shared)
    }
}

impl TopicLanes {
    fn choose(&mut self, record: &Record, size: usize, batch_bytes: usize) -> i32 {
        let count = self.partitions.len() as i32;
        match (record.partition, &record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_of(key, count),
            (None, None) => self.sticky.next(count, size, batch_bytes),
        }
    }
}

struct Hurry<'a>(&'a Shared);

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.0.flushing.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_without_a_key_stay_on_a_partition_for_a_batchs_worth() {
        let mut sticky = Sticky::default();
        let chosen: Vec<i32> = (0..200).map(|_| sticky.next(100, 10, 100)).collect();
        for lot in chosen.chunks(10) {
            assert!(lot.iter().all(|partition| *partition == lot[0]));
        }
        assert!(chosen.iter().any(|partition| *partition != chosen[0]));
    }
}
