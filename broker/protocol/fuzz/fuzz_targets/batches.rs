//! Record batches and message sets: whatever the bytes, reading, checking and converting them neither
//! panics nor takes much memory, and what comes out of a conversion is valid.
//!
//! The input is what a produce request or a fetch response holds for a partition. It is used as it is, and
//! with the first checksum made right, without which no damage behind that would be reached.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use milena_protocol::records::convert::{down, recompress, up};
use milena_protocol::records::legacy::Magic;
use milena_protocol::records::validate::{Rules, produced};
use milena_protocol::records::{
    BATCH_HEADER_SIZE, BatchBuilder, BatchOptions, Compression, OpenBatch, batches, crc32c, records,
};

const LIMIT: usize = 1024 * 1024;

fuzz_target!(|data: &[u8]| {
    use_all(&Bytes::copy_from_slice(data));
    let mut sealed = data.to_vec();
    seal(&mut sealed);
    use_all(&sealed.into());
});

fn use_all(bytes: &Bytes) {
    check(bytes);
    read(bytes);
    convert(bytes);
}

fn rules() -> Rules {
    Rules {
        batch_size_max: LIMIT,
        keys_required: false,
        timestamps: i64::MIN..=i64::MAX,
        open_compressed: true,
        decompressed_size_max: LIMIT,
    }
}

/// Makes the checksum of the first batch or message right.
fn seal(bytes: &mut [u8]) {
    if bytes.len() < BATCH_HEADER_SIZE {
        return;
    }
    let size = i32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    let end = usize::try_from(size).map_or(0, |size| size.saturating_add(12).min(bytes.len()));
    if bytes[16] == 2 && end > 21 {
        let crc = crc32c(&bytes[21..end]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    } else if end > 16 {
        let crc = crc32fast::hash(&bytes[16..end]);
        bytes[12..16].copy_from_slice(&crc.to_be_bytes());
    }
}

/// What is accepted can be read, and has as many records as it says.
fn check(bytes: &Bytes) {
    let mut scratch = Vec::new();
    for version in [2, 13] {
        if let Ok(accepted) = produced(bytes, version, &rules(), &mut scratch) {
            let open = OpenBatch::open(accepted.header, bytes, LIMIT).unwrap();
            let read: Vec<_> = open.iter().map(Result::unwrap).collect();
            assert_eq!(read.len(), accepted.header.record_count as usize);
            assert_eq!(read.last().unwrap().offset, accepted.header.last_offset());
        }
    }
}

/// What can be read can be written and reads the same again.
fn read(bytes: &Bytes) {
    assert!(records(bytes, LIMIT).count() <= bytes.len() + LIMIT);
    for (header, batch) in batches(bytes).flatten() {
        let Ok(open) = OpenBatch::open(header, &batch, LIMIT) else {
            continue;
        };
        let Ok(read) = open.iter().collect::<Result<Vec<_>, _>>() else {
            continue;
        };
        let mut builder =
            BatchBuilder::new(BatchOptions::of(&header, Some(Compression::None.into())));
        let mut written = Vec::new();
        for (raw, record) in open.raw().flatten().zip(read) {
            if builder
                .append_raw(record.offset, record.timestamp, &raw)
                .is_ok()
            {
                written.push(record);
            }
        }
        let again = builder.finish().unwrap();
        if !header.is_control() {
            let again: Vec<_> = records(&again, usize::MAX).map(Result::unwrap).collect();
            assert_eq!(again, written);
        }
    }
}

fn convert(bytes: &Bytes) {
    for magic in [Magic::V0, Magic::V1] {
        if let Ok(set) = down(bytes, magic, i64::MIN, LIMIT) {
            assert!(records(&set, usize::MAX / 2).all(|record| record.is_ok()));
        }
    }
    for (_, batch) in up(bytes, None, LIMIT).unwrap_or_default() {
        produced(
            &batch,
            13,
            &Rules {
                batch_size_max: usize::MAX,
                ..rules()
            },
            &mut Vec::new(),
        )
        .unwrap();
    }
    for (header, batch) in batches(bytes).flatten() {
        let _ = recompress(header, &batch, Compression::Snappy.into(), LIMIT);
    }
}
