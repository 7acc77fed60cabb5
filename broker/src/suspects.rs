//! Brokers whose connection has just ended: they may be dead, and about to be fenced.
//!
//! A client that loses its broker asks another one who leads now, within a millisecond: before the quorum has fenced
//! the dead one. Told of the leader that was, librdkafka asks again only a second later. So who asks waits, a little,
//! for the quorum's word.

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

/// Who is suspected, and since when.
#[derive(Debug, Default)]
pub struct Suspects {
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
    use super::*;

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
}
