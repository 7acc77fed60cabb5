//! The codecs: everything that clients write is read, and nothing grows beyond its limit.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use milena_protocol::records::Compression;
use milena_protocol::records::compression::{
    Codec, CompressionProblem, Lz4Header, compress, decompress, recode,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

const CODECS: [Compression; 4] = [
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];
const LIMIT: usize = 8 * 1024 * 1024;

fn packed(codec: impl Into<Codec>, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(codec.into(), Lz4Header::Standard, input, &mut out).unwrap();
    out
}

fn open(codec: Compression, input: &[u8], limit: usize) -> Result<Vec<u8>, CompressionProblem> {
    let mut out = Vec::new();
    let done = decompress(codec, Lz4Header::Standard, input, limit, &mut out);
    // Some slack for the doubling of a vector.
    assert!(
        out.capacity() <= 2 * limit + 64 * 1024,
        "{}",
        out.capacity()
    );
    done.map(|()| out)
}

fn text(len: usize) -> Vec<u8> {
    b"the same again and again; "
        .iter()
        .copied()
        .cycle()
        .take(len)
        .collect()
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(7).fill(&mut bytes[..]);
    bytes
}

#[test]
fn every_codec_opens_what_it_packed() {
    for codec in CODECS {
        for len in [
            0,
            1,
            100,
            32_767,
            32_768,
            32_769,
            65_535,
            65_536,
            65_537,
            1 << 20,
        ] {
            for input in [text(len), noise(len)] {
                assert!(
                    open(codec, &packed(codec, &input), LIMIT).as_ref() == Ok(&input),
                    "{codec:?} {len}"
                );
            }
        }
    }
}

#[test]
fn levels_are_brought_into_range_and_matter() {
    for compression in CODECS {
        for level in [i32::MIN, -1, 1, 9, i32::MAX] {
            let codec = Codec {
                compression,
                level: Some(level),
            };
            let input = text(10_000);
            assert_eq!(open(compression, &packed(codec, &input), LIMIT), Ok(input));
        }
    }
    let input: Vec<u8> = noise(50_000).into_iter().map(|byte| byte & 0x0f).collect();
    for (compression, low, high) in [(Compression::Gzip, 1, 9), (Compression::Zstd, -50, 19)] {
        let at = |level| {
            packed(
                Codec {
                    compression,
                    level: Some(level),
                },
                &input,
            )
            .len()
        };
        assert!(at(high) < at(low), "{compression:?}");
    }
}

#[test]
fn the_limit_is_exact() {
    for codec in CODECS {
        for len in [1, 1000, 70_000, 300_000] {
            for input in [text(len), noise(len)] {
                let packed = packed(codec, &input);
                assert!(open(codec, &packed, len).is_ok(), "{codec:?} {len}");
                let limit = len - 1;
                let refused = Err(CompressionProblem::TooLarge { limit });
                assert_eq!(open(codec, &packed, limit), refused, "{codec:?} {len}");
            }
        }
    }
}

#[test]
fn a_bomb_is_refused_before_it_takes_memory() {
    let zeros = vec![0; 16 * 1024 * 1024];
    for codec in CODECS {
        let bomb = packed(codec, &zeros);
        let limit = 100_000;
        // `open` checks the memory that was taken.
        assert_eq!(
            open(codec, &bomb, limit),
            Err(CompressionProblem::TooLarge { limit })
        );
    }
}

#[test]
fn a_snappy_length_that_lies_allocates_nothing() {
    // A raw block that claims 4 GiB - 1, and one that claims 8 MiB.
    for claim in [
        &[0xff, 0xff, 0xff, 0xff, 0x0f, 0][..],
        &[0x80, 0x80, 0x80, 0x04, 0],
    ] {
        let mut out = Vec::new();
        let done = decompress(
            Compression::Snappy,
            Lz4Header::Standard,
            claim,
            LIMIT,
            &mut out,
        );
        assert!(matches!(done, Err(CompressionProblem::Corrupt { .. })));
        assert_eq!(out.capacity(), 0);
    }
}

#[test]
fn snappy_is_read_raw_and_in_several_streams() {
    let input = text(100_000);
    let raw = snap::raw::Encoder::new().compress_vec(&input).unwrap();
    assert!(open(Compression::Snappy, &raw, LIMIT).as_ref() == Ok(&input));
    let stream = packed(Compression::Snappy, &input);
    let twice = [&stream[..], &stream[..]].concat();
    assert_eq!(
        open(Compression::Snappy, &twice, LIMIT),
        Ok([&input[..], &input[..]].concat())
    );
}

#[test]
fn lz4_is_read_with_every_flag() {
    let input = [text(150_000), noise(150_000), text(600_000)].concat();
    let sizes = [
        BlockSize::Max64KB,
        BlockSize::Max256KB,
        BlockSize::Max1MB,
        BlockSize::Max4MB,
    ];
    for flags in 0..32_usize {
        let frame = FrameInfo::new()
            .block_size(sizes[flags % 4])
            .block_mode(if flags & 1 == 0 {
                BlockMode::Linked
            } else {
                BlockMode::Independent
            })
            .block_checksums(flags & 4 != 0)
            .content_checksum(flags & 8 != 0)
            .content_size((flags & 16 != 0).then_some(input.len() as u64));
        let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
        encoder.write_all(&input).unwrap();
        let packed = encoder.finish().unwrap();
        assert!(
            open(Compression::Lz4, &packed, LIMIT).as_ref() == Ok(&input),
            "flags {flags:#x}"
        );
        let twice = [&packed[..], &packed[..]].concat();
        assert_eq!(
            open(Compression::Lz4, &twice, 2 * LIMIT).unwrap().len(),
            2 * input.len()
        );
        // A checksum that is there is checked.
        if flags & 12 != 0 {
            let mut wrong = packed.clone();
            let end = wrong.len();
            wrong[end - 5 - if flags & 8 != 0 { 0 } else { 1 }] ^= 1;
            assert!(open(Compression::Lz4, &wrong, LIMIT).as_ref() != Ok(&input));
        }
    }
}

#[test]
fn gzip_members_and_zstd_frames_may_follow_each_other() {
    let input = text(50_000);
    for codec in [Compression::Gzip, Compression::Zstd] {
        let one = packed(codec, &input);
        let twice = [&one[..], &one[..]].concat();
        assert_eq!(
            open(codec, &twice, LIMIT),
            Ok([&input[..], &input[..]].concat())
        );
    }
}

#[test]
fn zstd_needs_no_content_size() {
    let input = text(3_000_000);
    let packed = zstd::stream::encode_all(&input[..], 19).unwrap();
    assert!(open(Compression::Zstd, &packed, LIMIT).as_ref() == Ok(&input));
}

#[test]
fn cut_input_is_corrupt_in_every_codec_wherever_it_is_cut() {
    for codec in CODECS {
        let packed = packed(codec, &noise(300));
        for cut in 1..packed.len() {
            let done = open(codec, &packed[..cut], LIMIT);
            // Behind the xerial header, snappy has a whole stream without blocks.
            let is_empty_stream = codec == Compression::Snappy && cut == 16;
            assert!(is_empty_stream || done.is_err(), "{codec:?} cut at {cut}");
        }
    }
}

#[test]
fn a_codec_is_exchanged_for_another_whatever_the_size() {
    let targets = [Compression::None].into_iter().chain(CODECS);
    for (from, to) in CODECS
        .iter()
        .flat_map(|from| targets.clone().map(move |to| (*from, to)))
    {
        for len in [0, 1, 100_000, 1 << 20, (1 << 20) + 1, 3_000_000] {
            let (input, mut out) = (text(len), Vec::new());
            recode(from, &packed(from, &input), to.into(), LIMIT, &mut out).unwrap();
            assert!(
                open(to, &out, LIMIT).unwrap() == input,
                "{from:?} to {to:?}, {len}"
            );
        }
    }
}

#[test]
fn exchanging_a_codec_keeps_to_its_limit() {
    for (from, limit) in CODECS
        .iter()
        .flat_map(|from| [(*from, 1000), (*from, 2 << 20)])
    {
        let bytes = packed(from, &text(limit));
        for (limit, fits) in [(limit, true), (limit - 1, false)] {
            let mut out = Vec::new();
            let done = recode(from, &bytes, Compression::Lz4.into(), limit, &mut out);
            let wanted = match fits {
                true => Ok(()),
                false => Err(CompressionProblem::TooLarge { limit }),
            };
            assert_eq!(done, wanted, "{from:?}");
        }
    }
}
