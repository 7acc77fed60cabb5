//! A segment's record batches.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use milena_protocol::records::{
    BATCH_HEADER_SIZE, BatchHeader, Compression, DECOMPRESSED_SIZE_MAX, OpenBatch, Record,
};

use super::{Emit, Entry, damaged};
use crate::cli::failure::Failure;
use crate::cli::output::{json_headers, json_text};

/// Prints each batch, and each record of it where they are wanted; ends at the first that is not whole
/// and valid, which is a failure.
pub(super) fn dump(path: &Path, records: bool, emit: Emit) -> Result<(), Failure> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let mut position = 0;
    while position < size {
        let (header, batch) = next(&mut reader, size - position)
            .map_err(|problem| damaged(format!("at byte {position}: {problem}")))?;
        emit(entry(position, &header))?;
        let open = OpenBatch::open(header, &batch, DECOMPRESSED_SIZE_MAX);
        let open = open.map_err(|problem| damaged(format!("at byte {position}: {problem}")))?;
        for record in open.iter() {
            let record =
                record.map_err(|problem| damaged(format!("at byte {position}: {problem}")))?;
            if records {
                emit(of_record(&record))?;
            }
        }
        position += batch.len() as u64;
    }
    Ok(())
}

/// One batch, no larger than what is left of the file.
fn next(reader: &mut impl Read, left: u64) -> Result<(BatchHeader, Bytes), String> {
    let mut bytes = Vec::new();
    let read = |reader: &mut dyn Read, bytes: &mut Vec<u8>, count: usize| {
        let from = bytes.len();
        bytes.resize(from + count, 0);
        reader
            .read_exact(&mut bytes[from..])
            .map_err(|error| error.to_string())
    };
    if left < BATCH_HEADER_SIZE as u64 {
        return Err(format!("the file ends {left} bytes into a batch"));
    }
    read(reader, &mut bytes, BATCH_HEADER_SIZE)?;
    if bytes.iter().all(|&byte| byte == 0) {
        return Err("only zeros follow: space that was reserved and not written".into());
    }
    let header = BatchHeader::parse(&bytes).map_err(|problem| problem.to_string())?;
    if header.size() as u64 > left {
        return Err(format!(
            "the batch has {} bytes, and the file {left} more",
            header.size()
        ));
    }
    read(reader, &mut bytes, header.size() - BATCH_HEADER_SIZE)?;
    let bytes = Bytes::from(bytes);
    header
        .check_crc(&bytes)
        .map_err(|problem| problem.to_string())?;
    Ok((header, bytes))
}

fn entry(position: u64, header: &BatchHeader) -> Entry {
    let codec = match header.compression() {
        Some(Compression::None) => "none",
        Some(Compression::Gzip) => "gzip",
        Some(Compression::Snappy) => "snappy",
        Some(Compression::Lz4) => "lz4",
        Some(Compression::Zstd) => "zstd",
        None => "unknown",
    };
    vec![
        ("position", position.into()),
        ("base_offset", header.base_offset.into()),
        ("last_offset", header.last_offset().into()),
        ("records", header.record_count.into()),
        ("size", header.size().into()),
        ("codec", codec.into()),
        ("leader_epoch", header.partition_leader_epoch.into()),
        ("producer_id", header.producer_id.into()),
        ("producer_epoch", header.producer_epoch.into()),
        ("base_sequence", header.base_sequence.into()),
        ("max_timestamp", header.max_timestamp.into()),
        ("log_append_time", header.is_log_append_time().into()),
        ("transactional", header.is_transactional().into()),
        ("control", header.is_control().into()),
    ]
}

fn of_record(record: &Record) -> Entry {
    vec![
        ("offset", record.offset.into()),
        ("timestamp", record.timestamp.into()),
        ("key", json_text(record.key.as_deref())),
        ("value", json_text(record.value.as_deref())),
        ("headers", json_headers(&record.headers)),
    ]
}
