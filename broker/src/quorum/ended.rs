//! How a member of the metadata quorum ends without being told to.

use openraft::error::Fatal;

use super::Quorum;

/// Why a member takes no further part until its process is started again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Ended {
    /// Its disk refused a write or a read.
    #[error(
        "the metadata can be kept no longer, and the broker ends: {0}; mend the disk or make room on it, and start again"
    )]
    Store(String),
    /// Its core has panicked, or ended otherwise without being told to.
    #[error(
        "this broker's member of the metadata quorum has ended by an error of this software, which the log above tells of, \
         and the broker ends, so that others lead: start it again; where it ends so again and others have a leader, start \
         it without its old metadata (the folder quorum)"
    )]
    Core,
}

impl Quorum {
    /// Waits until this member can take no further part, as when its disk refuses a write, and says why; for ever where it
    /// is stopped. It does not come back within this process: its store may not be trusted until it is read anew.
    pub async fn failed(&self) -> Ended {
        let mut metrics = self.member.raft.metrics();
        let ended = match metrics.wait_for(|now| now.running_state.is_err()).await {
            Ok(now) => match &now.running_state {
                Err(fatal @ Fatal::StorageError(_)) => Ended::Store(fatal.to_string()),
                _ => Ended::Core,
            },
            // Of a panic openraft tells nobody: its channels close.
            Err(_) => Ended::Core,
        };
        if self.stopping.is_cancelled() {
            std::future::pending::<()>().await;
        }
        ended
    }
}
