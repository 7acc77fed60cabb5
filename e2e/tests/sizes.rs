//! Records of every size, in every codec.

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::load::{batch, create_topic, fetch_one, produce_one};
use e2e::wire::Wire;
use milena_protocol::ErrorCode;
use milena_protocol::records::{Compression, batches, records};

const TOPIC: &str = "sizes";
const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];
/// The default of `max.message.bytes`: a batch with its header.
const BATCH_SIZE_MAX: usize = 1_048_588;
/// Room for a value of a mebibyte with all that stands around it, also where a codec makes it larger.
const LARGER_SIZE_MAX: &str = "2097152";
/// What a batch with one record takes besides a value of that size: header, lengths, deltas.
const ONE_RECORD_OVERHEAD: usize = 61 + 4 + 1 + 1 + 1 + 1 + 4 + 1;

/// Bytes that no codec makes smaller.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size);
    for _ in 0..size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.push(state as u8);
    }
    bytes
}

/// Produces one batch and fetches it again.
fn round_trip(wire: &mut Wire, values: &[Option<&[u8]>], compression: Compression) -> Result<()> {
    let base = produce_one(wire, TOPIC, 0, batch(values, compression))??;
    let fetched = fetch_one(wire, TOPIC, 0, base)??;
    let (header, _) = batches(&fetched).next().context("nothing fetched")??;
    ensure!(header.compression() == Some(compression), "another codec");
    let read: Vec<_> = records(&fetched, 64 << 20).collect::<Result<_, _>>()?;
    ensure!(read.len() == values.len(), "{} records", read.len());
    for (at, (record, value)) in read.iter().zip(values).enumerate() {
        ensure!(
            record.offset == base + at as i64,
            "offset {}",
            record.offset
        );
        ensure!(record.value.as_deref() == *value, "record {at} differs");
    }
    Ok(())
}

#[test]
fn records_of_every_size_come_back_in_every_codec() -> Result<()> {
    let broker = Broker::start(&[])?;
    create_topic(
        &broker.bootstrap(),
        TOPIC,
        1,
        &[("max.message.bytes", LARGER_SIZE_MAX)],
    )?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    let (text, mebibyte) = (b"words ".repeat(2000), noise(1 << 20));
    let many = vec![Some(&b"small"[..]); 5000];
    for codec in CODECS {
        let mut check = |what: &str, values: &[Option<&[u8]>]| {
            round_trip(&mut wire, values, codec).with_context(|| format!("{what} by {codec:?}"))
        };
        check("one record", &[Some(b"one")])?;
        check("an empty value", &[Some(b"")])?;
        check("a null value", &[None])?;
        check(
            "values, empty and null",
            &[Some(b"a"), None, Some(b""), Some(b"b")],
        )?;
        check("text", &[Some(&text)])?;
        check("many records", &many)?;
        check("a mebibyte", &[Some(&mebibyte)])?;
    }
    Ok(())
}

#[test]
fn the_largest_batch_is_taken_and_one_byte_more_is_refused() -> Result<()> {
    let broker = Broker::start(&[])?;
    create_topic(&broker.bootstrap(), TOPIC, 1, &[])?;
    create_topic(
        &broker.bootstrap(),
        "small",
        1,
        &[("max.message.bytes", "1000")],
    )?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    let bytes = noise(BATCH_SIZE_MAX);
    let fitting = (0..64)
        .map(|less| BATCH_SIZE_MAX - ONE_RECORD_OVERHEAD + 32 - less)
        .find(|size| batch(&[Some(&bytes[..*size])], Compression::None).len() == BATCH_SIZE_MAX)
        .context("no value makes a batch of the largest size")?;
    round_trip(&mut wire, &[Some(&bytes[..fitting])], Compression::None)?;
    let above = batch(&[Some(&bytes[..fitting + 1])], Compression::None);
    let refused = produce_one(&mut wire, TOPIC, 0, above)?;
    ensure!(refused == Err(ErrorCode::MessageTooLarge), "{refused:?}");
    // A topic's own limit, and the same connection goes on.
    let above = batch(&[Some(&bytes[..1000])], Compression::None);
    let refused = produce_one(&mut wire, "small", 0, above)?;
    ensure!(refused == Err(ErrorCode::MessageTooLarge), "{refused:?}");
    let taken = produce_one(
        &mut wire,
        "small",
        0,
        batch(&[Some(b"x")], Compression::None),
    )?;
    ensure!(taken == Ok(0), "{taken:?}");
    Ok(())
}

#[test]
fn no_records_at_all_are_refused() -> Result<()> {
    let broker = Broker::start(&[])?;
    create_topic(&broker.bootstrap(), TOPIC, 1, &[])?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    let refused = produce_one(&mut wire, TOPIC, 0, bytes::Bytes::new())?;
    ensure!(refused == Err(ErrorCode::InvalidRecord), "{refused:?}");
    let taken = produce_one(&mut wire, TOPIC, 0, batch(&[Some(b"x")], Compression::None))?;
    ensure!(taken == Ok(0), "{taken:?}");
    Ok(())
}
