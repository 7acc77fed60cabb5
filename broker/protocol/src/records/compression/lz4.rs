//! lz4 frames (<https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>), the blocks by lz4_flex.
//!
//! | field | type |
//! | --- | --- |
//! | magic | u32 0x184D2204, little endian as all numbers |
//! | flags: 7-6 version 01, 5 blocks are independent, 4 block checksums, 3 content size, 2 content checksum, 0 dictionary | u8 |
//! | 6-4 largest block: 4 to 7 for 64 KiB, 256 KiB, 1 MiB, 4 MiB | u8 |
//! | content size, dictionary's id, if flagged | u64, u32 |
//! | second byte of the descriptor's xxHash32 | u8 |
//! | any number of: length (top bit: not compressed), block, xxHash32 if flagged | u32, bytes, u32 |
//! | end mark 0; content's xxHash32 if flagged | u32, u32 |
//!
//! The frame is read here, and not by lz4_flex's stream, since magic 0's header checksum is another, the
//! stream takes a cut frame for a whole one, and it would copy every block once more.

use std::io::Write;

use lz4_flex::block::decompress_into_with_dict;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

use super::{CompressionProblem, Lz4Header, Sink};

const FRAME_MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
const STORED: u32 = 1 << 31;
/// How far back a block may refer.
const WINDOW_SIZE: usize = 64 * 1024;
/// A byte of a match's length stands for at most 255.
const EXPANSION_MAX: usize = 255;
/// Where the header checksum stands in the frames that we write: behind magic, flags, block size.
const CHECKSUM_AT: usize = 6;

pub(super) const CANNOT: CompressionProblem = CompressionProblem::CannotCompress("lz4");

pub(super) fn compress(
    header: Lz4Header,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressionProblem> {
    let start = out.len();
    let mut encoder = encoder(out);
    encoder
        .write_all(input)
        .ok()
        .and_then(|()| encoder.finish().ok())
        .ok_or(CANNOT)?;
    if header == Lz4Header::Magic0 {
        out[start + CHECKSUM_AT] = checksum_byte(&out[start..start + CHECKSUM_AT]);
    }
    Ok(())
}

pub(super) fn encoder(out: &mut Vec<u8>) -> FrameEncoder<&mut Vec<u8>> {
    let frame = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Independent);
    FrameEncoder::with_frame_info(frame, out)
}

pub(super) fn decompress(
    header: Lz4Header,
    input: &[u8],
    sink: &mut Sink<'_>,
) -> Result<(), CompressionProblem> {
    let mut rest = input;
    loop {
        let frame = Frame::take_header(&mut rest, header)?;
        frame.take_blocks(&mut rest, sink)?;
        if rest.is_empty() {
            return Ok(());
        }
    }
}

struct Frame {
    blocks_linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_size: Option<u64>,
    block_size_max: usize,
}

impl Frame {
    fn take_header(rest: &mut &[u8], header: Lz4Header) -> Result<Self, CompressionProblem> {
        let start = *rest;
        if take::<4>(rest)? != FRAME_MAGIC {
            return Err(corrupt("it does not start with a frame's magic"));
        }
        let [flags, block_descriptor] = take(rest)?;
        if flags >> 6 != 1 || flags & 1 != 0 {
            return Err(corrupt(
                "the frame's version or dictionary is not supported",
            ));
        }
        let content_size = match flags & 0x08 {
            0 => None,
            _ => Some(u64::from_le_bytes(take(rest)?)),
        };
        let end = start.len() - rest.len();
        let [checksum] = take(rest)?;
        let standard = checksum == checksum_byte(&start[FRAME_MAGIC.len()..end]);
        // Some writers of magic 0 have the right checksum: Kafka does not look at it there.
        if !standard && header == Lz4Header::Standard {
            return Err(corrupt("the frame header's checksum does not match"));
        }
        Ok(Self {
            blocks_linked: flags & 0x20 == 0,
            block_checksums: flags & 0x10 != 0,
            content_checksum: flags & 0x04 != 0,
            content_size,
            block_size_max: match block_descriptor >> 4 & 7 {
                4 => 64 * 1024,
                5 => 256 * 1024,
                6 => 1024 * 1024,
                7 => 4 * 1024 * 1024,
                _ => return Err(corrupt("the frame's block size is not one of lz4's")),
            },
        })
    }

    fn take_blocks(&self, rest: &mut &[u8], sink: &mut Sink<'_>) -> Result<(), CompressionProblem> {
        let start = sink.len();
        loop {
            let len = u32::from_le_bytes(take(rest)?);
            if len == 0 {
                break;
            }
            self.take_block(len, rest, sink, start)?;
        }
        let content = &sink.out[sink.start + start..];
        if self
            .content_size
            .is_some_and(|size| size != content.len() as u64)
        {
            return Err(corrupt("the content's size is not the frame's"));
        }
        if self.content_checksum && u32::from_le_bytes(take(rest)?) != xxhash(content) {
            return Err(corrupt("the content's checksum does not match"));
        }
        Ok(())
    }

    fn take_block(
        &self,
        len: u32,
        rest: &mut &[u8],
        sink: &mut Sink<'_>,
        frame_start: usize,
    ) -> Result<(), CompressionProblem> {
        let stored = len & STORED != 0;
        let len = (len & !STORED) as usize;
        if len > self.block_size_max {
            return Err(corrupt("a block is larger than the frame allows"));
        }
        let (block, after) = rest.split_at_checked(len).ok_or(CUT_SHORT)?;
        *rest = after;
        if self.block_checksums && u32::from_le_bytes(take(rest)?) != xxhash(block) {
            return Err(corrupt("a block's checksum does not match"));
        }
        if stored {
            return sink.extend(block);
        }
        let size_max = self.block_size_max.min(len.saturating_mul(EXPANSION_MAX));
        let bad_block = corrupt("a block does not decompress");
        sink.block(size_max, bad_block, |before, out| {
            let window = match self.blocks_linked {
                true => &before[frame_start.max(before.len().saturating_sub(WINDOW_SIZE))..],
                false => &[],
            };
            decompress_into_with_dict(block, out, window).ok()
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], CompressionProblem> {
    let (taken, after) = rest.split_first_chunk().ok_or(CUT_SHORT)?;
    *rest = after;
    Ok(*taken)
}

fn xxhash(bytes: &[u8]) -> u32 {
    XxHash32::oneshot(0, bytes)
}

fn checksum_byte(descriptor: &[u8]) -> u8 {
    (xxhash(descriptor) >> 8) as u8
}

const CUT_SHORT: CompressionProblem = corrupt("it ends inside a frame");

const fn corrupt(what: &'static str) -> CompressionProblem {
    CompressionProblem::Corrupt { codec: "lz4", what }
}
