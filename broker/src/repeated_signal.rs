//! A second signal that is no second wish.

use std::time::Duration;

use tokio::time::Instant;

/// A signal so soon after the first is the same wish: GNU `timeout`, for one, sends it to the process and to its group.
const ECHO: Duration = Duration::from_millis(500);

/// When the first signal came, if one did.
#[derive(Debug, Default)]
pub struct FirstSignal(Option<Instant>);

impl FirstSignal {
    /// Whether a signal that comes now is the first one once more.
    pub fn is_repeated(&mut self, now: Instant) -> bool {
        match self.0 {
            Some(first) => now - first < ECHO,
            None => {
                self.0 = Some(now);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_right_after_the_first_is_the_same_wish_and_a_later_one_is_another() {
        let (mut first, begin) = (FirstSignal::default(), Instant::now());
        let after = |ms| begin + Duration::from_millis(ms);
        assert!(!first.is_repeated(begin));
        assert!(first.is_repeated(after(1)));
        assert!(first.is_repeated(after(499)));
        assert!(!first.is_repeated(after(500)));
    }
}
