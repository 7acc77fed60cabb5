//! Replicas that somebody is to look at.

use std::collections::HashSet;
use std::sync::Arc;

use crate::partition::Partition;

/// Replicas in the order in which they were noted, each once: no more than there are. A partition that was deleted and
/// made again is two of them.
#[derive(Debug, Default)]
pub struct Noted {
    replicas: Vec<Arc<Partition>>,
    /// Where in memory they are.
    addresses: HashSet<usize>,
}

impl Noted {
    /// Notes it, unless it is there.
    pub fn note(&mut self, replica: Arc<Partition>) {
        if self.addresses.insert(Arc::as_ptr(&replica).addr()) {
            self.replicas.push(replica);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.replicas.is_empty()
    }

    pub fn take(&mut self) -> Vec<Arc<Partition>> {
        std::mem::take(self).replicas
    }
}
