//! What a benchmark sends: values of a given size, at a given rate.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// A value of `size` letters without order, the same in every run.
pub fn value(size: usize) -> Bytes {
    let mut state: u32 = 0x2545_f491;
    let mut letter = || {
        // xorshift32
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        b'A' + (state % 26) as u8
    };
    (0..size).map(|_| letter()).collect()
}

/// Paces records so that as many are due as the rate says, however late the one before was.
#[derive(Debug)]
pub struct Pace {
    begun: Instant,
    per_second: Option<f64>,
}

impl Pace {
    /// So many records a second from now on, or as many as go.
    pub fn new(per_second: Option<f64>) -> Self {
        Self {
            begun: Instant::now(),
            per_second,
        }
    }

    /// When record `index` (from 0) is due; `None` is now.
    pub fn due(&self, index: u64) -> Option<Instant> {
        let seconds = index as f64 / self.per_second?;
        Some(self.begun + Duration::from_secs_f64(seconds))
    }

    /// How long until record `index` is due.
    pub fn wait(&self, index: u64) -> Duration {
        let due = self.due(index);
        due.map_or(Duration::ZERO, |due| {
            due.saturating_duration_since(Instant::now())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_from_the_start_and_not_from_the_record_before() {
        let pace = Pace::new(Some(1000.0));
        let due = pace.due(5000).unwrap();
        assert_eq!(due - pace.begun, Duration::from_secs(5));
        assert_eq!(Pace::new(None).wait(1 << 40), Duration::ZERO);
    }

    #[test]
    fn a_value_has_its_size_and_is_the_same_each_time() {
        assert_eq!(value(1000).len(), 1000);
        assert_eq!(value(64), value(64));
    }
}
