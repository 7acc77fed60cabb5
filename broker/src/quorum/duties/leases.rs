//! How long each stop lease has been out, by the eyes of one leader of the quorum. As with sessions, a new leader gives
//! everybody their whole time again: a lease that lasts too long makes others wait, one that ends early lets two stop.

use std::collections::BTreeMap;

use milena_metadata::{BrokerId, Command, ExpireLeases, Image, Lease, SeenLease};
use tokio::time::Instant;

/// Since when each lease has been seen. Lives as long as the office.
#[derive(Default)]
pub(super) struct WatchedLeases(BTreeMap<BrokerId, (Lease, Instant)>);

impl WatchedLeases {
    /// The command that ends leases, and the mark of a cluster that is being stopped, where the time of any is over. For
    /// leases that is what has gone by since the first look at them, for the mark the time of day.
    pub(super) fn expired(&mut self, now: Instant, image: &Image, now_ms: i64) -> Option<Command> {
        let seen = self.look(now, image);
        let mark_over = image.stopping().is_some_and(|mark| mark.until_ms <= now_ms);
        let is_over = |seen: &SeenLease| seen.lease.is_over(seen.seen_ms);
        let over = mark_over || seen.iter().any(is_over);
        over.then(|| ExpireLeases { now_ms, seen }.into())
    }

    /// The leases that are out now, and for how long each has been seen.
    fn look(&mut self, now: Instant, image: &Image) -> Vec<SeenLease> {
        let before = std::mem::take(&mut self.0);
        let since = |lease: &Lease| {
            let known = before.get(&lease.broker);
            // One that was given back and granted again between two looks begins anew.
            let same = known.filter(|(known, _)| known == lease);
            same.map_or(now, |(_, since)| *since)
        };
        let leases = image.leases().cloned();
        self.0 = leases
            .map(|lease| (lease.broker, (lease.clone(), since(&lease))))
            .collect();
        let seen = self.0.values().map(|(lease, since)| SeenLease {
            lease: lease.clone(),
            seen_ms: i64::try_from((now - *since).as_millis()).unwrap_or(i64::MAX),
        });
        seen.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use milena_metadata::{
        NeverSafe, NoConfigRules, ReleaseLease, RequestLease, VoterProgress, decide,
    };

    use super::*;
    use crate::broker::tests::beside::registration;

    fn id() -> BrokerId {
        BrokerId::new(1).unwrap()
    }

    fn apply(image: &mut Image, ask: impl Into<Command>) {
        let decision = decide(image, &ask.into(), &NoConfigRules).unwrap();
        image.apply_entry(1, &decision.records).unwrap();
    }

    /// A broker alone.
    fn image() -> Image {
        let mut image = Image::default();
        let broker = registration(1);
        apply(&mut image, broker);
        image
    }

    fn grant(image: &mut Image, now_ms: i64) {
        let ask = RequestLease {
            broker: id(),
            now_ms,
            duration_ms: 60_000,
            max_unavailable: 1,
            never_safe: NeverSafe::Allow,
            voters: vec![VoterProgress {
                broker: id(),
                caught_up: true,
            }],
            partitions: Vec::new(),
        };
        apply(image, ask);
    }

    /// Hours behind any time that was shown: the leader's clock has jumped.
    const JUMPED_MS: i64 = 10_000_000;

    #[test]
    fn a_lease_lasts_from_the_first_look_at_it_whatever_the_clock_and_a_new_leader_gives_it_anew() {
        let (start, mut image) = (Instant::now(), image());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut leases = WatchedLeases::default();
        assert_eq!(leases.expired(at(0), &image, JUMPED_MS), None);
        grant(&mut image, 1_000);
        assert_eq!(leases.expired(at(5), &image, JUMPED_MS), None);
        assert_eq!(leases.expired(at(64), &image, JUMPED_MS), None);
        let mut of_the_next = WatchedLeases::default();
        assert_eq!(of_the_next.expired(at(65), &image, JUMPED_MS), None);
        // The clock has gone back.
        let over = leases.expired(at(65), &image, 0).unwrap();
        apply(&mut image, over);
        assert_eq!(image.leases().len(), 0);
    }

    #[test]
    fn a_lease_that_was_given_back_and_granted_again_begins_anew() {
        let (start, mut image) = (Instant::now(), image());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut leases = WatchedLeases::default();
        grant(&mut image, 1_000);
        assert_eq!(leases.expired(at(0), &image, 0), None);
        apply(&mut image, ReleaseLease { broker: id() });
        grant(&mut image, 1_500);
        assert_eq!(leases.expired(at(60), &image, 0), None);
        assert!(leases.expired(at(120), &image, 0).is_some());
    }
}
