//! A log and a plain list of batches go through the same random steps and stay equal.

use super::*;
use crate::Trash;
use crate::faults::{Fault, inject};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Append {
        records: i32,
        timestamp: i64,
        bytes: usize,
    },
    Roll,
    Truncate(u8),
    DeleteRecords(u8),
    Retain(u16),
    Flush,
    FlushBatches,
    CleanRestart,
    Crash {
        torn: u16,
    },
    FailedWrite {
        stored: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let timestamp = prop_oneof![Just(-1i64), 0..2_000i64];
    prop_oneof![
        10 => (1..5i32, timestamp, 0..300usize)
            .prop_map(|(records, timestamp, bytes)| Step::Append { records, timestamp, bytes }),
        1 => Just(Step::Roll),
        1 => any::<u8>().prop_map(Step::Truncate),
        1 => any::<u8>().prop_map(Step::DeleteRecords),
        1 => (0..2_000u16).prop_map(Step::Retain),
        1 => Just(Step::Flush),
        2 => Just(Step::FlushBatches),
        1 => Just(Step::CleanRestart),
        1 => (0..400u16).prop_map(|torn| Step::Crash { torn }),
        1 => (0..200usize).prop_map(|stored| Step::FailedWrite { stored }),
    ]
}

/// What the log should hold: base offset, next offset and timestamp of each batch.
#[derive(Debug, Default)]
struct Model {
    batches: Vec<(i64, i64, i64)>,
    start: i64,
    end: i64,
}

impl Model {
    fn cut(&mut self, end: i64) {
        self.batches.retain(|(_, next, _)| *next <= end);
        self.end = end;
        self.start = self.start.min(end);
    }

    fn readable(&self) -> Vec<i64> {
        let readable = |(base, next, _): &(i64, i64, i64)| (*next > self.start).then_some(*base);
        self.batches.iter().filter_map(readable).collect()
    }
}

struct Pair {
    folder: tempfile::TempDir,
    log: Log,
    model: Model,
    trash: Trash,
    /// A segment, and how much of it is on disk.
    flushed: (i64, u64),
}

/// A place between the log's start and its end.
fn part(pair: &Pair, place: u8) -> i64 {
    let (start, end) = (pair.model.start, pair.model.end);
    start + (end - start) * i64::from(place) / 255
}

impl Pair {
    fn reopen(&mut self, clean: bool) -> Recovery {
        let opening = Opening {
            clean_shutdown: clean,
            recovery_point: self.log.recovery_point(),
            log_start_offset: self.model.start,
            ..CRASHED
        };
        let (log, recovery) = open(self.folder.path(), opening);
        self.log = log;
        recovery
    }

    fn perform(&mut self, step: &Step) {
        match *step {
            Step::Append {
                records,
                timestamp,
                bytes,
            } => self.append(records, timestamp, bytes),
            Step::Roll => self.log.roll(1_000).unwrap(),
            Step::Truncate(place) => {
                self.log.truncate_to(part(self, place), 1_000).unwrap();
                self.model.cut(self.log.log_end_offset());
                let active = *self.log.reader().segments().last().unwrap();
                self.flushed = match self.flushed {
                    (base, size) if base == active.base_offset => (base, size.min(active.size)),
                    _ => (0, 0),
                };
            }
            Step::DeleteRecords(place) => {
                let offset = part(self, place);
                self.log.delete_records_before(offset).unwrap();
                self.model.start = self.model.start.max(offset);
            }
            Step::Retain(age) => self.retain(age),
            Step::Flush => self.log.flusher().flush().unwrap(),
            Step::FlushBatches => self.flush_batches(),
            Step::CleanRestart => {
                self.log.close().unwrap();
                assert_eq!(self.reopen(true), Recovery::default());
            }
            Step::Crash { torn } => self.crash(torn),
            Step::FailedWrite { stored } => self.failed_write(stored),
        }
    }

    fn append(&mut self, records: i32, timestamp: i64, bytes: usize) {
        let appended = self
            .log
            .append(&[batch(records, timestamp, &vec![3; bytes])], STAMP)
            .unwrap();
        assert_eq!(appended.first_offset, self.model.end);
        let next = self.model.end + i64::from(records);
        self.model.batches.push((self.model.end, next, timestamp));
        self.model.end = next;
    }

    fn flush_batches(&mut self) {
        let flusher = self.log.flusher();
        flusher.flush_batches().unwrap();
        assert_eq!(flusher.flushed(), self.model.end);
        let active = *self.log.reader().segments().last().unwrap();
        self.flushed = (active.base_offset, active.size);
    }

    fn retain(&mut self, age: u16) {
        let config = LogConfig {
            retention_ms: Some(u64::from(age)),
            ..small()
        };
        self.log.set_config(config);
        self.log
            .retain(self.model.end, 2_000, &mut self.trash)
            .unwrap();
        self.log.set_config(small());
        let start = self.log.log_start_offset();
        assert!(start >= self.model.start);
        // Only batches that are old enough, or have no time of their own, may go.
        for (base, next, timestamp) in &self.model.batches {
            let gone = *base >= self.model.start && *next <= start;
            assert!(
                !gone || 2_000 - timestamp > i64::from(age),
                "{base} went at {timestamp}"
            );
        }
        self.model.start = start;
    }

    /// The last bytes beyond what was flushed never reached the disk.
    fn crash(&mut self, torn: u16) {
        let active = *self.log.reader().segments().last().unwrap();
        let (safe, flushed) = (self.log.recovery_point(), self.log.flusher().flushed());
        assert!(flushed >= safe);
        let path = self
            .folder
            .path()
            .join(format!("{:020}.log", active.base_offset));
        // Nothing was ever written where there is no file.
        if active.base_offset >= safe && path.exists() {
            let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            let floor = match self.flushed {
                (base_offset, size) if base_offset == active.base_offset => size,
                _ => 0,
            };
            let left = active.size.saturating_sub(u64::from(torn));
            file.set_len(left.max(floor)).unwrap();
        }
        self.reopen(false);
        let end = self.log.log_end_offset();
        assert!(end >= flushed.min(self.model.end) && end <= self.model.end);
        if torn == 0 {
            assert_eq!(end, self.model.end);
        }
        self.model.cut(end);
        self.model.start = self.model.start.max(self.log.log_start_offset());
        self.model.end = end;
        self.flushed = (0, 0);
    }

    fn failed_write(&mut self, stored: usize) {
        let fault = inject(
            self.folder.path().to_str().unwrap(),
            Fault::FailWrites(stored),
        );
        assert!(self.log.append(&[batch(1, 5, &[9; 150])], STAMP).is_err());
        drop(fault);
        let refused = self.log.append(&[batch(1, 5, &[])], STAMP);
        assert!(refused.is_err(), "a failed log must stay offline");
        self.check();
        self.reopen(false);
    }

    fn check(&self) {
        assert_eq!(self.log.log_end_offset(), self.model.end);
        assert_eq!(self.log.log_start_offset(), self.model.start);
        assert_eq!(
            offsets_from(&self.log, self.model.start),
            self.model.readable()
        );
    }
}

proptest! {
    #![proptest_config(seeded(60))]

    /// A failure prints its steps, shrunk.
    #[test]
    fn a_log_stays_equal_to_its_model(steps in prop::collection::vec(step(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = open(folder.path(), CRASHED);
        let mut pair = Pair { folder, log, model: Model::default(), trash: Trash::default(), flushed: (0, 0) };
        for step in &steps {
            pair.perform(step);
            pair.check();
        }
    }
}
