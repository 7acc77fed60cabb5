//! gzip (RFC 1952), by zlib-rs.

use std::io::Write;

use flate2::{Compression as Level, bufread::MultiGzDecoder, write::GzEncoder};

use super::{CompressionProblem, Sink};

pub(super) const CORRUPT: CompressionProblem = CompressionProblem::Corrupt {
    codec: "gzip",
    what: "it is not a whole gzip stream",
};
pub(super) const CANNOT: CompressionProblem = CompressionProblem::CannotCompress("gzip");

pub(super) fn compress(
    level: Option<i32>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressionProblem> {
    let mut encoder = encoder(level, out);
    encoder
        .write_all(input)
        .and_then(|()| encoder.finish())
        .map(|_| ())
        .map_err(|_| CANNOT)
}

pub(super) fn encoder(level: Option<i32>, out: &mut Vec<u8>) -> GzEncoder<&mut Vec<u8>> {
    let level = level.map_or(Level::default(), |level| {
        Level::new(level.clamp(1, 9) as u32)
    });
    GzEncoder::new(out, level)
}

pub(super) fn decompress(input: &[u8], sink: &mut Sink<'_>) -> Result<(), CompressionProblem> {
    sink.drain(MultiGzDecoder::new(input), CORRUPT)
}
