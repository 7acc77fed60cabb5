//! The bound on bytes a second for replicas that catch up (`follower.replication.throttled.rate`, KIP-73): of all of a
//! broker together, whichever leaders they copy from. Moves between directories have one of their own.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Debts and savings are bounded by so much time's worth.
const WINDOW: Duration = Duration::from_secs(1);

/// A bucket that fills with time. It may go below empty: an answer is taken whole, and paid for by waiting. Clones
/// share it.
#[derive(Debug, Clone)]
pub struct Throttle {
    bucket: Arc<Mutex<Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    bytes: f64,
    at: Instant,
}

impl Throttle {
    /// Starts with a window's worth of time behind it, and nothing owed.
    pub fn new(now: Instant) -> Self {
        let bucket = Bucket {
            bytes: 0.0,
            at: now,
        };
        Self {
            bucket: Arc::new(Mutex::new(bucket)),
        }
    }

    /// Notes bytes that came, at a rate of so many a second; until when the next have to wait, if at all.
    pub fn spend(&self, bytes: usize, rate: i64, now: Instant) -> Option<Instant> {
        let rate = rate.max(1) as f64;
        self.bucket.lock().spend(bytes, rate, now)
    }
}

impl Bucket {
    fn spend(&mut self, bytes: usize, rate: f64, now: Instant) -> Option<Instant> {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        let most = rate * WINDOW.as_secs_f64();
        self.bytes = (self.bytes + gained).min(most) - bytes as f64;
        self.at = self.at.max(now);
        (self.bytes < 0.0).then(|| now + Duration::from_secs_f64(-self.bytes / rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_beyond_the_rate_are_paid_for_by_waiting() {
        let start = Instant::now();
        let throttle = Throttle::new(start);
        let wait = throttle.spend(3_000, 1_000, start).unwrap();
        assert_eq!(wait - start, Duration::from_secs(3));
        assert_eq!(throttle.spend(0, 1_000, wait), None);
        let later = wait + Duration::from_secs(60);
        assert_eq!(throttle.spend(1_000, 1_000, later), None);
        assert!(
            throttle.spend(1, 1_000, later).is_some(),
            "a minute's rest saves no more than a second's bytes"
        );
    }
}
