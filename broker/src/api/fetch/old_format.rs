//! Fetch below version 10: what those clients can't read is converted, or refused.
//!
//! | version | may get |
//! | --- | --- |
//! | 0, 1 | magic 0 |
//! | 2, 3 | magic 1 |
//! | 4 to 9 | magic 2 without zstd |

use bytes::Bytes;
use milena_log::Region;
use milena_protocol::ErrorCode;
use milena_protocol::records::convert::{ConvertProblem, down};
use milena_protocol::records::legacy::Magic;
use milena_protocol::records::{Compression, batches};

use crate::blocking;
use crate::partition::large;

/// From this version on the log's bytes are sent as they are.
pub const VERBATIM_FROM: i16 = 10;

/// Reads a part of the log and converts it for `version`.
pub async fn convert(region: Region, from_offset: i64, version: i16) -> Result<Bytes, ErrorCode> {
    let magic = match version {
        ..=1 => Magic::V0,
        2..=3 => Magic::V1,
        // These clients open batches themselves.
        _ => return blocking::run(move || without_zstd(&read(region)?)).await,
    };
    let _held = large::hold().await;
    let bytes = blocking::run(move || read(region)).await?;
    // The bound holds for all batches of one answer together.
    let convert = move |limit| down(&bytes, magic, from_offset, limit);
    let converted = large::open(convert, ConvertProblem::wants_room).await;
    converted.map_err(|problem| {
        tracing::debug!(%problem, version, "batches can't be converted for an old consumer");
        problem.code()
    })
}

fn read(mut region: Region) -> Result<Bytes, ErrorCode> {
    region.read_all().map(Bytes::from).map_err(|error| {
        tracing::error!(%error, "the log could not be read");
        ErrorCode::KafkaStorageError
    })
}

/// The batches up to the first with zstd; an error where that is the first of all.
fn without_zstd(bytes: &Bytes) -> Result<Bytes, ErrorCode> {
    let mut size = 0;
    for (header, batch) in batches(bytes).map_while(Result::ok) {
        if header.compression() == Some(Compression::Zstd) {
            return if size == 0 {
                Err(ErrorCode::UnsupportedCompressionType)
            } else {
                Ok(bytes.slice(..size))
            };
        }
        size += batch.len();
    }
    // A last batch that is cut short stays: its reader fetches it again.
    Ok(bytes.clone())
}
