//! One partition's way to its leader: batches out in order, and in that order again after a failure.
//!
//! What the broker's answer to the oldest batch on its way means:
//!
//! | answer | then |
//! | --- | --- |
//! | stored, or stored before | its records are delivered |
//! | retriable, or no answer | all on their way are waited for, then sent again in order, the same stamps |
//! | the broker lost the producer's sequence | the same, with a new producer id: it stored none of them |
//! | refused for good | its records fail, and those behind it go on with a new producer id |

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use milena_protocol::ErrorCode;
use milena_protocol::api::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::batch::{self, Fate, Identity, OpenBatch, Outcome, SealedBatch};
use super::{Acks, Delivered, Delivery, ProducerOptions, Record, Shared};
use crate::Error;
use crate::client::version;
use crate::connection::{Answer, Connection};
use crate::retry::backoff;

/// Where records of one partition wait for their lane.
pub(super) struct Lane {
    topic: Arc<str>,
    partition: i32,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    full: VecDeque<OpenBatch>,
    open: Option<OpenBatch>,
}

impl Lane {
    pub fn new(topic: Arc<str>, partition: i32) -> Self {
        Self {
            topic,
            partition,
            waiting: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Puts the record into the open batch, or into a new one where it is full.
    pub fn push(
        &self,
        record: &Record,
        size: usize,
        charge: usize,
        options: &ProducerOptions,
    ) -> Result<Delivery, Error> {
        let mut waiting = self.waiting.lock();
        let full = waiting
            .open
            .take_if(|open| open.is_full_for(size, options.batch_bytes));
        let is_news = full.is_some() || waiting.open.is_none();
        waiting.full.extend(full);
        let open = waiting.open.get_or_insert_with(|| OpenBatch::new(options));
        let delivery = open.push(record, charge, self.partition);
        drop(waiting);
        if is_news {
            self.wake();
        }
        delivery
    }

    /// The next batch to send: a full one, or the open one if it has lingered. Otherwise how long it will.
    fn take(&self, linger: Duration) -> Result<OpenBatch, Option<Duration>> {
        let mut waiting = self.waiting.lock();
        if let Some(full) = waiting.full.pop_front() {
            return Ok(full);
        }
        let begun = waiting.open.as_ref().and_then(OpenBatch::begun);
        let Some(begun) = begun else { return Err(None) };
        let left = linger.saturating_sub(begun.elapsed());
        if left.is_zero() {
            waiting.open.take().ok_or(None)
        } else {
            Err(Some(left))
        }
    }
}

/// A batch on its way.
struct InFlight {
    batch: SealedBatch,
    answer: Answer<ProduceRequest>,
}

/// The lane's task and what it alone knows.
struct Sender {
    lane: Arc<Lane>,
    shared: Arc<Shared>,
    connection: Option<Connection>,
    identity: Option<Identity>,
    next_sequence: i32,
    /// To be sent again, oldest first, before anything new.
    again: VecDeque<SealedBatch>,
    in_flight: VecDeque<InFlight>,
    failures: u32,
}

/// Sends what comes into `lane`, for as long as the producer lives.
pub(super) async fn run(lane: Arc<Lane>, shared: Arc<Shared>) {
    let mut sender = Sender {
        identity: shared.identity,
        lane,
        shared,
        connection: None,
        next_sequence: 0,
        again: VecDeque::new(),
        in_flight: VecDeque::new(),
        failures: 0,
    };
    loop {
        let lingers = sender.fill().await;
        let lane = sender.lane.clone();
        let has_room = sender.in_flight.len() < sender.shared.options.in_flight;
        let Some(oldest) = sender.in_flight.front_mut() else {
            wait(&lane, lingers).await;
            continue;
        };
        tokio::select! {
            biased;
            answered = oldest.answer.receive() => {
                let outcome = answered.map_err(Error::from).and_then(|answer| outcome(&answer));
                if let Some(oldest) = sender.in_flight.pop_front() {
                    sender.settle(oldest.batch, outcome).await;
                }
            }
            // A full pipeline waits for an answer, whatever comes in.
            () = wait(&lane, lingers), if has_room => {}
        }
    }
}

async fn wait(lane: &Lane, lingers: Option<Duration>) {
    let changed = lane.changed.notified();
    match lingers {
        Some(left) => drop(tokio::time::timeout(left, changed).await),
        None => changed.await,
    }
}

impl Sender {
    /// Sends until the pipeline is full or nothing is ready; then how long the open batch still lingers.
    async fn fill(&mut self) -> Option<Duration> {
        while self.in_flight.len() < self.shared.options.in_flight {
            let batch = match self.again.pop_front() {
                Some(batch) => batch,
                None => match self.next() {
                    Ok(batch) => batch,
                    Err(lingers) => return lingers,
                },
            };
            self.dispatch(batch).await;
        }
        None
    }

    fn next(&mut self) -> Result<SealedBatch, Option<Duration>> {
        let hurried = self.shared.flushing.load(Ordering::Relaxed) > 0;
        let linger = self.shared.options.linger;
        loop {
            let open = self
                .lane
                .take(if hurried { Duration::ZERO } else { linger })?;
            match open.seal() {
                (fate, Ok(bytes)) => {
                    let stamp = None;
                    return Ok(SealedBatch { bytes, fate, stamp });
                }
                (fate, Err(error)) => self.finish(fate, Err(error)),
            }
        }
    }

    async fn dispatch(&mut self, mut batch: SealedBatch) {
        match self.try_dispatch(&mut batch).await {
            Ok(Some(answer)) => self.in_flight.push_back(InFlight { batch, answer }),
            Ok(None) => self.finish(batch.fate, Ok(-1)),
            Err(error) if self.in_flight.is_empty() => self.settle(batch, Err(error)).await,
            // Those on their way come first: their answers say what is wrong.
            Err(_) => {
                self.again.push_front(batch);
                self.drain().await;
            }
        }
    }

    async fn try_dispatch(
        &mut self,
        batch: &mut SealedBatch,
    ) -> Result<Option<Answer<ProduceRequest>>, Error> {
        let connection = match &self.connection {
            Some(connection) => connection.clone(),
            None => {
                let client = &self.shared.client;
                client.leader(&self.lane.topic, self.lane.partition).await?
            }
        };
        self.connection = Some(connection.clone());
        self.stamp(batch).await?;
        let options = &self.shared.options;
        let request = ProduceRequest {
            transactional_id: None,
            acks: options.acks as i16,
            timeout_ms: self.shared.client.timeout_ms(),
            topic_data: vec![TopicProduceData {
                name: (&*self.lane.topic).into(),
                partition_data: vec![PartitionProduceData {
                    index: self.lane.partition,
                    records: Some(batch.bytes.clone()),
                }],
                ..Default::default()
            }],
        };
        let version = version::<ProduceRequest>(&connection)?;
        if options.acks == Acks::None {
            connection.send_unanswered(&request, version).await?;
            return Ok(None);
        }
        Ok(Some(connection.send(&request, version).await?))
    }

    /// Gives the batch its place in the producer's sequence, unless it has one under the present identity.
    async fn stamp(&mut self, batch: &mut SealedBatch) -> Result<(), Error> {
        if !self.shared.options.idempotent {
            return Ok(());
        }
        let identity = match self.identity {
            Some(identity) => identity,
            None => {
                self.next_sequence = 0;
                batch::new_identity(&self.shared.client).await?
            }
        };
        self.identity = Some(identity);
        if batch.stamp.is_none_or(|(stamped, _)| stamped != identity) {
            batch.stamp(identity, self.next_sequence);
            self.next_sequence = following(self.next_sequence, batch.len());
        }
        Ok(())
    }

    /// Decides what becomes of the oldest batch, by the table above.
    async fn settle(&mut self, batch: SealedBatch, outcome: Outcome) {
        let error = match outcome {
            Ok(base_offset) => {
                self.failures = 0;
                return self.finish(batch.fate, Ok(base_offset));
            }
            Err(error) => error,
        };
        if error.code() == Some(ErrorCode::DuplicateSequenceNumber) {
            return self.finish(batch.fate, Ok(-1));
        }
        let age = batch
            .fate
            .sent_at
            .first()
            .map(Instant::elapsed)
            .unwrap_or_default();
        let lost_sequence = self.shared.options.idempotent && is_lost_sequence(&error);
        if age < self.shared.options.delivery_timeout && (lost_sequence || is_worth_again(&error)) {
            self.drain().await;
            self.again.push_front(batch);
            if lost_sequence {
                self.identity = None;
            }
            return self.pause().await;
        }
        let error = match error.is_retriable() {
            true => Error::Deadline {
                after: age,
                last: Box::new(error),
            },
            false => error,
        };
        self.finish(batch.fate, Err(error));
        self.drain().await;
        self.identity = None;
    }

    /// Waits for all that is on its way; what was not stored is sent again, before all that is to be.
    async fn drain(&mut self) {
        let mut failed = VecDeque::new();
        for InFlight { batch, mut answer } in std::mem::take(&mut self.in_flight) {
            let answered = answer.receive().await.map_err(Error::from);
            match answered.and_then(|answer| outcome(&answer)) {
                Ok(base_offset) => self.finish(batch.fate, Ok(base_offset)),
                Err(_) => failed.push_back(batch),
            }
        }
        failed.append(&mut self.again);
        self.again = failed;
    }

    /// Waits a little, then finds the leader anew.
    async fn pause(&mut self) {
        self.failures += 1;
        self.connection = None;
        let seen = tokio::time::Instant::now();
        tokio::time::sleep(backoff(self.failures)).await;
        // Where this fails, so will the next attempt, and say why.
        self.shared.client.stale(&self.lane.topic, seen).await.ok();
    }

    fn finish(&self, fate: Fate, outcome: Outcome) {
        if let Some(on_delivery) = &self.shared.options.on_delivery {
            on_delivery(&Delivered {
                topic: &self.lane.topic,
                partition: self.lane.partition,
                outcome: &outcome,
                sent_at: &fate.sent_at,
            });
        }
        fate.outcome.send_replace(Some(outcome));
        self.shared.memory.add_permits(fate.charged);
    }
}

/// What a Produce answer says of its one batch.
fn outcome(response: &ProduceResponse) -> Outcome {
    let mut results = response.responses.iter();
    let result = results.find_map(|topic| Some((topic, topic.partition_responses.first()?)));
    let Some((topic, result)) = result else {
        let nothing = "the broker's answer does not speak of the batch";
        return Err(Error::Unexpected(nothing.into()));
    };
    let said = result.record_errors.first();
    let said = said.and_then(|record| record.batch_index_error_message.as_deref());
    let said = said.or(result.error_message.as_deref());
    let subject = format!("{}-{}", topic.name, result.index);
    result
        .error_code
        .ok()
        .map_err(|code| Error::refused(subject, code, said))?;
    Ok(result.base_offset)
}

fn is_worth_again(error: &Error) -> bool {
    // A broker that has just got the topic, or lost it, does not know it for a moment; the metadata tells.
    error.is_retriable() || error.code() == Some(ErrorCode::UnknownTopicOrPartition)
}

/// Whether the broker does not know what this producer sent before: it stored nothing of the batch.
fn is_lost_sequence(error: &Error) -> bool {
    use ErrorCode as E;
    matches!(
        error.code(),
        Some(
            E::OutOfOrderSequenceNumber
                | E::UnknownProducerId
                | E::InvalidProducerEpoch
                | E::InvalidProducerIdMapping
        )
    )
}

/// The sequence number behind `count` records from `first`; behind 2^31-1 comes 0.
fn following(first: i32, count: i32) -> i32 {
    first.wrapping_add(count) & i32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_wrap_to_zero() {
        assert_eq!(following(0, 5), 5);
        assert_eq!(following(i32::MAX, 1), 0);
        assert_eq!(following(i32::MAX - 1, 4), 2);
    }

    #[test]
    fn an_open_batch_lingers_and_a_full_one_does_not() {
        let options = ProducerOptions {
            batch_bytes: 200,
            ..Default::default()
        };
        let lane = Lane::new("t".into(), 0);
        let record = Record::new("t").value(vec![b'x'; 100]);
        let size = batch::size_estimate(&record);
        let hour = Duration::from_secs(3600);
        assert!(matches!(lane.take(hour), Err(None)));
        lane.push(&record, size, 0, &options).unwrap();
        assert!(matches!(lane.take(hour), Err(Some(_))));
        lane.push(&record, size, 0, &options).unwrap();
        assert!(lane.take(hour).is_ok(), "the first batch is full");
        assert!(
            lane.take(Duration::ZERO).is_ok(),
            "the second has no time left"
        );
        assert!(matches!(lane.take(hour), Err(None)));
    }
}
