//! Writes the seeds of the corpus `frames`: for each API its first and last version and the first flexible
//! one, both directions. Run in this folder: `cargo run --example seeds`.

use std::fs;

use milena_protocol::header::{encode_request, encode_response};
use milena_protocol::sample::{Sample, Source, Visitor, visit_apis};
use milena_protocol::{Frame, Request};

/// Seeds are small, so that mutations hit what matters.
const SIZE_MAX: usize = 300;

struct Seeds;

impl Visitor for Seeds {
    fn visit<R>(&mut self)
    where
        R: Request + Sample,
        R::Response: Sample,
    {
        let (first, last) = (*R::VERSIONS.start(), *R::VERSIONS.end());
        let mut versions = vec![first, last, R::FLEXIBLE_FROM.min(last)];
        versions.dedup();
        for version in versions {
            let request = largest(|seed| {
                let request = R::sample(&mut Source::new(seed, version));
                encode_request(&request, version, 1, Some("seed"))
            });
            write(&format!("{}-{version}-request", R::NAME), &[0], &request);
            let response = largest(|seed| {
                let response = R::Response::sample(&mut Source::new(seed, version));
                encode_response::<R>(&response, version, 1)
            });
            let prefix = [1, R::KEY as u8, version as u8];
            write(
                &format!("{}-{version}-response", R::NAME),
                &prefix,
                &response,
            );
        }
    }
}

/// The largest of some random messages that is still small.
fn largest(message: impl Fn(u64) -> Frame) -> Frame {
    let messages = (0..200).map(message);
    let small = messages.filter(|frame| frame.len() <= SIZE_MAX);
    small.max_by_key(Frame::len).expect("a small message")
}

fn write(name: &str, prefix: &[u8], frame: &Frame) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/frames");
    fs::create_dir_all(folder).expect("the folder of the corpus");
    let content = [prefix, &frame.to_vec()[4..]].concat();
    fs::write(format!("{folder}/{name}"), content).expect("a seed");
}

fn main() {
    visit_apis(&mut Seeds);
}
