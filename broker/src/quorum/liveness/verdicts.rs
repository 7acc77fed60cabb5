//! Who is to be fenced now, whom to dial, and when to look again: a function of what the leader has seen.
//!
//! | seen of a broker's member | it is fenced |
//! | --- | --- |
//! | silence, for whatever reason | after the session |
//! | a dial is refused: nobody listens there | at once |
//! | its end closed the connection, and no dial gets through | after a grace |
//! | the same, where many brokers drop together | after the session |

use std::time::Duration;

use milena_metadata::BrokerId;
use tokio::time::Instant;

use crate::peer::Link;

/// The longest pause between two looks.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// A broker that has closed its connection may be back within this time: above a few round trips, below what
/// clients notice.
pub(super) const GRACE: Duration = Duration::from_millis(100);
/// Within the grace it is dialled so often.
const DIAL_AGAIN: Duration = Duration::from_millis(25);
/// Brokers that drop within this time of each other drop together.
pub(super) const TOGETHER: Duration = Duration::from_secs(1);
/// The part of all unfenced brokers, as its denominator, that may drop together and be fenced before they have been
/// silent for a session: what takes more is the network, or a mistake.
const FEW: usize = 3;

/// Why a broker is fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceReason {
    /// It did not answer for a session.
    Silent,
    /// Nobody listens where it was: its process is gone.
    Refused,
    /// It closed its connection, and can't be reached.
    Closed,
}

impl FenceReason {
    pub const ALL: [Self; 3] = [Self::Silent, Self::Refused, Self::Closed];

    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Refused => "refused",
            Self::Closed => "closed",
        }
    }
}

/// One unfenced broker, as the leader sees the member that it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) broker: BrokerId,
    /// Since when this leader watches it: what was before says nothing of its silence.
    pub(super) since: Instant,
    /// When it last answered this member.
    pub(super) answered: Option<Instant>,
    pub(super) link: Link,
    /// When it was last dialled to find out.
    pub(super) dialled: Option<Instant>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdicts {
    pub(super) fence: Vec<(BrokerId, FenceReason)>,
    pub(super) dial: Vec<BrokerId>,
    /// The latest time at which to look again.
    pub(super) again: Instant,
}

/// Judges all unfenced brokers but the leader's own, which is never fenced by itself. `drops` are the times at which
/// others dropped that are fenced by now.
pub(super) fn verdicts(
    now: Instant,
    session: Duration,
    seen: &[Seen],
    drops: &[Instant],
) -> Verdicts {
    let mut verdicts = Verdicts {
        fence: Vec::new(),
        dial: Vec::new(),
        again: now + LOOK,
    };
    for (at, broker) in seen.iter().enumerate() {
        let reason = broker.reason(now, session);
        match reason {
            Some(reason) if reason == FenceReason::Silent || !is_one_of_many(at, seen, drops) => {
                verdicts.fence.push((broker.broker, reason));
            }
            _ => {
                if broker.wants_dial(now) {
                    verdicts.dial.push(broker.broker);
                }
                let next = broker.next_look(now);
                verdicts.again = next.map_or(verdicts.again, |next| verdicts.again.min(next));
            }
        }
    }
    verdicts
}

impl Seen {
    /// When it was lost, if it is.
    pub(super) fn dropped(&self) -> Option<Instant> {
        self.link.lost.map(|lost| lost.max(self.since))
    }

    fn reason(&self, now: Instant, session: Duration) -> Option<FenceReason> {
        let heard = self.answered.map_or(self.since, |at| at.max(self.since));
        // A refusal from before says little: somebody may listen there by now.
        let refused = self.link.refused.is_some_and(|at| at >= self.since);
        if now.duration_since(heard) >= session {
            Some(FenceReason::Silent)
        } else if refused {
            Some(FenceReason::Refused)
        } else if self.dropped().is_some_and(|at| at + GRACE <= now) {
            Some(FenceReason::Closed)
        } else {
            None
        }
    }

    /// Once where there is no connection, and again and again within the grace.
    fn wants_dial(&self, now: Instant) -> bool {
        let lost = self.dropped().unwrap_or(self.since);
        match self.dialled.filter(|at| *at >= lost) {
            _ if self.link.open => false,
            None => true,
            Some(at) => self.in_grace(now) && now.duration_since(at) >= DIAL_AGAIN,
        }
    }

    fn in_grace(&self, now: Instant) -> bool {
        self.dropped().is_some_and(|at| now < at + GRACE)
    }

    /// When to look next, where that is soon.
    fn next_look(&self, now: Instant) -> Option<Instant> {
        let end = self.dropped()? + GRACE;
        self.in_grace(now).then(|| end.min(now + DIAL_AGAIN))
    }
}

/// Whether more than one broker, and more than a part of all, had dropped within a while when this one did: it
/// is not among the first few. Those that were fenced stay counted, so that the others are not fenced a little later.
fn is_one_of_many(at: usize, seen: &[Seen], drops: &[Instant]) -> bool {
    let Some(dropped) = seen[at].dropped() else {
        return false;
    };
    let with = |other: &Instant| *other <= dropped && dropped.duration_since(*other) < TOGETHER;
    let fenced = drops.iter().filter(|other| with(other)).count();
    let is_before = |(place, other): (usize, &Seen)| {
        let lost = other.dropped().filter(with);
        lost.is_some_and(|lost| (lost, place) <= (dropped, at))
    };
    let present = seen.iter().enumerate();
    let present = present.filter(|other| is_before(*other)).count();
    let unfenced = 1 + seen.len() + fenced;
    let together = fenced + present;
    together > 1 && together * FEW > unfenced
}

#[cfg(test)]
mod tests;
