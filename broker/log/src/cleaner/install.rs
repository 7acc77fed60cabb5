//! Putting cleaned segments in place of those that they were made from, one group at a time: whoever appends waits for the
//! renames and syncs of one, and not for those of a whole log.

use std::collections::VecDeque;
use std::sync::Arc;

use super::CleaningPlan;
use crate::error::StorageError;
use crate::files::OpenFolder;
use crate::log::Log;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::trash::Trash;

/// New segments that wait to be put in place; to be given to [`Log::install_next`] until there are no more.
#[derive(Debug)]
pub struct Cleaned {
    /// From the oldest on: a value may only go after those that came before it.
    groups: VecDeque<CleanedGroup>,
    /// Of the log's positions; another one tells of a cut.
    generation: u64,
    /// What lies below is clean once they are in place.
    pub(super) cleaned_to: i64,
    /// The offset behind what might have been cleaned.
    end_offset: i64,
    bytes_before: u64,
    bytes_after: u64,
}

#[derive(Debug)]
struct CleanedGroup {
    old: Vec<Arc<Segment>>,
    new: Arc<Segment>,
}

/// How far [`Log::install_next`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// There may be more.
    Part,
    /// All is in place: the cleaner's new checkpoint.
    All(i64),
    /// The log has been cut meanwhile; what was not in place is thrown away.
    Outdated,
}

impl Cleaned {
    pub(super) fn none_yet(plan: &CleaningPlan) -> Self {
        Self {
            groups: VecDeque::new(),
            generation: plan.generation,
            cleaned_to: plan.first_dirty_offset,
            end_offset: plan.end_offset,
            bytes_before: 0,
            bytes_after: 0,
        }
    }

    pub(super) fn add(&mut self, old: Vec<Arc<Segment>>, new: Arc<Segment>) {
        self.bytes_before += old.iter().map(|segment| segment.size()).sum::<u64>();
        self.bytes_after += new.size();
        self.groups.push_back(CleanedGroup { old, new });
    }

    /// Bytes of the batches that were read.
    pub fn bytes_before(&self) -> u64 {
        self.bytes_before
    }

    /// Bytes of what is left of them.
    pub fn bytes_after(&self) -> u64 {
        self.bytes_after
    }

    /// Whether the memory for keys was too little for all of it, so that another run is due at once.
    pub fn has_more(&self) -> bool {
        self.cleaned_to < self.end_offset
    }

    /// Removes what is not in place.
    pub(super) fn discard(&mut self) -> Result<(), StorageError> {
        let removed = self.groups.drain(..);
        let removed = removed.map(|group| Trash::remove_now(&group.new));
        removed.fold(Ok(()), Result::and)
    }
}

impl Log {
    /// Puts the next of the cleaned segments in place. What retention has taken meanwhile is not there to be replaced, and
    /// costs the others nothing. After an error the rest is gone, and the log is whole, or offline.
    pub fn install_next(
        &mut self,
        cleaned: &mut Cleaned,
        trash: &mut Trash,
    ) -> Result<Installed, StorageError> {
        let installed = self.put_next_in_place(cleaned, trash);
        if installed.is_err() {
            // What has failed says more than what may come of this.
            let _ = cleaned.discard();
        }
        installed
    }

    fn put_next_in_place(
        &mut self,
        cleaned: &mut Cleaned,
        trash: &mut Trash,
    ) -> Result<Installed, StorageError> {
        let shared = self.shared().clone();
        shared.check_writable()?;
        if shared.generation() != cleaned.generation {
            cleaned.discard()?;
            return Ok(Installed::Outdated);
        }
        let Some(group) = cleaned.groups.pop_front() else {
            shared.note_cleaned();
            return Ok(Installed::All(cleaned.cleaned_to));
        };
        let delay_ms = i64::try_from(self.config().file_delete_delay_ms).unwrap_or(i64::MAX);
        put_in_place(&shared, &group, delay_ms, trash)?;
        cleaned.generation = shared.generation();
        Ok(Installed::Part)
    }
}

/// In place of those of the old segments that the log still holds: none or all but the first, which retention has taken.
/// What the new one has of those lies below the log's start.
fn put_in_place(
    shared: &Shared,
    group: &CleanedGroup,
    delay_ms: i64,
    trash: &mut Trash,
) -> Result<(), StorageError> {
    let current = shared.segments();
    let is_held = |old: &&Arc<Segment>| current.iter().any(|held| Arc::ptr_eq(held, old));
    let held: Vec<Arc<Segment>> = group.old.iter().filter(is_held).cloned().collect();
    if held.is_empty() {
        return Trash::remove_now(&group.new);
    }
    let path = shared.path();
    let folder = match OpenFolder::open(&path) {
        Ok(folder) => folder,
        Err(error) => {
            let _ = Trash::remove_now(&group.new);
            return Err(shared.refuse(StorageError::of("open", &path)(error)));
        }
    };
    let sync = || folder.sync().map_err(StorageError::of("sync", &path));
    swap(shared, &held, &group.new, &sync, |old| {
        trash.put_segment(old, delay_ms)
    })
    .map_err(|error| shared.fail(error))
}

fn swap(
    shared: &Shared,
    held: &[Arc<Segment>],
    new: &Arc<Segment>,
    sync: &dyn Fn() -> Result<(), StorageError>,
    mut put_away: impl FnMut(&Segment) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    new.rename(".swap")?;
    sync()?;
    shared.change_segments(|segments| {
        let first = segments
            .iter()
            .position(|segment| Arc::ptr_eq(segment, &held[0]))
            .expect("what is held is in the list, as nobody else changes it");
        segments.splice(first..first + held.len(), [new.clone()]);
    });
    shared.forget_hints();
    held.iter().try_for_each(|old| put_away(old))?;
    new.rename("")?;
    sync()
}

/// All of it, as long as there is more.
#[cfg(test)]
pub(crate) fn install(
    log: &mut Log,
    mut cleaned: Cleaned,
    trash: &mut Trash,
) -> Result<Option<i64>, StorageError> {
    loop {
        match log.install_next(&mut cleaned, trash)? {
            Installed::Part => {}
            Installed::All(cleaned_to) => return Ok(Some(cleaned_to)),
            Installed::Outdated => return Ok(None),
        }
    }
}
