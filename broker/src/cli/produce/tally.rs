//! What became of the records, and how that is told.

use std::sync::atomic::{AtomicU64, Ordering};

use milena_client::Error;
use parking_lot::Mutex;
use serde::Serialize;

use super::signal_of;
use crate::cli::failure::{Exit, Failure};

/// Counts records as brokers answer.
#[derive(Default)]
pub(super) struct Tally {
    queued: AtomicU64,
    stored: AtomicU64,
    failed: AtomicU64,
    first_error: Mutex<Option<Error>>,
}

/// How many records had which fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub stored: u64,
    pub failed: u64,
    /// Given up before a broker had answered.
    pub unknown: u64,
}

impl Tally {
    /// So many more are on their way.
    pub fn queued(&self, records: u64) {
        self.queued.fetch_add(records, Ordering::Relaxed);
    }

    /// The fate of so many is known.
    pub fn count(&self, records: usize, outcome: &Result<i64, Error>) {
        let Err(error) = outcome else {
            self.stored.fetch_add(records as u64, Ordering::Relaxed);
            return;
        };
        self.failed.fetch_add(records as u64, Ordering::Relaxed);
        let mut first = self.first_error.lock();
        first.get_or_insert_with(|| error.clone());
    }

    /// As it stands now.
    pub fn counts(&self) -> Counts {
        let stored = self.stored.load(Ordering::Relaxed);
        let failed = self.failed.load(Ordering::Relaxed);
        let queued = self.queued.load(Ordering::Relaxed);
        Counts {
            stored,
            failed,
            unknown: queued.saturating_sub(stored + failed),
        }
    }

    /// Why the first of those failed that did.
    pub fn first_error(&self) -> Option<Error> {
        self.first_error.lock().clone()
    }
}

/// What a person is told, unless all went well. `sent` is how the sending ended, `done` what became of those that are
/// stored, and `given_up` the exit code of the signal after which nothing was waited for any more.
pub(super) fn outcome(
    counts: Counts,
    done: &str,
    error: Option<Error>,
    sent: Result<(), Failure>,
    given_up: Option<Exit>,
) -> Result<(), Failure> {
    let Counts { stored, failed, .. } = counts;
    let failure = match (error, sent) {
        (error, sent) if counts.unknown > 0 => {
            return Err(unknown(counts, done, error, sent, given_up));
        }
        (None, Ok(())) => return Ok(()),
        (None, Err(failure)) if stored == 0 => return Err(failure),
        (None, Err(failure)) => failure.before(&format!("{}, then", were(stored, done))),
        (Some(error), sent) => {
            let also = sent.err().map(|failure| format!(" ({})", failure.text()));
            Failure::from(error).before(&format!(
                "{failed} of {} records were not stored{}",
                stored + failed,
                also.unwrap_or_default()
            ))
        }
    };
    // That code says that nothing was done.
    let exit = match failure.exit {
        Exit::Usage if stored > 0 => Exit::Failed,
        exit => exit,
    };
    Err(failure.exiting(exit))
}

/// A signal ended it with records on their way.
fn unknown(
    counts: Counts,
    done: &str,
    error: Option<Error>,
    sent: Result<(), Failure>,
    given_up: Option<Exit>,
) -> Failure {
    let exit = given_up.unwrap_or(Exit::Failed);
    let unanswered = || {
        let text = format!("{} ended it before a broker answered", signal_of(exit));
        Failure::new(exit, text)
    };
    let failed = error.map(|error| format!(", {} were not ({error})", counts.failed));
    let failure = sent.err().unwrap_or_else(unanswered).before(&format!(
        "{}{}, of {} more that is not known",
        were(counts.stored, done),
        failed.unwrap_or_default(),
        counts.unknown
    ));
    failure
        .exiting(exit)
        .hint_if_none("they may be there or not: look before they are sent again")
}

fn were(records: u64, done: &str) -> String {
    match records {
        1 => format!("1 record was {done}"),
        _ => format!("{records} records were {done}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(counts: [u64; 3], error: Option<Error>, sent: Result<(), Failure>) -> (Exit, String) {
        let [stored, failed, unknown] = counts;
        let counts = Counts {
            stored,
            failed,
            unknown,
        };
        let given_up = Some(Exit::Interrupted);
        let failure = outcome(counts, "stored", error, sent, given_up).unwrap_err();
        (failure.exit, failure.text().to_owned())
    }

    #[test]
    fn records_that_nobody_answered_for_are_told_apart_from_those_that_are_stored() {
        let wrong = || Failure::new(Exit::Usage, "line 6: it is wrong");
        let refused = || Error::Invalid("too large".into());
        for (counts, error, sent, text) in [
            (
                [1, 0, 2],
                None,
                Ok(()),
                "1 record was stored, of 2 more that is not known: SIGINT ended it before a broker answered",
            ),
            (
                [0, 0, 5],
                None,
                Err(wrong()),
                "0 records were stored, of 5 more that is not known: line 6: it is wrong",
            ),
            (
                [2, 3, 1],
                Some(refused()),
                Ok(()),
                "2 records were stored, 3 were not (too large), of 1 more that is not known: SIGINT ended it before a \
                 broker answered",
            ),
        ] {
            let told = told(counts, error, sent);
            assert_eq!(told, (Exit::Interrupted, text.to_owned()));
        }
    }

    #[test]
    fn what_was_given_up_with_nothing_left_on_its_way_is_a_plain_end() {
        let counts = Counts {
            stored: 3,
            failed: 0,
            unknown: 0,
        };
        let given_up = Some(Exit::Terminated);
        assert_eq!(outcome(counts, "stored", None, Ok(()), given_up), Ok(()));
    }
}
