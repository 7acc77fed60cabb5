//! Compaction: of each key the last value is kept, at its offset (`cleanup.policy=compact`).
//!
//! 1. [`Log::cleaning_plan`] decides, from the log's state, whether and what to clean.
//! 2. [`CleaningPlan::clean`] writes new segments beside the old (`.cleaned`), while the log goes on.
//! 3. [`Log::install_next`] puts them in place (`.swap`, then their own names), one after the other. A crash before the
//!    `.swap` of one leaves what it was made from, one after it the new one: opening finishes the work.

mod filter;
mod install;
mod offset_map;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::records::{BatchHeader, DECOMPRESSED_SIZE_MAX, OpenBatch};

use crate::config::LogConfig;
use crate::error::{LogError, StorageError};
use crate::log::{Log, LogFlusher};
use crate::reader::LogReader;
use crate::scan::ScanStop;
use crate::segment::{NO_TIMESTAMP, Segment};
use crate::shared::Shared;
use crate::trash::Trash;

use filter::Filter;
#[cfg(test)]
pub(crate) use install::install;
pub use install::{Cleaned, Installed};
use offset_map::OffsetMap;

/// What a cleaning run will do; made from the log, carried out without it.
#[derive(Debug)]
pub struct CleaningPlan {
    shared: Arc<Shared>,
    config: LogConfig,
    segments: Vec<Arc<Segment>>,
    first_dirty_offset: i64,
    /// The offset behind what may be cleaned.
    end_offset: i64,
    log_start_offset: i64,
    producers: HashMap<i64, i64>,
    generation: u64,
    now_ms: i64,
}

/// A segment as the decision sees it.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    base_offset: i64,
    next_offset: i64,
    size: u64,
    /// Its youngest record's time, or its file's last change where records have none.
    youngest_ms: i64,
    /// Its first batch's time; nothing where it has none, or nobody needs it.
    first_ms: Option<i64>,
}

/// The offset up to which a log is to be cleaned, if it is worth it.
fn decide(
    segments: &[Candidate],
    first_dirty_offset: i64,
    high_watermark: i64,
    now_ms: i64,
    config: &LogConfig,
) -> Option<i64> {
    let lag = |ms: u64| now_ms.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX));
    let is_cleanable = |segment: &&Candidate| {
        segment.next_offset <= high_watermark
            && (segment.youngest_ms <= lag(config.min_compaction_lag_ms)
                || config.min_compaction_lag_ms == 0
                // The lag is that of records which were never compacted.
                || segment.next_offset <= first_dirty_offset)
    };
    let cleanable: Vec<&Candidate> = segments.iter().take_while(is_cleanable).collect();
    let end_offset = cleanable.last()?.next_offset;
    let (dirty, clean): (Vec<_>, Vec<_>) = cleanable
        .iter()
        .partition(|segment| segment.next_offset > first_dirty_offset);
    let size = |segments: &[&&Candidate]| segments.iter().map(|segment| segment.size).sum::<u64>();
    let (dirty_bytes, clean_bytes) = (size(&dirty), size(&clean));
    if dirty_bytes == 0 {
        return None;
    }
    let ratio = dirty_bytes as f64 / (dirty_bytes + clean_bytes) as f64;
    // No record of a segment has waited for longer than its first batch, as far as times tell (KIP-354).
    let overdue = dirty
        .iter()
        .filter_map(|segment| segment.first_ms)
        .any(|first_ms| first_ms < lag(config.max_compaction_lag_ms));
    (ratio >= config.min_cleanable_dirty_ratio || overdue).then_some(end_offset)
}

impl LogReader {
    /// Finds out what [`Log::cleaning_plan`] wants to know of the segments, while nothing of the log is held: the first time
    /// it may read them all, and take as long as the disk.
    pub fn learn_ages(
        &self,
        first_dirty_offset: i64,
        max_compaction_lag_ms: u64,
    ) -> Result<(), LogError> {
        let shared = self.shared();
        let segments = shared.segments();
        let from = shared.cleaned_to(first_dirty_offset);
        match candidates(&segments, from, max_compaction_lag_ms) {
            // Retention or a cut has taken one meanwhile.
            Err(_) if !segments.iter().all(|segment| shared.holds(segment)) => Ok(()),
            learnt => learnt.map(drop),
        }
    }
}

impl Log {
    /// What compaction should do now; `None` where it is off or not worth it. `first_dirty_offset` comes from the
    /// cleaner's checkpoint, 0 for none; one beyond the log's end is of a log that was cut since, and says nothing.
    /// Nothing at `high_watermark` or above is touched, nor the active segment.
    pub fn cleaning_plan(
        &self,
        first_dirty_offset: i64,
        high_watermark: i64,
        now_ms: i64,
    ) -> Result<Option<CleaningPlan>, LogError> {
        if !self.config().compact {
            return Ok(None);
        }
        let mut segments = self.shared().segments();
        let first_dirty_offset = self.shared().cleaned_to(first_dirty_offset);
        let first_dirty_offset = first_dirty_offset.max(self.log_start_offset());
        let candidates = candidates(
            &segments,
            first_dirty_offset,
            self.config().max_compaction_lag_ms,
        )?;
        let Some(end_offset) = decide(
            &candidates,
            first_dirty_offset,
            high_watermark,
            now_ms,
            self.config(),
        ) else {
            return Ok(None);
        };
        let count = candidates.partition_point(|segment| segment.base_offset < end_offset);
        segments.truncate(count);
        Ok(Some(CleaningPlan {
            shared: self.shared().clone(),
            config: self.config().clone(),
            segments,
            first_dirty_offset,
            end_offset,
            log_start_offset: self.log_start_offset(),
            producers: self.last_producer_offsets(),
            generation: self.shared().generation(),
            now_ms,
        }))
    }
}

/// Those that a decision is about: all but the active segment.
fn candidates(
    segments: &[Arc<Segment>],
    first_dirty_offset: i64,
    max_compaction_lag_ms: u64,
) -> Result<Vec<Candidate>, LogError> {
    let is_bounded = max_compaction_lag_ms < i64::MAX as u64;
    let describe = |pair: &[Arc<Segment>]| -> Result<Candidate, LogError> {
        let (segment, next_offset) = (&pair[0], pair[1].base_offset());
        let first_ms = match is_bounded && next_offset > first_dirty_offset {
            true => Some(segment.first_timestamp()?).filter(|ms| *ms != NO_TIMESTAMP),
            false => None,
        };
        Ok(Candidate {
            base_offset: segment.base_offset(),
            next_offset,
            size: segment.size(),
            youngest_ms: segment.youngest_ms()?,
            first_ms,
        })
    };
    segments.windows(2).map(describe).collect()
}

/// What cleaning has just done to the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CleaningIo {
    /// A batch was read.
    Read(u64),
    /// Batches were written.
    Written(u64),
}

/// Told of all that is read and written. It may wait, which slows the work down; on `Break` the work is given up.
pub type Pace<'a> = dyn FnMut(CleaningIo) -> ControlFlow<()> + 'a;

/// Why cleaning ends before its end.
#[derive(Debug)]
enum Halt {
    GivenUp,
    Failed(LogError),
}

impl From<LogError> for Halt {
    fn from(error: LogError) -> Self {
        Self::Failed(error)
    }
}

impl From<StorageError> for Halt {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.into())
    }
}

impl CleaningPlan {
    /// Bytes that [`CleaningPlan::clean`] reads: what is dirty twice, once for its keys.
    pub fn bytes(&self) -> u64 {
        let size = |segments: &[Arc<Segment>]| segments.iter().map(|one| one.size()).sum::<u64>();
        let begins = |segment: &Arc<Segment>| segment.base_offset() <= self.first_dirty_offset;
        let first_dirty = self.segments.partition_point(begins).saturating_sub(1);
        size(&self.segments) + size(&self.segments[first_dirty..])
    }

    /// Writes the new segments; `map_bytes` bounds the memory for keys. Where that is too little for all that is
    /// dirty, a part is cleaned and the next run goes on. May take long, and holds nothing of the log meanwhile.
    /// `None` where `pace` has given it up: the log is as it was.
    pub fn clean(self, map_bytes: usize, pace: &mut Pace<'_>) -> Result<Option<Cleaned>, LogError> {
        // What is rewritten must not be newer on disk than what it is made from.
        LogFlusher::new(self.shared.clone()).flush()?;
        let mut cleaned = Cleaned::none_yet(&self);
        let removed = match self.clean_into(&mut cleaned, map_bytes, pace) {
            Ok(()) => return Ok(Some(cleaned)),
            Err(Halt::GivenUp) => Ok(None),
            Err(Halt::Failed(error)) => Err(error),
        };
        // Why it has ended says more than what may come of this.
        let discarded = cleaned.discard();
        removed.and_then(|none| Ok(discarded.map(|()| none)?))
    }

    fn clean_into(
        &self,
        cleaned: &mut Cleaned,
        map_bytes: usize,
        pace: &mut Pace<'_>,
    ) -> Result<(), Halt> {
        let (map, mapped_to) = self.map_keys(map_bytes, pace)?;
        let last = self
            .segments
            .partition_point(|segment| segment.base_offset() < mapped_to);
        for mut old in self.groups(&self.segments[..last]) {
            loop {
                old.retain(|segment| self.shared.holds(segment));
                if old.is_empty() {
                    break;
                }
                match self.rewrite(&old, (&map, mapped_to), pace) {
                    Ok(new) => {
                        cleaned.add(old, Arc::new(new));
                        break;
                    }
                    // Retention has taken one meanwhile.
                    Err(Halt::Failed(_)) if !old.iter().all(|one| self.shared.holds(one)) => {}
                    Err(halt) => return Err(halt),
                }
            }
        }
        cleaned.cleaned_to = mapped_to;
        Ok(())
    }

    /// The last offset of each key in what is dirty, as far as the memory goes, and where that was.
    fn map_keys(&self, map_bytes: usize, pace: &mut Pace<'_>) -> Result<(OffsetMap, i64), Halt> {
        let keys_max = self.end_offset - self.first_dirty_offset;
        let mut map = OffsetMap::new(map_bytes, usize::try_from(keys_max).unwrap_or(0));
        let mut mapped_to = self.first_dirty_offset;
        for segment in &self.segments {
            match self.map_segment(segment, &mut map, &mut mapped_to, pace) {
                Ok(true) => {}
                Ok(false) => return Ok((map, mapped_to)),
                // Retention has taken it meanwhile.
                Err(Halt::Failed(_)) if !self.shared.holds(segment) => {}
                Err(halt) => return Err(halt),
            }
        }
        Ok((map, self.end_offset))
    }

    /// Whether all of it is mapped.
    fn map_segment(
        &self,
        segment: &Segment,
        map: &mut OffsetMap,
        mapped_to: &mut i64,
        pace: &mut Pace<'_>,
    ) -> Result<bool, Halt> {
        let Some((position, _)) = segment.find(self.first_dirty_offset)? else {
            return Ok(true);
        };
        let mut scan = segment.scan(position)?;
        while let Some((at, header)) = scan
            .next()
            .map_err(|stop| segment.damage(stop, *mapped_to))?
        {
            match self.map_batch(map, segment, at, &header) {
                Ok(true) => *mapped_to = header.last_offset() + 1,
                Ok(false) => return Ok(false),
                // What is before it can be cleaned; the next run begins with it, and tells of it.
                Err(LogError::Malformed { .. }) if *mapped_to > self.first_dirty_offset => {
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
            if pace(CleaningIo::Read(header.size() as u64)).is_break() {
                return Err(Halt::GivenUp);
            }
        }
        Ok(true)
    }

    /// Whether the map had room for it.
    fn map_batch(
        &self,
        map: &mut OffsetMap,
        segment: &Segment,
        at: u64,
        header: &BatchHeader,
    ) -> Result<bool, LogError> {
        if header.is_control() || header.record_count == 0 {
            return Ok(true);
        }
        let batch = open(segment, header, &segment.read_batch(at, header)?)?;
        if !map.make_room(header.record_count as usize) {
            return Ok(false);
        }
        for record in batch.raw() {
            let record =
                record.map_err(|problem| segment.malformed(header, &problem.to_string()))?;
            let offset = header.offset_of(&record);
            if let Some(key) = record.key.filter(|_| offset >= self.first_dirty_offset) {
                map.put(key, offset);
            }
        }
        Ok(true)
    }

    /// Neighbours that fit into one segment.
    fn groups(&self, segments: &[Arc<Segment>]) -> Vec<Vec<Arc<Segment>>> {
        let mut groups: Vec<Vec<Arc<Segment>>> = Vec::new();
        let mut size = 0;
        for (index, segment) in segments.iter().enumerate() {
            let next_offset = segments
                .get(index + 1)
                .map_or(self.end_offset, |next| next.base_offset());
            let fits = groups.last().is_some_and(|group| {
                size + segment.size() <= u64::from(self.config.segment_bytes)
                    && next_offset - group[0].base_offset() <= i64::from(i32::MAX)
            });
            match groups.last_mut() {
                Some(group) if fits => group.push(segment.clone()),
                _ => {
                    groups.push(vec![segment.clone()]);
                    size = 0;
                }
            }
            size += segment.size();
        }
        groups
    }

    fn rewrite(
        &self,
        old: &[Arc<Segment>],
        mapped: (&OffsetMap, i64),
        pace: &mut Pace<'_>,
    ) -> Result<Segment, Halt> {
        let new = Segment::create_as(self.shared.folder.clone(), old[0].base_offset(), ".cleaned")?;
        match Filter::new(&new, mapped, self).run(old, pace) {
            Ok(()) => {
                // Of what it is made from the last is the youngest.
                old[old.len() - 1].keep_time(&new.path("log"));
                Ok(new)
            }
            Err(halt) => {
                // Why it has ended says more than what may come of this.
                let _ = Trash::remove_now(&new);
                Err(halt)
            }
        }
    }
}

/// The records of a batch, whose bytes are what was once acknowledged: a batch that is written anew gets a new
/// checksum, which would cover what the disk has spoilt. Records that can't be read are no damage where the checksum is
/// right: they came like that.
fn open(segment: &Segment, header: &BatchHeader, batch: &Bytes) -> Result<OpenBatch, LogError> {
    if let Err(problem) = header.check_crc(batch) {
        let offset = header.base_offset;
        let position = segment.find(offset)?.map_or(0, |(position, _)| position);
        let problem = problem.to_string();
        return Err(segment.damage(ScanStop::Invalid { position, problem }, offset));
    }
    OpenBatch::open(*header, batch, DECOMPRESSED_SIZE_MAX)
        .map_err(|problem| segment.malformed(header, &problem.to_string()))
}

#[cfg(test)]
mod tests;
