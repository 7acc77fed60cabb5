//! How long a partition acknowledged nothing.

use std::time::Duration;

use super::Ack;

/// The longest time within a window in which one partition acknowledged nothing. A silence that began before the
/// window, or that ends with it, counts as far as it is known.
pub fn longest(acks: &[Ack], partitions: i32, from_us: i64, to_us: i64) -> Duration {
    let gaps = (0..partitions).map(|partition| {
        let times = acks.iter().filter(|ack| ack.partition == partition);
        longest_silence(times.map(|ack| ack.at_us), from_us, to_us)
    });
    let longest_us = gaps.max().unwrap_or(0);
    Duration::from_micros(longest_us.unsigned_abs())
}

fn longest_silence(times: impl Iterator<Item = i64>, from_us: i64, to_us: i64) -> i64 {
    let (mut last, mut longest) = (from_us, 0);
    for at in times.filter(|at| *at <= to_us) {
        if at >= from_us {
            longest = longest.max(at - last);
        }
        last = at;
    }
    longest.max(to_us - last.max(from_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acks(times: &[(i32, i64)]) -> Vec<Ack> {
        let ack = |&(partition, at_us)| Ack {
            partition,
            offset: 0,
            number: 0,
            at_us,
        };
        times.iter().map(ack).collect()
    }

    #[test]
    fn the_gap_is_that_of_the_quietest_partition() {
        let acks = acks(&[(0, 10), (1, 11), (0, 20), (0, 30), (1, 35), (0, 40)]);
        assert_eq!(longest(&acks, 2, 10, 40), Duration::from_micros(24));
    }

    #[test]
    fn a_silence_that_began_before_the_window_counts_whole() {
        let acks = acks(&[(0, 10), (0, 100)]);
        assert_eq!(longest(&acks, 1, 50, 110), Duration::from_micros(90));
    }

    #[test]
    fn a_partition_that_never_comes_back_is_silent_to_the_end() {
        let acks = acks(&[(0, 10), (0, 20)]);
        assert_eq!(longest(&acks, 1, 15, 500), Duration::from_micros(480));
        assert_eq!(longest(&acks, 2, 0, 1000), Duration::from_micros(1000));
    }
}
