//! One seed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::rc::Rc;

use milena_simulation::{entropy, rule, trace, witness};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::clients::{self, Client};
use super::cluster::Cluster;
use super::ledger::{Ledger, Place};
use super::{Asked, admin};

const TOPIC: &str = "t";
const PARTITIONS: i32 = 3;
const STACK_BYTES: usize = 256 << 20;

/// Runs one seed on a thread of its own, so that its hash maps are the seed's.
pub fn one(seed: u64, asked: &Asked) -> ExitCode {
    let asked = asked.clone();
    let clocks = entropy::seed(seed);
    let running = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || run(seed, &asked));
    let code = match running.map(std::thread::JoinHandle::join) {
        Ok(Ok(violations)) => ExitCode::from(u8::from(violations > 0)),
        _ => ExitCode::from(3),
    };
    drop(clocks);
    code
}

fn run(seed: u64, asked: &Asked) -> usize {
    if let Some(level) = &asked.log {
        milena::logging::start(milena::config::LogFormat::Text, level).expect("a level");
    }
    if let Some(file) = &asked.trace {
        trace::write_to(std::fs::File::create(file).expect("a file"));
    }
    if let Some((_, broken)) = rule::ALL.iter().find(|(name, _)| asked.broken == Some(*name)) {
        rule::break_it(*broken);
    }
    let mut rng = StdRng::seed_from_u64(seed);
    let brokers = *[3, 3, 4, 5].get(rng.random_range(0..4)).unwrap_or(&3);
    let mut cluster = Cluster::new(brokers, seed);
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let over = Rc::new(Cell::new(false));
    let created = Rc::new(Cell::new(false));
    let mut client = Client::new(StdRng::seed_from_u64(rng.random()), brokers);
    {
        let created = created.clone();
        cluster.client("admin", async move {
            admin::create(&mut client, TOPIC, PARTITIONS).await;
            created.set(true);
        });
    }
    let mut now_ms = 0;
    while !created.get() {
        cluster.step(now_ms);
        now_ms += 1;
        assert!(now_ms < 60_000, "no topic after a minute");
    }
    eprintln!("created at {now_ms} ms");
    for partition in 0..PARTITIONS {
        let place: Place = (TOPIC, partition);
        let client = Client::new(StdRng::seed_from_u64(rng.random()), brokers);
        let (ledger, over) = (ledger.clone(), over.clone());
        cluster.client(&format!("p{partition}"), async move {
            clients::produce(client, 0, place, ledger, || over.get()).await;
        });
    }
    for partition in 0..PARTITIONS {
        let place: Place = (TOPIC, partition);
        let client = Client::new(StdRng::seed_from_u64(rng.random()), brokers);
        let (ledger, over) = (ledger.clone(), over.clone());
        cluster.client(&format!("r{partition}"), async move {
            clients::read(client, place, ledger, || over.get()).await;
        });
    }
    let end = now_ms + 10_000;
    while now_ms < end {
        cluster.step(now_ms);
        now_ms += 1;
    }
    over.set(true);
    let _ = BTreeMap::<i64, i64>::new();
    let mut ledger = ledger.borrow_mut();
    for wrong in witness::take_wrong() {
        ledger.wrong(wrong);
    }
    let (acked, seen) = ledger.counts();
    let (hash, events) = trace::hash();
    println!(
        "seed {seed} hash {hash:016x} events {events} sent {} acked {acked} seen {seen} violations {}",
        ledger.sent,
        ledger.violations.len()
    );
    ledger.violations.len()
}
