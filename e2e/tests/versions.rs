//! Every version of every API that the broker names is served: with an answer of that version, to the last byte.

#[path = "versions/requests.rs"]
mod requests;
#[path = "versions/world.rs"]
mod world;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use e2e::answer::Answer;
use e2e::broker::Broker;
use e2e::load::{Bystander, create_topic};
use e2e::wire::Wire;
use milena_protocol::Request;
use milena_protocol::api::api_versions::{ApiVersion, ApiVersionsRequest};
use milena_protocol::api::fetch::FetchRequest;
use milena_protocol::api::join_group::JoinGroupRequest;
use milena_protocol::api::produce::ProduceRequest;
use milena_protocol::header::{RequestHeader, encode_request};
use milena_protocol::sample::{Sample, Source, Visitor, visit_apis};
use rand::Rng;

const TOPIC: &str = "there";
/// Random requests of each version.
const SAMPLES: u64 = 3;
/// The longest wait that a random request may ask for.
const WAIT_MS: i32 = 20;
const ID: i32 = 11;

/// A broker whose groups begin at once, with one topic.
fn broker() -> Result<Broker> {
    let settings = [
        "group.initial.rebalance.delay.ms=0",
        "offsets.topic.num.partitions=1",
    ];
    let broker = Broker::start(&["--set", settings[0], "--set", settings[1]])?;
    create_topic(&broker.bootstrap(), TOPIC, 1, &[])?;
    Ok(broker)
}

/// Asks a broker for every version that it names.
struct Asking {
    wire: Wire,
    served: Vec<ApiVersion>,
    asked: BTreeSet<i16>,
}

impl Asking {
    fn of(broker: &Broker) -> Result<Self> {
        let mut wire = Wire::connect(&broker.bootstrap())?;
        let served = wire.ask(&ApiVersionsRequest::default(), 0)?.api_keys;
        Ok(Self {
            wire,
            served,
            asked: BTreeSet::new(),
        })
    }

    /// Sends a request in each version; its answers must tell these errors and no others.
    fn ask<R: Request>(
        &mut self,
        errors: &[&str],
        request: impl FnMut(i16) -> Result<R>,
    ) -> Result<()> {
        self.ask_as(|_| errors, request)
    }

    /// As [`Self::ask`], where the errors depend on the version.
    fn ask_as<'a, R: Request>(
        &mut self,
        errors: impl Fn(i16) -> &'a [&'a str],
        mut request: impl FnMut(i16) -> Result<R>,
    ) -> Result<()> {
        for version in self.versions::<R>()? {
            let place = || format!("{} {version}", R::NAME);
            let request = request(version).with_context(place)?;
            let answer = self.answer(&request, version).with_context(place)?;
            let errors = errors(version);
            ensure!(
                answer.errors() == errors,
                "{}: it tells {:?}, not {errors:?}: {}",
                place(),
                answer.errors(),
                answer.text
            );
        }
        Ok(())
    }

    /// The versions that the broker names.
    fn versions<R: Request>(&mut self) -> Result<std::ops::RangeInclusive<i16>> {
        let api = self.served.iter().find(|api| api.api_key == R::KEY);
        let api = api.with_context(|| format!("the broker does not name {}", R::NAME))?;
        self.asked.insert(R::KEY);
        Ok(api.min_version..=api.max_version)
    }

    fn answer<R: Request>(&mut self, request: &R, version: i16) -> Result<Answer> {
        self.wire.send(request, version, ID)?;
        let frame = self
            .wire
            .receive()?
            .context("closed instead of an answer")?;
        let answer = Answer::read(R::KEY, version, &frame)?;
        ensure!(answer.correlation_id == ID, "it is for another request");
        Ok(answer)
    }

    /// An error where an API was left out.
    fn check_all_asked(&self) -> Result<()> {
        let served: BTreeSet<i16> = self.served.iter().map(|api| api.api_key).collect();
        ensure!(
            self.asked == served,
            "asked {:?}, served {served:?}",
            self.asked
        );
        Ok(())
    }
}

fn check_no_panic(broker: &Broker) -> Result<()> {
    let log = broker.log()?;
    ensure!(!log.contains("panicked"), "the broker's log:\n{log}");
    Ok(())
}

#[test]
fn every_version_of_every_api_does_what_it_is_asked() -> Result<()> {
    let broker = broker()?;
    let mut asking = Asking::of(&broker)?;
    requests::ask_all(&broker, &mut asking)?;
    asking.check_all_asked()?;
    check_no_panic(&broker)
}

/// Requests that hold anything at all.
struct Anything {
    asking: Asking,
    seed: u64,
    failed: Result<()>,
}

impl Visitor for Anything {
    fn visit<R: Request + Sample>(&mut self) {
        if self.failed.is_ok() {
            self.failed = self.ask::<R>();
        }
    }
}

impl Anything {
    fn ask<R: Request + Sample>(&mut self) -> Result<()> {
        for version in self.asking.versions::<R>()? {
            for sample in 0..SAMPLES {
                let seed = self.seed.wrapping_add(sample);
                let request = without_waits(R::sample(&mut Source::new(seed, version)), version)?;
                let answer = self.asking.answer(&request, version);
                answer.with_context(|| format!("{} {version}, seed {seed}", R::NAME))?;
            }
        }
        Ok(())
    }
}

/// The request, made to be answered, and soon.
fn without_waits<R: Request>(request: R, version: i16) -> Result<R> {
    let body = |frame: Bytes| RequestHeader::read(frame, |_, _| R::flexible(version));
    fn again<T: Request>(body: Bytes, version: i16, change: impl Fn(&mut T)) -> Result<Bytes> {
        let mut request = T::decode(body, version)?;
        change(&mut request);
        Ok(unframed(&request, version))
    }
    let (_, whole) = body(unframed(&request, version))?;
    let frame = match R::KEY {
        ProduceRequest::KEY => again(whole, version, |request: &mut ProduceRequest| {
            request.acks = [request.acks, 1][usize::from(request.acks == 0)];
            request.timeout_ms = request.timeout_ms.min(WAIT_MS);
        })?,
        FetchRequest::KEY => again(whole, version, |request: &mut FetchRequest| {
            request.max_wait_ms = request.max_wait_ms.min(WAIT_MS);
        })?,
        JoinGroupRequest::KEY => again(whole, version, |request: &mut JoinGroupRequest| {
            request.rebalance_timeout_ms = request.rebalance_timeout_ms.min(WAIT_MS);
        })?,
        _ => return Ok(request),
    };
    let (_, changed) = body(frame)?;
    Ok(R::decode(changed, version)?)
}

/// A request with its header, without its length.
fn unframed<R: Request>(request: &R, version: i16) -> Bytes {
    Bytes::from(encode_request(request, version, ID, None).to_vec()).slice(4..)
}

#[test]
fn every_version_of_every_api_answers_whatever_it_is_asked() -> Result<()> {
    let broker = broker()?;
    let seed: u64 = match std::env::var("SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => rand::rng().random(),
    };
    println!("SEED={seed}");
    let mut anything = Anything {
        asking: Asking::of(&broker)?,
        seed,
        failed: Ok(()),
    };
    let bystander = Bystander::start(&broker.bootstrap(), TOPIC)?;
    visit_apis(&mut anything);
    anything.failed?;
    anything.asking.check_all_asked()?;
    let rounds = bystander.finish()?;
    ensure!(rounds.count > 0, "another client did nothing meanwhile");
    check_no_panic(&broker)
}
