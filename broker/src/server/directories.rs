//! The data directories: whose they are, and how their last life ended.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_log::{DirectoryError, LockedDirectory, PartitionFolder, is_log};
use milena_metadata::{BrokerId, DirectoryId, Topic};

use super::pod::Pod;
use super::unusable::{self, Failed, Unusable};
use super::{StartError, last_end, left};
use crate::config::BrokerConfig;
use crate::identity::Identity;
use crate::partition::room::AppendRoom;
use crate::partitions::DataDir;
use crate::partitions::away::Away;
use crate::partitions::holders::Holder;
use crate::partitions::open::Known;

/// A topic, and a partition's number.
type Named = (String, i32);

/// The broker's directories, locked, before it is known which cluster they are to be of.
pub struct LockedData {
    node_id: BrokerId,
    cluster_id: Option<String>,
    dirs: Vec<LockedDirectory>,
    /// What the checkpoints of each say.
    known: Vec<Known>,
    /// Those that this life goes without.
    unusable: Vec<Unusable>,
}

impl LockedData {
    /// Locks each directory, and checks that they are this broker's, and of one cluster. Of several, one that can't be used
    /// is left out, unless the broker needs it.
    pub fn lock(config: &BrokerConfig) -> Result<Self, StartError> {
        let node_id = BrokerId::new(config.node_id)
            .map_err(|error| StartError::Identity(error.to_string()))?;
        let mut cluster_id = config.cluster_id.clone();
        let (mut dirs, mut known, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for path in config.data_dirs() {
            let locked = unusable::lock(&path, node_id.get(), cluster_id.as_deref());
            let (directory, said) = match locked {
                Ok(locked) => locked,
                Err(Failed {
                    error: DirectoryError::Log(why),
                    lock,
                }) if !unusable::is_needed(&path, config) => {
                    failed.push((path, why, lock));
                    continue;
                }
                Err(Failed { error, .. }) => return Err(error.into()),
            };
            // The first directory that is of a cluster says which the others must be of.
            let named = directory
                .identity()
                .map(|identity| identity.cluster_id.clone());
            cluster_id = cluster_id.or(named);
            dirs.push(directory);
            known.push(said);
        }
        differ(&dirs)?;
        if dirs.is_empty() {
            return Err(match failed.pop() {
                Some((_, why, _)) => DirectoryError::from(why).into(),
                None => StartError::Identity("log.dirs names no directory".to_owned()),
            });
        }
        let mut unusable = Vec::new();
        for (path, why, lock) in failed {
            let identity = (node_id.get(), cluster_id.as_deref());
            unusable.push(Unusable::look(path, why, lock, identity)?);
        }
        Ok(Self {
            node_id,
            cluster_id,
            dirs,
            known,
            unusable,
        })
    }

    /// The first that can be used.
    pub fn first(&self) -> &Path {
        self.dirs[0].path()
    }

    /// Refuses to go without a directory.
    pub fn all_are_needed(&self) -> Result<(), StartError> {
        match self.unusable.first() {
            Some(one) => Err(one.error().into()),
            None => Ok(()),
        }
    }

    /// Whether one can't be used, of which nobody knows for sure what it has.
    pub fn has_unusable(&self) -> bool {
        !self.unusable.is_empty()
    }

    /// The directories that this life goes without; of those that the broker had these are `missing`, and not given up.
    pub fn away(&self, missing: &BTreeSet<DirectoryId>) -> Vec<Away> {
        unusable::away(&self.unusable, missing)
    }

    /// Who this broker is, before it is of a cluster.
    pub fn identity(&self, config: &BrokerConfig, pod: &Pod) -> Identity {
        let directory = self.directory_id(&config.metadata_dir());
        Identity {
            broker: self.node_id.get(),
            cluster_id: self.cluster_id.clone(),
            directory_id: directory.map(|id| id.to_string()),
            claim_uid: pod.claim_uid().map(str::to_owned),
        }
    }

    /// The cluster, if the directories or the configuration say.
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// The id of a directory, if it has one yet.
    pub fn directory_id(&self, path: &Path) -> Option<DirectoryId> {
        let directory = self.dirs.iter().find(|dir| dir.path() == path)?;
        directory
            .identity()
            .map(|identity| DirectoryId(identity.directory_id))
    }

    pub fn node_id(&self) -> BrokerId {
        self.node_id
    }

    /// The ids of the directories that have one. The one at `metadata` is the quorum's, whatever is written there.
    pub fn ids(&self, metadata: &Path, metadata_id: DirectoryId) -> BTreeSet<DirectoryId> {
        let of_quorum = self.contains(metadata);
        let own = self.dirs.iter().filter_map(LockedDirectory::identity);
        let own = own.map(|identity| DirectoryId(identity.directory_id));
        own.chain(of_quorum.then_some(metadata_id)).collect()
    }

    /// The directories that no life of a broker has used, or that have lost what said so.
    pub fn without_identity(&self) -> Vec<&Path> {
        let new = self.dirs.iter().filter(|dir| dir.identity().is_none());
        new.map(LockedDirectory::path).collect()
    }

    /// Whether the directory is one of them.
    pub fn contains(&self, path: &Path) -> bool {
        self.dirs.iter().any(|dir| dir.path() == path)
    }

    /// Whether a partition has its log in one of the `used` directories, or in one that has no identity any more. What
    /// another has, which was given up and is back, may be older than what is elsewhere.
    pub fn has_log(&self, topic: &str, partition: i32, used: &[DirectoryId]) -> bool {
        self.dirs.iter().any(|dir| {
            let id = self.directory_id(dir.path());
            id.is_none_or(|id| used.contains(&id)) && dir.has_log(topic, partition)
        })
    }

    /// One that has logs of partitions, whichever these are.
    pub fn with_logs(&self) -> Result<Option<&Path>, StartError> {
        for dir in &self.dirs {
            for (_, path) in partitions_in(dir)? {
                if is_log(&path).map_err(DirectoryError::from)? {
                    return Ok(Some(dir.path()));
                }
            }
        }
        Ok(None)
    }

    /// Ends the moves between directories that the last life had decided, before anybody looks for logs.
    pub fn finish_moves(&self) -> Result<(), StartError> {
        let paths: Vec<&Path> = self.dirs.iter().map(LockedDirectory::path).collect();
        for log in milena_log::finish_moves(&paths).map_err(DirectoryError::from)? {
            tracing::info!(log = %log.display(), "the log was moved here when the last life ended");
        }
        Ok(())
    }

    /// The partitions of which several directories have a folder.
    pub fn in_several(&self) -> Result<BTreeSet<Named>, StartError> {
        let (mut seen, mut several) = (BTreeSet::new(), BTreeSet::new());
        if self.dirs.len() < 2 {
            return Ok(several);
        }
        for dir in &self.dirs {
            let folders = partitions_in(dir)?.into_iter();
            let here: BTreeSet<_> = folders.map(|(partition, _)| partition).collect();
            several.extend(here.intersection(&seen).cloned());
            seen.extend(here);
        }
        Ok(several)
    }

    /// The directories that have a folder of the partition; the one at `metadata` is the quorum's.
    pub fn holders(
        &self,
        topic: &Topic,
        partition: i32,
        (metadata, metadata_id): (&Path, DirectoryId),
    ) -> Vec<Holder> {
        let look = |(place, dir): (usize, &LockedDirectory)| {
            let folder = dir.partition_path(&topic.name, partition);
            let of_quorum = (dir.path() == metadata).then_some(metadata_id);
            let id = self.directory_id(dir.path()).or(of_quorum);
            let look = || Holder::look(place, id, &folder, topic.id);
            folder.is_dir().then(look)
        };
        self.dirs.iter().enumerate().filter_map(look).collect()
    }

    /// Where a partition's folder is in the directory of this place.
    pub fn partition_path(&self, place: usize, topic: &str, partition: i32) -> PathBuf {
        self.dirs[place].partition_path(topic, partition)
    }

    /// Makes the directories the cluster's, and the one at `metadata` the quorum's. `last_epoch` is that of the life
    /// before, as the quorum has it.
    pub fn claim(
        self,
        cluster_id: &str,
        (metadata, metadata_id): (&Path, DirectoryId),
        last_epoch: Option<i64>,
    ) -> Result<Data, StartError> {
        let appends_max = appends_max(super::workers(), self.dirs.len());
        let left = left::read(metadata);
        let mut dirs = Vec::new();
        for (locked, mut known) in self.dirs.into_iter().zip(self.known) {
            let path = locked.path().to_owned();
            let is_new = locked.identity().is_none();
            let id = (path == metadata).then_some(metadata_id.into());
            let directory = locked.claim(cluster_id, id)?;
            let mark = directory
                .take_clean_shutdown()
                .map_err(DirectoryError::from)?;
            let id = DirectoryId(directory.identity().directory_id);
            let last_epoch = left.get(&id).copied().or(last_epoch);
            known.clean_shutdown = mark.is_some_and(|epoch| is_of_life(&path, epoch, last_epoch));
            let appends = Arc::new(AppendRoom::new(appends_max));
            dirs.push(DataDir {
                directory,
                is_new,
                known,
                appends,
            });
        }
        Ok(Data {
            node_id: self.node_id,
            dirs,
        })
    }
}

/// The broker's directories, held against a second process.
pub struct Data {
    node_id: BrokerId,
    dirs: Vec<DataDir>,
}

impl Data {
    pub fn node_id(&self) -> BrokerId {
        self.node_id
    }

    pub fn directory_ids(&self) -> Vec<DirectoryId> {
        self.dirs
            .iter()
            .map(|dir| DirectoryId(dir.directory.identity().directory_id))
            .collect()
    }

    pub fn dirs(&self) -> &[DataDir] {
        &self.dirs
    }

    pub fn into_dirs(self) -> Vec<DataDir> {
        self.dirs
    }
}

/// Whether the mark of a clean stop is of the life before, whose epoch is `last`. One of an earlier life is in a copy of
/// the directory from then, as a volume's snapshot is: what was acknowledged since is not in it.
fn is_of_life(dir: &Path, marked: i64, last: Option<i64>) -> bool {
    let Some(last) = last.filter(|&last| last != marked) else {
        return true;
    };
    tracing::warn!(
        directory = %dir.display(),
        marked,
        last,
        "the mark of a clean stop is not of this broker's last life: the directory is an older copy, and is treated as \
         after a loss of power"
    );
    last_end::distrust(dir);
    false
}

/// The folders that have a partition's name.
fn partitions_in(dir: &LockedDirectory) -> Result<Vec<(Named, PathBuf)>, StartError> {
    let folders = dir.partition_folders().map_err(DirectoryError::from)?;
    let named = folders.into_iter().filter_map(|folder| match folder {
        PartitionFolder::Log {
            topic,
            partition,
            path,
        } => Some(((topic, partition), path)),
        PartitionFolder::Deleted(_)
        | PartitionFolder::Stray(_)
        | PartitionFolder::Future { .. } => None,
    });
    Ok(named.collect())
}

/// Each directory has an id of its own: where two have one, replicas would be taken for those of the other.
fn differ(dirs: &[LockedDirectory]) -> Result<(), StartError> {
    let ids = |dir: &LockedDirectory| dir.identity().map(|identity| identity.directory_id);
    for (at, dir) in dirs.iter().enumerate() {
        let is_twin = |other: &&LockedDirectory| ids(other).is_some() && ids(other) == ids(dir);
        if let Some(twin) = dirs[..at].iter().find(is_twin) {
            return Err(StartError::Identity(format!(
                "the data directories {} and {} have one directory.id in their meta.properties: one is a copy of the \
                 other; take the copy out of log.dirs",
                twin.path().display(),
                dir.path().display()
            )));
        }
    }
    Ok(())
}

/// Appends that may be under way at once in each directory. An append holds its worker while the disk stalls, so
/// that all of them together leave one worker to everything else.
fn appends_max(workers: usize, dirs: usize) -> usize {
    (workers.saturating_sub(1) / dirs.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use milena_metadata::LastEnd;

    use super::*;
    use crate::config::Sources;

    /// How the life before is taken to have ended, with a mark of a life of epoch 7.
    fn end_by_the_mark(last_epoch: Option<i64>) -> LastEnd {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let (config, _) = Sources::of(&[("log.dirs", &path)]).load().unwrap();
        let id = DirectoryId::random();
        let claim = |last_epoch| {
            let data = LockedData::lock(&config).unwrap();
            data.claim("c", (folder.path(), id), last_epoch).unwrap()
        };
        let life = claim(None);
        last_end::take(life.dirs());
        life.dirs()[0].directory.mark_clean_shutdown(7).unwrap();
        drop(life);
        last_end::take(claim(last_epoch).dirs())
    }

    #[test]
    fn only_the_mark_of_the_last_life_says_that_the_stop_was_clean() {
        assert_eq!(end_by_the_mark(None), LastEnd::Clean);
        assert_eq!(end_by_the_mark(Some(7)), LastEnd::Clean);
        assert_eq!(end_by_the_mark(Some(9)), LastEnd::Unclean);
    }

    #[test]
    fn stalled_appends_leave_a_worker_to_others() {
        for workers in 4..64 {
            for dirs in 1..workers {
                assert!(appends_max(workers, dirs) * dirs < workers);
            }
        }
    }
}
