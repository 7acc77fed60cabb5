//! Appending: offsets assigned, one write, then everything published at once.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::records::{BATCH_HEADER_SIZE, BatchHeader};

use super::{Head, Log};
use crate::error::{AppendError, LogError, StorageError};
use crate::files::LogFile;
use crate::roll;
use crate::segment::Segment;

/// Batches of one write whose headers need no allocation; a producer sends one.
const INLINE_BATCHES: usize = 4;
/// Batches of one system call: it takes at most 1,024 pieces, two for each.
const BATCHES_PER_WRITE: usize = 512;

/// A validated batch.
#[derive(Debug, Clone)]
pub struct BatchToAppend {
    /// Its header, as it stands at the front of `body`.
    pub header: BatchHeader,
    /// The whole batch, header included.
    pub body: Bytes,
}

/// What an append as leader writes into the batches.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// The leader's epoch.
    pub leader_epoch: i32,
    /// The broker's clock, ms.
    pub now_ms: i64,
    /// `message.timestamp.type=LogAppendTime`: the batches get `now_ms` as their timestamp.
    pub log_append_time: bool,
}

/// Where an append's records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The first record's offset.
    pub first_offset: i64,
    /// The last record's offset.
    pub last_offset: i64,
    /// The log start offset at that time.
    pub log_start_offset: i64,
    /// Bytes written.
    pub bytes: u64,
}

impl Log {
    /// Appends as leader: gives the batches the next offsets and the leader's epoch, stores them all or none.
    pub fn append(
        &mut self,
        batches: &[BatchToAppend],
        stamp: Stamp,
    ) -> Result<Appended, AppendError> {
        let mut next_offset = self.shared.end();
        let stamped = |batch: &BatchToAppend| {
            let header = stamp_batch(batch, next_offset, stamp);
            next_offset = header.last_offset() + 1;
            header
        };
        let size: u64 = batches.iter().map(|batch| batch.body.len() as u64).sum();
        let segment_bytes = self.config.segment_bytes;
        if size > u64::from(segment_bytes) {
            return Err(AppendError::TooLarge {
                size,
                segment_bytes,
            });
        }
        with_headers(batches, stamped, |headers| {
            self.store(headers, batches, stamp.now_ms)
        })
    }

    /// Appends as follower: the batches carry the leader's offsets and epochs, and may leave gaps. What the leader has is
    /// taken whatever its size: `segment.bytes` may have been larger when it was written. After an error some of the
    /// batches may be stored.
    pub fn append_as_follower(
        &mut self,
        batches: &[BatchToAppend],
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let mut expected = self.shared.end();
        for BatchToAppend { header, .. } in batches {
            if header.base_offset < expected {
                let found = header.base_offset;
                return Err(AppendError::NotContinuous { expected, found });
            }
            expected = header.last_offset() + 1;
        }
        self.shared.check_writable()?;
        let mut appended = self.appended(self.shared.end(), self.shared.end() - 1, 0);
        let mut rest = batches;
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(that_fit(rest, self.config.segment_bytes));
            let stored = with_headers(
                piece,
                |batch| batch.header,
                |headers| self.store(headers, piece, now_ms),
            )?;
            appended = match appended.bytes {
                0 => stored,
                bytes => Appended {
                    first_offset: appended.first_offset,
                    bytes: bytes + stored.bytes,
                    ..stored
                },
            };
            rest = others;
        }
        Ok(appended)
    }

    fn store(
        &mut self,
        headers: &[BatchHeader],
        batches: &[BatchToAppend],
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        self.shared.check_writable()?;
        for batch in batches {
            // Anything else would break the log: a caller's bug, not an input.
            assert_eq!(
                batch.body.len(),
                batch.header.size(),
                "a validated batch is whole"
            );
        }
        let bytes: u64 = batches.iter().map(|batch| batch.body.len() as u64).sum();
        let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
            return Ok(self.appended(self.shared.end(), self.shared.end() - 1, 0));
        };
        let segment = self
            .segment_for(first, last, bytes, now_ms)
            .and_then(|segment| self.prepare(&segment, headers).map(|file| (segment, file)));
        let (segment, file) = segment.map_err(|error| self.shared.refuse(error))?;
        let position = segment.size();
        self.write(&segment, &file, position, headers, batches, now_ms)
            .map_err(|error| self.undo(&segment, position, error))?;
        self.publish(&segment, position + bytes, headers, now_ms);
        Ok(self.appended(first.base_offset, last.last_offset(), bytes))
    }

    fn appended(&self, first_offset: i64, last_offset: i64, bytes: u64) -> Appended {
        Appended {
            first_offset,
            last_offset,
            log_start_offset: self.shared.start(),
            bytes,
        }
    }

    /// The segment that takes the batches; a new one where the active one is full.
    fn segment_for(
        &mut self,
        first: &BatchHeader,
        last: &BatchHeader,
        bytes: u64,
        now_ms: i64,
    ) -> Result<Arc<Segment>, StorageError> {
        let active = self.shared.active();
        let head = roll::Head {
            size: active.size(),
            base_offset: active.base_offset(),
            first_timestamp: self.first_timestamp(&active)?,
            created_ms: self.head.created_ms,
            index_size: active.index_size()?,
            jitter: self.head.jitter,
        };
        let incoming = roll::Incoming {
            bytes,
            max_timestamp: last.max_timestamp,
            last_offset: last.last_offset(),
            now_ms,
        };
        if !roll::is_due(&head, &incoming, &self.config) {
            return Ok(active);
        }
        // Only a follower of a compacted log meets a gap that no relative offset can express.
        let gap = last.last_offset() - self.shared.end() > i64::from(i32::MAX);
        self.roll_at(
            if gap {
                first.base_offset
            } else {
                self.shared.end()
            },
            now_ms,
        )
    }

    /// Starts a new segment at the log's end, unless the active one is empty.
    pub fn roll(&mut self, now_ms: i64) -> Result<(), StorageError> {
        self.shared.check_writable()?;
        if self.shared.active().size() > 0 {
            self.roll_at(self.shared.end(), now_ms)
                .map_err(|error| self.shared.fail(error))?;
        }
        Ok(())
    }

    pub(super) fn roll_at(
        &mut self,
        base_offset: i64,
        now_ms: i64,
    ) -> Result<Arc<Segment>, StorageError> {
        self.shared.active().seal()?;
        self.release_reserved()?;
        self.snapshot_producers()?;
        let segment = Arc::new(Segment::create(self.shared.folder.clone(), base_offset)?);
        self.shared
            .change_segments(|segments| segments.push(segment.clone()));
        self.shared.note_folder_change();
        self.head = Head::new(now_ms);
        Ok(segment)
    }

    fn first_timestamp(&mut self, active: &Segment) -> Result<Option<i64>, StorageError> {
        if self.head.first_timestamp.is_none() && active.size() > 0 {
            let first = match active.scan(0)?.next() {
                Ok(first) => first,
                Err(stop) => {
                    let problem = active.damage(stop, active.base_offset());
                    let error = match problem {
                        LogError::Storage(error) => error,
                        other => StorageError::of("read", &active.path("log"))(
                            std::io::Error::other(other),
                        ),
                    };
                    return Err(error);
                }
            };
            self.head.first_timestamp = first.map(|(_, header)| header.max_timestamp);
        }
        Ok(self
            .head
            .first_timestamp
            .filter(|timestamp| *timestamp >= 0))
    }

    /// Opens what the batches need, and notes their epochs; may be repeated.
    fn prepare(
        &mut self,
        segment: &Segment,
        headers: &[BatchHeader],
    ) -> Result<Arc<LogFile>, StorageError> {
        self.make_folder()?;
        if segment.make_files()? {
            self.shared.note_folder_change();
        }
        let file = segment.file_to_write()?;
        for header in headers {
            if self
                .epochs
                .assign(header.partition_leader_epoch, header.base_offset)?
            {
                self.shared.note_folder_change();
            }
        }
        Ok(file)
    }

    /// Puts the bytes and their index entries on file; readers see nothing of it yet.
    fn write(
        &mut self,
        segment: &Segment,
        file: &LogFile,
        position: u64,
        headers: &[BatchHeader],
        batches: &[BatchToAppend],
        now_ms: i64,
    ) -> Result<(), StorageError> {
        let path = || segment.path("log");
        let bytes: u64 = batches.iter().map(|batch| batch.body.len() as u64).sum();
        self.reserve(file, position, position + bytes, now_ms);
        let mut at = position;
        for (headers, batches) in headers
            .chunks(BATCHES_PER_WRITE)
            .zip(batches.chunks(BATCHES_PER_WRITE))
        {
            at += write_batches(file, at, headers, batches)
                .map_err(|error| StorageError::of("write", &path())(error))?;
        }
        self.index(segment, position, headers)
    }

    fn reserve(&mut self, file: &LogFile, size: u64, end: u64, now_ms: i64) {
        if !self.config.preallocate {
            return;
        }
        let limit = u64::from(self.config.segment_bytes);
        if let Some(reserve) = self.head.preallocation.next(size, end, limit, now_ms)
            && file.reserve(reserve.from, reserve.bytes).is_err()
        {
            // The file system can't, or the disk is nearly full: the write itself will tell.
            self.head.preallocation.refuse();
        }
    }

    fn index(
        &mut self,
        segment: &Segment,
        mut position: u64,
        headers: &[BatchHeader],
    ) -> Result<(), StorageError> {
        for header in headers {
            let due =
                self.head.bytes_since_index_entry > u64::from(self.config.index_interval_bytes);
            segment.index_batch(position, header, due)?;
            if due {
                self.head.bytes_since_index_entry = 0;
            }
            self.head.bytes_since_index_entry += header.size() as u64;
            position += header.size() as u64;
        }
        Ok(())
    }

    fn publish(&mut self, segment: &Segment, size: u64, headers: &[BatchHeader], now_ms: i64) {
        for header in headers {
            self.producers.note(header, now_ms);
        }
        segment.publish(size);
        if let Some(last) = headers.last() {
            let next_offset = last.last_offset() + 1;
            let generation = self.shared.generation();
            self.shared
                .remember(generation, next_offset, segment.base_offset(), size);
            self.shared
                .set_tip(next_offset, segment.base_offset(), size);
        }
    }

    /// Takes back what a failed write may have left, and the log offline; where all of it is taken back, and only a
    /// descriptor was missing, for an index say, the call may be repeated.
    fn undo(&self, segment: &Segment, position: u64, error: StorageError) -> StorageError {
        let taken_back = segment
            .file()
            .map_err(|error| error.to_string())
            .and_then(|file| file.set_len(position).map_err(|error| error.to_string()));
        match taken_back {
            Ok(()) => self.shared.refuse(error),
            // Recovery will find the torn tail behind the recovery point.
            Err(why) => {
                tracing::warn!(file = %segment.path("log").display(), why, "could not take back a failed write");
                self.shared.fail(error)
            }
        }
    }
}

/// How many of the first batches go into one segment together, by bytes and by the offsets that it can express; one at
/// the least.
fn that_fit(batches: &[BatchToAppend], segment_bytes: u32) -> usize {
    let mut bytes = 0;
    let first = batches.first().map_or(0, |batch| batch.header.base_offset);
    let fits = |batch: &&BatchToAppend| {
        bytes += batch.body.len() as u64;
        bytes <= u64::from(segment_bytes)
            && batch.header.last_offset() - first <= i64::from(i32::MAX)
    };
    batches.iter().take_while(fits).count().max(1)
}

/// Runs `store` with one header per batch, on the stack where they are few.
fn with_headers<T>(
    batches: &[BatchToAppend],
    header: impl FnMut(&BatchToAppend) -> BatchHeader,
    store: impl FnOnce(&[BatchHeader]) -> T,
) -> T {
    let mut headers = batches.iter().map(header);
    if batches.len() == 1
        && let Some(only) = headers.next()
    {
        return store(&[only]);
    }
    store(&headers.collect::<Vec<_>>())
}

fn stamp_batch(batch: &BatchToAppend, offset: i64, stamp: Stamp) -> BatchHeader {
    let mut header = batch.header;
    header.base_offset = offset;
    header.partition_leader_epoch = stamp.leader_epoch;
    if stamp.log_append_time {
        header = header
            .with_log_append_time(&batch.body, stamp.now_ms)
            .expect("the caller has validated the batch");
    }
    header
}

/// One vectored write of the patched headers and the untouched records; returns the bytes.
fn write_batches(
    file: &LogFile,
    position: u64,
    headers: &[BatchHeader],
    batches: &[BatchToAppend],
) -> std::io::Result<u64> {
    let records = |batch: &'_ BatchToAppend| batch.body.len() as u64;
    let bytes = batches.iter().map(records).sum();
    let mut inline = [[0; BATCH_HEADER_SIZE]; INLINE_BATCHES];
    let mut spilled = Vec::new();
    let patched = if headers.len() <= INLINE_BATCHES {
        &mut inline[..headers.len()]
    } else {
        spilled.resize(headers.len(), [0; BATCH_HEADER_SIZE]);
        &mut spilled[..]
    };
    for (bytes, header) in patched.iter_mut().zip(headers) {
        *bytes = header.to_bytes();
    }
    let parts = patched.iter().zip(batches).flat_map(|(header, batch)| {
        [
            IoSlice::new(header),
            IoSlice::new(&batch.body[BATCH_HEADER_SIZE..]),
        ]
    });
    if headers.len() <= INLINE_BATCHES {
        let mut slices: [IoSlice<'_>; 2 * INLINE_BATCHES] =
            std::array::from_fn(|_| IoSlice::new(&[]));
        let mut count = 0;
        for (slot, part) in slices.iter_mut().zip(parts) {
            *slot = part;
            count += 1;
        }
        file.write_all_at(&mut slices[..count], position)?;
    } else {
        file.write_all_at(&mut parts.collect::<Vec<_>>(), position)?;
    }
    Ok(bytes)
}
