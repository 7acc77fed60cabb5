//! Index files and producer snapshots, as Kafka lays them out; numbers are big-endian.
//!
//! | file | entry |
//! | --- | --- |
//! | `.index` | relative offset u32, position u32 |
//! | `.timeindex` | timestamp i64, relative offset u32 |
//! | `.txnindex` | version i16; producer id, first, last and last stable offset i64 |
//! | `.snapshot` | version i16, CRC-32C u32 of the rest, count i32; each: producer id i64, epoch i16, last sequence i32, last offset i64, offset delta i32, timestamp i64, coordinator epoch i32, first offset of its transaction i64 |

use milena_protocol::records::crc32c;
use milena_protocol::{DecodeError, Reader, Wire};

use super::{Emit, damaged};
use crate::cli::failure::Failure;

/// The snapshot's version that Kafka writes.
const SNAPSHOT_VERSION: i16 = 1;
/// Bytes before those that the snapshot's checksum covers.
const SNAPSHOT_CRC_COVERS_FROM: usize = 6;

/// Prints offsets and positions. An index in use is followed by zeros, which are no entries.
pub(super) fn offsets(bytes: &[u8], base_offset: i64, emit: Emit) -> Result<(), Failure> {
    let (entries, rest) = bytes.as_chunks::<8>();
    let mut last = None;
    for entry in entries
        .iter()
        .take_while(|entry| entry.iter().any(|&byte| byte != 0))
    {
        let relative = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]);
        let position = u32::from_be_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let offset = base_offset + i64::from(relative);
        emit(vec![
            ("offset", offset.into()),
            ("position", position.into()),
        ])?;
        if last.is_some_and(|last| last >= (offset, position)) {
            return Err(damaged(format!(
                "offset {offset} does not follow the one before it"
            )));
        }
        last = Some((offset, position));
    }
    whole(rest, 8)
}

/// Prints timestamps and offsets.
pub(super) fn times(bytes: &[u8], base_offset: i64, emit: Emit) -> Result<(), Failure> {
    let (entries, rest) = bytes.as_chunks::<12>();
    let mut last = None;
    for entry in entries
        .iter()
        .take_while(|entry| entry.iter().any(|&byte| byte != 0))
    {
        let (timestamp, relative) = entry.split_at(8);
        let timestamp = timestamp
            .iter()
            .fold(0, |sum, &byte| sum << 8 | i64::from(byte));
        let relative = relative
            .iter()
            .fold(0, |sum, &byte| sum << 8 | i64::from(byte));
        let offset = base_offset + relative;
        emit(vec![
            ("timestamp", timestamp.into()),
            ("offset", offset.into()),
        ])?;
        if last.is_some_and(|last| last > (timestamp, offset)) {
            return Err(damaged(format!(
                "timestamp {timestamp} does not follow the one before it"
            )));
        }
        last = Some((timestamp, offset));
    }
    whole(rest, 12)
}

fn whole(rest: &[u8], entry_bytes: usize) -> Result<(), Failure> {
    match rest.len() {
        0 => Ok(()),
        left => Err(damaged(format!(
            "{left} bytes are left of an entry of {entry_bytes}"
        ))),
    }
}

/// Prints aborted transactions.
pub(super) fn aborted(bytes: Vec<u8>, emit: Emit) -> Result<(), Failure> {
    let mut r = Reader::new(bytes.into(), 0, false);
    while r.remaining() > 0 {
        let entry = (|| {
            i16::read(&mut r)?;
            Ok(vec![
                ("producer_id", i64::read(&mut r)?.into()),
                ("first_offset", i64::read(&mut r)?.into()),
                ("last_offset", i64::read(&mut r)?.into()),
                ("last_stable_offset", i64::read(&mut r)?.into()),
            ])
        })();
        emit(entry.map_err(cut_short)?)?;
    }
    Ok(())
}

/// Prints what each producer did last.
pub(super) fn producers(bytes: Vec<u8>, emit: Emit) -> Result<(), Failure> {
    let covered = bytes.get(SNAPSHOT_CRC_COVERS_FROM..).map(crc32c);
    let mut r = Reader::new(bytes.into(), 0, false);
    let version = i16::read(&mut r).map_err(cut_short)?;
    if version != SNAPSHOT_VERSION {
        return Err(damaged(format!(
            "version {version} is not known: {SNAPSHOT_VERSION} is"
        )));
    }
    let crc = u32::read(&mut r).map_err(cut_short)?;
    if covered != Some(crc) {
        return Err(damaged(format!(
            "the checksum is not the stored {crc:#010x}"
        )));
    }
    for _ in 0..i32::read(&mut r).map_err(cut_short)? {
        let entry = (|| {
            Ok(vec![
                ("producer_id", i64::read(&mut r)?.into()),
                ("epoch", i16::read(&mut r)?.into()),
                ("last_sequence", i32::read(&mut r)?.into()),
                ("last_offset", i64::read(&mut r)?.into()),
                ("offset_delta", i32::read(&mut r)?.into()),
                ("timestamp", i64::read(&mut r)?.into()),
                ("coordinator_epoch", i32::read(&mut r)?.into()),
                ("transaction_first_offset", i64::read(&mut r)?.into()),
            ])
        })();
        emit(entry.map_err(cut_short)?)?;
    }
    Ok(())
}

fn cut_short(_: DecodeError) -> Failure {
    damaged("the file ends inside an entry".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn an_index_ends_where_only_zeros_follow() {
        let mut seen = Vec::new();
        let bytes = [0, 0, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        offsets(&bytes, 100, &mut |entry| {
            seen.push(entry);
            Ok(())
        })
        .unwrap();
        assert_eq!(
            seen,
            [vec![
                ("offset", Value::from(105)),
                ("position", Value::from(256))
            ]]
        );
    }

    #[test]
    fn entries_out_of_order_or_cut_short_are_damage() {
        let backwards = [0, 0, 0, 5, 0, 0, 1, 0, 0, 0, 0, 4, 0, 0, 2, 0];
        assert!(offsets(&backwards, 0, &mut |_| Ok(())).is_err());
        assert!(times(&[1; 13], 0, &mut |_| Ok(())).is_err());
        assert!(producers(vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 0], &mut |_| Ok(())).is_err());
        assert!(aborted(vec![0; 33], &mut |_| Ok(())).is_err());
    }
}
