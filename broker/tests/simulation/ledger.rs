//! What was sent, acknowledged and read, and whether that fits together.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use milena_simulation::{clock, trace};

/// A topic's partition.
pub type Place = (&'static str, i32);

/// Shared by all clients of a run.
pub type Shared = Rc<RefCell<Ledger>>;

/// Where an acknowledged record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Offset(i64),
    /// The broker did not tell; this offset, or a later one: all before was committed when the record was first sent.
    From(i64),
}

#[derive(Debug, Default)]
pub struct Ledger {
    /// Acknowledged with acks=all.
    acked: BTreeMap<String, (Place, At)>,
    /// What a reader has seen at an offset.
    seen: BTreeMap<(Place, i64), String>,
    /// The first offset that a log may still begin with, moved by DeleteRecords.
    starts: BTreeMap<Place, i64>,
    /// Where batches begin, as their producers were told.
    begins: BTreeMap<Place, std::collections::BTreeSet<i64>>,
    pub sent: u64,
    pub violations: Vec<String>,
}

impl Ledger {
    pub fn wrong(&mut self, what: String) {
        let line = format!("at {} ms: {what}", clock::elapsed_ms());
        eprintln!("WRONG {line}");
        self.violations.push(line);
    }

    /// The broker has acknowledged `value` with acks=all.
    pub fn acked(&mut self, place: Place, at: At, value: &str) {
        let (At::Offset(noted) | At::From(noted)) = at;
        trace::note("acked", &[noted.unsigned_abs()], value.as_bytes());
        self.acked.insert(value.to_owned(), (place, at));
        let At::Offset(offset) = at else { return };
        if let Some(other) = self
            .seen
            .get(&(place, offset))
            .filter(|other| *other != value)
        {
            let other = other.clone();
            self.wrong(format!(
                "{place:?} {offset}: {value} was acknowledged there, but {other} was read"
            ));
        }
    }

    /// A reader has seen it, so that it is committed.
    pub fn seen(&mut self, place: Place, offset: i64, value: &str) {
        let before = self.seen.insert((place, offset), value.to_owned());
        match before {
            None => trace::note("seen", &[offset.unsigned_abs()], value.as_bytes()),
            Some(before) if before != value => self.wrong(format!(
                "{place:?} {offset}: {before} was read there before, and now {value}"
            )),
            Some(_) => {}
        }
        if let Some((acked_at, At::Offset(at))) = self.acked.get(value)
            && (*acked_at, *at) != (place, offset)
        {
            let at = *at;
            self.wrong(format!(
                "{value} was acknowledged at {at}, and read at {place:?} {offset}"
            ));
        }
    }

    /// A batch begins there.
    pub fn begins(&mut self, place: Place, offset: i64) {
        self.begins.entry(place).or_default().insert(offset);
    }

    /// The last begin of a batch up to `offset`.
    pub fn begin_before(&self, place: Place, offset: i64) -> i64 {
        let begins = self.begins.get(&place);
        let before = begins.and_then(|begins| begins.range(..=offset).next_back());
        before.copied().unwrap_or(0)
    }

    /// Records below were deleted on a client's wish.
    pub fn may_start_at(&mut self, place: Place, offset: i64) {
        let start = self.starts.entry(place).or_default();
        *start = offset.max(*start);
    }

    /// Below this a reader may be told that there is nothing.
    pub fn start(&self, place: Place) -> i64 {
        self.starts.get(&place).copied().unwrap_or(0)
    }

    /// Up to where readers have come.
    pub fn reached(&self, place: Place) -> i64 {
        let seen = self.seen.range((place, 0)..=(place, i64::MAX));
        seen.last().map_or(0, |((_, offset), _)| offset + 1)
    }

    pub fn counts(&self) -> (usize, usize) {
        (self.acked.len(), self.seen.len())
    }

    /// Compares with what the partition holds in the end.
    pub fn check_last(&mut self, place: Place, held: &BTreeMap<i64, String>) {
        // One cause may have many effects.
        for line in self.differences(place, held).into_iter().take(5) {
            self.wrong(format!("{place:?}: {line}"));
        }
    }

    /// What is not as it was acknowledged or read.
    pub fn differences(&self, place: Place, held: &BTreeMap<i64, String>) -> Vec<String> {
        let start = self.start(place);
        let mut wrong = Vec::new();
        let mut offsets = BTreeMap::new();
        for (offset, value) in held {
            if let Some(other) = offsets.insert(value, offset) {
                wrong.push(format!("{value} is at {other} and again at {offset}"));
            }
        }
        for (value, (_, at)) in self.acked.iter().filter(|(_, (at, _))| *at == place) {
            let there = offsets.get(value).copied();
            match at {
                At::Offset(at) if *at >= start && held.get(at) != Some(value) => {
                    wrong.push(format!(
                        "{value} was acknowledged at {at}, where there is {:?}",
                        held.get(at)
                    ))
                }
                At::From(from) if *from >= start && there.is_none() => {
                    wrong.push(format!("{value} was acknowledged and is not there"));
                }
                _ => {}
            }
        }
        let seen = self.seen.range((place, start)..=(place, i64::MAX));
        for ((_, offset), value) in seen {
            if held.get(offset) != Some(value) {
                wrong.push(format!(
                    "{value} was read at {offset}, where there is {:?} in the end",
                    held.get(offset)
                ));
            }
        }
        wrong
    }
}
