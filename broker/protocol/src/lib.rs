//! Kafka's wire format: API schemas, record batches, error codes. No I/O.
//!
//! The contract is <https://kafka.apache.org/protocol>. Each API has one file under `api/`, which
//! declares its request and response field by field with their version ranges.

pub mod api;
mod error;
mod frame;
pub mod header;
mod reader;
pub mod records;
#[cfg(feature = "sample")]
pub mod sample;
mod schema;
mod types;
mod wire;
mod writer;

pub use error::ErrorCode;
pub use frame::{Chunk, External, Frame, Records};
pub use reader::{DecodeError, Problem, Reader};
pub use schema::Request;
pub use types::{Str, Uuid};
pub use wire::{Nullable, Wire};
pub use writer::Writer;
