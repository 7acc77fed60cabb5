//! How often and how long an operation is tried again.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use crate::Error;

const BACKOFF_MIN: Duration = Duration::from_millis(20);
/// Kafka's own clients wait a second at the most (KIP-580).
const BACKOFF_MAX: Duration = Duration::from_millis(1000);

/// The pause before attempt `attempt` (from 1), doubled each time, up to the bound, give or take a fifth
/// so that clients do not come back together.
pub(crate) fn backoff(attempt: u32) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(1 << (attempt - 1).min(16));
    let jitter = rand::rng().random_range(0.8..1.2);
    doubled.min(BACKOFF_MAX).mul_f64(jitter)
}

/// Runs `attempt` until it succeeds, fails for good, or `within` has passed since the start.
pub(crate) async fn retry<T, F>(
    within: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let start = Instant::now();
    let mut attempts = 0;
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if !error.is_retriable() => return Err(error),
            Err(error) => error,
        };
        attempts += 1;
        let pause = backoff(attempts);
        if start.elapsed() + pause >= within {
            return Err(Error::Deadline {
                after: within,
                last: Box::new(error),
            });
        }
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_its_bound_and_no_further() {
        assert!(backoff(1) <= BACKOFF_MIN.mul_f64(1.2));
        for attempt in [10, 1_000, u32::MAX] {
            let pause = backoff(attempt);
            assert!(pause >= BACKOFF_MAX.mul_f64(0.8) && pause <= BACKOFF_MAX.mul_f64(1.2));
        }
    }
}
