//! What Apache Kafka's own library wrote (see `fixtures/records`) is read, checked and converted.

use std::path::Path;

use bytes::Bytes;
use milena_protocol::records::compression::Lz4Header;
use milena_protocol::records::convert::{down, up};
use milena_protocol::records::legacy::Magic;
use milena_protocol::records::{
    BatchHeader, Compression, DECOMPRESSED_SIZE_MAX, Header, Record, compression, records,
};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

fn fixture(magic: i8, codec: &str) -> Bytes {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records");
    std::fs::read(folder.join(format!("magic{magic}-{codec}.bin")))
        .unwrap()
        .into()
}

fn wanted(magic: i8) -> Vec<Record> {
    (0..40).map(|i| wanted_record(magic, i)).collect()
}

fn wanted_record(magic: i8, i: i64) -> Record {
    let header = |key: String, value: Option<String>| Header {
        key: key.into(),
        value: value.map(Into::into),
    };
    let headers = vec![
        header(format!("h{i}"), Some(format!("x{i}"))),
        header("n".into(), None),
    ];
    Record {
        offset: 1000 + i + if i >= 20 { 7 } else { 0 },
        timestamp: if magic == 0 {
            -1
        } else {
            1_700_000_000_000 + i * 10
        },
        key: (i % 4 != 0).then(|| format!("key-{i}").into()),
        value: (i % 5 != 4).then(|| format!("value {i} ").repeat(i as usize).into()),
        headers: if magic == 2 && i % 3 == 0 {
            headers
        } else {
            Vec::new()
        },
    }
}

fn read(bytes: &Bytes) -> Vec<Record> {
    records(bytes, DECOMPRESSED_SIZE_MAX)
        .collect::<Result<_, _>>()
        .unwrap()
}

#[test]
fn kafkas_own_bytes_read_as_they_were_written() {
    for magic in 0..=2 {
        for codec in CODECS
            .iter()
            .filter(|&&codec| magic == 2 || codec != "zstd")
        {
            assert_eq!(
                read(&fixture(magic, codec)),
                wanted(magic),
                "magic {magic}, {codec}"
            );
        }
    }
}

#[test]
fn an_old_set_becomes_batches_of_the_same_codec() {
    for magic in 0..=1 {
        for codec in &CODECS[..4] {
            let batches = up(&fixture(magic, codec), None, DECOMPRESSED_SIZE_MAX).unwrap();
            assert_eq!(
                batches.len(),
                1,
                "one wrapper, or one run of plain messages"
            );
            let (header, batch) = &batches[0];
            header.check_crc(batch).unwrap();
            assert_eq!(CODECS[header.compression().unwrap() as usize], *codec);
            let offsets_anew = wanted(magic)
                .into_iter()
                .zip(0..)
                .map(|(record, offset)| Record { offset, ..record });
            assert_eq!(read(batch), offsets_anew.collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_batch_becomes_an_old_set_that_loses_only_headers() {
    for (magic, format) in [(0, Magic::V0), (1, Magic::V1)] {
        for codec in &CODECS[..4] {
            let set = down(&fixture(2, codec), format, 0, DECOMPRESSED_SIZE_MAX).unwrap();
            assert_eq!(set[16] as i8, magic);
            assert_eq!(read(&set), wanted(magic), "magic {magic}, {codec}");
        }
    }
}

#[test]
fn uncompressed_bytes_are_kafkas_own_to_the_last_bit() {
    for (magic, format) in [(0, Magic::V0), (1, Magic::V1)] {
        let set = down(&fixture(2, "none"), format, 0, DECOMPRESSED_SIZE_MAX).unwrap();
        assert_eq!(set, fixture(magic, "none"));
    }
}

#[test]
fn magic_0s_lz4_header_is_the_wrong_one_that_its_clients_know() {
    let theirs = fixture(0, "lz4");
    let at = theirs
        .windows(4)
        .position(|window| window == [4, 0x22, 0x4d, 0x18])
        .unwrap();
    let mut ours = Vec::new();
    let codec = Compression::Lz4.into();
    compression::compress(codec, Lz4Header::Magic0, b"any", &mut ours).unwrap();
    assert_eq!(ours[..7], theirs[at..at + 7]);
    let mut out = Vec::new();
    let open = |header, out: &mut Vec<u8>| {
        compression::decompress(Compression::Lz4, header, &theirs[at..], 1 << 20, out)
    };
    assert!(open(Lz4Header::Standard, &mut out).is_err());
    assert!(open(Lz4Header::Magic0, &mut out).is_ok());
}

#[test]
fn headers_of_kafkas_own_batches_are_understood() {
    let header = BatchHeader::parse(&fixture(2, "zstd")).unwrap();
    assert_eq!((header.base_offset, header.last_offset()), (1000, 1046));
    assert_eq!(header.record_count, 40);
    assert_eq!(header.max_timestamp, 1_700_000_000_390);
    header.check_crc(&fixture(2, "zstd")).unwrap();
}
