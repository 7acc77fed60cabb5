//! `<offset>.snapshot`: the producers' state as it was when the log ended at that offset (Kafka's version 1).
//!
//! | at | field | type |
//! | --- | --- | --- |
//! | 0 | version: 1 | i16 |
//! | 2 | CRC-32C of all that follows it | u32 |
//! | 6 | number of producers | i32 |
//! | 10 | per producer: id i64, epoch i16, last sequence i32, last offset i64, offset delta i32, timestamp i64, coordinator epoch i32, start of its open transaction or -1 i64 | 46 bytes |

use std::collections::VecDeque;
use std::path::Path;

use milena_protocol::records::crc32c;

use super::{Producer, Producers, StoredBatch};
use crate::error::{LogError, StorageError};
use crate::files::{self, Durability};

const VERSION: i16 = 1;
const HEADER: usize = 10;
const ENTRY: usize = 46;
/// Where the bytes begin that the checksum covers.
const COVERED_FROM: usize = 6;

/// Writes the snapshot to `path`.
pub(crate) fn write(
    path: &Path,
    producers: &Producers,
    durability: Durability,
) -> Result<(), StorageError> {
    let mut bytes = Vec::with_capacity(HEADER + producers.by_id.len() * ENTRY);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(producers.by_id.len() as i32).to_be_bytes());
    for (id, producer) in &producers.by_id {
        encode(&mut bytes, *id, producer);
    }
    let crc = crc32c(&bytes[COVERED_FROM..]);
    bytes[2..COVERED_FROM].copy_from_slice(&crc.to_be_bytes());
    files::replace(path, &bytes, durability).map_err(StorageError::of("write", path))
}

/// Reads `path`; the producers count as heard of at `now_ms`.
pub(crate) fn read(path: &Path, now_ms: i64) -> Result<Producers, LogError> {
    let bytes = std::fs::read(path).map_err(StorageError::of("read", path))?;
    decode(&bytes, now_ms).map_err(|problem| LogError::Malformed {
        path: path.to_path_buf(),
        problem: problem.to_owned(),
    })
}

fn encode(bytes: &mut Vec<u8>, id: i64, producer: &Producer) {
    // A producer that only ended a transaction has no batch: Kafka writes these values for it.
    let last = producer.batches.back().copied().unwrap_or(StoredBatch {
        last_sequence: -1,
        last_offset: -1,
        offset_delta: 0,
        timestamp: -1,
    });
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&producer.epoch.to_be_bytes());
    bytes.extend_from_slice(&last.last_sequence.to_be_bytes());
    bytes.extend_from_slice(&last.last_offset.to_be_bytes());
    bytes.extend_from_slice(&last.offset_delta.to_be_bytes());
    bytes.extend_from_slice(&last.timestamp.to_be_bytes());
    bytes.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
    bytes.extend_from_slice(&producer.txn_start_offset.to_be_bytes());
}

fn decode(bytes: &[u8], now_ms: i64) -> Result<Producers, &'static str> {
    if bytes.len() < HEADER {
        return Err("it is shorter than its header");
    }
    if take::<2>(bytes, 0) != VERSION.to_be_bytes() {
        return Err("its version is not 1");
    }
    if crc32c(&bytes[COVERED_FROM..]) != u32::from_be_bytes(take(bytes, 2)) {
        return Err("its checksum is wrong");
    }
    let count = i32::from_be_bytes(take(bytes, COVERED_FROM));
    if usize::try_from(count).ok() != Some((bytes.len() - HEADER) / ENTRY) {
        return Err("it has not as many entries as it says");
    }
    let by_id = bytes[HEADER..]
        .chunks_exact(ENTRY)
        .map(|entry| decode_entry(entry, now_ms))
        .collect();
    Ok(Producers { by_id })
}

fn decode_entry(entry: &[u8], now_ms: i64) -> (i64, Producer) {
    let last = StoredBatch {
        last_sequence: i32::from_be_bytes(take(entry, 10)),
        last_offset: i64::from_be_bytes(take(entry, 14)),
        offset_delta: i32::from_be_bytes(take(entry, 22)),
        timestamp: i64::from_be_bytes(take(entry, 26)),
    };
    let producer = Producer {
        known: 0,
        epoch: i16::from_be_bytes(take(entry, 8)),
        batches: if last.last_sequence >= 0 {
            VecDeque::from([last])
        } else {
            VecDeque::new()
        },
        coordinator_epoch: i32::from_be_bytes(take(entry, 34)),
        txn_start_offset: i64::from_be_bytes(take(entry, 38)),
        seen_ms: now_ms,
    };
    (i64::from_be_bytes(take(entry, 0)), producer)
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}
