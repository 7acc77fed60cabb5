//! How replication is, read off the metadata and the leaders here at the time of a scrape.

use std::collections::BTreeMap;

use milena_metadata::placement::misplaced;
use milena_metadata::{BrokerId, Health, Scope};

use super::table;
use super::text::Page;
use crate::broker::Broker;

/// A follower broker, over all partitions that are led here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lag {
    /// Records that its replicas lack, in all.
    records: u64,
    /// Records that the replica farthest behind lacks.
    records_max: u64,
}

/// What is shown of it.
#[derive(Debug, Default)]
pub struct Replication {
    /// Of the partitions that this broker leads, or would if anybody could.
    pub(super) health: Health,
    pub(super) misplaced: usize,
    pub(super) lags: BTreeMap<BrokerId, Lag>,
}

impl Replication {
    pub fn read(broker: &Broker) -> Self {
        let (image, config, me) = (broker.image(), broker.config(), broker.broker_id());
        let led_here = |topic: &str, partition: i32| {
            let state = image.partition(topic, partition);
            state.is_some_and(|state| state.leader == Some(me))
        };
        let misplaced = misplaced(&image, &*config)
            .iter()
            .filter(|found| led_here(found.topic.as_str(), found.partition.get()))
            .count();
        Self {
            health: image.health(&*config, Scope::LedBy(me)),
            misplaced,
            lags: lags(broker),
        }
    }

    pub fn write(&self, page: &mut Page) {
        let Health {
            offline,
            under_replicated,
            under_min_isr,
            at_min_isr,
            not_preferred,
            reassigning,
            lossy,
            ..
        } = self.health;
        for (metric, count) in [
            (&table::LEADERLESS, offline),
            (&table::UNDER_REPLICATED, under_replicated),
            (&table::UNDER_MIN_ISR, under_min_isr),
            (&table::AT_MIN_ISR, at_min_isr),
            (&table::NOT_PREFERRED, not_preferred),
            (&table::REASSIGNING, reassigning),
            (&table::LOSSY, lossy),
            (&table::MISPLACED, self.misplaced),
        ] {
            page.one(metric, count as f64);
        }
        let mut family = page.family(&table::REPLICATION_LAG);
        for (follower, lag) in &self.lags {
            family.series(&[&follower.to_string()], lag.records as f64);
        }
        let mut family = page.family(&table::REPLICATION_LAG_MAX);
        for (follower, lag) in &self.lags {
            family.series(&[&follower.to_string()], lag.records_max as f64);
        }
    }
}

fn lags(broker: &Broker) -> BTreeMap<BrokerId, Lag> {
    let mut lags: BTreeMap<BrokerId, Lag> = BTreeMap::new();
    for partition in broker.partitions().all() {
        for (follower, records) in partition.follower_lags() {
            let lag = lags.entry(follower).or_default();
            lag.records += records;
            lag.records_max = lag.records_max.max(records);
        }
    }
    lags
}
