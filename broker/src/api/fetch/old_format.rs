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
    let region = blocking::run(move || match region.read_through() {
        Ok(()) => Ok(region),
        Err(error) => Err(unreadable(&error)),
    });
    let region = region.await?;
    let convert = move |limit| -> Result<Bytes, Unconverted> {
        let bytes = read(region.clone())?;
        // The bound holds for all batches of one answer together.
        Ok(down(&bytes, magic, from_offset, limit)?)
    };
    let converted = large::open(convert, |unconverted| unconverted.wants_room).await;
    converted.map_err(|unconverted| unconverted.code)
}

/// Why there is nothing to send.
struct Unconverted {
    code: ErrorCode,
    /// Whether it is only that the records take more room than they were given.
    wants_room: bool,
}

impl From<ErrorCode> for Unconverted {
    fn from(code: ErrorCode) -> Self {
        let wants_room = false;
        Self { code, wants_room }
    }
}

impl From<ConvertProblem> for Unconverted {
    fn from(problem: ConvertProblem) -> Self {
        tracing::debug!(%problem, "batches can't be converted for an old consumer");
        Self {
            code: problem.code(),
            wants_room: problem.wants_room(),
        }
    }
}

fn read(mut region: Region) -> Result<Bytes, ErrorCode> {
    let read = region.read_all();
    read.map(Bytes::from).map_err(|error| unreadable(&error))
}

fn unreadable(error: &std::io::Error) -> ErrorCode {
    tracing::error!(%error, "the log could not be read");
    ErrorCode::KafkaStorageError
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
