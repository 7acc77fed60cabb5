//! Data directories that a life of the broker goes without, though it had them: they can't be used, and may be well again at
//! the next start. What is in them is offline until then. It begins anew nowhere: an empty log would hide the records that
//! are there, and what came into it would be in the way when the directory is back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_log::LockedDirectory;
use milena_metadata::{DirectoryId, Topic};

use super::Partitions;
use super::holders::Holder;

/// One of them.
#[derive(Debug)]
pub struct Away {
    pub path: PathBuf,
    /// Its id. Where it does not tell, all that it may have.
    pub ids: BTreeSet<DirectoryId>,
    /// The partitions that have a folder there, by topic and number; nothing where that can't be read.
    pub partitions: Option<BTreeSet<(String, i32)>>,
    /// Keeps others out, where it could be locked.
    pub lock: Option<Arc<LockedDirectory>>,
}

impl Away {
    /// Whether it says that the partition has a folder in it.
    pub fn has_folder(&self, topic: &str, index: i32) -> bool {
        let partitions = self.partitions.iter();
        let key = (topic.to_owned(), index);
        partitions.flatten().any(|partition| *partition == key)
    }

    /// Whether a partition may be there that no directory here has, and of which nobody knows where it is.
    fn may_have(&self, topic: &str, index: i32) -> bool {
        self.partitions.is_none() || self.has_folder(topic, index)
    }
}

impl Partitions {
    /// Goes without these directories in this life.
    pub fn without(mut self, away: Vec<Away>) -> Self {
        self.away = away;
        self
    }

    /// The directories that this life goes without.
    pub fn away(&self) -> &[Away] {
        &self.away
    }

    /// Whether the broker has several directories, be it that it goes without some: then the quorum has to be told which
    /// one a replica is in.
    pub fn has_several_dirs(&self) -> bool {
        self.dirs.len() + self.away.len() > 1
    }

    /// The directory which this life goes without and a partition may be in; `named` is the replica's directory, as the
    /// metadata has it.
    pub(super) fn away_in(&self, topic: &Topic, index: i32, named: DirectoryId) -> Option<&Path> {
        let name = topic.name.as_str();
        let is_here = || {
            self.dirs.iter().any(|dir| {
                let folder = dir.directory.partition_path(name, index);
                Holder::look(0, None, &folder, topic.id).has_log
            })
        };
        let is_unknown = matches!(named, DirectoryId::UNASSIGNED | DirectoryId::LOST);
        let mut away = self.away.iter();
        let it = away.find(|one| {
            one.ids.contains(&named) || is_unknown && one.may_have(name, index) && !is_here()
        });
        it.map(|one| one.path.as_path())
    }
}
