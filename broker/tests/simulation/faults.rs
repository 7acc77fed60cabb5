//! What goes wrong, and when: all of it from the seed.

use milena_simulation::disk;
use milena_simulation::machine::{self, Machine};
use milena_simulation::network::{self, Latency};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::cluster::{Cluster, State, VOTERS};
use super::run::Health;

/// Between the begin of one fault and that of the next.
const PAUSE_MS: std::ops::Range<u64> = 50..1_500;
/// How long a cut, a slow link or a dead process stays.
const LASTS_MS: std::ops::Range<u64> = 100..5_000;
/// What a sync takes on busy disks, at least and at most.
const BUSY_SYNC_MS: (u64, u64) = (10, 250);
/// How long a voter is behind, and then another dead.
const BEHIND_MS: u64 = 2_000;
/// After this a broker that says nothing is fenced, with time for the decision.
const FENCED_MS: u64 = 5_000;
/// A process that ended is running again after this.
const RESTART_MS: std::ops::Range<u64> = 1..60;
/// An hour, which clocks are wrong by at the most.
const SKEW_MS: i64 = 60 * 60 * 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    CutBoth,
    CutOne,
    Isolate,
    /// From the other brokers alone: clients still reach it.
    Estrange,
    Slow,
    /// Syncs of the metadata take long, on every machine.
    BusyDisks,
    Kill,
    /// Killed, and started again before it is missed.
    Restart,
    KillAll,
    Stop,
    LosePower,
    Wipe,
    WipeBehind,
    LastStanding,
    Skew,
}

/// How often each comes, in parts of the sum.
const KINDS: [(Kind, u32); 15] = [
    (Kind::CutBoth, 12),
    (Kind::CutOne, 12),
    (Kind::Isolate, 8),
    (Kind::Estrange, 8),
    (Kind::Slow, 6),
    (Kind::BusyDisks, 6),
    (Kind::Kill, 16),
    (Kind::Restart, 6),
    (Kind::KillAll, 2),
    (Kind::Stop, 8),
    (Kind::LosePower, 16),
    (Kind::Wipe, 2),
    (Kind::WipeBehind, 3),
    (Kind::LastStanding, 4),
    (Kind::Skew, 5),
];

#[derive(Debug, Clone, Copy)]
enum Undo {
    Heal(Machine, Machine),
    Hasten(Machine, Machine),
    /// Ends [`Kind::BusyDisks`].
    Calm,
    /// The second act of [`Kind::WipeBehind`]: the disk of the first goes, and the second dies.
    Behind(i32, i32),
    /// The second act of [`Kind::LastStanding`]: it loses its power.
    Falls(i32),
}

/// The faults of a run.
pub struct Faults {
    rng: StdRng,
    next_at_ms: u64,
    undo: Vec<(u64, Undo)>,
    /// Who lost records last, or a whole disk: nobody else may before all are in sync again. The promise is that of
    /// brokers which do not lose their power together.
    loser: Option<i32>,
    wiped: bool,
}

impl Faults {
    pub fn new(rng: StdRng, begin_ms: u64) -> Self {
        Self {
            rng,
            next_at_ms: begin_ms,
            undo: Vec::new(),
            loser: None,
            wiped: false,
        }
    }

    /// Does what is due.
    pub fn step(&mut self, cluster: &mut Cluster, health: &Health, now_ms: u64) {
        self.undo_due(cluster, health, now_ms);
        if self.next_at_ms > now_ms {
            return;
        }
        self.next_at_ms = now_ms + self.rng.random_range(PAUSE_MS);
        let kinds = KINDS.choose_weighted(&mut self.rng, |(_, weight)| *weight);
        let kind = kinds.map_or(Kind::Kill, |(kind, _)| *kind);
        let broker = self.rng.random_range(1..=cluster.brokers());
        self.perform(kind, broker, cluster, health, now_ms);
    }

    /// Ends all that goes on, and starts who is down.
    pub fn end(&mut self, cluster: &mut Cluster, health: &Health) {
        self.undo_due(cluster, health, u64::MAX);
        for broker in 1..=cluster.brokers() {
            cluster.start(broker);
        }
    }

    fn undo_due(&mut self, cluster: &mut Cluster, health: &Health, now_ms: u64) {
        let due: Vec<_> = self.undo.extract_if(.., |(at, _)| *at <= now_ms).collect();
        for (_, undo) in due {
            match undo {
                Undo::Behind(wiped, killed) => {
                    // A round that has begun before may have asked who is wiped now.
                    health.forget();
                    if cluster.state(wiped) == State::Running {
                        cluster.wipe(wiped, 50);
                    }
                    if cluster.state(killed) == State::Running {
                        cluster.kill(killed, BEHIND_MS);
                    }
                }
                Undo::Falls(broker) => {
                    health.forget();
                    if cluster.state(broker) == State::Running {
                        cluster.lose_power(broker, 50, &mut self.rng);
                    }
                }
                Undo::Heal(from, to) => network::heal(from, to),
                Undo::Calm => disk::calm(),
                Undo::Hasten(from, to) => network::set_latency(from, to, Latency::default()),
            }
        }
    }

    fn perform(
        &mut self,
        kind: Kind,
        broker: i32,
        cluster: &mut Cluster,
        health: &Health,
        now_ms: u64,
    ) {
        let lasts_ms = self.rng.random_range(LASTS_MS);
        let is_running = cluster.state(broker) == State::Running;
        tracing::info!(?kind, broker, lasts_ms, is_running, "FAULT");
        match kind {
            Kind::CutBoth | Kind::CutOne => {
                let (one, other) = (cluster.machine(broker), self.another(cluster, broker));
                self.cut(one, other, now_ms + lasts_ms);
                if kind == Kind::CutBoth {
                    self.cut(other, one, now_ms + lasts_ms);
                }
            }
            Kind::Isolate => self.isolate(cluster, broker, now_ms + lasts_ms),
            Kind::Estrange => self.estrange(cluster, broker, now_ms + lasts_ms),
            Kind::Slow => self.slow(cluster, broker, now_ms + lasts_ms),
            Kind::BusyDisks => {
                disk::set_sync_ms(BUSY_SYNC_MS);
                self.undo.push((now_ms + lasts_ms, Undo::Calm));
            }
            Kind::Kill if is_running => cluster.kill(broker, lasts_ms),
            Kind::Restart if is_running => {
                let down_ms = self.rng.random_range(RESTART_MS);
                cluster.kill(broker, down_ms);
            }
            Kind::KillAll => {
                for broker in 1..=cluster.brokers() {
                    if cluster.state(broker) == State::Running {
                        let lasts_ms = self.rng.random_range(LASTS_MS);
                        cluster.kill(broker, lasts_ms);
                    }
                }
            }
            Kind::Stop if is_running => cluster.stop(broker),
            Kind::LosePower if self.may_lose(broker, cluster, health) => {
                self.loser = Some(broker);
                health.forget();
                cluster.lose_power(broker, lasts_ms, &mut self.rng);
            }
            Kind::Wipe if !self.wiped && self.may_lose(broker, cluster, health) => {
                self.wiped = true;
                self.loser = Some(broker);
                health.forget();
                cluster.wipe(broker, lasts_ms);
            }
            Kind::WipeBehind if !self.wiped && self.may_lose(1, cluster, health) => {
                health.forget();
                self.wipe_behind(cluster, now_ms);
            }
            Kind::LastStanding if self.may_lose(broker, cluster, health) => {
                health.forget();
                self.leave_alone(cluster, broker, now_ms);
            }
            Kind::Skew => {
                let skew_ms = self.rng.random_range(-SKEW_MS..=SKEW_MS);
                machine::set_skew_ms(cluster.machine(broker), skew_ms);
            }
            _ => {}
        }
    }

    /// From the others to it, from it to them, or both; at times neither.
    fn isolate(&mut self, cluster: &Cluster, broker: i32, until_ms: u64) {
        let me = cluster.machine(broker);
        let (to_others, from_others) = (self.rng.random_ratio(3, 4), self.rng.random_ratio(3, 4));
        for other in others(cluster, me) {
            if to_others {
                self.cut(me, other, until_ms);
            }
            if from_others {
                self.cut(other, me, until_ms);
            }
        }
    }

    /// Between it and all other brokers, in both directions.
    fn estrange(&mut self, cluster: &Cluster, broker: i32, until_ms: u64) {
        let me = cluster.machine(broker);
        for other in (1..=cluster.brokers()).filter(|other| *other != broker) {
            self.cut(me, cluster.machine(other), until_ms);
            self.cut(cluster.machine(other), me, until_ms);
        }
    }

    /// Between it and another.
    fn slow(&mut self, cluster: &Cluster, broker: i32, until_ms: u64) {
        let (one, other) = (cluster.machine(broker), self.another(cluster, broker));
        let latency = Latency {
            min_ms: 10,
            max_ms: 120,
            late_permille: 50,
            late_ms: 400,
        };
        for (from, to) in [(one, other), (other, one)] {
            network::set_latency(from, to, latency);
            self.undo.push((until_ms, Undo::Hasten(from, to)));
        }
    }

    /// One voter is behind, of the two that are not one loses its memory, and the other is away.
    fn wipe_behind(&mut self, cluster: &Cluster, now_ms: u64) {
        let mut voters = [1, 2, 3];
        voters.shuffle(&mut self.rng);
        let [behind, wiped, killed] = voters;
        self.wiped = true;
        self.loser = Some(wiped);
        let me = cluster.machine(behind);
        for other in others(cluster, me) {
            self.cut(me, other, now_ms + BEHIND_MS);
            self.cut(other, me, now_ms + BEHIND_MS);
        }
        self.undo
            .push((now_ms + BEHIND_MS, Undo::Behind(wiped, killed)));
        self.next_at_ms = now_ms + 2 * BEHIND_MS;
    }

    /// All others die, and when it alone is in sync it loses what it has not synced. Where there are brokers enough, the
    /// quorum may live on, and fence who died.
    fn leave_alone(&mut self, cluster: &mut Cluster, broker: i32, now_ms: u64) {
        self.loser = Some(broker);
        let mut voters: Vec<i32> = (1..=VOTERS).filter(|voter| *voter != broker).collect();
        voters.shuffle(&mut self.rng);
        let has_quorum = cluster.brokers() > VOTERS + 1 && self.rng.random();
        let (alone_ms, stay) = match has_quorum {
            true => (FENCED_MS, VOTERS / 2 + i32::from(broker > VOTERS)),
            false => (BEHIND_MS, 0),
        };
        voters.truncate(usize::try_from(stay).unwrap_or(0));
        for other in (1..=cluster.brokers()).filter(|other| *other != broker) {
            if cluster.state(other) == State::Running && !voters.contains(&other) {
                cluster.kill(other, alone_ms + BEHIND_MS);
            }
        }
        self.undo.push((now_ms + alone_ms, Undo::Falls(broker)));
        self.next_at_ms = now_ms + alone_ms + 2 * BEHIND_MS;
    }

    fn may_lose(&self, broker: i32, cluster: &Cluster, health: &Health) -> bool {
        let again = self.loser == Some(broker);
        (self.loser.is_none() || again || health.all_in_sync())
            && (1..=cluster.brokers())
                .all(|other| other == broker || cluster.state(other) != State::Down(true))
            && cluster.state(broker) == State::Running
    }

    fn another(&mut self, cluster: &Cluster, broker: i32) -> Machine {
        let others = others(cluster, cluster.machine(broker));
        others
            .choose(&mut self.rng)
            .copied()
            .unwrap_or(cluster.machine(broker))
    }

    fn cut(&mut self, from: Machine, to: Machine, until_ms: u64) {
        network::cut(from, to);
        self.undo.push((until_ms, Undo::Heal(from, to)));
    }
}

fn others(cluster: &Cluster, me: Machine) -> Vec<Machine> {
    let brokers = (1..=cluster.brokers()).map(|broker| cluster.machine(broker));
    brokers
        .chain(cluster.clients().iter().copied())
        .filter(|other| *other != me)
        .collect()
}
