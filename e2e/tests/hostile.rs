//! Bytes that no client should send: each gets an error or a closed connection, memory stays small, and
//! another client goes on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use e2e::answer::Answer;
use e2e::broker::Broker;
use e2e::load::{Bystander, PRODUCE_VERSION, batch, create_topic, fetch, produce, produce_one};
use e2e::process::poll;
use e2e::wire::{Wire, framed, is_closed};
use milena_protocol::api::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use milena_protocol::api::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use milena_protocol::header::decode_response;
use milena_protocol::records::compression::{Lz4Header, compress};
use milena_protocol::records::legacy::{Magic, NewMessage};
use milena_protocol::records::{BATCH_HEADER_SIZE, Compression, crc32c};
use milena_protocol::{ErrorCode, Request};

/// What the broker may hold while it is attacked.
const MEMORY_MAX: u64 = 100 << 20;
/// At least so many different frames.
const FRAMES_MIN: usize = 100;
/// A bomb's size when it is opened: more than the broker may hold.
const BOMB_SIZE: usize = 256 << 20;
/// Snappy makes no less than a twenty-first of anything: its bomb needs a topic that takes larger batches than usual, so
/// that it is not its size that it is refused for.
const BOMB_BATCH_MAX: &str = "16777216";
/// What a bomb's refusal tells of it.
const BOMB_REFUSAL: &str = "when decompressed";
/// From the end of a connection to the line that tells of it.
const LOGGED_WITHIN: Duration = Duration::from_secs(10);
/// The newest version that carries magic 1.
const MAGIC_1_VERSION: i16 = 2;
/// Takes records as they come.
const PLAIN: &str = "plain";
/// Has a codec of its own, so that the broker opens what others compressed.
const OPENED: &str = "opened";
/// The same with another codec: what has the topic's own is kept as it came.
const OPENED_LZ4: &str = "opened-lz4";

/// Bodies that are requests after all, with what they are read as: bytes behind a request's last field are ignored.
const VALID_BY_ACCIDENT: [(&str, &str); 5] = [
    (
        "huge sizes in API 16 version 0",
        "ListGroups 0 has no fields",
    ),
    (
        "negative sizes in API 16 version 0",
        "ListGroups 0 has no fields",
    ),
    (
        "huge sizes in API 18 version 0",
        "ApiVersions 0 has no fields",
    ),
    (
        "negative sizes in API 18 version 0",
        "ApiVersions 0 has no fields",
    ),
    (
        "negative sizes in API 22 version 0",
        "InitProducerId 0 without a transactional id (length -1), whose timeout says nothing then",
    ),
];

/// Bytes to send, and what the broker may do.
struct Attack {
    name: String,
    bytes: Vec<u8>,
    /// A part of what an answer must say.
    refusal: &'static str,
}

fn attack(name: impl Into<String>, bytes: Vec<u8>) -> Attack {
    Attack {
        name: name.into(),
        bytes,
        refusal: "",
    }
}

/// A frame with a right length.
fn frame(body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

/// A request's header (version 1: not flexible), then `body`.
fn request(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut bytes = key.to_be_bytes().to_vec();
    bytes.extend(version.to_be_bytes());
    bytes.extend(7_i32.to_be_bytes());
    bytes.extend([0, 1, b'h']);
    bytes.extend_from_slice(body);
    frame(&bytes)
}

fn lengths() -> Vec<Attack> {
    let heads: [i32; 6] = [-1, i32::MIN, i32::MAX, 0, 104_857_601, -4];
    let mut attacks: Vec<Attack> = heads
        .iter()
        .map(|length| attack(format!("length {length}"), length.to_be_bytes().to_vec()))
        .collect();
    for size in [1, 2, 4, 7, 8, 9] {
        attacks.push(attack(
            format!("a request of {size} bytes"),
            frame(&vec![0; size]),
        ));
    }
    attacks.push(attack(
        "half a frame of 90 MiB",
        [&(90_i32 << 20).to_be_bytes()[..], &[0; 1000]].concat(),
    ));
    attacks.push(attack("half a length", vec![0, 0]));
    for id in [-2_i16, i16::MIN, i16::MAX] {
        let header = [&[0, 18, 0, 0, 0, 0, 0, 7][..], &id.to_be_bytes()].concat();
        attacks.push(attack(format!("a client id of {id} bytes"), frame(&header)));
    }
    attacks
}

fn strangers() -> Vec<Attack> {
    let mut attacks = vec![
        attack(
            "HTTP GET",
            b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n".to_vec(),
        ),
        attack("HTTP POST", b"POST /topics HTTP/1.1\r\n\r\n{}".to_vec()),
        attack(
            "TLS",
            [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[9; 500]].concat(),
        ),
        attack("SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        attack("zeros and ones", [[0_u8, 255]; 300].concat()),
    ];
    for key in [-1, 4, 7, 67, 999, i16::MAX, i16::MIN] {
        attacks.push(attack(format!("API key {key}"), request(key, 0, &[0; 40])));
    }
    for (key, version) in [
        (0, 99),
        (0, -1),
        (1, 99),
        (3, -1),
        (3, 14),
        (11, 10),
        (22, 99),
    ] {
        let name = format!("API key {key} in version {version}");
        attacks.push(attack(name, request(key, version, &[0; 40])));
    }
    attacks
}

/// Sizes that no body has, for every API that the broker serves, in its oldest and its newest version.
fn bodies(served: &ApiVersionsResponse) -> Vec<Attack> {
    let huge = [0x7f, 0xff, 0xff, 0xff].repeat(8);
    let negative = [0xff, 0xff, 0xff, 0xf0].repeat(8);
    // A flexible header's empty tags, then lengths of 2^32 - 1 as varints.
    let varints = [&[0][..], &[0xff, 0xff, 0xff, 0xff, 0x0f].repeat(8)].concat();
    let mut attacks = Vec::new();
    for api in &served.api_keys {
        for (what, body) in [
            ("huge", &huge),
            ("negative", &negative),
            ("varint", &varints),
        ] {
            let version = if what == "varint" {
                api.max_version
            } else {
                api.min_version
            };
            let name = format!("{what} sizes in API {} version {version}", api.api_key);
            attacks.push(attack(name, request(api.api_key, version, body)));
        }
    }
    // Metadata 12 (flexible): as many tags as an i32 holds, and topics by the million without names.
    attacks.push(attack(
        "endless tags",
        request(3, 12, &[0xff, 0xff, 0xff, 0xff, 0x07, 1, 0]),
    ));
    let many = [&[0, 0x80, 0x80, 0x80, 0x40][..], &[0; 4000]].concat();
    attacks.push(attack("an array of 2^27", request(3, 12, &many)));
    attacks
}

fn produced(name: &str, topic: &str, records: Vec<u8>) -> Attack {
    let request = produce(topic, 0, -1, Bytes::from(records));
    attack(name, framed(&request, PRODUCE_VERSION, 7))
}

/// A batch with one byte or more replaced, and its CRC made right again.
fn changed(batch: &[u8], at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = batch.to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn record_batches() -> Vec<Attack> {
    let good = batch(&[Some(b"good")], Compression::None);
    let mut wrong_crc = good.to_vec();
    wrong_crc[17] ^= 1;
    let mut attacks = vec![
        produced("wrong CRC", PLAIN, wrong_crc),
        produced("a batch cut short", PLAIN, good[..good.len() - 1].to_vec()),
        produced(
            "half a header",
            PLAIN,
            good[..BATCH_HEADER_SIZE / 2].to_vec(),
        ),
        produced("magic 9", PLAIN, changed(&good, 16, &[9])),
        produced("codec 7", PLAIN, changed(&good, 22, &[7])),
        produced(
            "2^31 - 1 records",
            PLAIN,
            changed(&good, 57, &[0x7f, 255, 255, 255]),
        ),
        produced("-1 records", PLAIN, changed(&good, 57, &[255; 4])),
        produced(
            "last offset delta",
            PLAIN,
            changed(&good, 23, &[0x7f, 0, 0, 0]),
        ),
        produced("a record of -1 bytes", PLAIN, changed(&good, 61, &[1])),
        produced("a control batch", PLAIN, changed(&good, 22, &[0x20])),
        produced("a transactional batch", PLAIN, changed(&good, 22, &[0x10])),
    ];
    for length in [-1_i32, 0, 1, i32::MAX, i32::MIN] {
        let bytes = changed(&good, 8, &length.to_be_bytes());
        attacks.push(produced(&format!("batch length {length}"), PLAIN, bytes));
    }
    attacks.push(produced(
        "what no codec wrote",
        OPENED,
        changed(&good, 22, &[4]),
    ));
    attacks
}

/// Small, and larger than the broker may be once they are opened.
fn bombs() -> Result<Vec<Attack>> {
    use Compression::{Gzip, Lz4, Snappy, Zstd};
    let zeros = vec![0; BOMB_SIZE];
    let mut attacks = Vec::new();
    let wrapper = produce(PLAIN, 0, -1, Bytes::from(wrapper(&zeros)?));
    attacks.push(attack(
        "a wrapper of magic 1 with a bomb",
        framed(&wrapper, MAGIC_1_VERSION, 7),
    ));
    for compression in [Gzip, Zstd, Lz4, Snappy] {
        let bomb = batch(&[Some(&zeros)], compression);
        let topic = match compression {
            Lz4 => OPENED_LZ4,
            _ => OPENED,
        };
        // Several, so that every worker opens some.
        for copy in 0..4 {
            let name = format!("a bomb by {compression:?}, {copy}");
            attacks.push(Attack {
                refusal: BOMB_REFUSAL,
                ..produced(&name, topic, bomb.to_vec())
            });
        }
    }
    Ok(attacks)
}

/// A message of magic 1 that holds another with this value, by gzip.
fn wrapper(value: &[u8]) -> Result<Vec<u8>> {
    let message = |compression, value| NewMessage {
        offset: 0,
        compression,
        is_log_append_time: false,
        timestamp: 1,
        key: None,
        value: Some(value),
    };
    let mut inside = Vec::new();
    message(Compression::None, value).put(Magic::V1, &mut inside)?;
    let mut compressed = Vec::new();
    let codec = Compression::Gzip.into();
    compress(codec, Lz4Header::Standard, &inside, &mut compressed)?;
    let mut set = Vec::new();
    message(Compression::Gzip, &compressed).put(Magic::V1, &mut set)?;
    Ok(set)
}

/// An error or a closed connection, and no answer to what is not whole; never a success, unless it is listed.
fn suffer(address: &str, attack: &Attack) -> Result<()> {
    let is_valid = VALID_BY_ACCIDENT
        .iter()
        .any(|(name, _)| *name == attack.name);
    let mut wire = Wire::connect(address)?;
    match wire.send_bytes(&attack.bytes) {
        Err(error) if is_closed(&error) => return Ok(()),
        sent => sent?,
    }
    wire.end()?;
    let Some(frame) = wire.receive()? else {
        ensure!(!is_valid, "it is valid, and the connection was closed");
        return Ok(());
    };
    let header = attack.bytes.get(4..8).context("half a header's answer")?;
    let field = |at: usize| i16::from_be_bytes([header[at], header[at + 1]]);
    let answer = Answer::read(field(0), field(2), &frame)?;
    ensure!(
        is_valid == answer.errors().is_empty(),
        "the answer is {}",
        answer.text
    );
    let refusal = attack.refusal;
    ensure!(
        answer.text.contains(refusal),
        "{refusal:?} is not in {}",
        answer.text
    );
    Ok(())
}

#[test]
fn hostile_frames_get_an_error_or_a_closed_connection_and_others_go_on() -> Result<()> {
    let broker = Broker::start(&[])?;
    let address = broker.bootstrap();
    create_topic(&address, PLAIN, 1, &[])?;
    for (topic, codec) in [(OPENED, "lz4"), (OPENED_LZ4, "zstd")] {
        let configs = [
            ("compression.type", codec),
            ("max.message.bytes", BOMB_BATCH_MAX),
        ];
        create_topic(&address, topic, 1, &configs)?;
    }
    create_topic(&address, "bystander", 1, &[])?;
    let served = Wire::connect(&address)?.ask(&ApiVersionsRequest::default(), 0)?;
    let attacks = [
        lengths(),
        strangers(),
        bodies(&served),
        record_batches(),
        bombs()?,
    ];
    let attacks: Vec<Attack> = attacks.into_iter().flatten().collect();
    for (name, _) in VALID_BY_ACCIDENT {
        let is_sent = attacks.iter().any(|attack| attack.name == name);
        ensure!(is_sent, "no attack is called {name:?}");
    }
    ensure!(attacks.len() >= FRAMES_MIN, "only {} frames", attacks.len());

    let bystander = Bystander::start(&address, "bystander")?;
    // A connection that stays half-open does not keep the broker from anything.
    let mut half = Wire::connect(&address)?;
    half.send_bytes(&[0, 0, 1])?;
    for attack in &attacks {
        suffer(&address, attack).with_context(|| attack.name.clone())?;
        let memory = broker.memory_bytes("VmHWM")?;
        ensure!(
            memory < MEMORY_MAX,
            "after {} the broker's memory has reached {} MiB",
            attack.name,
            memory >> 20
        );
    }
    let rounds = bystander.finish()?;
    println!(
        "{} frames; another client did {} rounds meanwhile, the slowest in {:?}; peak memory {} MiB",
        attacks.len(),
        rounds.count,
        rounds.slowest,
        broker.memory_bytes("VmHWM")? >> 20
    );
    ensure!(rounds.count > 0, "the other client did nothing");
    Ok(())
}

/// Many clients at once ask for what the broker has to open for them.
#[test]
fn a_stored_bomb_is_opened_for_one_client_at_a_time() -> Result<()> {
    const CLIENTS: usize = 24;
    let broker = Broker::start(&[])?;
    let address = broker.bootstrap();
    create_topic(&address, PLAIN, 1, &[])?;
    let bomb = batch(&[Some(&vec![0; BOMB_SIZE])], Compression::Gzip);
    produce_one(&mut Wire::connect(&address)?, PLAIN, 0, bomb)?.map_err(anyhow::Error::from)?;
    let by_time = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: PLAIN.into(),
            partitions: vec![ListOffsetsPartition {
                current_leader_epoch: -1,
                timestamp: 1,
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let mut wire = Wire::connect(&address)?;
        match client % 2 {
            0 => wire.send(&fetch(PLAIN, 0, 0, 0), 3, 7)?,
            _ => wire.send(&by_time, 1, 7)?,
        }
        clients.push(wire);
    }
    for mut wire in clients {
        wire.receive()?.context("closed instead of an answer")?;
    }
    let memory = broker.memory_bytes("VmHWM")?;
    println!("peak memory {} MiB", memory >> 20);
    ensure!(memory < MEMORY_MAX, "it took {} MiB", memory >> 20);
    Ok(())
}

#[test]
fn api_versions_of_an_unknown_version_is_answered_in_version_0() -> Result<()> {
    let broker = Broker::start(&[])?;
    for version in [5_i16, 99, i16::MAX, -1] {
        let mut wire = Wire::connect(&broker.bootstrap())?;
        wire.send_bytes(&request(ApiVersionsRequest::KEY, version, &[1; 30]))?;
        let frame = wire.receive()?.context("closed")?;
        let (id, answer) = decode_response::<ApiVersionsRequest>(frame, 0)?;
        ensure!(id == 7, "correlation id {id}");
        ensure!(answer.error_code == ErrorCode::UnsupportedVersion);
        let own = answer.api_keys.iter().find(|api| api.api_key == 18);
        let own = own.context("its own range is missing")?;
        ensure!((own.min_version, own.max_version) == (0, 4));
        // The connection lives on, so that the client asks again in a version that both know.
        let named = ApiVersionsRequest {
            client_software_name: "e2e".into(),
            client_software_version: "1".into(),
        };
        let again = wire.ask(&named, own.max_version);
        ensure!(again?.error_code.is_none());
    }
    Ok(())
}

#[test]
fn a_client_of_another_protocol_is_told_apart_in_the_log_and_others_go_on() -> Result<()> {
    let broker = Broker::start(&[])?;
    create_topic(&broker.bootstrap(), "bystander", 1, &[])?;
    let bystander = Bystander::start(&broker.bootstrap(), "bystander")?;
    let others: [(&[u8], &str); 4] = [
        (
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "it looks like HTTP",
        ),
        (b"POST /topics HTTP/1.1\r\n\r\n{}", "it looks like HTTP"),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting",
            "it looks like TLS",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "1397966893 bytes"),
    ];
    for (bytes, told) in others {
        let mut wire = Wire::connect(&broker.bootstrap())?;
        let address = wire.local_address()?;
        wire.send_bytes(bytes)?;
        ensure!(wire.receive()?.is_none(), "answered to {bytes:?}");
        let line = || line_about(&broker, &address);
        let line = poll(LOGGED_WITHIN, line)
            .with_context(|| format!("no line about {address}:\n{}", broker.log_tail()))?;
        ensure!(line.contains(told), "{told:?} is not in {line}");
    }
    let rounds = bystander.finish()?;
    ensure!(rounds.count > 0, "the other client did nothing meanwhile");
    Ok(())
}

/// What the broker has logged about a connection from there.
fn line_about(broker: &Broker, address: &str) -> Option<String> {
    let log = broker.log().ok()?;
    let is_about = |line: &&str| line.split([' ', '=']).any(|word| word == address);
    log.lines().find(is_about).map(str::to_owned)
}
