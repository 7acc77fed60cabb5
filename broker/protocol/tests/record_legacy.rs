//! Message sets of magic 0 and 1: what is refused, and what conversion does.

use bytes::Bytes;
use milena_protocol::ErrorCode;
use milena_protocol::records::compression::{Lz4Header, compress};
use milena_protocol::records::convert::{ConvertProblem, down, recompress, up};
use milena_protocol::records::legacy::{DeepMessages, LegacyProblem, Magic, Messages, NewMessage};
use milena_protocol::records::{
    BatchBuilder, BatchHeader, BatchOptions, Compression, DECOMPRESSED_SIZE_MAX, Record,
    RecordsProblem, records,
};

const LIMIT: usize = DECOMPRESSED_SIZE_MAX;
const NOW: i64 = 1_500_000_000_000;

fn plain(offset: i64, value: &[u8]) -> NewMessage<'_> {
    NewMessage {
        offset,
        compression: Compression::None,
        is_log_append_time: false,
        timestamp: NOW + offset,
        key: None,
        value: Some(value),
    }
}

fn set(magic: Magic, messages: &[NewMessage<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for message in messages {
        message.put(magic, &mut out).unwrap();
    }
    out
}

fn wrapper(magic: Magic, offset: i64, compression: Compression, inside: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    let header = match magic {
        Magic::V0 => Lz4Header::Magic0,
        Magic::V1 => Lz4Header::Standard,
    };
    compress(compression.into(), header, inside, &mut value).unwrap();
    let message = NewMessage {
        compression,
        ..plain(offset, &value)
    };
    set(magic, &[message])
}

fn read(bytes: &[u8]) -> Result<Vec<Record>, RecordsProblem> {
    records(&Bytes::copy_from_slice(bytes), LIMIT).collect()
}

fn up_problem(set: &[u8]) -> ConvertProblem {
    up(&Bytes::copy_from_slice(set), None, LIMIT).unwrap_err()
}

fn offsets(records: &[Record]) -> Vec<i64> {
    records.iter().map(|record| record.offset).collect()
}

#[test]
fn offsets_inside_a_wrapper_end_at_its_own() {
    let inside = set(Magic::V1, &[plain(0, b"a"), plain(1, b"b"), plain(5, b"c")]);
    let wrapped = wrapper(Magic::V1, 105, Compression::Gzip, &inside);
    assert_eq!(offsets(&read(&wrapped).unwrap()), [100, 101, 105]);
    let inside = set(Magic::V0, &[plain(100, b"a"), plain(105, b"c")]);
    let wrapped = wrapper(Magic::V0, 105, Compression::Lz4, &inside);
    assert_eq!(offsets(&read(&wrapped).unwrap()), [100, 105]);
}

#[test]
fn a_wrapper_with_the_brokers_time_gives_it_to_all_inside() {
    let inside = set(Magic::V1, &[plain(0, b"a"), plain(1, b"b")]);
    let wrapped = NewMessage {
        is_log_append_time: true,
        compression: Compression::Gzip,
        ..plain(1, &[])
    };
    let mut value = Vec::new();
    compress(
        Compression::Gzip.into(),
        Lz4Header::Standard,
        &inside,
        &mut value,
    )
    .unwrap();
    let wrapped = set(
        Magic::V1,
        &[NewMessage {
            value: Some(&value),
            ..wrapped
        }],
    );
    assert!(
        read(&wrapped)
            .unwrap()
            .iter()
            .all(|record| record.timestamp == NOW + 1)
    );
}

#[test]
fn a_set_is_cut_into_a_batch_per_wrapper_and_per_run() {
    let one = set(Magic::V1, &[plain(0, b"a"), plain(1, b"b")]);
    let bytes = [
        one.clone(),
        wrapper(Magic::V1, 1, Compression::Gzip, &one),
        wrapper(Magic::V1, 1, Compression::Snappy, &one),
        one,
    ];
    let batches = up(&bytes.concat().into(), None, LIMIT).unwrap();
    let codecs: Vec<_> = batches
        .iter()
        .map(|(header, _)| header.compression().unwrap())
        .collect();
    let (none, gzip, snappy) = (Compression::None, Compression::Gzip, Compression::Snappy);
    assert_eq!(codecs, [none, gzip, snappy, none]);
    for (header, batch) in &batches {
        assert_eq!((header.base_offset, header.last_offset_delta), (0, 1));
        assert_eq!(offsets(&read(batch).unwrap()), [0, 1]);
    }
    let batches = up(
        &bytes.concat().into(),
        Some(Compression::Zstd.into()),
        LIMIT,
    )
    .unwrap();
    assert!(
        batches
            .iter()
            .all(|(header, _)| header.compression() == Some(Compression::Zstd))
    );
}

#[test]
fn a_cut_set_is_refused_from_a_producer_and_ends_a_fetch() {
    let whole = set(Magic::V1, &[plain(0, b"first"), plain(1, b"second")]);
    let first = set(Magic::V1, &[plain(0, b"first")]).len();
    for cut in first + 1..whole.len() {
        let problem = up_problem(&whole[..cut]);
        assert_eq!(problem.code(), ErrorCode::CorruptMessage, "cut at {cut}");
        assert_eq!(offsets(&read(&whole[..cut]).unwrap()), [0], "cut at {cut}");
    }
}

#[test]
fn no_flipped_bit_behind_the_size_goes_unseen() {
    let whole = set(Magic::V0, &[plain(0, b"value")]);
    for at in 8..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        assert!(up(&bytes.into(), None, LIMIT).is_err(), "byte {at}");
    }
}

#[test]
fn what_the_format_does_not_allow_is_refused_with_its_code() {
    let one = set(Magic::V1, &[plain(0, b"a")]);
    let nested = wrapper(
        Magic::V1,
        0,
        Compression::Gzip,
        &wrapper(Magic::V1, 0, Compression::Gzip, &one),
    );
    let problem = |set: &[u8]| match up_problem(set) {
        ConvertProblem::Records(RecordsProblem::Legacy(problem)) => problem,
        other => panic!("{other:?}"),
    };
    assert_eq!(problem(&nested), LegacyProblem::Nested);
    assert_eq!(
        problem(&wrapper(Magic::V1, 0, Compression::Gzip, &[])),
        LegacyProblem::EmptyWrapper
    );
    let inner_v0 = set(Magic::V0, &[plain(0, b"a")]);
    assert_eq!(
        problem(&wrapper(Magic::V1, 0, Compression::Gzip, &inner_v0)),
        LegacyProblem::MixedMagic
    );
    assert_eq!(
        problem(&[one.clone(), inner_v0].concat()),
        LegacyProblem::MixedMagic
    );
    assert_eq!(
        problem(&wrapper(Magic::V1, 0, Compression::Zstd, &one)),
        LegacyProblem::BadCodec(4)
    );
    let null = set(
        Magic::V1,
        &[NewMessage {
            compression: Compression::Gzip,
            value: None,
            ..plain(0, b"")
        }],
    );
    assert_eq!(problem(&null), LegacyProblem::EmptyWrapper);
    let broker_time = set(
        Magic::V1,
        &[NewMessage {
            is_log_append_time: true,
            ..plain(0, b"")
        }],
    );
    assert_eq!(up_problem(&broker_time), ConvertProblem::LogAppendTime);
    assert_eq!(up_problem(&nested).code(), ErrorCode::InvalidRecord);
    assert_eq!(up_problem(&broker_time).code(), ErrorCode::InvalidTimestamp);
}

#[test]
fn sizes_that_lie_are_refused() {
    let whole = set(Magic::V1, &[plain(0, b"value")]);
    for size in [i32::MIN, -1, 0, 13, 21] {
        let mut bytes = whole.clone();
        bytes[8..12].copy_from_slice(&size.to_be_bytes());
        assert!(
            Messages::new(&bytes.into()).next().unwrap().is_err(),
            "{size}"
        );
    }
    let mut bytes = whole;
    bytes[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    assert_eq!(
        Messages::new(&bytes.into()).next(),
        Some(Err(LegacyProblem::Truncated))
    );
}

#[test]
fn all_wrappers_of_a_set_share_one_limit() {
    let zeros = vec![0; 1_000_000];
    let inside = set(Magic::V1, &[plain(0, &zeros)]);
    let bytes: Bytes = wrapper(Magic::V1, 0, Compression::Gzip, &inside)
        .repeat(10)
        .into();
    assert!(up(&bytes, None, 11_000_000).is_ok());
    let problem = up(&bytes, None, 5_000_000).unwrap_err();
    assert_eq!(problem.code(), ErrorCode::MessageTooLarge);
    let read = DeepMessages::new(&bytes, 5_000_000)
        .filter(Result::is_ok)
        .count();
    assert_eq!(read, 4);
}

fn batch(base_offset: i64, options: BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset,
        ..options
    });
    for i in 0..3 {
        builder.push(NOW + i, Some(b"k"), Some(b"v"), &[]).unwrap();
    }
    builder.finish().unwrap()
}

fn codec(compression: Compression) -> BatchOptions {
    BatchOptions {
        codec: compression.into(),
        ..BatchOptions::default()
    }
}

#[test]
fn an_old_consumer_gets_its_offset_on_and_whole_wrappers() {
    let bytes = [
        batch(10, codec(Compression::None)),
        batch(13, codec(Compression::Gzip)),
    ]
    .concat();
    let set = down(&bytes.into(), Magic::V1, 11, LIMIT).unwrap();
    assert_eq!(offsets(&read(&set).unwrap()), [11, 12, 13, 14, 15]);
    let bytes = batch(10, codec(Compression::Gzip));
    let set = down(&bytes, Magic::V0, 12, LIMIT).unwrap();
    assert_eq!(offsets(&read(&set).unwrap()), [10, 11, 12]);
}

#[test]
fn control_and_empty_batches_have_no_old_form() {
    let control = BatchOptions {
        is_control: true,
        ..BatchOptions::default()
    };
    let full = batch(13, BatchOptions::default());
    let empty = milena_protocol::records::empty_batch(&BatchHeader::parse(&full).unwrap());
    let bytes = [
        batch(10, control),
        empty,
        batch(16, BatchOptions::default()),
    ]
    .concat();
    let set = down(&bytes.into(), Magic::V0, 0, LIMIT).unwrap();
    assert_eq!(offsets(&read(&set).unwrap()), [16, 17, 18]);
}

#[test]
fn zstd_has_no_old_form_but_what_lies_before_it_is_read() {
    let zstd = batch(13, codec(Compression::Zstd));
    let problem = down(&zstd, Magic::V1, 0, LIMIT).unwrap_err();
    assert_eq!(problem.code(), ErrorCode::UnsupportedCompressionType);
    let bytes = [batch(10, codec(Compression::Gzip)), zstd].concat();
    let set = down(&bytes.into(), Magic::V1, 0, LIMIT).unwrap();
    assert_eq!(offsets(&read(&set).unwrap()), [10, 11, 12]);
}

#[test]
fn a_topics_own_codec_changes_nothing_else() {
    let options = BatchOptions {
        producer_id: 4,
        producer_epoch: 1,
        base_sequence: 8,
        ..codec(Compression::Gzip)
    };
    let before = batch(0, options);
    let header = BatchHeader::parse(&before).unwrap();
    for compression in [Compression::None, Compression::Zstd, Compression::Gzip] {
        let (header, after) = recompress(header, &before, compression.into(), LIMIT).unwrap();
        let wanted = BatchOptions {
            codec: compression.into(),
            ..options
        };
        assert_eq!(after, batch(0, wanted));
        assert_eq!(BatchHeader::parse(&after), Ok(header));
    }
}
