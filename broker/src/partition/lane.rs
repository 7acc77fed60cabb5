//! What the partitions of one data directory share.

use std::sync::Arc;

use super::Partition;
use super::flushes::FlushQueue;
use super::room::AppendRoom;

/// A data directory's room for appends, and the flushes that somebody waits for.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) appends: Arc<AppendRoom>,
    pub(super) flushes: Arc<FlushQueue>,
}

impl Partition {
    /// Whether its log lies in the data directory that has this room for appends.
    pub fn is_in(&self, appends: &Arc<AppendRoom>) -> bool {
        Arc::ptr_eq(&self.lane.load().appends, appends)
    }
}
