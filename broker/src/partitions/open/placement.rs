//! Where new partitions' logs go: where the fewest are, of the data directories whose disks have refused nothing.
//!
//! One failed log does not tell whether its disk still refuses. So it is only kept clear of while there is another; where
//! all directories have refused something, each is asked to take a small file.

use milena_log::StorageError;

use crate::partitions::{DataDir, Partitions};

pub(super) struct Placement<'a> {
    partitions: &'a Partitions,
    /// How many partitions each data directory has; counted with the first.
    counts: Option<Vec<usize>>,
    /// Directories that take new partitions; found out with the first.
    usable: Option<Result<Vec<usize>, StorageError>>,
}

impl<'a> Placement<'a> {
    pub(super) fn new(partitions: &'a Partitions) -> Self {
        Self {
            partitions,
            counts: None,
            usable: None,
        }
    }

    /// The directory of the next new partition; an error where every disk refuses.
    pub(super) fn next(&mut self) -> Result<usize, StorageError> {
        let find = || usable(self.partitions);
        let usable = self.usable.get_or_insert_with(find).as_ref();
        let usable = usable.map_err(StorageError::clone)?.iter().copied();
        let count = || counts(self.partitions);
        let counts = self.counts.get_or_insert_with(count);
        let dir = usable
            .min_by_key(|dir| counts[*dir])
            .unwrap_or_else(|| unreachable!("there is a directory, or an error"));
        counts[dir] = counts[dir].saturating_add(1);
        Ok(dir)
    }
}

/// How many partitions each directory has. A start counts its folders; later on no disk is asked, for one that stalls
/// would hold up the new partitions of all.
fn counts(partitions: &Partitions) -> Vec<usize> {
    let folders =
        |dir: &DataDir| std::fs::read_dir(dir.directory.path()).map_or(usize::MAX, Iterator::count);
    let is_start = partitions.applied.lock().cluster_id().is_none();
    match partitions.dirs() {
        [_] => vec![0],
        dirs if is_start => dirs.iter().map(folders).collect(),
        dirs => {
            let hosted = |dir| partitions.all_in(dir).len();
            (0..dirs.len()).map(hosted).collect()
        }
    }
}

fn usable(partitions: &Partitions) -> Result<Vec<usize>, StorageError> {
    let refused = partitions.have_refused();
    let well: Vec<usize> = (0..refused.len()).filter(|dir| !refused[*dir]).collect();
    if !well.is_empty() {
        return Ok(well);
    }
    let (mut usable, mut refusal) = (Vec::new(), None);
    for (dir, data) in partitions.dirs().iter().enumerate() {
        match data.directory.try_write() {
            Ok(()) => usable.push(dir),
            Err(error) => refusal = Some(error),
        }
    }
    match refusal {
        Some(refusal) if usable.is_empty() => {
            tracing::error!(
                error = %refusal,
                "no data directory takes writes: new partitions have no place here until the next start"
            );
            Err(refusal)
        }
        _ => Ok(usable),
    }
}
