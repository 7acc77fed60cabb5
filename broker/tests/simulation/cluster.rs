//! The machines, and the brokers that run on them.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use milena::config::Sources;
use milena::server;
use milena_simulation::machine::{self, Machine};
use milena_simulation::turmoil::{Builder, Sim};
use milena_simulation::{clock, disk, network};
use rand::rngs::StdRng;
use tokio::sync::mpsc;

pub const CLIENTS_PORT: u16 = 9092;
const PEERS_PORT: u16 = 9091;
/// So many brokers vote, where faults are drawn.
pub const VOTERS: i32 = 3;
/// A process that has ended is started again after this, as a supervisor does.
const RESTART_MS: u64 = 500;
/// Longer than any run.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What a broker's machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Running,
    /// Stopped by its process's end, its death or a power loss; `true` is without power.
    Down(bool),
}

struct Node {
    machine: Machine,
    state: State,
    signals: Rc<RefCell<Option<mpsc::UnboundedSender<()>>>>,
    /// Set by a process that ended by itself.
    ended: Rc<Cell<bool>>,
    restart_at_ms: Option<u64>,
}

pub struct Cluster {
    sim: Sim<'static>,
    nodes: Vec<Node>,
    clients: Vec<Machine>,
}

pub fn name(broker: i32) -> String {
    format!("b{broker}")
}

fn root(broker: i32) -> PathBuf {
    PathBuf::from(name(broker))
}

fn settings(broker: i32, voters: i32) -> Vec<(String, String)> {
    let voter = |id| format!("{id}@{}:{PEERS_PORT}", name(id));
    let voters: Vec<String> = (1..=voters).map(voter).collect();
    let host = name(broker);
    let set = [
        ("node.id", broker.to_string()),
        ("log.dirs", root(broker).join("data").display().to_string()),
        ("http.listener", String::new()),
        (
            "listeners",
            format!("PLAINTEXT://:{CLIENTS_PORT},PEERS://:{PEERS_PORT}"),
        ),
        (
            "advertised.listeners",
            format!("PLAINTEXT://{host}:{CLIENTS_PORT},PEERS://{host}:{PEERS_PORT}"),
        ),
        ("controller.quorum.voters", voters.join(",")),
        ("cluster.found", "true".into()),
        ("default.replication.factor", "3".into()),
        ("min.insync.replicas", "2".into()),
        ("offsets.topic.num.partitions", "1".into()),
        ("replica.lag.time.max.ms", "2000".into()),
        ("log.segment.bytes", "16384".into()),
        ("log.flush.offset.checkpoint.interval.ms", "3000".into()),
        (
            "replica.high.watermark.checkpoint.interval.ms",
            "1000".into(),
        ),
        ("leader.imbalance.check.interval.seconds", "7".into()),
    ];
    set.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

impl Cluster {
    /// Brokers 1 to `brokers`, of which the first `voters` vote.
    pub fn new(brokers: i32, voters: i32, seed: u64) -> Self {
        let mut sim = Builder::new()
            .rng_seed(seed)
            .enable_random_order()
            .tick_duration(Duration::from_millis(1))
            .simulation_duration(DURATION_MAX)
            .build();
        network::seed(seed);
        let nodes = (1..=brokers).map(|broker| node(&mut sim, broker, voters));
        Self {
            nodes: nodes.collect(),
            sim,
            clients: Vec::new(),
        }
    }

    /// Runs a client on a machine of its own.
    pub fn client<F: Future<Output = ()> + 'static>(&mut self, name: &str, work: F) -> Machine {
        let machine = machine::add(name);
        self.clients.push(machine);
        self.sim.client(name, async move {
            machine::enter(machine);
            work.await;
            Ok(())
        });
        machine
    }

    pub fn brokers(&self) -> i32 {
        i32::try_from(self.nodes.len()).unwrap_or(i32::MAX)
    }

    pub fn clients(&self) -> &[Machine] {
        &self.clients
    }

    pub fn machine(&self, broker: i32) -> Machine {
        self.node(broker).machine
    }

    pub fn state(&self, broker: i32) -> State {
        self.node(broker).state
    }

    fn node(&self, broker: i32) -> &Node {
        &self.nodes[usize::try_from(broker - 1).unwrap_or(0)]
    }

    fn node_mut(&mut self, broker: i32) -> &mut Node {
        &mut self.nodes[usize::try_from(broker - 1).unwrap_or(0)]
    }

    /// One millisecond; whether all clients have ended.
    pub fn step(&mut self, now_ms: u64) -> bool {
        clock::set(now_ms);
        network::tick();
        for broker in 1..=self.brokers() {
            let node = self.node_mut(broker);
            if node.ended.take() && node.state == State::Running {
                node.state = State::Down(false);
                node.restart_at_ms = Some(now_ms + RESTART_MS);
            }
            if node.restart_at_ms.is_some_and(|at| at <= now_ms) {
                self.start(broker);
            }
        }
        self.sim.step().expect("no host fails")
    }

    /// kill -9; what it wrote is still there.
    pub fn kill(&mut self, broker: i32, down_ms: u64) {
        disk::detach(&root(broker));
        self.sim.crash(name(broker));
        self.down(broker, false, down_ms);
    }

    /// The machine loses its power, and what was not synced.
    pub fn lose_power(&mut self, broker: i32, down_ms: u64, rng: &mut StdRng) {
        disk::detach(&root(broker));
        network::power_off(self.machine(broker));
        self.sim.crash(name(broker));
        disk::lose_power(&root(broker), rng).expect("a disk");
        self.down(broker, true, down_ms);
    }

    /// As a power loss, and another disk is put in.
    pub fn wipe(&mut self, broker: i32, down_ms: u64) {
        disk::detach(&root(broker));
        network::power_off(self.machine(broker));
        self.sim.crash(name(broker));
        disk::wipe(&root(broker)).expect("a disk");
        self.down(broker, true, down_ms);
    }

    fn down(&mut self, broker: i32, powerless: bool, down_ms: u64) {
        let node = self.node_mut(broker);
        node.ended.set(false);
        node.state = State::Down(powerless);
        node.restart_at_ms = Some(clock::elapsed_ms() + down_ms);
    }

    /// SIGTERM; it starts again soon after its end.
    pub fn stop(&mut self, broker: i32) {
        if let Some(signals) = &*self.node(broker).signals.borrow() {
            // It may have ended by itself.
            let _ = signals.send(());
        }
    }

    /// Starts a broker that is down.
    pub fn start(&mut self, broker: i32) {
        let node = self.node_mut(broker);
        node.restart_at_ms = None;
        let machine = node.machine;
        let before = std::mem::replace(&mut node.state, State::Running);
        if before == State::Down(true) {
            network::power_on(machine);
        }
        if before != State::Running {
            // Whatever a process that ended by itself left running goes with its runtime.
            disk::detach(&root(broker));
            self.sim.bounce(name(broker));
            self.node_mut(broker).ended.set(false);
        }
    }
}

fn node(sim: &mut Sim<'static>, broker: i32, voters: i32) -> Node {
    let machine = machine::add(&name(broker));
    let signals = Rc::new(RefCell::new(None));
    let ended = Rc::new(Cell::new(false));
    std::fs::create_dir_all(root(broker)).expect("a folder");
    let (sender, is_over) = (signals.clone(), ended.clone());
    sim.host(name(broker), move || {
        let (sender, is_over) = (sender.clone(), is_over.clone());
        async move {
            machine::enter(machine);
            let (signal, signalled) = mpsc::unbounded_channel();
            *sender.borrow_mut() = Some(signal);
            let settings = settings(broker, voters);
            let settings: Vec<(&str, &str)> = settings
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let (config, _) = Sources::of(&settings).load().expect("a configuration");
            if let Err(error) = server::simulate(config, signalled).await {
                eprintln!(
                    "at {} ms: broker {broker} ended: {error}",
                    clock::elapsed_ms()
                );
            }
            is_over.set(true);
            Ok(())
        }
    });
    Node {
        machine,
        state: State::Running,
        signals,
        ended,
        restart_at_ms: None,
    }
}
