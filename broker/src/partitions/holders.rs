//! Which data directory has a partition's log. Several have one where a directory that was given up is back: its log is
//! the older one, and whichever is opened hides what only the other has. The metadata says which counts, or a person.

use std::path::Path;

use milena_log::{is_log, topic_id_of};
use milena_metadata::{DirectoryId, TopicId};

/// A directory with a folder of the partition's name.
#[derive(Debug, Clone, Copy)]
pub struct Holder {
    /// Its place among the data directories.
    pub dir: usize,
    pub id: Option<DirectoryId>,
    /// Whether the folder has a log, and not that of another topic of the name.
    pub has_log: bool,
}

/// Directories, by their places, that both have the log, and of which the metadata names none.
#[derive(Debug, PartialEq, Eq)]
pub struct Ambiguous(pub usize, pub usize);

impl Holder {
    pub fn look(dir: usize, id: Option<DirectoryId>, folder: &Path, topic: TopicId) -> Self {
        let is_others = matches!(topic_id_of(folder), Ok(Some(found)) if found != topic.0);
        Self {
            dir,
            id,
            // One that can't be read counts: its opening tells why.
            has_log: !is_others && is_log(folder).unwrap_or(true),
        }
    }
}

/// The place of the one that is to be opened; `named` is the replica's directory, as the metadata has it.
pub fn choose(holders: &[Holder], named: DirectoryId) -> Result<Option<usize>, Ambiguous> {
    let logs: Vec<&Holder> = holders.iter().filter(|holder| holder.has_log).collect();
    match *logs {
        [] => Ok(holders.first().map(|holder| holder.dir)),
        [only] => Ok(Some(only.dir)),
        [one, other, ..] => {
            let is_named = |holder: &&&Holder| holder.id == Some(named);
            let chosen = logs.iter().find(is_named).map(|holder| holder.dir);
            chosen.map(Some).ok_or(Ambiguous(one.dir, other.dir))
        }
    }
}

#[cfg(test)]
mod tests {
    use milena_protocol::Uuid;

    use super::*;

    #[test]
    fn of_several_logs_the_one_in_the_named_directory_counts_and_otherwise_none() {
        let id = |number| DirectoryId(Uuid([number; 16]));
        let holders = |have_logs: &[bool]| -> Vec<Holder> {
            let holder = |(dir, has_log): (usize, &bool)| Holder {
                dir,
                id: (dir > 0).then(|| id(dir as u8)),
                has_log: *has_log,
            };
            have_logs.iter().enumerate().map(holder).collect()
        };
        let unassigned = DirectoryId::UNASSIGNED;
        assert_eq!(choose(&[], id(1)), Ok(None));
        assert_eq!(choose(&holders(&[true]), id(1)), Ok(Some(0)));
        assert_eq!(choose(&holders(&[true; 3]), id(2)), Ok(Some(2)));
        assert_eq!(choose(&holders(&[true; 3]), id(9)), Err(Ambiguous(0, 1)));
        assert_eq!(
            choose(&holders(&[true; 2]), unassigned),
            Err(Ambiguous(0, 1))
        );
        let one_empty = holders(&[false, true]);
        assert_eq!(choose(&one_empty, unassigned), Ok(Some(1)));
        let named_is_empty = holders(&[true, false, true]);
        assert_eq!(choose(&named_is_empty, id(1)), Err(Ambiguous(0, 2)));
        assert_eq!(choose(&holders(&[false; 2]), unassigned), Ok(Some(0)));
    }
}
