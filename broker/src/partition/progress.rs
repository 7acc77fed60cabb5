//! What a leader tells of its followers.

use milena_log::LogError;
use milena_metadata::BrokerId;

use super::Partition;
use super::replica::Role;

/// A leader's followers at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followers {
    pub leader_epoch: i32,
    pub log_end: i64,
    /// The other replicas, each with the offset below which it has everything.
    pub reached: Vec<(BrokerId, i64)>,
    pub isr: Vec<BrokerId>,
}

impl Partition {
    /// How far the others are; `None` where this replica does not lead.
    pub fn followers(&self) -> Option<Followers> {
        let Role::Leader(leadership) = &*self.role.lock() else {
            return None;
        };
        let term = leadership.term();
        Some(Followers {
            leader_epoch: term.leader_epoch,
            log_end: self.reader.log_end_offset(),
            reached: leadership.followers().collect(),
            isr: term.isr.clone(),
        })
    }

    /// Bytes that a replica lacks which has everything below `offset`; blocks.
    pub fn bytes_behind(&self, offset: i64) -> Result<u64, LogError> {
        self.reader.bytes_from(offset)
    }
}
