//! zstd (RFC 8878), by its own library.

use zstd::{bulk::Compressor, stream::read::Decoder, stream::write::Encoder};

use super::{CompressionProblem, Sink};

pub(super) const CORRUPT: CompressionProblem = CompressionProblem::Corrupt {
    codec: "zstd",
    what: "it is not a whole zstd stream",
};
pub(super) const CANNOT: CompressionProblem = CompressionProblem::CannotCompress("zstd");

pub(super) fn compress(
    level: Option<i32>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressionProblem> {
    let compressed = Compressor::new(in_range(level))
        .and_then(|mut compressor| compressor.compress(input))
        .map_err(|_| CANNOT)?;
    out.extend_from_slice(&compressed);
    Ok(())
}

pub(super) fn encoder(
    level: Option<i32>,
    out: &mut Vec<u8>,
) -> Result<Encoder<'static, &mut Vec<u8>>, CompressionProblem> {
    Encoder::new(out, in_range(level)).map_err(|_| CANNOT)
}

fn in_range(level: Option<i32>) -> i32 {
    let range = zstd::compression_level_range();
    let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
    level.clamp(*range.start(), *range.end())
}

pub(super) fn decompress(input: &[u8], sink: &mut Sink<'_>) -> Result<(), CompressionProblem> {
    let decoder = Decoder::with_buffer(input).map_err(|_| CORRUPT)?;
    sink.drain(decoder, CORRUPT)
}
