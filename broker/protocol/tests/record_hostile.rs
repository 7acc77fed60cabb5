//! Damaged and made-up bytes: whatever they are, an error comes back, and memory stays bounded.

use std::path::Path;

use bytes::Bytes;
use milena_protocol::records::convert::{down, recompress, up};
use milena_protocol::records::legacy::Magic;
use milena_protocol::records::validate::{Rules, produced};
use milena_protocol::records::{BATCH_HEADER_SIZE, Compression, batches, crc32c, records};
use rand::{Rng, SeedableRng, rngs::StdRng};

const LIMIT: usize = 256 * 1024;
const ROUNDS: usize = 20_000;

fn rules() -> Rules {
    Rules {
        batch_size_max: 1024 * 1024,
        keys_required: false,
        timestamps: 0..=i64::MAX,
        open_compressed: true,
        decompressed_size_max: LIMIT,
    }
}

/// Does everything that the broker and the client do with records.
fn use_all(bytes: &Bytes, scratch: &mut Vec<u8>) {
    for version in [2, 13] {
        let _ = produced(bytes, version, &rules(), scratch);
    }
    assert!(records(bytes, LIMIT).count() <= bytes.len() + LIMIT);
    for magic in [Magic::V0, Magic::V1] {
        let _ = down(bytes, magic, 3, LIMIT);
    }
    if let Ok(batches) = up(bytes, None, LIMIT) {
        for (_, batch) in batches {
            produced(
                &batch,
                13,
                &Rules {
                    timestamps: i64::MIN..=i64::MAX,
                    ..rules()
                },
                scratch,
            )
            .unwrap();
        }
    }
    for (header, batch) in batches(bytes).flatten() {
        let _ = recompress(header, &batch, Compression::Snappy.into(), LIMIT);
    }
}

/// Makes the checksums right again, so that damage gets past them.
fn reseal(bytes: &mut [u8]) {
    let Some(size) = bytes
        .get(8..12)
        .map(|size| i32::from_be_bytes(size.try_into().unwrap()))
    else {
        return;
    };
    let end = (size.max(0) as usize).saturating_add(12).min(bytes.len());
    if bytes.len() >= BATCH_HEADER_SIZE && bytes[16] == 2 && end > 21 {
        let crc = crc32c(&bytes[21..end]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    } else if end > 16 {
        let crc = crc32fast::hash(&bytes[16..end]);
        bytes[12..16].copy_from_slice(&crc.to_be_bytes());
    }
}

fn damage(bytes: &mut Vec<u8>, random: &mut StdRng) {
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..bytes.len());
        // Most of what can lie stands at the front.
        let at = if random.random_bool(0.5) {
            at % 80 % bytes.len()
        } else {
            at
        };
        match random.random_range(0..6) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes[at] = 0xff,
            3 => bytes.truncate(at.max(1)),
            4 => bytes.insert(at, random.random()),
            _ => {
                let value: i32 = [i32::MAX, i32::MIN, -1, 0, 1 << 24][random.random_range(0..5)];
                for (slot, byte) in bytes[at..].iter_mut().zip(value.to_be_bytes()) {
                    *slot = byte;
                }
            }
        }
    }
}

#[test]
fn damaged_batches_and_sets_never_panic() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records");
    let mut seeds = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            seeds.push(std::fs::read(path).unwrap());
        }
    }
    let mut scratch = Vec::new();
    for round in 0..ROUNDS {
        let mut bytes = seeds[round % seeds.len()].clone();
        damage(&mut bytes, &mut random);
        if random.random_bool(0.8) {
            reseal(&mut bytes);
        }
        use_all(&bytes.into(), &mut scratch);
        assert!(scratch.capacity() <= 1024 * 1024);
    }
}

#[test]
fn noise_never_panics() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..ROUNDS {
        let mut bytes = vec![0; random.random_range(0..200)];
        random.fill(&mut bytes[..]);
        if bytes.len() > 16 {
            bytes[16] = (round % 3) as u8;
            let size = (bytes.len() as i32 - 12).to_be_bytes();
            bytes[8..12].copy_from_slice(&size);
            reseal(&mut bytes);
        }
        use_all(&bytes.into(), &mut Vec::new());
    }
}
