//! One seed.

use std::cell::{Cell, RefCell};
use std::process::ExitCode;
use std::rc::Rc;

use milena_simulation::{clock, entropy, rule, trace, witness};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::clients::{self, Client};
use super::cluster::{Cluster, VOTERS};
use super::faults::Faults;
use super::ledger::{Ledger, Place, Shared};
use super::scenario::{self, Scenario};
use super::view::{self, View};
use super::{Asked, admin};

/// Exit code of a run in which a check has failed.
pub const VIOLATED: u8 = 1;
/// Exit code of a run in which a broker or a client has panicked.
const PANICKED: u8 = 3;

const TOPIC: &str = "t";
const PARTITIONS: i32 = 3;
/// Futures of unoptimised code are large.
const STACK_BYTES: usize = 256 << 20;
/// A cluster without faults has its topic in less.
const CREATED_WITHIN_MS: u64 = 30_000;
/// How long things go wrong.
const FAULTS_MS: std::ops::Range<u64> = 8_000..20_000;
/// In so much time after the last fault all replicas are in sync and all clients have their answers.
const RECOVERED_WITHIN_MS: u64 = 60_000;
/// The same for written histories, which recover in a few seconds: whole ones too, or one that is slow would pass as
/// whole and count as noticed when a rule is broken.
const HISTORY_RECOVERED_WITHIN_MS: u64 = 20_000;

/// Whether all brokers have lately said that all replicas are in sync.
#[derive(Debug, Default)]
pub struct Health {
    forgotten: Cell<u64>,
    in_sync: Cell<bool>,
}

impl Health {
    /// What was seen until now does not count any more.
    pub fn forget(&self) {
        self.forgotten.set(self.forgotten.get() + 1);
        self.in_sync.set(false);
    }

    pub fn begin_round(&self) -> u64 {
        self.forgotten.get()
    }

    pub fn end_round(&self, round: u64) {
        self.in_sync.set(round == self.forgotten.get());
    }

    pub fn all_in_sync(&self) -> bool {
        self.in_sync.get()
    }
}

/// Runs one seed on a thread of its own, so that its hash maps are the seed's.
pub fn one(seed: u64, asked: &Asked) -> ExitCode {
    let asked = asked.clone();
    let clocks = entropy::seed(seed);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        // A task's panic would go unnoticed.
        std::process::exit(PANICKED.into());
    }));
    let running = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || run(seed, &asked));
    let code = match running.map(std::thread::JoinHandle::join) {
        Ok(Ok(0)) => ExitCode::SUCCESS,
        Ok(Ok(_)) => ExitCode::from(VIOLATED),
        _ => ExitCode::from(PANICKED),
    };
    drop(clocks);
    code
}

fn run(seed: u64, asked: &Asked) -> usize {
    if let Some(level) = &asked.log {
        super::log::start(level).expect("a level");
    }
    if let Some(file) = &asked.trace {
        trace::write_to(std::fs::File::create(file).expect("a file"));
    }
    if let Some((_, broken)) = rule::ALL
        .iter()
        .find(|(name, _)| asked.broken == Some(*name))
    {
        rule::break_it(*broken);
    }
    let mut run = Run::new(seed, asked);
    if let Some(scenario) = run.scenario {
        (scenario.founding)(&mut run);
    }
    run.found();
    run.start_clients();
    match run.scenario {
        Some(scenario) => run.play(scenario),
        None => run.go_wrong(),
    }
    run.recover();
    run.check();
    run.report()
}

/// One run, in whose midst its scenario acts.
pub struct Run {
    pub cluster: Cluster,
    /// Where a scenario is played, what the brokers say.
    pub view: Rc<View>,
    seed: u64,
    scenario: Option<&'static Scenario>,
    /// A broken rule has to be noticed, and that is all.
    broken: Option<&'static str>,
    rng: StdRng,
    ledger: Shared,
    health: Rc<Health>,
    over: Rc<Cell<bool>>,
    /// Clients that have not ended.
    busy: Rc<Cell<usize>>,
    now_ms: u64,
}

impl Run {
    fn new(seed: u64, asked: &Asked) -> Self {
        let scenario = asked.scenario;
        let mut rng = StdRng::seed_from_u64(seed);
        let drawn = [3, 3, 4, 5][rng.random_range(0..4)];
        let (brokers, voters) = scenario.map_or((drawn, VOTERS), |it| (it.brokers, it.voters));
        Self {
            cluster: Cluster::new(brokers, voters, seed),
            view: Rc::default(),
            seed,
            scenario,
            broken: asked.broken,
            rng,
            ledger: Rc::new(RefCell::new(Ledger::default())),
            health: Rc::default(),
            over: Rc::default(),
            busy: Rc::default(),
            now_ms: 0,
        }
    }

    fn client(&mut self) -> Client {
        Client::new(
            StdRng::seed_from_u64(self.rng.random()),
            self.cluster.brokers(),
        )
    }

    fn step(&mut self) {
        self.cluster.step(self.now_ms);
        self.now_ms += 1;
        if self.broken.is_some() {
            self.hear_witness();
            if self.has_noticed() {
                self.report();
                std::process::exit(VIOLATED.into());
            }
        }
    }

    /// Whether the broken rule has shown; anything does for one that the scenario does not name.
    fn has_noticed(&self) -> bool {
        let violations = &self.ledger.borrow().violations;
        let shown = self
            .scenario
            .zip(self.broken)
            .and_then(|(scenario, rule)| scenario::shown(scenario, rule));
        violations
            .iter()
            .any(|line| shown.is_none_or(|shown| shown.is_noticed_by(line)))
    }

    fn hear_witness(&self) {
        for wrong in witness::take_wrong() {
            self.wrong(wrong);
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, ms: u64) {
        (0..ms).for_each(|_| self.step());
    }

    /// Steps until it is so; whether it became so.
    pub fn until(&mut self, within_ms: u64, is_so: impl Fn(&Self) -> bool) -> bool {
        let deadline = self.now_ms + within_ms;
        while !is_so(self) {
            if self.now_ms >= deadline {
                return false;
            }
            self.step();
        }
        true
    }

    /// Something that must not be.
    pub fn wrong(&self, what: String) {
        self.ledger.borrow_mut().wrong(what);
    }

    /// The cluster is founded, and its topic made.
    fn found(&mut self) {
        let mut client = self.client();
        let created = Rc::new(Cell::new(false));
        let done = created.clone();
        let replicas = self.scenario.map(|scenario| scenario.replicas);
        self.cluster.client("founder", async move {
            admin::create(&mut client, TOPIC, PARTITIONS, replicas).await;
            done.set(true);
        });
        if !self.until(CREATED_WITHIN_MS, |_| created.get()) {
            self.wrong("the topic could not be created".into());
        }
    }

    fn start_clients(&mut self) {
        self.start_operator();
        for half in 0..2 {
            let producers: Vec<_> = places().map(|place| (place, self.client())).collect();
            let readers: Vec<_> = places().map(|place| (place, self.client())).collect();
            let (ledger, over, busy) = (self.ledger.clone(), self.over.clone(), self.busy.clone());
            busy.set(busy.get() + producers.len() + readers.len());
            self.cluster.client(&format!("client{half}"), async move {
                let mut tasks = Vec::new();
                for (place, client) in producers {
                    let (ledger, over, busy) = (ledger.clone(), over.clone(), busy.clone());
                    // The second producer of the first partition is content with the leader's word.
                    let acks = if half == 1 && place.1 == 0 { 1 } else { -1 };
                    tasks.push(tokio::task::spawn_local(async move {
                        clients::produce(client, half, place, acks, ledger, || over.get()).await;
                        busy.set(busy.get() - 1);
                    }));
                }
                for (place, client) in readers {
                    let (ledger, over, busy) = (ledger.clone(), over.clone(), busy.clone());
                    tasks.push(tokio::task::spawn_local(async move {
                        clients::read(client, place, ledger, || over.get()).await;
                        busy.set(busy.get() - 1);
                    }));
                }
                for task in tasks {
                    task.await.expect("a client");
                }
            });
        }
    }

    /// It meddles where faults are drawn; a written history is not to be disturbed.
    fn start_operator(&mut self) {
        let (brokers, watcher, meddler) = (self.cluster.brokers(), self.client(), self.client());
        let (health, over, ledger) = (self.health.clone(), self.over.clone(), self.ledger.clone());
        let meddles = self.scenario.is_none();
        self.cluster.client("operator", async move {
            let is_over = || over.get() || !meddles;
            let meddling = admin::meddle(meddler, brokers, places().collect(), ledger, is_over);
            tokio::join!(meddling, admin::watch(watcher, brokers, TOPIC, health));
        });
    }

    fn play(&mut self, scenario: &Scenario) {
        let observers: Vec<_> = (1..=self.cluster.brokers())
            .map(|broker| view::observe(self.client(), broker, TOPIC, self.view.clone()))
            .collect();
        self.cluster.client("observer", async move {
            let mut tasks = tokio::task::JoinSet::new();
            for observer in observers {
                tasks.spawn_local(observer);
            }
            tasks.join_all().await;
        });
        (scenario.play)(self);
        self.mend();
    }

    /// A broker's machine loses its power, and what was not synced.
    pub fn lose_power(&mut self, broker: i32, down_ms: u64) {
        self.cluster.lose_power(broker, down_ms, &mut self.rng);
    }

    /// Who leads the metadata quorum, and in which term.
    pub fn quorum_leader(&mut self) -> Option<(i32, i32)> {
        let (mut client, found) = (self.client(), Rc::new(Cell::new(None)));
        let told = found.clone();
        let name = format!("asker{}", self.now_ms);
        self.cluster.client(&name, async move {
            while told.get().is_none() {
                told.set(admin::quorum_leader(&mut client).await);
            }
        });
        self.until(CREATED_WITHIN_MS, |_| found.get().is_some());
        found.get()
    }

    fn go_wrong(&mut self) {
        let rng = StdRng::seed_from_u64(self.rng.random());
        let mut faults = Faults::new(rng, self.now_ms + 500);
        let end_ms = self.now_ms + self.rng.random_range(FAULTS_MS);
        let health = self.health.clone();
        while self.now_ms < end_ms {
            faults.step(&mut self.cluster, &health, self.now_ms);
            self.step();
        }
        faults.end(&mut self.cluster, &health);
    }

    /// All is well again, and clients finish.
    fn recover(&mut self) {
        self.health.forget();
        let within_ms = match self.scenario {
            Some(_) => HISTORY_RECOVERED_WITHIN_MS,
            None => RECOVERED_WITHIN_MS,
        };
        if !self.until(within_ms, |run| run.health.all_in_sync()) {
            self.wrong(format!(
                "not all replicas are in sync {within_ms} ms after the last fault"
            ));
        }
        self.over.set(true);
        if !self.until(within_ms, |run| run.busy.get() == 0) {
            self.wrong(format!(
                "clients have no answers {within_ms} ms after the last fault"
            ));
        }
    }

    /// Reads everything once more.
    fn check(&mut self) {
        for place in places() {
            let mut client = self.client();
            let (ledger, done) = (self.ledger.clone(), Rc::new(Cell::new(false)));
            let is_done = done.clone();
            self.cluster
                .client(&format!("checker{}", place.1), async move {
                    loop {
                        let start = ledger.borrow().start(place);
                        match clients::read_all(&mut client, place, start).await {
                            Some(held) => break ledger.borrow_mut().check_last(place, &held),
                            None => client.back_off(place).await,
                        }
                    }
                    is_done.set(true);
                });
            if !self.until(RECOVERED_WITHIN_MS, |_| done.get()) {
                self.wrong(format!("{place:?} can't be read in the end"));
            }
        }
        self.hear_witness();
    }

    fn report(&self) -> usize {
        let ledger = self.ledger.borrow();
        let (acked, seen) = ledger.counts();
        let (hash, events) = trace::hash();
        println!(
            "seed {}: trace {hash:016x} of {events} events in {} ms; {} brokers; {} sent, {acked} acknowledged, \
             {seen} read; {} wrong",
            self.seed,
            clock::elapsed_ms(),
            self.cluster.brokers(),
            ledger.sent,
            ledger.violations.len()
        );
        ledger.violations.len()
    }
}

fn places() -> impl Iterator<Item = Place> {
    (0..PARTITIONS).map(|partition| (TOPIC, partition))
}
