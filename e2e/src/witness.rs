//! A real client that writes to a topic and one that reads it while something is done to the brokers, and the ledger
//! of both. The clusters of [`crate::trial`] are processes; these may be anywhere.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use milena_client::{Client, ClientOptions};

use crate::ledger::{Consuming, Findings, Producing, Stored, Target, longest, now_us};
use crate::process;
use crate::suite::Suite;

/// Records a second.
const RATE: u32 = 300;
/// Until every partition acknowledges again: longer than a client's own request timeout.
const FLOW_LIMIT: Duration = Duration::from_secs(150);

/// librdkafka on both sides of a topic.
pub struct Witnesses {
    target: Target,
    producer: Producing,
    consumer: Consuming,
    since_us: i64,
}

impl Witnesses {
    /// Starts them, and waits until every partition has acknowledged a record. Their files are kept in the folder.
    pub fn begin(target: &Target, folder: &Path) -> Result<Self> {
        let suite = Suite::installed("ledger-librdkafka")?;
        let suite = suite.context("ledger-librdkafka is needed: see e2e/clients/README.md")?;
        let mut witnesses = Self {
            target: target.clone(),
            producer: Producing::start(&suite, target, RATE, folder)?,
            consumer: Consuming::start(&suite, target, folder)?,
            since_us: now_us(),
        };
        witnesses.until_flowing()?;
        witnesses.since_us = now_us();
        Ok(witnesses)
    }

    /// Waits until every partition acknowledges what is sent from now on.
    pub fn until_flowing(&mut self) -> Result<()> {
        let (since_us, partitions) = (now_us(), self.target.partitions);
        let mut failed = Ok(());
        let flows = process::poll(FLOW_LIMIT, || {
            if let Err(error) = self.producer.look() {
                failed = Err(error);
                return Some(());
            }
            let flows = self.producer.has_all_since(partitions, since_us);
            flows.then_some(())
        });
        failed?;
        flows.with_context(|| format!("some partition acknowledges nothing for {FLOW_LIMIT:?}"))
    }

    /// Ends them, and compares all that they were told with what is stored. Prints the longest time for which a
    /// partition acknowledged nothing.
    pub fn end(self, what: &str) -> Result<()> {
        self.gap(what).map(drop)
    }

    /// The same, and an error where that time is longer than this.
    pub fn end_within(self, what: &str, gap_max: Duration) -> Result<()> {
        let gap = self.gap(what)?;
        ensure!(
            gap <= gap_max,
            "{what}: a partition acknowledged nothing for {gap:.1?}, {gap_max:?} at most are promised"
        );
        Ok(())
    }

    fn gap(mut self, what: &str) -> Result<Duration> {
        self.until_flowing()?;
        let until_us = now_us();
        let sent = self.producer.finish()?;
        let told = self.producer.acks.len() + self.producer.failed.len();
        ensure!(
            sent == told as u64,
            "{sent} records were sent, and the fate of {told} is known"
        );
        let client = Client::new(ClientOptions::new(&self.target.bootstrap));
        let stored = Stored::read(client, &self.target)?;
        self.consumer.finish(&stored.ends())?;
        let gap = longest(
            &self.producer.acks,
            self.target.partitions,
            self.since_us,
            until_us,
        );
        println!(
            "{what}: {} records acknowledged, longest gap {gap:.1?}",
            self.producer.acks.len()
        );
        let findings = Findings::of(&stored, &[self.producer], &[self.consumer]);
        ensure!(
            findings.is_clean(),
            "the ledger does not balance:\n{findings}"
        );
        Ok(gap)
    }
}
