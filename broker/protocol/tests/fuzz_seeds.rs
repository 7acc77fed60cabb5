//! The fuzzer begins from something of every API.

use std::collections::BTreeSet;

use milena_protocol::Request;
use milena_protocol::sample::{Visitor, visit_apis};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/frames");

/// Both directions of an API's first and last version, and of the first flexible one.
struct Wanted(BTreeSet<String>);

impl Visitor for Wanted {
    fn visit<R: Request>(&mut self) {
        let (first, last) = (*R::VERSIONS.start(), *R::VERSIONS.end());
        for version in [first, last, R::FLEXIBLE_FROM.min(last)] {
            for direction in ["request", "response"] {
                let name = format!("{}-{version}-{direction}", R::NAME);
                self.0.insert(name);
            }
        }
    }
}

#[test]
fn every_api_has_seeds_in_its_first_last_and_first_flexible_version() {
    let mut wanted = Wanted(BTreeSet::new());
    visit_apis(&mut wanted);
    let files = std::fs::read_dir(CORPUS).expect("the corpus can be read");
    let kept: BTreeSet<String> = files
        .map(|file| file.expect("a file of the corpus").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let missing: Vec<_> = wanted.0.difference(&kept).collect();
    let stale: Vec<_> = kept.difference(&wanted.0).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "seeds are missing: {missing:?}; remove {stale:?}; then, in broker/protocol/fuzz: cargo run --example seeds"
    );
}
