//! Requests and responses of every API and version: no input panics, and what is read is written so that
//! it reads the same again.
//!
//! | input | first byte | then |
//! | --- | --- | --- |
//! | request | even | a frame without its length: header and body |
//! | response | odd | api key, version, a frame without its length |

#![no_main]

use std::fmt::Debug;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use milena_protocol::header::{RequestHeader, decode_response, encode_request, encode_response};
use milena_protocol::sample::{Visitor, visit_apis};
use milena_protocol::{DecodeError, Frame, Problem, Request};

fuzz_target!(|data: &[u8]| {
    match data {
        [kind, frame @ ..] if kind % 2 == 0 => request(Bytes::copy_from_slice(frame)),
        [_, key, version, frame @ ..] => {
            let frame = Bytes::copy_from_slice(frame);
            visit_apis(&mut Response {
                key: i16::from(*key),
                version: i16::from(*version),
                frame,
            });
        }
        _ => {}
    }
});

fn request(frame: Bytes) {
    let mut flexible = Flexible {
        key: 0,
        version: 0,
        found: false,
    };
    let header = RequestHeader::read(frame, |key, version| {
        (flexible.key, flexible.version) = (key, version);
        visit_apis(&mut flexible);
        flexible.found
    });
    if let Ok((header, body)) = header {
        visit_apis(&mut Body { header, body });
    }
}

/// Whether a key's version is flexible.
struct Flexible {
    key: i16,
    version: i16,
    found: bool,
}

impl Visitor for Flexible {
    fn visit<R: Request>(&mut self) {
        self.found |= R::KEY == self.key && R::flexible(self.version);
    }
}

struct Body {
    header: RequestHeader,
    body: Bytes,
}

impl Visitor for Body {
    fn visit<R>(&mut self)
    where
        R: Request + PartialEq + Debug,
    {
        let version = self.header.api_version;
        if R::KEY != self.header.api_key || !R::VERSIONS.contains(&version) {
            return;
        }
        let Ok(request) = R::decode(self.body.clone(), version) else {
            return;
        };
        let frame = encode_request(&request, version, 0, None);
        let (_, body) = RequestHeader::read(content(&frame), |_, _| R::flexible(version))
            .expect("a header of ours is whole");
        assert_same(R::decode(body, version), request);
    }
}

struct Response {
    key: i16,
    version: i16,
    frame: Bytes,
}

impl Visitor for Response {
    fn visit<R>(&mut self)
    where
        R: Request,
        R::Response: PartialEq + Debug,
    {
        if R::KEY != self.key || !R::VERSIONS.contains(&self.version) {
            return;
        }
        let Ok((id, response)) = decode_response::<R>(self.frame.clone(), self.version) else {
            return;
        };
        let frame = encode_response::<R>(&response, self.version, id);
        let again = decode_response::<R>(content(&frame), self.version);
        assert_same(again.map(|(_, response)| response), response);
    }
}

/// The frame without its length.
fn content(frame: &Frame) -> Bytes {
    Bytes::from(frame.to_vec()).slice(4..)
}

fn assert_same<T: PartialEq + Debug>(again: Result<T, DecodeError>, first: T) {
    match again {
        // Unknown tagged fields are not written again, and a smaller frame may fill less memory.
        Err(e) if e.problem == Problem::TooManyElements => {}
        again => assert_eq!(again, Ok(first)),
    }
}
