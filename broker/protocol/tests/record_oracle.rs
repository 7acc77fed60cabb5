//! Batches and message sets against another implementation of Kafka's format, with random records.

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as theirs;
use kafka_protocol_old::records as old;
use milena_protocol::records::legacy::{DeepMessages, Magic, NewMessage};
use milena_protocol::records::{
    BatchBuilder, BatchHeader, BatchOptions, Compression, DECOMPRESSED_SIZE_MAX, Header, Record,
    records,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

const ROUNDS: usize = 300;
const CODECS: [(Compression, theirs::Compression); 5] = [
    (Compression::None, theirs::Compression::None),
    (Compression::Gzip, theirs::Compression::Gzip),
    (Compression::Snappy, theirs::Compression::Snappy),
    (Compression::Lz4, theirs::Compression::Lz4),
    (Compression::Zstd, theirs::Compression::Zstd),
];

fn seeded() -> StdRng {
    let seed = rand::random();
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

fn random_bytes(random: &mut StdRng) -> Option<Bytes> {
    let len = [0, 1, 63, 64, 200, 9000][random.random_range(0..6)];
    let byte = random.random();
    random.random_bool(0.8).then(|| vec![byte; len].into())
}

/// Records from offset 0, timestamps up and down.
fn random_records(random: &mut StdRng) -> Vec<Record> {
    let count = random.random_range(1..30);
    (0..count)
        .map(|offset| Record {
            offset,
            timestamp: 1_600_000_000_000 + random.random_range(-100_000_000..100_000_000),
            key: random_bytes(random),
            value: random_bytes(random),
            headers: (0..random.random_range(0..4))
                .map(|at| Header {
                    key: format!("header-{at}").into(),
                    value: random_bytes(random),
                })
                .collect(),
        })
        .collect()
}

fn build(options: BatchOptions, records: &[Record]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for record in records {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder
            .push(record.timestamp, key, value, &record.headers)
            .unwrap();
    }
    builder.finish().unwrap()
}

fn to_theirs(record: &Record) -> theirs::Record {
    let headers = record.headers.iter().map(|header| {
        let key = String::from_utf8(header.key.to_vec()).unwrap();
        (StrBytes::from(key), header.value.clone())
    });
    theirs::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: 7,
        producer_epoch: 2,
        timestamp_type: theirs::TimestampType::Creation,
        offset: record.offset,
        sequence: 100 + record.offset as i32,
        timestamp: record.timestamp,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: IndexMap::from_iter(headers),
    }
}

#[test]
fn batches_are_read_and_written_as_the_oracle_does() {
    let mut random = seeded();
    for round in 0..ROUNDS {
        let (codec, their_codec) = CODECS[round % CODECS.len()];
        let written = random_records(&mut random);
        let same: Vec<_> = written.iter().map(to_theirs).collect();

        let mut encoded = BytesMut::new();
        let options = theirs::RecordEncodeOptions {
            version: 2,
            compression: their_codec,
        };
        theirs::RecordBatchEncoder::encode(&mut encoded, &same, &options).unwrap();
        let encoded = encoded.freeze();
        let header = BatchHeader::parse(&encoded).unwrap();
        assert_eq!((header.producer_id, header.base_sequence), (7, 100));
        let read: Vec<_> = records(&encoded, DECOMPRESSED_SIZE_MAX)
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(read, written);

        let ours = build(
            BatchOptions {
                codec: codec.into(),
                producer_id: 7,
                producer_epoch: 2,
                base_sequence: 100,
                ..BatchOptions::default()
            },
            &written,
        );
        // The oracle reads snappy as one raw block only; Kafka's own library reads the framing.
        if codec != Compression::Snappy {
            let set = theirs::RecordBatchDecoder::decode(&mut ours.clone()).unwrap();
            assert_eq!(set.records, same);
        }
    }
}

#[test]
fn message_sets_are_read_and_written_as_the_oracle_does() {
    let mut random = seeded();
    for round in 0..ROUNDS {
        let magic = [Magic::V0, Magic::V1][round % 2];
        let written: Vec<_> = random_records(&mut random)
            .into_iter()
            .map(|record| Record {
                offset: 0,
                timestamp: if magic == Magic::V0 {
                    -1
                } else {
                    record.timestamp
                },
                headers: Vec::new(),
                ..record
            })
            .collect();
        let same: Vec<_> = written.iter().map(to_old).collect();

        for compression in [
            old::Compression::None,
            old::Compression::Gzip,
            old::Compression::Snappy,
        ] {
            let mut encoded = BytesMut::new();
            let options = old::RecordEncodeOptions {
                version: magic as i8,
                compression,
            };
            old::RecordBatchEncoder::encode(&mut encoded, &same, &options).unwrap();
            let read: Vec<_> = DeepMessages::new(&encoded.freeze(), DECOMPRESSED_SIZE_MAX)
                .map(|message| message.unwrap().into_record())
                .collect();
            assert_eq!(read, written);
        }

        let mut ours = Vec::new();
        for record in &written {
            to_message(record).put(magic, &mut ours).unwrap();
        }
        let sets = old::RecordBatchDecoder::decode_all(&mut Bytes::from(ours)).unwrap();
        let read: Vec<_> = sets.into_iter().flat_map(|set| set.records).collect();
        assert_eq!(read, same);
    }
}

fn to_old(record: &Record) -> old::Record {
    old::Record {
        transactional: false,
        control: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: old::TimestampType::Creation,
        offset: record.offset,
        sequence: -1,
        timestamp: record.timestamp,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: Default::default(),
    }
}

fn to_message(record: &Record) -> NewMessage<'_> {
    NewMessage {
        offset: record.offset,
        compression: Compression::None,
        is_log_append_time: false,
        timestamp: record.timestamp,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
    }
}
