//! What the partitions of one data directory share.

use std::sync::Arc;

use super::flushes::FlushQueue;
use super::room::AppendRoom;

/// A data directory's room for appends, and the flushes that somebody waits for.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) appends: Arc<AppendRoom>,
    pub(super) flushes: Arc<FlushQueue>,
}
