//! The data directories: whose they are, and how their last life ended.

use std::sync::Arc;

use milena_log::{DataDirectory, DirectoryError};
use milena_metadata::{BrokerId, DirectoryId};

use super::StartError;
use crate::config::BrokerConfig;
use crate::partition::room::AppendRoom;
use crate::partitions::DataDir;
use crate::partitions::open::Known;

/// The broker's directories, held against a second process.
pub struct Data {
    node_id: BrokerId,
    cluster_id: String,
    dirs: Vec<DataDir>,
}

impl Data {
    /// Locks and reads each directory; a new one is marked with the cluster and the broker.
    pub fn open(config: &BrokerConfig) -> Result<Self, StartError> {
        let appends_max = appends_max(super::workers(), config.data_dirs().len());
        let node_id = BrokerId::new(config.node_id)
            .map_err(|error| StartError::Identity(error.to_string()))?;
        let mut cluster_id = config.cluster_id.clone();
        let mut dirs = Vec::new();
        for path in config.data_dirs() {
            let directory = DataDirectory::open(&path, node_id.get(), cluster_id.as_deref())?;
            // The first directory says which cluster the others must be of.
            cluster_id = Some(directory.identity().cluster_id.clone());
            let clean = directory
                .take_clean_shutdown()
                .map_err(DirectoryError::from)?;
            let known = Known::read(&path, clean.is_some()).map_err(DirectoryError::from)?;
            let appends = Arc::new(AppendRoom::new(appends_max));
            dirs.push(DataDir {
                directory,
                known,
                appends,
            });
        }
        let cluster_id = cluster_id
            .ok_or_else(|| StartError::Identity("log.dirs names no directory".to_owned()))?;
        Ok(Self {
            node_id,
            cluster_id,
            dirs,
        })
    }

    /// The broker's id.
    pub fn node_id(&self) -> BrokerId {
        self.node_id
    }

    /// The cluster that the data belongs to.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The ids of the directories.
    pub fn directory_ids(&self) -> Vec<DirectoryId> {
        self.dirs
            .iter()
            .map(|dir| DirectoryId(dir.directory.identity().directory_id))
            .collect()
    }

    /// Whether all directories carry the mark of a clean stop.
    pub fn clean_shutdown(&self) -> bool {
        self.dirs.iter().all(|dir| dir.known.clean_shutdown)
    }

    /// The directories, for the partitions in them.
    pub fn into_dirs(self) -> Vec<DataDir> {
        self.dirs
    }
}

/// Appends that may be under way at once in each directory. An append holds its worker while the disk stalls, so
/// that all of them together leave one worker to everything else.
fn appends_max(workers: usize, dirs: usize) -> usize {
    (workers.saturating_sub(1) / dirs.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalled_appends_leave_a_worker_to_others() {
        for workers in 4..64 {
            for dirs in 1..workers {
                assert!(appends_max(workers, dirs) * dirs < workers);
            }
        }
    }
}
