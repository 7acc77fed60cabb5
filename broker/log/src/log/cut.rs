//! Taking records away: from the end (a follower's truncation) and from the start (DeleteRecords).

use std::sync::Arc;

use super::{Head, Log};
use crate::error::{LogError, StorageError};
use crate::segment::Segment;
use crate::trash::Trash;

impl Log {
    /// Cuts the log so that it ends at `offset`, or behind the last batch before it; a no-op beyond the
    /// end. Epochs and producers are taken back with it.
    pub fn truncate_to(&mut self, offset: i64, now_ms: i64) -> Result<(), LogError> {
        self.shared.check_writable()?;
        if offset >= self.shared.end() {
            return Ok(());
        }
        if offset <= self.shared.segments()[0].base_offset() {
            return self.truncate_fully_and_start_at(offset, now_ms);
        }
        self.shared.lower_recovery_point(offset);
        let segments = self.shared.segments();
        let kept = segments
            .partition_point(|segment| segment.base_offset() < offset)
            .max(1);
        let active = segments[kept - 1].clone();
        let (end, size) = self.place_of_cut(&active, offset)?;
        let removed = self
            .shared
            .change_segments(|segments| segments.split_off(kept));
        // From here on readers see the shorter log.
        self.shared.set_tip(end, active.base_offset(), size);
        self.shared.lower_recovery_point(end);
        self.shared.forget_hints();
        self.cut_files(&active, size, &removed)
            .and_then(|()| self.follow_cut(end, now_ms))
            .map_err(|error| self.offline(error))
    }

    /// Where the log ends once it is cut at `offset`, and the size of its last segment then. A batch can't be cut, and of
    /// offsets without a batch nothing stays: the next start finds the end behind the last batch, and so it is here.
    fn place_of_cut(&self, active: &Segment, offset: i64) -> Result<(i64, u64), LogError> {
        let first_cut = active.find(offset)?;
        let size = first_cut.map_or(active.size(), |(position, _)| position);
        Ok((active.end_at(size)?, size))
    }

    /// From the end on: what a crash leaves is longer, and has no gap.
    fn cut_files(
        &self,
        active: &Segment,
        size: u64,
        removed: &[Arc<Segment>],
    ) -> Result<(), LogError> {
        for segment in removed.iter().rev() {
            Trash::remove_now(segment)?;
        }
        if size < active.size() {
            active.truncate(size, self.config.index_interval_bytes)?;
        }
        Ok(())
    }

    fn follow_cut(&mut self, end: i64, now_ms: i64) -> Result<(), LogError> {
        self.shared.note_folder_change();
        self.head = Head::new(now_ms);
        self.shared.set_start(self.shared.start().min(end));
        self.epochs.truncate_to(end)?;
        self.restore_producers(end, now_ms)
    }

    /// Files of which only some were cut take no more records until the log is opened anew.
    fn offline(&self, error: LogError) -> LogError {
        let error = match error {
            LogError::Storage(error) => error,
            other => StorageError::of("cut", &self.shared.path())(std::io::Error::other(other)),
        };
        self.shared.fail(error).into()
    }

    /// Empties the log; its next record gets `offset`.
    pub fn truncate_fully_and_start_at(
        &mut self,
        offset: i64,
        now_ms: i64,
    ) -> Result<(), LogError> {
        self.shared.check_writable()?;
        self.shared.lower_recovery_point(offset);
        self.make_folder()?;
        self.begin_anew(offset, now_ms)
            .map_err(|error| self.offline(error))
    }

    fn begin_anew(&mut self, offset: i64, now_ms: i64) -> Result<(), LogError> {
        let old = self.shared.segments();
        // Out of the way first: the new segment may have an old one's name. From the end on, so that there is no gap.
        for segment in old.iter().rev() {
            Trash::rename_for_deletion(segment)?;
        }
        let segment = Arc::new(Segment::create(self.shared.folder.clone(), offset)?);
        self.shared
            .change_segments(|segments| *segments = vec![segment]);
        self.shared.set_start(offset);
        self.shared.set_tip(offset, offset, 0);
        self.shared.lower_recovery_point(offset);
        self.shared.forget_hints();
        for segment in &old {
            Trash::remove_now(segment)?;
        }
        self.shared.note_folder_change();
        self.head = Head::new(now_ms);
        self.epochs.clear()?;
        self.snapshot_at = None;
        self.remove_snapshots()?;
        self.producers.clear();
        Ok(())
    }

    /// Moves the log start offset up to `offset` (DeleteRecords, or a follower's leader did); the caller keeps it at
    /// or below the high watermark. Whole segments below it are removed by the next retention.
    pub fn delete_records_before(&mut self, offset: i64) -> Result<(), StorageError> {
        self.shared.check_writable()?;
        if offset > self.shared.start() {
            let start = offset.min(self.shared.end());
            // Epochs go with the segments that hold them: a crash may come before the new start is on file.
            self.shared.set_start(start);
        }
        Ok(())
    }

    pub(super) fn remove_snapshots(&self) -> Result<(), LogError> {
        let folder = self.shared.path();
        for offset in super::snapshots(&folder)? {
            let path = folder.join(crate::segment::file_name(offset, "snapshot"));
            crate::files::remove_if_there(&path).map_err(StorageError::of("remove", &path))?;
        }
        Ok(())
    }
}
