//! Histories that are written down: each shows a rule of the protocol where it is broken, which drawn faults do too
//! rarely. Played with all rules whole, they have to be clean.

mod plays;

use milena_simulation::machine::Machine;
use milena_simulation::network::{self, Latency};

use super::run::Run;

/// Exit code of a run whose history did not come about: it says nothing of any rule.
const NOT_COME_ABOUT: i32 = 4;
/// A session, an election and a start take less.
const REACHED_WITHIN_MS: u64 = 30_000;

/// One history. Clients write and read throughout, and the checks are those of drawn faults.
#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub brokers: i32,
    /// The first of them vote.
    pub voters: i32,
    /// Of every partition, the preferred leader first.
    pub replicas: [i32; 3],
    /// Each of these rules, broken, is noticed in it.
    pub shows: &'static [Shown],
    /// What happens while the cluster is founded.
    pub founding: fn(&mut Run),
    /// What goes wrong; all is mended behind it.
    pub play: fn(&mut Run),
}

/// A rule that a history shows where it is broken.
#[derive(Debug)]
pub struct Shown {
    pub rule: &'static str,
    /// What a check says then holds one of these. Anything else that it says, of a history that is slow for example, is
    /// no sign of the rule.
    pub noticed_by: &'static [&'static str],
}

impl Shown {
    /// Whether a check's line tells of the rule.
    pub fn is_noticed_by(&self, line: &str) -> bool {
        self.noticed_by.iter().any(|words| line.contains(words))
    }
}

/// Records that were acknowledged or read are gone, or others are in their place.
const LOST: &[&str] = &[
    "was acknowledged at",
    "was acknowledged there, but",
    "was acknowledged and is not there",
    "was read at",
    "was read there before",
    "is out of range",
    "says that the latest offset is",
];

/// All of them.
pub const ALL: [Scenario; 8] = [
    Scenario {
        name: "last-in-sync-loses-power",
        brokers: 5,
        voters: 3,
        replicas: [4, 5, 1],
        shows: &[
            Shown {
                rule: "watermark-counts-fenced",
                noticed_by: LOST,
            },
            Shown {
                rule: "unclean-stays-in-sync",
                noticed_by: LOST,
            },
        ],
        founding: plays::nothing,
        play: plays::last_in_sync_loses_power,
    },
    Scenario {
        name: "leader-cut-from-brokers",
        brokers: 3,
        voters: 3,
        replicas: [1, 2, 3],
        shows: &[Shown {
            rule: "duplicate-acknowledged-early",
            noticed_by: LOST,
        }],
        founding: plays::nothing,
        play: plays::leader_is_cut_from_brokers,
    },
    Scenario {
        name: "leader-restarts-at-once",
        brokers: 3,
        voters: 3,
        replicas: [1, 2, 3],
        shows: &[Shown {
            rule: "leads-in-old-epoch",
            noticed_by: &["is led in epoch"],
        }],
        founding: plays::nothing,
        play: plays::leader_restarts_at_once,
    },
    Scenario {
        name: "voter-wiped-beside-one-behind",
        brokers: 3,
        voters: 3,
        replicas: [3, 2, 1],
        shows: &[Shown {
            rule: "wiped-voter-votes",
            noticed_by: LOST,
        }],
        founding: plays::nothing,
        play: plays::voter_is_wiped_beside_one_behind,
    },
    Scenario {
        name: "wiped-voter-joins-in-vain",
        brokers: 5,
        voters: 5,
        replicas: [1, 2, 3],
        shows: &[Shown {
            rule: "joins-once",
            noticed_by: &["not all replicas are in sync"],
        }],
        founding: plays::nothing,
        play: plays::wiped_voter_joins_in_vain,
    },
    Scenario {
        name: "first-votes-come-late",
        brokers: 3,
        voters: 3,
        replicas: [1, 2, 3],
        shows: &[Shown {
            rule: "founds-once",
            noticed_by: &["the topic could not be created"],
        }],
        founding: plays::first_votes_come_late,
        play: plays::nothing,
    },
    Scenario {
        name: "one-link-is-bad",
        brokers: 3,
        voters: 3,
        replicas: [1, 2, 3],
        shows: &[Shown {
            rule: "elects-unasked",
            noticed_by: &["leader and term of the quorum were"],
        }],
        founding: plays::nothing,
        play: plays::one_link_is_bad,
    },
    Scenario {
        name: "quorum-leader-dies-on-busy-disks",
        brokers: 3,
        voters: 3,
        replicas: [1, 2, 3],
        shows: &[],
        founding: plays::nothing,
        play: plays::quorum_leader_dies_on_busy_disks,
    },
];

/// How that rule shows in that scenario.
pub fn shown(scenario: &Scenario, rule: &str) -> Option<&'static Shown> {
    let shows: &'static [Shown] = scenario.shows;
    shows.iter().find(|shown| shown.rule == rule)
}

/// The scenario of this name.
pub fn named(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

impl Run {
    /// All is well, and the topic led as it was meant.
    fn until_well(&mut self, leader: i32) {
        let brokers = self.cluster.brokers();
        self.reach("all are in sync", |run| {
            (1..=brokers).all(|broker| {
                run.view
                    .all(broker, |said| said.leader == leader && said.isr.len() == 3)
            })
        });
    }

    /// Goes on when it is so, and gives the run up where that does not come.
    fn reach(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        if !self.until(REACHED_WITHIN_MS, is_so) {
            eprintln!("the history did not come about: not {what}");
            std::process::exit(NOT_COME_ABOUT);
        }
    }

    /// Between a broker and some others, in both directions.
    fn cut_off(&self, broker: i32, others: impl Iterator<Item = i32>) {
        let others: Vec<Machine> = others.map(|other| self.cluster.machine(other)).collect();
        self.cut_machine_off(broker, &others);
    }

    fn cut_machine_off(&self, broker: i32, others: &[Machine]) {
        let me = self.cluster.machine(broker);
        for other in others.iter().copied().filter(|other| *other != me) {
            network::cut(me, other);
            network::cut(other, me);
        }
    }

    fn all_machines(&self) -> Vec<Machine> {
        let brokers = (1..=self.cluster.brokers()).map(|broker| self.cluster.machine(broker));
        brokers
            .chain(self.cluster.clients().iter().copied())
            .collect()
    }

    /// From now on, between all brokers.
    fn set_latency(&self, latency: Latency) {
        let machines = (1..=self.cluster.brokers()).map(|broker| self.cluster.machine(broker));
        let machines: Vec<Machine> = machines.collect();
        for from in &machines {
            for to in machines.iter().filter(|to| *to != from) {
                network::set_latency(*from, *to, latency);
            }
        }
    }

    /// Ends all cuts.
    fn heal(&self) {
        let all = self.all_machines();
        for from in &all {
            for to in &all {
                network::heal(*from, *to);
            }
        }
    }

    /// Ends all that a scenario has begun.
    pub fn mend(&mut self) {
        self.heal();
        for broker in 1..=self.cluster.brokers() {
            self.cluster.start(broker);
        }
    }
}
