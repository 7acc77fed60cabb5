//! How far copies between brokers are: bytes done and left, the rate, and the time that is left.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use milena_client::Client;
use milena_client::admin::Sizes;
use serde::Serialize;

/// Between two looks while a command waits.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bytes to copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Copying {
    /// Bytes that are where they are to be.
    pub bytes_done: u64,
    /// Bytes that are not.
    pub bytes_left: u64,
}

/// How fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pace {
    /// Bytes a second.
    pub bytes_per_second: u64,
    /// Seconds that the rest takes at that pace; none where nothing moves.
    pub seconds_left: Option<u64>,
}

impl Copying {
    /// The pace since an earlier look.
    pub fn pace(self, before: Self, between: Duration) -> Pace {
        let copied = self.bytes_done.saturating_sub(before.bytes_done);
        let bytes_per_second = (copied as f64 / between.as_secs_f64().max(0.001)) as u64;
        Pace {
            bytes_per_second,
            seconds_left: match (self.bytes_left, bytes_per_second) {
                (0, _) => Some(0),
                (_, 0) => None,
                (left, rate) => Some(left.div_ceil(rate)),
            },
        }
    }

    /// Bytes for people.
    pub fn in_words(self) -> (String, String) {
        let bytes = |bytes| HumanBytes(bytes).to_string();
        (bytes(self.bytes_done), bytes(self.bytes_left))
    }
}

impl Pace {
    /// Rate and time for people.
    pub fn in_words(self) -> (String, String) {
        let left = self.seconds_left.map(Duration::from_secs);
        (
            format!("{}/s", HumanBytes(self.bytes_per_second)),
            left.map_or("-".to_owned(), |left| HumanDuration(left).to_string()),
        )
    }
}

/// What partitions weigh on the brokers that are asked for them, by broker. One that is down has no size to tell; the
/// others do.
pub async fn weigh(
    client: &Client,
    at: impl Iterator<Item = (i32, (String, i32))>,
) -> BTreeMap<i32, Sizes> {
    let mut asked: BTreeMap<i32, Vec<(String, i32)>> = BTreeMap::new();
    for (broker, partition) in at {
        asked.entry(broker).or_default().push(partition);
    }
    let mut told = BTreeMap::new();
    for (broker, partitions) in asked {
        if let Ok(sizes) = client.log_sizes(broker, &partitions).await {
            told.insert(broker, sizes);
        }
    }
    told
}

/// Bytes for people, where they are known.
pub fn size_in_words(bytes: Option<u64>) -> String {
    bytes.map_or("-".to_owned(), |bytes| HumanBytes(bytes).to_string())
}

/// What a person sees on stderr while a command waits for copies.
pub struct Watch {
    bar: ProgressBar,
    begun: Instant,
    first: Option<Copying>,
}

impl Watch {
    /// Begins now; nothing is shown where no person sees stderr.
    pub fn start() -> Self {
        let bar = ProgressBar::new(0);
        bar.set_draw_target(match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        });
        if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            begun: Instant::now(),
            first: None,
        }
    }

    /// What there is to see now, of so many partitions.
    pub fn show(&mut self, partitions: usize, now: Copying) {
        let first = *self.first.get_or_insert(now);
        let (rate, time) = now.pace(first, self.begun.elapsed()).in_words();
        let (done, left) = now.in_words();
        self.bar.set_length(now.bytes_done + now.bytes_left);
        self.bar.set_position(now.bytes_done);
        self.bar.set_message(format!(
            "{partitions} partitions, {done} done, {left} left, {rate}, {time} to go"
        ));
    }

    /// Takes it off the screen.
    pub fn end(self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_what_is_left_at_the_pace_so_far() {
        let at = |bytes_done, bytes_left| Copying {
            bytes_done,
            bytes_left,
        };
        let pace = at(300, 1_000).pace(at(100, 1_200), Duration::from_secs(2));
        assert_eq!((pace.bytes_per_second, pace.seconds_left), (100, Some(10)));
        let still = at(100, 1_000).pace(at(100, 1_000), Duration::from_secs(2));
        assert_eq!((still.bytes_per_second, still.seconds_left), (0, None));
        let done = at(100, 0).pace(at(100, 0), Duration::from_secs(2));
        assert_eq!(done.seconds_left, Some(0));
    }
}
