//! Rules of the protocol that a simulation can break, to see whether its checks notice.

use std::sync::atomic::{AtomicU8, Ordering};

/// A rule, by what is done where it is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Broken {
    /// Followers that were fenced count as in sync: the high watermark moves, and acks=all is answered, where their
    /// leader is alone.
    WatermarkCountsFenced = 1,
    /// A duplicate of a batch that is not committed yet is acknowledged at once.
    DuplicateAcknowledgedEarly,
    /// A voter whose disk was wiped votes as the one that it was.
    WipedVoterVotes,
    /// A broker that lost records stays in the in-sync replicas.
    UncleanStaysInSync,
    /// A broker leads again after a restart, in the epoch that it led before.
    LeadsInOldEpoch,
    /// A member that finds itself in its own log does not ask again to be let in, whether or not that was committed.
    JoinsOnce,
    /// Who has founded a cluster calls one election; where that is lost, nobody calls another.
    FoundsOnce,
    /// A voter that hears no leader calls an election whether or not a majority would vote.
    ElectsUnasked,
}

/// All of them, by the name that a command line has for each.
pub const ALL: [(&str, Broken); 8] = [
    ("watermark-counts-fenced", Broken::WatermarkCountsFenced),
    (
        "duplicate-acknowledged-early",
        Broken::DuplicateAcknowledgedEarly,
    ),
    ("wiped-voter-votes", Broken::WipedVoterVotes),
    ("unclean-stays-in-sync", Broken::UncleanStaysInSync),
    ("leads-in-old-epoch", Broken::LeadsInOldEpoch),
    ("joins-once", Broken::JoinsOnce),
    ("founds-once", Broken::FoundsOnce),
    ("elects-unasked", Broken::ElectsUnasked),
];

static BROKEN: AtomicU8 = AtomicU8::new(0);

/// Breaks a rule for the rest of the process.
pub fn break_it(rule: Broken) {
    BROKEN.store(rule as u8, Ordering::Relaxed);
}

/// Whether it is broken.
pub fn is_broken(rule: Broken) -> bool {
    BROKEN.load(Ordering::Relaxed) == rule as u8
}
