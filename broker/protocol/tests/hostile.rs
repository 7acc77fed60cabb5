//! Bytes that no client should send: they get an error or some message, and never more memory than bounded.

use bytes::{Bytes, BytesMut};
use milena_protocol::api::metadata::MetadataRequest;
use milena_protocol::header::{RequestHeader, encode_request, encode_response};
use milena_protocol::sample::{Sample, Source, Visitor, visit_apis};
use milena_protocol::{Problem, Reader, Request, Wire};

/// The seed of this run, from `MILENA_SEED` where a failure is to be repeated.
fn seed() -> u64 {
    let seed = match std::env::var("MILENA_SEED") {
        Ok(text) => text.parse().expect("MILENA_SEED is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
    };
    println!("MILENA_SEED={seed}");
    seed
}

/// Spoils a message in each version of each API, and reads what comes of it.
struct Spoiled<F> {
    source: Source,
    spoil: F,
}

impl<F: FnMut(&mut Source, Bytes) -> Vec<Bytes>> Visitor for Spoiled<F> {
    fn visit<R>(&mut self)
    where
        R: Request + Sample,
        R::Response: Sample,
    {
        for version in R::VERSIONS {
            let seed = self.source.bits();
            let request = encode_request(
                &R::sample(&mut Source::new(seed, version)),
                version,
                1,
                Some("c"),
            );
            for bytes in (self.spoil)(&mut self.source, Bytes::from(request.to_vec()).slice(4..)) {
                let header = RequestHeader::read(bytes, |_, version| R::flexible(version));
                if let Ok((_, body)) = header {
                    let _ = R::decode(body, version);
                }
            }
            let response = R::Response::sample(&mut Source::new(seed, version));
            let response = encode_response::<R>(&response, version, 1);
            for bytes in (self.spoil)(&mut self.source, Bytes::from(response.to_vec()).slice(4..)) {
                let _ = milena_protocol::header::decode_response::<R>(bytes, version);
            }
        }
    }
}

fn spoil_all(spoil: impl FnMut(&mut Source, Bytes) -> Vec<Bytes>) {
    let source = Source::new(seed(), 0);
    visit_apis(&mut Spoiled { source, spoil });
}

fn replace(bytes: &Bytes, at: usize, by: &[u8]) -> Bytes {
    let mut spoiled = BytesMut::from(&bytes[..]);
    let end = (at + by.len()).min(bytes.len());
    spoiled[at..end].copy_from_slice(&by[..end - at]);
    spoiled.freeze()
}

#[test]
fn a_truncated_message_never_panics() {
    spoil_all(|source, bytes| {
        let cuts = (0..20).map(|_| source.below(bytes.len()));
        cuts.chain(0..bytes.len().min(20))
            .map(|cut| bytes.slice(..cut))
            .collect()
    });
}

#[test]
fn flipped_bits_never_panic() {
    spoil_all(|source, bytes| {
        let mut flip = || {
            let at = source.below(bytes.len());
            replace(&bytes, at, &[bytes[at] ^ (1 << source.below(8))])
        };
        (0..40).map(|_| flip()).collect()
    });
}

#[test]
fn negative_and_huge_lengths_never_panic() {
    let lengths: [&[u8]; 6] = [
        &[0xff; 4],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x00, 0x10, 0x00, 0x00],
    ];
    spoil_all(|source, bytes| {
        let mut spoil = |by: &&[u8]| replace(&bytes, source.below(bytes.len()), by);
        lengths.iter().cycle().take(42).map(&mut spoil).collect()
    });
}

#[test]
fn noise_never_panics() {
    spoil_all(|source, _| {
        let mut noise = || {
            let len = source.below(400);
            (0..len).map(|_| source.bits() as u8).collect()
        };
        (0..20).map(|_| noise()).collect()
    });
}

#[test]
fn a_list_longer_than_the_frame_is_refused_before_it_is_allocated() {
    for (version, bytes) in [
        (1, &[0x7f, 0xff, 0xff, 0xff][..]),
        (9, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ] {
        let refused = MetadataRequest::decode(Bytes::copy_from_slice(bytes), version).unwrap_err();
        assert_eq!(refused.field, "MetadataRequest.topics");
        assert!(
            matches!(refused.problem, Problem::BadLength(_)),
            "{refused}"
        );
    }
}

#[test]
fn lists_take_at_most_sixteen_times_the_frame() {
    // Empty topics: two bytes each on the wire, and 32 and more in memory.
    const COUNT: usize = 100_000;
    let mut bytes = (COUNT as u32).to_be_bytes().to_vec();
    bytes.resize(4 + 2 * COUNT, 0);
    let refused = MetadataRequest::decode(bytes.into(), 1).unwrap_err();
    assert_eq!(refused.problem, Problem::TooManyElements);
}

#[test]
fn lists_within_tagged_fields_count_for_the_whole_frame() {
    use milena_protocol::api::fetch::FetchResponse;
    // A thousand times the tagged field `node_endpoints`, each with elements that are refused together.
    let elements = 600;
    let mut content = Vec::from([
        0x80 | ((elements + 1) & 0x7f) as u8,
        ((elements + 1) >> 7) as u8,
    ]);
    content.extend([0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0].repeat(elements));
    let mut bytes = vec![0; 10];
    bytes.push(1);
    bytes.extend([0x80 | (1000 & 0x7f) as u8, (1000 >> 7) as u8]);
    for _ in 0..1000 {
        bytes.push(0);
        bytes.extend([
            0x80 | (content.len() & 0x7f) as u8,
            (content.len() >> 7) as u8,
        ]);
        bytes.extend(&content);
    }
    let mut r = Reader::new(bytes.into(), 16, true);
    let refused = FetchResponse::read(&mut r).unwrap_err();
    assert_eq!(refused.problem, Problem::TooManyElements);
}

#[test]
fn real_requests_stay_within_the_memory_bound() {
    use milena_protocol::api::metadata::MetadataRequestTopic;
    let names = (0..10_000).map(|n| MetadataRequestTopic {
        name: Some(format!("{n}").into()),
        ..Default::default()
    });
    let request = MetadataRequest {
        topics: Some(names.collect()),
        ..Default::default()
    };
    for version in [1, 9, 13] {
        let frame = Bytes::from(encode_request(&request, version, 1, None).to_vec()).slice(4..);
        let flexible = |_, version| MetadataRequest::flexible(version);
        let (_, body) = RequestHeader::read(frame, flexible).unwrap();
        let read = MetadataRequest::decode(body, version).unwrap();
        assert_eq!(read.topics, request.topics);
    }
}

#[test]
fn an_http_request_is_no_request_header() {
    let text = Bytes::from_static(b"GET / HTTP/1.1\r\nHost: localhost:9092\r\n\r\n");
    let refused = RequestHeader::read(text, |_, _| false).unwrap_err();
    assert_eq!(refused.field, "RequestHeader.client_id");
    assert!(matches!(refused.problem, Problem::BadLength(_)));
}
