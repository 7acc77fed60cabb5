//! Reading batches without looking into them: records are counted by the batches' headers.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use milena_client::Client;
use milena_client::admin::Offsets;
use milena_protocol::api::fetch::{FetchPartition, FetchRequest, FetchTopic};
use milena_protocol::header::{decode_response, encode_request};
use milena_protocol::records::batches;

use super::{CLIENT_ID, connect, join, read_answer, refused, shares, take, unreadable};
use crate::cli::bench::report::Meter;
use crate::cli::failure::Failure;

/// How long the broker may wait for records.
const WAIT_MAX_MS: i32 = 500;

/// What is read, and how.
pub(in crate::cli::bench) struct Reading<'a> {
    pub topic: &'a str,
    pub positions: &'a Offsets,
    /// Without a deadline it stops here: what compaction and transactions leave are offsets without a record.
    pub ends: &'a Offsets,
    pub records: u64,
    pub deadline: Option<Instant>,
    pub connections: usize,
    pub max_bytes: i32,
    pub partition_max_bytes: i32,
}

/// Reads batches until so many records are read.
pub(in crate::cli::bench) async fn consume(
    client: &Client,
    reading: &Reading<'_>,
    meter: &Arc<Meter>,
) -> Result<(), Failure> {
    let partitions: Vec<i32> = reading.positions.keys().map(|(_, index)| *index).collect();
    let connections = reading.connections.min(partitions.len());
    let shares = shares::<FetchRequest>(client, reading.topic, &partitions, connections).await?;
    let left = Arc::new(AtomicU64::new(reading.records));
    let mut threads = Vec::new();
    for share in shares {
        let of = |offsets: &Offsets| -> BTreeMap<i32, i64> {
            let offset = |&index: &i32| (index, offsets[&(reading.topic.to_owned(), index)]);
            share.partitions.iter().map(offset).collect()
        };
        let mut reader = Reader {
            socket: connect(&share.address)?,
            version: share.version,
            topic: reading.topic.to_owned(),
            positions: of(reading.positions),
            ends: of(reading.ends),
            max_bytes: reading.max_bytes,
            partition_max_bytes: reading.partition_max_bytes,
            deadline: reading.deadline,
        };
        let (left, meter) = (left.clone(), meter.clone());
        threads.push(tokio::task::spawn_blocking(move || {
            reader.run(&left, &meter)
        }));
    }
    join(threads).await
}

/// One connection that reads.
struct Reader {
    socket: TcpStream,
    version: i16,
    topic: String,
    positions: BTreeMap<i32, i64>,
    ends: BTreeMap<i32, i64>,
    max_bytes: i32,
    partition_max_bytes: i32,
    deadline: Option<Instant>,
}

impl Reader {
    fn run(&mut self, left: &AtomicU64, meter: &Meter) -> Result<(), Failure> {
        let mut buffer = BytesMut::new();
        while left.load(Ordering::Relaxed) > 0 && !self.is_over() {
            let request = encode_request(&self.request(), self.version, 0, Some(CLIENT_ID));
            let asked_at = Instant::now();
            self.socket.write_all(&request.to_vec())?;
            let answer = read_answer(&mut self.socket, buffer)?;
            let (records, bytes) = self.count(answer.clone())?;
            meter.took(asked_at.elapsed(), 1);
            meter.add(records, bytes);
            take(left, records);
            buffer = answer.try_into_mut().unwrap_or_default();
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let is_read = |(index, end): (&i32, &i64)| self.positions[index] >= *end;
        match self.deadline {
            Some(deadline) => Instant::now() >= deadline,
            None => self.ends.iter().all(is_read),
        }
    }

    fn request(&self) -> FetchRequest {
        let partitions = self.positions.iter();
        let partitions = partitions.map(|(&partition, &fetch_offset)| FetchPartition {
            partition,
            fetch_offset,
            partition_max_bytes: self.partition_max_bytes,
            ..Default::default()
        });
        FetchRequest {
            max_wait_ms: WAIT_MAX_MS,
            min_bytes: 1,
            max_bytes: self.max_bytes,
            topics: vec![FetchTopic {
                topic: self.topic.as_str().into(),
                partitions: partitions.collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    /// Records and bytes of whole batches; positions move behind them.
    fn count(&mut self, answer: Bytes) -> Result<(u64, u64), Failure> {
        let (_, answer) =
            decode_response::<FetchRequest>(answer, self.version).map_err(unreadable)?;
        answer
            .error_code
            .ok()
            .map_err(|code| refused("fetch", code))?;
        let (mut records, mut bytes) = (0, 0);
        let topics = answer.responses.into_iter();
        for partition in topics.flat_map(|topic| topic.partitions) {
            partition
                .error_code
                .ok()
                .map_err(|code| refused("fetch", code))?;
            let data = partition.records.map(|records| records.into_bytes());
            for (header, batch) in batches(&data.unwrap_or_default()).map_while(Result::ok) {
                records += header.record_count.max(0) as u64;
                bytes += batch.len() as u64;
                let next = header.last_offset() + 1;
                self.positions.insert(partition.partition_index, next);
            }
        }
        Ok((records, bytes))
    }
}
