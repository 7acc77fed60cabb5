//! How far the opening of many logs has come, for who waits for it: told by the clock, since one log may take as long as all.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use crate::metrics::Metrics;

/// Between two lines in the process's log: who looks at it sees that it goes on.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Waits for an opening, and tells of it.
pub async fn told_of<T>(opening: impl Future<Output = T>, metrics: &Metrics) -> T {
    let tell = || {
        let checked = metrics.recovery();
        tracing::info!(
            left = metrics.logs_left_to_open(),
            segments_checked = checked.segments_scanned,
            batches_checked = checked.batches_checked,
            bytes_checked = metrics.recovery_bytes(),
            "logs are being opened"
        );
    };
    telling(opening, tell).await
}

async fn telling<T>(work: impl Future<Output = T>, mut tell: impl FnMut()) -> T {
    let mut work = pin!(work);
    loop {
        match timeout(TOLD_EVERY, work.as_mut()).await {
            Ok(done) => return done,
            Err(_) => tell(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_opening_that_takes_long_is_told_of_now_and_then_though_no_log_is_done() {
        let told = async |takes_s| {
            let mut times = 0;
            telling(sleep(Duration::from_secs(takes_s)), || times += 1).await;
            times
        };
        assert_eq!([told(4).await, told(6).await, told(23).await], [0, 1, 4]);
    }
}
