//! How far the opening of many logs has come, for who waits for it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::metrics::Metrics;

/// Between two lines in the process's log: who looks at it sees that it goes on.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// The logs that are opened together.
pub(super) struct Progress {
    metrics: Arc<Metrics>,
    count: Mutex<Count>,
}

impl Progress {
    /// Of so many logs, none of which is open.
    pub fn of(metrics: Arc<Metrics>, all: usize) -> Self {
        metrics.logs_to_open(all);
        let count = Mutex::new(Count {
            all,
            done: 0,
            told: Instant::now(),
        });
        Self { metrics, count }
    }

    /// One more is open, or can't be opened.
    pub fn one_is_done(&self) {
        self.metrics.log_opened();
        let mut count = self.count.lock();
        if count.one_is_done(Instant::now()) {
            let checked = self.metrics.recovery();
            tracing::info!(
                done = count.done,
                of = count.all,
                segments_checked = checked.segments_scanned,
                batches_checked = checked.batches_checked,
                "logs are being opened"
            );
        }
    }
}

struct Count {
    all: usize,
    done: usize,
    told: Instant,
}

impl Count {
    /// Counts one more; whether it is time to tell of it.
    fn one_is_done(&mut self, now: Instant) -> bool {
        self.done += 1;
        let is_time = self.done < self.all && now.duration_since(self.told) >= TOLD_EVERY;
        if is_time {
            self.told = now;
        }
        is_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_that_takes_long_is_told_of_now_and_then() {
        let begun = Instant::now();
        let mut count = Count {
            all: 6,
            done: 0,
            told: begun,
        };
        let told = [1, 5, 6, 9, 10, 20].map(|s| count.one_is_done(begun + Duration::from_secs(s)));
        assert_eq!(told, [false, true, false, false, true, false]);
    }
}
