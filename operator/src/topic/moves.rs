//! How far the replicas of topics are that are on their way, and when they will have arrived.

use std::collections::HashMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::brokers::Move;
use crate::crd::topic::ReassignmentStatus;

/// Estimates further away than this are of no use.
const ETA_MAX_SECONDS: f64 = 30.0 * 86_400.0;
/// Progress is told in two digits: each writes the status of a topic anew.
const DIGITS: u32 = 2;

/// One topic's replicas on their way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moving {
    pub partitions: usize,
    /// Rounded, as the status shows it.
    pub status: ReassignmentStatus,
    /// As the brokers say; none where one of the leaders does not.
    pub bytes_left: Option<u64>,
    /// When that many bytes were left first, and how many then: what the pace is reckoned from.
    pub first: Option<(Timestamp, u64)>,
}

/// What the brokers say at `now`, by topic, with the pace since they said it first.
pub fn progress(
    before: &HashMap<String, Moving>,
    moves: &[Move],
    now: Timestamp,
) -> HashMap<String, Moving> {
    let mut topics: HashMap<String, Moving> = HashMap::new();
    for one in moves {
        let topic = topics.entry(one.topic.clone()).or_insert_with(|| Moving {
            bytes_left: Some(0),
            ..Default::default()
        });
        topic.partitions += 1;
        let sum = topic.bytes_left.zip(one.bytes_left);
        topic.bytes_left = sum.map(|(sum, bytes)| sum.saturating_add(bytes));
    }
    for (name, topic) in &mut topics {
        let Some(bytes) = topic.bytes_left else {
            continue;
        };
        // More than before: another move has begun, and the pace is reckoned anew.
        let first = before.get(name).and_then(|before| before.first);
        let first = first.filter(|(_, then)| *then >= bytes);
        topic.first = first.or(Some((now, bytes)));
        topic.status = ReassignmentStatus {
            bytes_left: i64::try_from(rounded(bytes)).unwrap_or(i64::MAX),
            eta: topic.first.and_then(|first| eta(first, bytes, now)),
        };
    }
    topics
}

/// Two digits, and zeros.
fn rounded(bytes: u64) -> u64 {
    let digits = bytes.checked_ilog10().unwrap_or(0) + 1;
    let unit = 10_u64.pow(digits.saturating_sub(DIGITS));
    bytes / unit * unit
}

/// The time of arrival at the pace so far, to the minute.
fn eta((since, then): (Timestamp, u64), bytes: u64, now: Timestamp) -> Option<String> {
    let passed = now.duration_since(since).as_secs_f64();
    let copied = then.checked_sub(bytes).filter(|copied| *copied > 0)?;
    if passed < 1.0 {
        return None;
    }
    let left = bytes as f64 / (copied as f64 / passed);
    if left > ETA_MAX_SECONDS {
        return None;
    }
    let arrival = now
        .checked_add(SignedDuration::from_secs(left as i64))
        .ok()?;
    let minute = (arrival.as_second() + 59) / 60 * 60;
    Timestamp::from_second(minute)
        .ok()
        .map(|arrival| arrival.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn moves(bytes: &[Option<u64>]) -> Vec<Move> {
        let one = |bytes_left: &Option<u64>| Move {
            topic: "t".into(),
            bytes_left: *bytes_left,
        };
        bytes.iter().map(one).collect()
    }

    #[test]
    fn partitions_and_bytes_of_a_topic_are_summed_and_rounded() {
        let told = progress(&HashMap::new(), &moves(&[Some(123_456), Some(7)]), at(0));
        let told = &told["t"];
        assert_eq!((told.partitions, told.status.bytes_left), (2, 120_000));
        assert_eq!(told.status.eta, None, "nothing is known of the pace");
    }

    #[test]
    fn the_arrival_follows_from_the_pace_so_far() {
        let first = progress(&HashMap::new(), &moves(&[Some(1_000)]), at(0));
        let half = progress(&first, &moves(&[Some(500)]), at(600));
        assert_eq!(
            half["t"].status.eta.as_deref(),
            Some("1970-01-01T00:20:00Z")
        );
        let more = progress(&half, &moves(&[Some(5_000)]), at(700));
        assert_eq!(more["t"].status.eta, None, "another move has begun");
    }

    #[test]
    fn a_leader_that_does_not_say_leaves_the_bytes_open() {
        let told = progress(&HashMap::new(), &moves(&[Some(1_000), None]), at(0));
        assert_eq!((told["t"].partitions, told["t"].status.bytes_left), (2, 0));
    }

    #[test]
    fn small_numbers_are_told_as_they_are() {
        assert_eq!([0, 7, 42, 142, 1_999].map(rounded), [0, 7, 42, 140, 1_900]);
    }
}
