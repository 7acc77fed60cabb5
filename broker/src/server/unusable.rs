//! Directories of `log.dirs` that can't be used at a start: their disk refuses, or somebody has taken the rights away, or one of
//! the small files that the start needs can't be understood. The broker goes without them where it has others. Not without
//! the one with the metadata: its copy of the quorum's log is there, and its vote.
//!
//! | of the directory can be read | what is taken to be there |
//! | --- | --- |
//! | `meta.properties` and the names in it | the partitions that have a folder in it, and those that the metadata has in it |
//! | less | those that the metadata has in a directory which is not here, and those without a log here of which it does not know the directory |

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_log::{DirectoryError, LockedDirectory, LogError, identity_of, partitions_with_folders};
use milena_metadata::DirectoryId;

use crate::config::BrokerConfig;
use crate::partitions::away::Away;
use crate::partitions::open::Known;

/// One of them.
#[derive(Debug)]
pub struct Unusable {
    path: PathBuf,
    why: LogError,
    lock: Option<Arc<LockedDirectory>>,
    id: Option<DirectoryId>,
    partitions: Option<BTreeSet<(String, i32)>>,
}

/// Why a directory can't be used.
pub struct Failed {
    pub error: DirectoryError,
    /// Where it could be locked.
    pub lock: Option<Arc<LockedDirectory>>,
}

/// Locks a directory, and reads all that a start needs of it before it changes anything.
pub fn lock(
    path: &Path,
    node_id: i32,
    cluster_id: Option<&str>,
) -> Result<(LockedDirectory, Known), Failed> {
    let locked = LockedDirectory::lock(path, node_id, cluster_id);
    let directory = locked.map_err(|error| Failed { error, lock: None })?;
    let listed = directory.partition_folders().map_err(LogError::from);
    match listed.and_then(|_| Known::read(path, false)) {
        Ok(known) => Ok((directory, known)),
        Err(error) => Err(Failed {
            error: error.into(),
            lock: Some(Arc::new(directory)),
        }),
    }
}

/// Whether the broker can't go without the directory. The first is bound to the pod's volume, where there is a pod.
pub fn is_needed(path: &Path, config: &BrokerConfig) -> bool {
    let is_bound = config.annotations_file.is_some();
    path == config.metadata_dir()
        || is_bound
            && config
                .data_dirs()
                .first()
                .is_some_and(|first| first == path)
}

impl Unusable {
    /// Looks at what can be read of it all the same. One that is another's is refused.
    pub fn look(
        path: PathBuf,
        why: LogError,
        lock: Option<Arc<LockedDirectory>>,
        (node_id, cluster_id): (i32, Option<&str>),
    ) -> Result<Self, DirectoryError> {
        let identity = match identity_of(&path, node_id, cluster_id) {
            Ok(identity) => identity,
            Err(DirectoryError::Log(_)) => None,
            Err(foreign) => return Err(foreign),
        };
        // The place of a disk that is not mounted has no names, and says nothing.
        let known = identity.is_some();
        let partitions = known.then(|| partitions_with_folders(&path).ok()).flatten();
        tracing::error!(
            directory = %path.display(), error = %why,
            "a data directory can't be used: this life goes without it, and the partitions that are in it are offline until \
             it is well again and the broker is started anew"
        );
        Ok(Self {
            path,
            why,
            lock,
            id: identity.map(|identity| DirectoryId(identity.directory_id)),
            partitions,
        })
    }

    /// As a start tells it that can't do without.
    pub fn error(&self) -> DirectoryError {
        self.why.clone().into()
    }
}

/// Those that have something of this broker's: of its directories these are `missing` that are not given up. One that does
/// not tell its id may be any of those that no other says to be; unless there are more of these than of such directories:
/// then one is somewhere else, and nobody knows which.
pub fn away(unusable: &[Unusable], missing: &BTreeSet<DirectoryId>) -> Vec<Away> {
    let told: BTreeSet<DirectoryId> = unusable.iter().filter_map(|one| one.id).collect();
    let untold = unusable.iter().filter(|one| one.id.is_none()).count();
    let mut others: BTreeSet<DirectoryId> = missing.difference(&told).copied().collect();
    if others.len() > untold {
        others.clear();
    }
    let away = unusable.iter().map(|one| Away {
        path: one.path.clone(),
        ids: match one.id {
            Some(id) => missing.get(&id).copied().into_iter().collect(),
            None => others.clone(),
        },
        partitions: one.partitions.clone(),
        lock: one.lock.clone(),
    });
    away.filter(|one| !one.ids.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use milena_protocol::Uuid;

    use super::*;

    const NAMES: fn(u8) -> DirectoryId = |number| DirectoryId(Uuid([number; 16]));

    /// The ids that each of these may have, by what they tell.
    fn ids(told: &[Option<u8>], missing: &[u8]) -> Vec<Vec<DirectoryId>> {
        let unusable = |id: &Option<u8>| Unusable {
            path: PathBuf::from("dir"),
            why: LogError::Malformed {
                path: PathBuf::from("file"),
                problem: "nothing".to_owned(),
            },
            lock: None,
            id: id.map(NAMES),
            partitions: None,
        };
        let unusable: Vec<Unusable> = told.iter().map(unusable).collect();
        let missing = missing.iter().map(|id| NAMES(*id)).collect();
        let away = away(&unusable, &missing).into_iter();
        away.map(|one| one.ids.into_iter().collect()).collect()
    }

    #[test]
    fn an_unusable_directory_is_one_of_those_that_are_missing_unless_another_is_gone_as_well() {
        let all = |of: &[u8]| of.iter().map(|id| NAMES(*id)).collect::<Vec<_>>();
        assert_eq!(ids(&[Some(1)], &[1]), [all(&[1])]);
        assert_eq!(ids(&[None], &[1]), [all(&[1])]);
        assert_eq!(ids(&[None, Some(2)], &[1, 2]), [all(&[1]), all(&[2])]);
        assert_eq!(ids(&[None, None], &[1, 2]), [all(&[1, 2]), all(&[1, 2])]);
        assert_eq!(ids(&[None, Some(2)], &[1, 2, 3]), [all(&[2])]);
        // Nobody has used it, or it was given up.
        assert!(ids(&[None, Some(3)], &[]).is_empty());
    }
}
