//! Writing batches that were made beforehand, five requests in flight.

use std::collections::VecDeque;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use milena_client::{Acks, Client};
use milena_protocol::Request;
use milena_protocol::api::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_protocol::header::{decode_response, encode_request};
use milena_protocol::records::{
    BATCH_HEADER_SIZE, BatchBuilder, BatchHeader, BatchOptions, Compression, crc32c,
};

use super::{CLIENT_ID, Share, connect, join, read_answer, refused, shares, take, unreadable};
use crate::cli::bench::load::{Pace, value};
use crate::cli::bench::produce::Produce;
use crate::cli::bench::report::Meter;
use crate::cli::failure::{Exit, Failure};
use crate::cli::produce::AcksArg;

/// As many as Kafka's own producers keep.
const IN_FLIGHT: usize = 5;
/// Answers are small: many come with one read.
const ANSWERS_BUFFER_BYTES: usize = 64 << 10;
/// Where the bytes begin that a batch's CRC covers.
const CRC_COVERS_FROM: usize = 21;

/// Writes prebuilt batches until the benchmark's end: what was measured, from when all of them are built.
pub(in crate::cli::bench) async fn produce(
    client: &Client,
    bench: &Produce,
    partitions: &[i32],
) -> Result<Arc<Meter>, Failure> {
    let topic = &bench.topic.topic;
    let connections = usize::from(bench.connections);
    let shares = shares::<ProduceRequest>(client, topic, partitions, connections).await?;
    let left = Arc::new(AtomicU64::new(bench.until.records()));
    let mut writers = Vec::new();
    for share in &shares {
        writers.push(Writer::new(client, bench, share, shares.len()).await?);
    }
    let meter = Arc::new(Meter::start(bench.until.records()));
    let run = |mut writer: Writer| {
        let (left, meter) = (left.clone(), meter.clone());
        tokio::task::spawn_blocking(move || writer.run(&left, &meter))
    };
    join(writers.into_iter().map(run).collect()).await?;
    Ok(meter)
}

/// One connection that writes.
struct Writer {
    socket: TcpStream,
    answers: BufReader<TcpStream>,
    version: i16,
    /// A request for each partition, taken in turn.
    requests: Vec<PreparedRequest>,
    records_per_batch: u64,
    batch_bytes: u64,
    acks: AcksArg,
    /// Batches a second.
    rate: Option<f64>,
    duration: Option<Duration>,
    sent_at: VecDeque<Instant>,
}

impl Writer {
    async fn new(
        client: &Client,
        bench: &Produce,
        share: &Share,
        connections: usize,
    ) -> Result<Self, Failure> {
        let socket = connect(&share.address)?;
        let (batch, records_per_batch) = full_batch(client, bench).await?;
        let request =
            |&partition: &i32| PreparedRequest::new(bench, share.version, partition, &batch);
        let batches_per_record = 1.0 / (connections as f64 * records_per_batch as f64);
        Ok(Self {
            answers: BufReader::with_capacity(ANSWERS_BUFFER_BYTES, socket.try_clone()?),
            socket,
            version: share.version,
            requests: share.partitions.iter().map(request).collect(),
            records_per_batch,
            batch_bytes: batch.len() as u64,
            acks: bench.acks,
            rate: bench.rate.map(|rate| rate * batches_per_record),
            duration: bench.until.duration,
            sent_at: VecDeque::with_capacity(IN_FLIGHT),
        })
    }

    fn run(&mut self, left: &AtomicU64, meter: &Meter) -> Result<(), Failure> {
        let (begun, pace) = (Instant::now(), Pace::new(self.rate));
        let is_over = |duration| begun.elapsed() >= duration;
        let mut sent = 0;
        while !self.duration.is_some_and(is_over) && take(left, self.records_per_batch) {
            std::thread::sleep(pace.wait(sent));
            let turn = sent as usize % self.requests.len();
            let request = self.requests[turn].next(self.records_per_batch as i32);
            self.socket.write_all(request)?;
            sent += 1;
            if self.acks == AcksArg::None {
                meter.add(self.records_per_batch, self.batch_bytes);
                continue;
            }
            self.sent_at.push_back(Instant::now());
            if self.sent_at.len() == IN_FLIGHT {
                self.await_answer(meter)?;
            }
        }
        while !self.sent_at.is_empty() {
            self.await_answer(meter)?;
        }
        Ok(())
    }

    fn await_answer(&mut self, meter: &Meter) -> Result<(), Failure> {
        let answer = read_answer(&mut self.answers, BytesMut::new())?;
        let sent_at = self.sent_at.pop_front();
        let (_, answer) =
            decode_response::<ProduceRequest>(answer, self.version).map_err(unreadable)?;
        let results = answer.responses.iter();
        for result in results.flat_map(|topic| &topic.partition_responses) {
            result
                .error_code
                .ok()
                .map_err(|code| refused("produce", code))?;
        }
        let took = sent_at.map(|at| at.elapsed()).unwrap_or_default();
        meter.took(took, self.records_per_batch);
        meter.add(self.records_per_batch, self.batch_bytes);
        Ok(())
    }
}

/// A full batch of the benchmark's records, and how many they are.
async fn full_batch(client: &Client, bench: &Produce) -> Result<(Bytes, u64), Failure> {
    let (producer_id, producer_epoch) = match bench.idempotent {
        true => milena_client::producer_id(client).await?,
        false => (-1, -1),
    };
    let options = BatchOptions {
        codec: Compression::from(bench.compression).into(),
        producer_id,
        producer_epoch,
        base_sequence: if bench.idempotent { 0 } else { -1 },
        ..BatchOptions::default()
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_millis() as i64);
    let value = value(bench.record_size as usize);
    let mut builder = BatchBuilder::with_capacity(options, bench.batch_size as usize);
    let (mut records, mut record_bytes) = (0, 0);
    // As many as fit, and one if even that does not.
    while records == 0 || builder.size() + record_bytes <= bench.batch_size as usize {
        let before = builder.size();
        let pushed = builder.push(now, None, Some(&value), &[]);
        pushed.map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
        // The next record's offset may take a byte more.
        record_bytes = builder.size() - before + 1;
        records += 1;
    }
    let batch = builder.finish();
    let batch = batch.map_err(|problem| Failure::new(Exit::Failed, problem.to_string()))?;
    Ok((batch, records))
}

/// A request as it goes out. Of an idempotent producer's, sequence and checksum change each time.
struct PreparedRequest {
    frame: Vec<u8>,
    batch_at: usize,
    sequence: Option<i32>,
}

impl PreparedRequest {
    fn new(bench: &Produce, version: i16, partition: i32, batch: &Bytes) -> Self {
        let request = ProduceRequest {
            transactional_id: None,
            acks: Acks::from(bench.acks) as i16,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: bench.topic.topic.as_str().into(),
                partition_data: vec![PartitionProduceData {
                    index: partition,
                    records: Some(batch.clone()),
                }],
                ..Default::default()
            }],
        };
        let frame = encode_request(&request, version, 0, Some(CLIENT_ID)).to_vec();
        // Behind the batch stand only the empty tags of partition, topic and request.
        let tags = if ProduceRequest::flexible(version) {
            3
        } else {
            0
        };
        Self {
            batch_at: frame.len() - tags - batch.len(),
            frame,
            sequence: bench.idempotent.then_some(0),
        }
    }

    fn next(&mut self, records: i32) -> &[u8] {
        if let Some(sequence) = self.sequence {
            stamp(&mut self.frame[self.batch_at..], sequence);
            self.sequence = Some(sequence.wrapping_add(records) & i32::MAX);
        }
        &self.frame
    }
}

/// Writes the sequence into the batch at the front of `bytes`, and its new checksum.
fn stamp(bytes: &mut [u8], sequence: i32) {
    let Ok(mut header) = BatchHeader::parse(bytes) else {
        unreachable!("the builder has written this header");
    };
    let batch = &mut bytes[..header.size()];
    header.base_sequence = sequence;
    batch[..BATCH_HEADER_SIZE].copy_from_slice(&header.to_bytes());
    header.crc = crc32c(&batch[CRC_COVERS_FROM..]);
    batch[..BATCH_HEADER_SIZE].copy_from_slice(&header.to_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamped_batch_has_its_sequence_and_a_right_checksum() {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(0, None, Some(b"value"), &[]).unwrap();
        let batch = builder.finish().unwrap();
        let mut bytes = [&batch[..], &[0, 0, 0]].concat();
        stamp(&mut bytes, 99);
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(header.base_sequence, 99);
        assert_eq!(header.check_crc(&bytes), Ok(()));
    }
}
