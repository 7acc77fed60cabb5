//! Partitions that can't be read, while the others of the topic are: which, since when, and what is said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milena_client::StartAt;
use milena_client::admin::When;
use tokio::time::Instant;

use crate::cli::failure::{Exit, Failure};
use crate::cli::offline::{self, AllOffline, Offline, Place};

/// Those that are not read.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    all: BTreeMap<Place, (Offline, Option<i64>)>,
}

impl LeftOut {
    pub(super) fn has(&self, place: &Place) -> bool {
        self.all.contains_key(place)
    }

    /// With the position of each, where it had one already.
    pub(super) fn positions(&self) -> impl Iterator<Item = (&Place, Option<i64>)> {
        self.all.iter().map(|(place, (_, at))| (place, *at))
    }

    pub(super) fn put(&mut self, place: Place, why: Offline, position: Option<i64>) {
        self.all.insert(place, (why, position));
    }

    pub(super) fn take_back(&mut self, place: &Place) {
        self.all.remove(place);
    }

    /// How a command ends that has read all others to their ends. Why they are left out was said when they were.
    pub(super) fn at_end(&self) -> Result<(), Failure> {
        let Some((why, _)) = self.all.values().next() else {
            return Ok(());
        };
        let names = self.all.keys().take(offline::NAMED_MAX);
        let mut names: Vec<String> = names
            .map(|(topic, partition)| format!("{topic}-{partition}"))
            .collect();
        if let Some(more @ 1..) = self.all.len().checked_sub(offline::NAMED_MAX) {
            names.push(format!("{more} more"));
        }
        let text = format!("all was read but what is in {}", names.join(", "));
        Err(Failure::new(Exit::InPart, text).hint(why.next_step()))
    }
}

/// Those that seem to be offline, since when. A leader that is just being elected is soon there.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    since: BTreeMap<Place, Instant>,
}

impl Suspects {
    /// Heeds what was seen now, and returns those that were seen so ever since `patience` ago.
    pub(super) fn that_stay(
        &mut self,
        seen: &AllOffline,
        now: Instant,
        patience: Duration,
    ) -> AllOffline {
        self.since.retain(|place, _| seen.contains_key(place));
        let stays = |(place, _): &(&Place, &Offline)| {
            let since = self.since.entry((*place).clone()).or_insert(now);
            now.duration_since(*since) >= patience
        };
        let staying: BTreeSet<Place> = seen
            .iter()
            .filter(stays)
            .map(|(place, _)| place.clone())
            .collect();
        let staying = staying.into_iter();
        staying.map(|place| (place.clone(), seen[&place])).collect()
    }
}

/// Where a partition is read on that is back, and has these offsets.
pub(super) enum ReadOn {
    At(i64),
    /// Where a search says.
    Since(When),
}

/// `position` is where it was left; none where it could not be read since the command began, at `begun_ms`.
pub(super) fn read_on(
    position: Option<i64>,
    from: StartAt,
    (start, end): (i64, i64),
    begun_ms: i64,
) -> ReadOn {
    match (position, from) {
        // What was written since the command began, as it is of the others.
        (None, StartAt::When(When::End)) => ReadOn::Since(When::Time(begun_ms)),
        (None, StartAt::When(When::Start)) => ReadOn::At(start),
        (None, StartAt::When(time)) => ReadOn::Since(time),
        (None, StartAt::BeforeEnd(count)) => ReadOn::At((end - count).max(start)),
        // A mended log may have less than it had.
        (Some(offset), _) | (None, StartAt::Offset(offset)) => {
            ReadOn::At(offset.clamp(start, end.max(start)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(index: i32) -> Place {
        ("t".to_owned(), index)
    }

    fn offline(indexes: &[i32]) -> AllOffline {
        let all = indexes.iter();
        all.map(|&index| (place(index), Offline::NoLeader))
            .collect()
    }

    #[test]
    fn only_a_partition_that_stays_offline_is_left_out() {
        let (mut suspects, begun) = (Suspects::default(), Instant::now());
        let second = Duration::from_secs(1);
        let mut seen = |indexes: &[i32], seconds: u32| {
            suspects.that_stay(&offline(indexes), begun + second * seconds, 3 * second)
        };
        assert_eq!(seen(&[0, 1], 0), offline(&[]));
        assert_eq!(seen(&[1], 2), offline(&[]));
        assert_eq!(seen(&[0, 1], 3), offline(&[1]), "0 was there meanwhile");
        assert_eq!(seen(&[0, 1], 6), offline(&[0, 1]));
    }

    #[test]
    fn an_end_with_partitions_left_out_is_told_by_name_and_exit_code() {
        let mut left_out = LeftOut::default();
        assert_eq!(left_out.at_end(), Ok(()));
        left_out.put(place(1), Offline::NoLeader, Some(7));
        let failure = left_out.at_end().unwrap_err();
        assert_eq!(failure.exit, Exit::InPart);
        assert_eq!(failure.text(), "all was read but what is in t-1");
        left_out.take_back(&place(1));
        assert_eq!(left_out.at_end(), Ok(()));
    }

    #[test]
    fn a_partition_that_is_back_is_read_on_where_it_was_left_as_far_as_its_log_still_has_that() {
        let at = |position, from| match read_on(position, from, (10, 20), 5_000) {
            ReadOn::At(offset) => offset,
            ReadOn::Since(When::Time(millis)) => -millis,
            ReadOn::Since(_) => panic!("a time"),
        };
        let end = StartAt::When(When::End);
        assert_eq!(at(Some(15), end), 15);
        assert_eq!(at(Some(3), end), 10);
        assert_eq!(at(Some(33), end), 20);
        assert_eq!(at(None, end), -5_000, "what came since the command began");
        assert_eq!(at(None, StartAt::When(When::Start)), 10);
        assert_eq!(at(None, StartAt::BeforeEnd(3)), 17);
        assert_eq!(at(None, StartAt::Offset(12)), 12);
    }
}
