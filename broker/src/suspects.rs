//! Brokers whose connection has just ended: they may be dead, and about to be fenced.
//!
//! A client that loses its broker asks another one who leads now, within a millisecond: before the quorum has fenced
//! the dead one. Told of the leader that was, librdkafka asks again only a second later. So who asks waits, a little,
//! for the quorum's word. And a broker that was just fenced stays among those that Metadata names, for a while: from
//! one that is no longer named librdkafka takes its partitions away, and where that comes after the news of their new
//! leader it forgets that too, for a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use milena_metadata::{BrokerId, Image};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// From the end of a connection on. The quorum fences within milliseconds, and within half a second where its own
/// leader died; a broker that was merely disconnected is back by then.
const SUSPECTED_FOR: Duration = Duration::from_millis(700);

/// How long a fenced broker is still named: longer than its clients take to move on, and short for those who try to
/// reach it.
const NAMED_FOR: Duration = Duration::from_secs(5);

/// Who is suspected, and since when; and who was fenced.
#[derive(Debug, Default)]
pub struct Suspects {
    /// Brokers that were seen unfenced, or when this one started: since when they are fenced, if they are. After a
    /// restart of all of them each finds the others fenced, which were there until just now.
    fenced: Mutex<HashMap<BrokerId, Option<Instant>>>,
    lost: Mutex<HashMap<BrokerId, Instant>>,
    // Read without the lock by every Metadata, which mostly finds nobody.
    count: AtomicUsize,
}

impl Suspects {
    /// The connection to a broker has ended.
    pub fn lost(&self, broker: BrokerId) {
        let mut lost = self.lost.lock();
        lost.insert(broker, Instant::now());
        self.count.store(lost.len(), Ordering::Relaxed);
    }

    /// It answers.
    pub fn found(&self, broker: BrokerId) {
        let mut lost = self.lost.lock();
        lost.remove(&broker);
        self.count.store(lost.len(), Ordering::Relaxed);
    }

    /// The metadata was taken over.
    pub fn seen(&self, image: &Image) {
        let mut fenced = self.fenced.lock();
        fenced.retain(|id, _| image.broker(*id).is_some());
        let starts = fenced.is_empty();
        for broker in image.brokers() {
            match broker.fenced {
                false => drop(fenced.insert(broker.id, None)),
                true if starts => drop(fenced.insert(broker.id, Some(Instant::now()))),
                true => {
                    if let Some(since) = fenced.get_mut(&broker.id) {
                        since.get_or_insert_with(Instant::now);
                    }
                }
            }
        }
    }

    /// Whether a fenced broker was fenced just now, or is about to be seen so.
    pub fn is_named(&self, broker: BrokerId) -> bool {
        let fenced = self.fenced.lock();
        let since = fenced.get(&broker);
        since.is_some_and(|since| since.is_none_or(|since| since.elapsed() < NAMED_FOR))
    }

    /// As if the time for which fenced brokers are named were over.
    #[cfg(test)]
    pub fn forget_fenced(&self) {
        self.fenced.lock().clear();
    }

    /// Waits while somebody whom `leads` names is suspected in the newest image, within the bound.
    pub async fn settled(
        &self,
        mut images: watch::Receiver<Arc<Image>>,
        leads: impl Fn(&Image, BrokerId) -> bool,
    ) {
        loop {
            let until = self.until(&images.borrow_and_update(), &leads);
            let Some(until) = until.filter(|until| *until > Instant::now()) else {
                return;
            };
            if !matches!(timeout_at(until, images.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    fn until(&self, image: &Image, leads: impl Fn(&Image, BrokerId) -> bool) -> Option<Instant> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let lost = self.lost.lock();
        let leading = lost.iter().filter(|(id, _)| leads(image, **id));
        leading.map(|(_, since)| *since + SUSPECTED_FOR).max()
    }
}

#[cfg(test)]
mod tests {
    use milena_metadata::{NoConfigRules, RegisterBroker, decide};

    use super::*;
    use crate::broker::tests::beside::registration;

    fn id(number: i32) -> BrokerId {
        BrokerId::new(number).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_waits_for_the_quorums_word_and_not_for_ever() {
        let suspects = Suspects::default();
        let (images, seen) = watch::channel(Arc::new(Image::default()));
        let begun = Instant::now();
        suspects.settled(seen.clone(), |_, _| true).await;
        suspects.lost(id(1));
        suspects
            .settled(seen.clone(), |_, leader| leader == id(2))
            .await;
        assert_eq!(
            begun.elapsed(),
            Duration::ZERO,
            "nobody who leads is suspected"
        );

        suspects.settled(seen.clone(), |_, _| true).await;
        assert_eq!(begun.elapsed(), SUSPECTED_FOR);
        suspects.settled(seen.clone(), |_, _| true).await;
        assert_eq!(begun.elapsed(), SUSPECTED_FOR, "its time is over");

        suspects.lost(id(1));
        let fenced = tokio::spawn(async move {
            tokio::time::sleep(SUSPECTED_FOR / 2).await;
            images.send_replace(Arc::new(Image::default()));
            images
        });
        let asked = std::sync::atomic::AtomicBool::new(true);
        let first = |_: &Image, _| asked.swap(false, Ordering::Relaxed);
        suspects.settled(seen, first).await;
        assert_eq!(begun.elapsed(), SUSPECTED_FOR * 3 / 2);
        drop(fenced.await);
    }

    fn cluster(brokers: &[(i32, bool)]) -> Image {
        let mut image = Image::default();
        for (broker, fenced) in brokers {
            let command = RegisterBroker {
                fenced: *fenced,
                ..registration(*broker)
            };
            let decision = decide(&image, &command.into(), &NoConfigRules).unwrap();
            image.apply_entry(1, &decision.records).unwrap();
        }
        image
    }

    #[tokio::test(start_paused = true)]
    async fn a_fenced_broker_is_named_for_a_while_after_it_was_seen_alive() {
        let suspects = Suspects::default();
        suspects.seen(&cluster(&[(2, false)]));
        suspects.seen(&cluster(&[(1, true), (2, false)]));
        assert!(!suspects.is_named(id(1)), "it was never seen alive");
        suspects.seen(&cluster(&[(1, false), (2, false)]));
        assert!(suspects.is_named(id(1)), "the newest image may know more");
        suspects.seen(&cluster(&[(1, true), (2, false)]));
        tokio::time::advance(NAMED_FOR - Duration::from_millis(1)).await;
        suspects.seen(&cluster(&[(1, true), (2, false)]));
        assert!(suspects.is_named(id(1)));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!suspects.is_named(id(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_starts_names_those_that_it_finds_fenced_for_as_long() {
        let suspects = Suspects::default();
        suspects.seen(&Image::default());
        suspects.seen(&cluster(&[(1, true), (2, true)]));
        assert!(suspects.is_named(id(1)) && suspects.is_named(id(2)));
        tokio::time::advance(NAMED_FOR).await;
        assert!(!suspects.is_named(id(1)));
    }
}
