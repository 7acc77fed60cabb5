//! One batch: records as they come, then bytes with a producer's stamp, then its outcome.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use milena_protocol::api::init_producer_id::InitProducerIdRequest;
use milena_protocol::records::{
    BATCH_HEADER_SIZE, BatchBuilder, BatchHeader, BatchOptions, crc32c,
};
use tokio::sync::watch;

use super::{Delivery, ProducerOptions, Record};
use crate::client::call;
use crate::retry::retry;
use crate::{Client, Error};

/// What a record takes beside its key, value and headers, at the most.
const RECORD_OVERHEAD: usize = 32;
/// Where the bytes begin that a batch's CRC covers.
const CRC_COVERS_FROM: usize = 21;

/// The first record's offset (-1 where not told), or why the batch failed.
pub type Outcome = Result<i64, Error>;

/// An idempotent producer's id and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub producer_id: i64,
    pub epoch: i16,
}

/// Asks the cluster for an id that nobody has had.
pub(super) async fn new_identity(client: &Client) -> Result<Identity, Error> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        // Only a transaction has one.
        transaction_timeout_ms: i32::MAX,
        ..Default::default()
    };
    retry(client.options().deadline, || async {
        let given = call(&client.any().await?, &request).await?;
        Error::check("a producer id", given.error_code)?;
        Ok(Identity {
            producer_id: given.producer_id,
            epoch: given.producer_epoch,
        })
    })
    .await
}

/// Bytes that the record takes in a batch, or a little more.
pub(super) fn size_estimate(record: &Record) -> usize {
    let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter();
    let headers: usize = headers
        .map(|header| header.key.len() + of(&header.value) + 10)
        .sum();
    RECORD_OVERHEAD + of(&record.key) + of(&record.value) + headers
}

/// A batch that takes records.
pub(super) struct OpenBatch {
    builder: BatchBuilder,
    fate: Fate,
}

/// Who waits for the batch, and what it holds of the producer's memory.
pub(super) struct Fate {
    pub sent_at: Vec<Instant>,
    pub charged: usize,
    pub outcome: watch::Sender<Option<Outcome>>,
}

impl OpenBatch {
    pub fn new(options: &ProducerOptions) -> Self {
        let batch = BatchOptions {
            codec: options.compression.into(),
            ..BatchOptions::default()
        };
        Self {
            builder: BatchBuilder::with_capacity(batch, options.batch_bytes),
            fate: Fate {
                sent_at: Vec::new(),
                charged: 0,
                outcome: watch::Sender::new(None),
            },
        }
    }

    /// Whether the record would make it larger than a batch is to be.
    pub fn is_full_for(&self, size: usize, batch_bytes: usize) -> bool {
        !self.builder.is_empty() && self.builder.size() + size > batch_bytes
    }

    /// When its first record came.
    pub fn begun(&self) -> Option<Instant> {
        self.fate.sent_at.first().copied()
    }

    pub fn push(
        &mut self,
        record: &Record,
        charge: usize,
        partition: i32,
    ) -> Result<Delivery, Error> {
        let timestamp = record.timestamp.unwrap_or_else(now_ms);
        self.builder
            .push(
                timestamp,
                record.key.as_deref(),
                record.value.as_deref(),
                &record.headers,
            )
            .map_err(|problem| Error::Invalid(format!("the record can't be sent: {problem}")))?;
        self.fate.sent_at.push(Instant::now());
        self.fate.charged += charge;
        Ok(Delivery {
            partition,
            index: self.fate.sent_at.len() as i64 - 1,
            outcome: self.fate.outcome.subscribe(),
        })
    }

    /// Ends it: compressed, and ready to be stamped.
    pub fn seal(self) -> (Fate, Result<Bytes, Error>) {
        let bytes = self.builder.finish();
        let bytes = bytes
            .map_err(|problem| Error::Unexpected(format!("the batch can't be built: {problem}")));
        (self.fate, bytes)
    }
}

/// A batch that is to be sent, perhaps again.
pub(super) struct SealedBatch {
    pub bytes: Bytes,
    pub fate: Fate,
    /// The identity and first sequence that it was last sent with.
    pub stamp: Option<(Identity, i32)>,
}

impl SealedBatch {
    /// How many sequence numbers it takes.
    pub fn len(&self) -> i32 {
        self.fate.sent_at.len() as i32
    }

    /// Writes identity and sequence into the batch, and its new checksum.
    pub fn stamp(&mut self, identity: Identity, sequence: i32) {
        let bytes = std::mem::take(&mut self.bytes);
        self.stamp = Some((identity, sequence));
        self.bytes = stamped(bytes, identity, sequence);
    }
}

fn stamped(bytes: Bytes, identity: Identity, sequence: i32) -> Bytes {
    let Ok(mut header) = BatchHeader::parse(&bytes) else {
        unreachable!("the builder has just written this header");
    };
    header.producer_id = identity.producer_id;
    header.producer_epoch = identity.epoch;
    header.base_sequence = sequence;
    // Copies only if a request that was given up still holds the bytes.
    let mut bytes = bytes
        .try_into_mut()
        .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    bytes[..BATCH_HEADER_SIZE].copy_from_slice(&header.to_bytes());
    header.crc = crc32c(&bytes[CRC_COVERS_FROM..]);
    bytes[..BATCH_HEADER_SIZE].copy_from_slice(&header.to_bytes());
    bytes.freeze()
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(len: usize) -> Record {
        Record::new("t").value(vec![b'x'; len])
    }

    #[test]
    fn a_batch_is_full_at_its_size_but_takes_any_first_record() {
        let options = ProducerOptions {
            batch_bytes: 300,
            ..Default::default()
        };
        let mut batch = OpenBatch::new(&options);
        assert!(!batch.is_full_for(size_estimate(&record(1000)), 300));
        batch.push(&record(100), 0, 0).unwrap();
        assert!(!batch.is_full_for(size_estimate(&record(50)), 300));
        assert!(batch.is_full_for(size_estimate(&record(200)), 300));
    }

    #[test]
    fn a_stamped_batch_has_the_stamp_and_a_right_checksum() {
        let mut batch = OpenBatch::new(&ProducerOptions::default());
        batch.push(&record(10), 0, 0).unwrap();
        let (_, bytes) = batch.seal();
        let identity = Identity {
            producer_id: 77,
            epoch: 3,
        };
        let bytes = stamped(bytes.unwrap(), identity, 12);
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(
            (
                header.producer_id,
                header.producer_epoch,
                header.base_sequence
            ),
            (77, 3, 12)
        );
        assert_eq!(header.check_crc(&bytes), Ok(()));
    }
}
