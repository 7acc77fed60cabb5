//! Building, reading and validating magic 2 batches.

use bytes::Bytes;
use milena_protocol::ErrorCode;
use milena_protocol::records::validate::{Accepted, RecordRefusal, Refusal, Rules, produced};
use milena_protocol::records::{
    BATCH_HEADER_SIZE, BatchBuilder, BatchHeader, BatchOptions, BatchProblem, Compression,
    DECOMPRESSED_SIZE_MAX, Header, OpenBatch, Record, RecordProblem, batches, crc32c, empty_batch,
    records,
};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];
const NOW: i64 = 1_700_000_000_000;
const ANY_VERSION: i16 = 13;

fn rules() -> Rules {
    Rules {
        batch_size_max: 1024 * 1024,
        keys_required: false,
        timestamps: i64::MIN..=i64::MAX,
        open_compressed: true,
        decompressed_size_max: DECOMPRESSED_SIZE_MAX,
    }
}

fn check(batch: &Bytes, rules: &Rules) -> Result<Accepted, Refusal> {
    produced(batch, ANY_VERSION, rules, &mut Vec::new())
}

fn header(key: &'static str, value: Option<&'static str>) -> Header {
    Header {
        key: Bytes::from_static(key.as_bytes()),
        value: value.map(|value| Bytes::from_static(value.as_bytes())),
    }
}

/// Five records of every shape.
fn build(options: BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    let headers = [header("a", Some("1")), header("", None)];
    let long = vec![b'x'; 10_000];
    builder.push(NOW, Some(b"k"), Some(b"v"), &headers).unwrap();
    builder.push(NOW + 5, None, Some(b""), &[]).unwrap();
    builder.push(NOW - 7, Some(b""), None, &[]).unwrap();
    builder.push(NOW, None, None, &headers).unwrap();
    builder
        .push(NOW + 300, Some(&long), Some(&long), &[])
        .unwrap();
    builder.finish().unwrap()
}

fn with_codec(compression: Compression) -> BatchOptions {
    BatchOptions {
        codec: compression.into(),
        ..BatchOptions::default()
    }
}

/// The batch with its header changed and the CRC made right again.
fn tampered(batch: &Bytes, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(batch).unwrap();
    change(&mut header);
    let mut bytes = batch.to_vec();
    bytes[..BATCH_HEADER_SIZE].copy_from_slice(&header.to_bytes());
    seal(bytes)
}

fn seal(mut bytes: Vec<u8>) -> Bytes {
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

fn read(bytes: &Bytes) -> Vec<Record> {
    records(bytes, DECOMPRESSED_SIZE_MAX)
        .collect::<Result<_, _>>()
        .unwrap()
}

#[test]
fn a_batch_reads_back_what_was_pushed_in_every_codec() {
    for compression in CODECS {
        let batch = build(BatchOptions {
            base_offset: 100,
            ..with_codec(compression)
        });
        let read = read(&batch);
        let offsets: Vec<_> = read.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, [100, 101, 102, 103, 104], "{compression:?}");
        assert_eq!(read[0].headers, [header("a", Some("1")), header("", None)]);
        assert_eq!(read[0].key.as_deref(), Some(&b"k"[..]));
        assert_eq!((read[1].key.clone(), read[1].timestamp), (None, NOW + 5));
        assert_eq!((read[2].value.clone(), read[2].timestamp), (None, NOW - 7));
        assert_eq!(read[4].value.as_ref().unwrap().len(), 10_000);
    }
}

#[test]
fn a_clients_batch_is_accepted_with_its_largest_timestamp() {
    for compression in CODECS {
        let batch = build(with_codec(compression));
        let accepted = check(&batch, &rules()).unwrap();
        assert_eq!(accepted.max_timestamp, NOW + 300);
        assert_eq!(accepted.header, BatchHeader::parse(&batch).unwrap());
    }
}

#[test]
fn a_max_timestamp_that_a_client_left_out_is_found_and_mended() {
    for compression in CODECS {
        let batch = tampered(&build(with_codec(compression)), |header| {
            header.max_timestamp = -1
        });
        let rules = Rules {
            open_compressed: false,
            ..rules()
        };
        let accepted = check(&batch, &rules).unwrap();
        assert_eq!(accepted.max_timestamp, NOW + 300);
        let mended = accepted
            .header
            .with_max_timestamp(&batch, accepted.max_timestamp)
            .unwrap();
        assert_eq!(
            mended.to_bytes(),
            build(with_codec(compression))[..BATCH_HEADER_SIZE]
        );
    }
}

#[test]
fn log_append_time_counts_for_every_record() {
    let batch = build(BatchOptions::default());
    let header = BatchHeader::parse(&batch).unwrap();
    let header = header.with_log_append_time(&batch, 42).unwrap();
    let mut stored = batch.to_vec();
    stored[..BATCH_HEADER_SIZE].copy_from_slice(&header.to_bytes());
    assert!(
        read(&stored.into())
            .iter()
            .all(|record| record.timestamp == 42)
    );
}

#[test]
fn offsets_may_leave_gaps_and_end_beyond_the_last_record() {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: 10,
        ..BatchOptions::default()
    });
    builder.append(12, NOW, None, None, &[]).unwrap();
    builder.append(19, NOW, None, None, &[]).unwrap();
    assert!(builder.append(19, NOW, None, None, &[]).is_err());
    assert!(
        builder
            .append(10 + (1 << 31), NOW, None, None, &[])
            .is_err()
    );
    builder.extend_to(30).unwrap();
    let batch = builder.finish().unwrap();
    assert_eq!(BatchHeader::parse(&batch).unwrap().last_offset(), 30);
    let offsets: Vec<_> = read(&batch).iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [12, 19]);
}

#[test]
fn a_rewritten_batch_keeps_what_compaction_must_keep() {
    let batch = build(BatchOptions {
        base_offset: 50,
        partition_leader_epoch: 3,
        producer_id: 9,
        producer_epoch: 1,
        base_sequence: 7,
        is_transactional: true,
        delete_horizon: Some(NOW + 1000),
        ..with_codec(Compression::Lz4)
    });
    let header = BatchHeader::parse(&batch).unwrap();
    let open = OpenBatch::open(header, &batch, DECOMPRESSED_SIZE_MAX).unwrap();
    let mut builder = BatchBuilder::new(BatchOptions::of(&header, None));
    for raw in open.raw() {
        let raw = raw.unwrap();
        builder
            .append_raw(header.offset_of(&raw), header.timestamp_of(&raw), &raw)
            .unwrap();
    }
    assert_eq!(builder.finish().unwrap(), batch);
    assert_eq!(header.delete_horizon(), Some(NOW + 1000));
}

#[test]
fn an_empty_batch_holds_the_place_of_its_offsets_and_sequence() {
    let batch = build(BatchOptions {
        base_offset: 50,
        producer_id: 9,
        producer_epoch: 1,
        base_sequence: 7,
        ..with_codec(Compression::Zstd)
    });
    let full = BatchHeader::parse(&batch).unwrap();
    let empty = empty_batch(&full);
    let header = BatchHeader::parse(&empty).unwrap();
    header.check_crc(&empty).unwrap();
    assert_eq!(empty.len(), BATCH_HEADER_SIZE);
    assert_eq!(header.record_count, 0);
    assert_eq!(header.compression(), Some(Compression::None));
    assert_eq!(header.last_offset(), full.last_offset());
    assert_eq!((header.producer_id, header.base_sequence), (9, 7));
    assert!(read(&empty).is_empty());
}

#[test]
fn control_batches_are_hidden_from_consumers() {
    let control = build(BatchOptions {
        is_control: true,
        ..BatchOptions::default()
    });
    let bytes = [control, build(BatchOptions::default())].concat().into();
    assert_eq!(read(&bytes).len(), 5);
}

#[test]
fn a_last_batch_that_is_cut_short_ends_a_fetch_without_an_error() {
    let batch = build(BatchOptions::default());
    let bytes = [&batch[..], &batch[..]].concat();
    for cut in [1, 16, 17, 60, 61, batch.len() - 1] {
        let bytes = Bytes::copy_from_slice(&bytes[..batch.len() + cut]);
        assert_eq!(read(&bytes).len(), 5);
        let found: Vec<_> = batches(&bytes).collect();
        assert!(found[0].is_ok());
        assert!(matches!(found[1], Err(BatchProblem::Truncated { .. })));
        assert_eq!(found.len(), 2);
    }
}

#[test]
fn each_lie_in_a_header_is_refused_with_kafkas_code() {
    let batch = build(BatchOptions::default());
    let refused = |change: fn(&mut BatchHeader), code| {
        let refusal = check(&tampered(&batch, change), &rules()).unwrap_err();
        assert_eq!(refusal.code(), code, "{refusal}");
    };
    refused(|header| header.record_count = 0, ErrorCode::InvalidRecord);
    refused(|header| header.record_count = -1, ErrorCode::InvalidRecord);
    refused(
        |header| header.last_offset_delta = 9,
        ErrorCode::InvalidRecord,
    );
    let count = |header: &mut BatchHeader, count| {
        (header.record_count, header.last_offset_delta) = (count, count - 1);
    };
    refused(|header| header.base_offset = 1, ErrorCode::InvalidRecord);
    refused(|header| header.attributes = 5, ErrorCode::InvalidRecord);
    refused(|header| header.attributes = 0x20, ErrorCode::InvalidRecord);
    refused(|header| header.attributes = 0x10, ErrorCode::InvalidRecord);
    refused(
        |header| header.attributes = 0x08,
        ErrorCode::InvalidTimestamp,
    );
    refused(|header| header.attributes = 1, ErrorCode::CorruptMessage);
    refused(|header| header.producer_id = -2, ErrorCode::InvalidRecord);
    refused(|header| header.producer_id = 5, ErrorCode::InvalidRecord);
    refused(|header| header.batch_length -= 1, ErrorCode::InvalidRecord);
    refused(|header| header.batch_length += 1, ErrorCode::CorruptMessage);
    refused(|header| header.batch_length = -5, ErrorCode::CorruptMessage);
    for lie in [4, 6, i32::MAX] {
        let refusal = check(&tampered(&batch, |header| count(header, lie)), &rules());
        assert_eq!(refusal.unwrap_err().code(), ErrorCode::InvalidRecord);
    }
}

#[test]
fn no_flipped_bit_behind_the_leader_epoch_goes_unseen() {
    let batch = build(BatchOptions::default());
    for at in 16..batch.len() {
        let mut bytes = batch.to_vec();
        bytes[at] ^= 0x40;
        assert!(check(&bytes.into(), &rules()).is_err(), "byte {at}");
    }
    let mut bytes = batch.to_vec();
    bytes[70] ^= 1;
    let refusal = check(&bytes.into(), &rules()).unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::CorruptMessage);
}

#[test]
fn a_request_holds_exactly_one_batch() {
    let batch = build(BatchOptions::default());
    let twice = [&batch[..], &batch[..]].concat().into();
    assert_eq!(
        check(&twice, &rules()),
        Err(Refusal::ManyBatches(batch.len()))
    );
    assert_eq!(check(&Bytes::new(), &rules()), Err(Refusal::NoBatch));
    let small = Rules {
        batch_size_max: batch.len() - 1,
        ..rules()
    };
    let refusal = check(&batch, &small).unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::MessageTooLarge);
}

#[test]
fn zstd_needs_version_7() {
    let batch = build(with_codec(Compression::Zstd));
    let refusal = produced(&batch, 6, &rules(), &mut Vec::new()).unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::UnsupportedCompressionType);
    assert!(produced(&batch, 7, &rules(), &mut Vec::new()).is_ok());
}

#[test]
fn records_out_of_order_are_refused() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(1, NOW, None, None, &[]).unwrap();
    builder.append(2, NOW, None, None, &[]).unwrap();
    let batch = tampered(&builder.finish().unwrap(), |header| {
        header.last_offset_delta = 1
    });
    let problem = RecordProblem::BadOffsetDelta {
        found: 1,
        expected: 0,
    };
    assert_eq!(check(&batch, &rules()), Err(Refusal::Record(problem)));
}

#[test]
fn a_compacted_topic_names_each_record_without_a_key() {
    for compression in CODECS {
        let rules = Rules {
            keys_required: true,
            open_compressed: false,
            ..rules()
        };
        let refusal = check(&build(with_codec(compression)), &rules).unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::InvalidRecord);
        let Refusal::Records(refused) = refusal else {
            panic!("{refusal}");
        };
        let indexes: Vec<_> = refused.iter().map(|refused| refused.index).collect();
        assert_eq!(indexes, [1, 3]);
        assert!(
            refused
                .iter()
                .all(|refused| refused.reason == RecordRefusal::NoKey)
        );
    }
}

#[test]
fn a_timestamp_out_of_range_is_refused_and_a_missing_one_is_not() {
    for compression in CODECS {
        let rules = Rules {
            timestamps: NOW - 10..=NOW + 10,
            open_compressed: false,
            ..rules()
        };
        let refusal = check(&build(with_codec(compression)), &rules).unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::InvalidTimestamp);
        assert!(
            matches!(&refusal, Refusal::Records(refused) if refused.len() == 1 && refused[0].index == 4)
        );
        let mut builder = BatchBuilder::new(with_codec(compression));
        builder.push(-1, None, Some(b"v"), &[]).unwrap();
        assert!(check(&builder.finish().unwrap(), &rules).is_ok());
    }
}

#[test]
fn a_compressed_batch_stays_closed_unless_the_topic_asks() {
    let mut builder = BatchBuilder::new(with_codec(Compression::Gzip));
    builder.push(NOW, None, Some(b"v"), &[]).unwrap();
    let mut bytes = builder.finish().unwrap().to_vec();
    bytes.truncate(BATCH_HEADER_SIZE);
    bytes.extend_from_slice(b"no gzip");
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let batch = seal(bytes);
    let closed = Rules {
        open_compressed: false,
        ..rules()
    };
    assert!(check(&batch, &closed).is_ok());
    assert_eq!(
        check(&batch, &rules()).unwrap_err().code(),
        ErrorCode::CorruptMessage
    );
}
