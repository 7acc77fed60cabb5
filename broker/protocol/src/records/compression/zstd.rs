//! zstd (RFC 8878), by its own library.

use zstd::{bulk::Compressor, stream::read::Decoder};

use super::{CompressionProblem, Sink};

pub(super) fn compress(
    level: Option<i32>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressionProblem> {
    let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
    let range = zstd::compression_level_range();
    let compressed = Compressor::new(level.clamp(*range.start(), *range.end()))
        .and_then(|mut compressor| compressor.compress(input))
        .map_err(|_| CompressionProblem::CannotCompress("zstd"))?;
    out.extend_from_slice(&compressed);
    Ok(())
}

pub(super) fn decompress(input: &[u8], sink: &mut Sink<'_>) -> Result<(), CompressionProblem> {
    let corrupt = CompressionProblem::Corrupt {
        codec: "zstd",
        what: "it is not a whole zstd stream",
    };
    let decoder = Decoder::with_buffer(input).map_err(|_| corrupt)?;
    sink.drain(decoder, corrupt)
}
