//! A fault, repeated on a cluster under load by real clients of two kinds: nothing acknowledged may be lost, nothing
//! stored twice, no reader misled; and the gap that each fault leaves is measured.

mod results;

use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::{Cluster, Kind, Network, Plan};
use crate::ledger::{Consuming, Findings, Producing, Stored, Target, longest, now_us};
use crate::process;
use crate::skip::skipped;
use crate::suite::Suite;
use results::Row;

/// Records a second, of each of the two producers.
const RATE: u32 = 500;
/// Of [`TOPIC`].
pub const PARTITIONS: i32 = 6;
const REPLICAS: i16 = 3;
/// Before each fault: two brokers gone within a second are another fault than one after the other.
const CALM: Duration = Duration::from_secs(2);
/// Until both producers are acknowledged by every partition again. Longer than a client's own request timeout, which
/// is what it waits where a broker is silent and not gone.
const FLOW_LIMIT: Duration = Duration::from_secs(150);
/// Rounds of each fault, unless `MILENA_CHAOS_ROUNDS` says otherwise.
const ROUNDS: u32 = 2;
/// Brokers, unless `MILENA_CHAOS_BROKERS` says otherwise.
const BROKERS: u32 = 3;

/// The topic that is written and read.
pub const TOPIC: &str = "ledger";

/// A cluster at work.
pub struct Trial<'a> {
    /// What faults are done to.
    pub cluster: &'a mut Cluster,
    producers: Vec<Producing>,
    consumers: Vec<Consuming>,
    /// Of each round the gap of each producer.
    gaps: Vec<Vec<Duration>>,
}

/// A fault that is repeated.
pub struct Fault {
    /// As the table has it.
    pub name: &'static str,
    /// What the brokers are connected by meanwhile.
    pub network: Kind,
    /// A longer gap is a failure by itself. Far more than a gap takes on a machine of its own.
    pub gap_max: Duration,
    /// The shortest gap of all rounds may be so long: one round may meet a machine that is busy, not each.
    pub best_gap_max: Duration,
}

/// Repeats a fault, which is given the number of its round, and checks the ledger.
pub fn repeat(
    fault: &Fault,
    mut inflict: impl FnMut(&mut Cluster, u32) -> Result<()>,
) -> Result<()> {
    let rounds = number("MILENA_CHAOS_ROUNDS", ROUNDS)?;
    let mut plan = Plan::of(number("MILENA_CHAOS_BROKERS", BROKERS)? as i32);
    plan.network = fault.network;
    let name = fault.name;
    under_load(name, &plan, |trial| {
        for round in 0..rounds {
            trial
                .round(|cluster| inflict(cluster, round))
                .with_context(|| format!("round {}", round + 1))?;
            println!("{name}: round {} of {rounds}", round + 1);
        }
        trial.check_gaps(fault)
    })
}

/// Two clusters under load on two cores starve each other's clients, and their gaps say nothing.
static ONE_CLUSTER: Mutex<()> = Mutex::new(());

/// Does something with a cluster at work, and checks the ledger; one such thing at a time.
pub fn under_load(
    what: &str,
    plan: &Plan,
    test: impl FnOnce(&mut Trial<'_>) -> Result<()>,
) -> Result<()> {
    if plan.network == Kind::Namespaces
        && let Some(why) = Network::missing()
    {
        return skipped(what, &why);
    }
    let mut suites = Vec::new();
    // The first is the one that also reads in a group.
    for name in ["ledger-librdkafka", "ledger-java"] {
        match Suite::installed(name)? {
            Some(suite) => suites.push(suite),
            None => return skipped(what, &format!("{name} can't be installed")),
        }
    }
    let name = format!("{}-{}", what.replace([' ', '\''], "-"), plan.brokers);
    let _turn = ONE_CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    Cluster::with(&name, plan, |cluster| {
        let mut trial = Trial::begin(cluster, &suites)?;
        test(&mut trial)?;
        trial.end(what)
    })
}

fn number(variable: &str, default: u32) -> Result<u32> {
    let Some(value) = std::env::var_os(variable) else {
        return Ok(default);
    };
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.with_context(|| format!("{variable} is {value:?}, not a number"))
}

impl<'a> Trial<'a> {
    fn begin(cluster: &'a mut Cluster, suites: &[Suite]) -> Result<Self> {
        cluster.create_topic(TOPIC, PARTITIONS, REPLICAS)?;
        let (target, folder) = (target(cluster), cluster.folder().to_owned());
        let mut trial = Self {
            cluster,
            producers: Vec::new(),
            consumers: Vec::new(),
            gaps: Vec::new(),
        };
        for suite in suites {
            let producing = Producing::start(suite, &target, RATE, &folder)?;
            trial.producers.push(producing);
            trial
                .consumers
                .push(Consuming::start(suite, &target, &folder)?);
        }
        let in_group = Consuming::start_in_group(&suites[0], &target, &folder)?;
        trial.consumers.push(in_group);
        trial.until_flowing(now_us())?;
        Ok(trial)
    }

    /// One fault, and the wait until nothing is left of it.
    pub fn round(&mut self, inflict: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
        sleep(CALM);
        let from_us = now_us();
        inflict(self.cluster)?;
        self.cluster.until_in_sync()?;
        self.until_flowing(now_us())?;
        let to_us = now_us();
        let gap = |producer: &Producing| longest(&producer.acks, PARTITIONS, from_us, to_us);
        self.gaps.push(self.producers.iter().map(gap).collect());
        Ok(())
    }

    /// Waits until every partition acknowledges what each producer sends.
    fn until_flowing(&mut self, since_us: i64) -> Result<()> {
        let mut failed = Ok(());
        let flows = process::poll(FLOW_LIMIT, || {
            for producer in &mut self.producers {
                if let Err(error) = producer.look() {
                    failed = Err(error);
                    return Some(());
                }
            }
            let mut producers = self.producers.iter();
            producers
                .all(|producer| producer.has_all_since(PARTITIONS, since_us))
                .then_some(())
        });
        failed?;
        flows.with_context(|| {
            format!("producers get nothing from some partition for {FLOW_LIMIT:?}")
        })
    }

    fn end(mut self, fault: &str) -> Result<()> {
        for producer in &mut self.producers {
            let sent = producer.finish()?;
            let told = producer.acks.len() + producer.failed.len();
            ensure!(
                sent == told as u64,
                "{} sent {sent} and was told of {told}",
                producer.name
            );
        }
        let stored = Stored::read(self.cluster.client(), &target(self.cluster))?;
        for consumer in &mut self.consumers {
            consumer.finish(&stored.ends())?;
        }
        let findings = Findings::of(&stored, &self.producers, &self.consumers);
        let row = Row {
            fault: fault.to_owned(),
            brokers: self.cluster.ids().len(),
            gaps: self.gaps_by_producer(),
            acknowledged: self.producers.iter().map(|one| one.acks.len()).sum(),
            lost: findings.lost.len(),
            duplicated: findings.duplicated.len(),
            misread: findings.misread.len() + findings.disordered.len(),
        };
        row.tell()?;
        ensure!(
            findings.is_clean(),
            "the ledger does not balance:\n{findings}"
        );
        Ok(())
    }

    fn check_gaps(&self, fault: &Fault) -> Result<()> {
        let check = |name: &str, which, gap: Option<&Duration>, max: Duration| {
            let gap = gap.copied().unwrap_or_default();
            ensure!(
                gap <= max,
                "{name} was acknowledged nothing for {gap:?} by some partition in {which} round, at most {max:?} are \
                 allowed"
            );
            Ok(())
        };
        for (name, gaps) in self.gaps_by_producer() {
            check(&name, "the worst", gaps.iter().max(), fault.gap_max)?;
            check(&name, "the best", gaps.iter().min(), fault.best_gap_max)?;
        }
        Ok(())
    }

    fn gaps_by_producer(&self) -> Vec<(String, Vec<Duration>)> {
        let producers = self.producers.iter().enumerate();
        producers
            .map(|(at, producer)| {
                let gaps = self.gaps.iter().map(|round| round[at]).collect();
                (producer.name.clone(), gaps)
            })
            .collect()
    }
}

fn target(cluster: &Cluster) -> Target {
    Target {
        bootstrap: cluster.bootstrap(),
        topic: TOPIC.to_owned(),
        partitions: PARTITIONS,
    }
}
