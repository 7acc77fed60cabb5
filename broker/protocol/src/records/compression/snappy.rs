//! snappy in the framing of xerial's snappy-java, which Kafka's Java clients expect, and as one raw
//! block, which C clients write.
//!
//! | field | type |
//! | --- | --- |
//! | magic | 0x82 "SNAPPY" 0x00 |
//! | version, lowest compatible version | i32, i32 |
//! | any number of: length, raw snappy block | i32, bytes |

use snap::raw::{Decoder, Encoder, decompress_len};

use super::{CompressionProblem, Sink};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// What snappy-java cuts its input into.
const BLOCK_SIZE: usize = 32 * 1024;
/// A copy of three bytes stands for at most 64.
const EXPANSION_MAX: usize = 22;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionProblem> {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSIONS);
    let mut encoder = Encoder::new();
    for block in input.chunks(BLOCK_SIZE) {
        let compressed = encoder
            .compress_vec(block)
            .map_err(|_| CompressionProblem::CannotCompress("snappy"))?;
        out.extend_from_slice(&(compressed.len() as i32).to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(())
}

pub(super) fn decompress(input: &[u8], sink: &mut Sink<'_>) -> Result<(), CompressionProblem> {
    if !input.starts_with(&MAGIC) {
        return block(input, sink);
    }
    let mut rest = input;
    while !rest.is_empty() {
        // A header may come again: streams one after the other are one.
        if let Some(after) = rest.strip_prefix(&MAGIC) {
            rest = after.get(VERSIONS.len()..).ok_or(CUT_SHORT)?;
            continue;
        }
        let (len, after) = rest.split_first_chunk().ok_or(CUT_SHORT)?;
        let len = usize::try_from(i32::from_be_bytes(*len)).map_err(|_| CUT_SHORT)?;
        let (compressed, after) = after.split_at_checked(len).ok_or(CUT_SHORT)?;
        block(compressed, sink)?;
        rest = after;
    }
    Ok(())
}

fn block(compressed: &[u8], sink: &mut Sink<'_>) -> Result<(), CompressionProblem> {
    let len = decompress_len(compressed).map_err(|_| BAD_BLOCK)?;
    if len > compressed.len().saturating_mul(EXPANSION_MAX) {
        return Err(BAD_BLOCK);
    }
    sink.block(len, BAD_BLOCK, |_, out| {
        Decoder::new().decompress(compressed, out).ok()
    })
}

const CUT_SHORT: CompressionProblem = CompressionProblem::Corrupt {
    codec: "snappy",
    what: "it ends inside a block",
};
const BAD_BLOCK: CompressionProblem = CompressionProblem::Corrupt {
    codec: "snappy",
    what: "a block does not decompress",
};
