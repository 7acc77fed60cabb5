//! Walking a segment's batches from header to header, optionally with their checksums.

use std::io;
use std::path::Path;
use std::sync::Arc;

use milena_protocol::records::{BATCH_HEADER_SIZE, BatchHeader};

use crate::error::{LogError, StorageError};
use crate::files::{LogFile, Reach};

/// Small batches are read many at once.
const CHUNK: usize = 64 << 10;
/// From this size on, one read per header is cheaper than reading the records too.
const LARGE_BATCH: usize = 16 << 10;
/// Bytes before the part of a batch that its CRC covers.
const CRC_COVERS_FROM: u64 = 21;

/// Why a walk ended before the end it was given.
#[derive(Debug)]
pub(crate) enum ScanStop {
    /// The bytes at this position are no valid batch.
    Invalid { position: u64, problem: String },
    /// The disk refused.
    Io(io::Error),
}

impl ScanStop {
    /// As the error that names file, offset and byte.
    pub fn at(self, path: &Path, offset: i64) -> LogError {
        match self {
            Self::Io(error) => StorageError::of("read", path)(error).into(),
            Self::Invalid { position, problem } => LogError::Damaged {
                path: path.to_path_buf(),
                offset,
                byte: position,
                problem,
            },
        }
    }
}

/// A walk over the batches of one file between two positions.
#[derive(Debug)]
pub(crate) struct Scan {
    file: Arc<LogFile>,
    reach: Reach,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
    last_size: usize,
    /// Batches must not start below this offset.
    next_offset: i64,
}

impl Scan {
    /// From `position`, which is a batch's start, to `end`; no batch may lie below `floor`.
    pub fn new(file: Arc<LogFile>, position: u64, end: u64, floor: i64) -> Self {
        Self {
            file,
            reach: Reach::Disk,
            position,
            end,
            buffer: Vec::new(),
            buffer_at: position,
            last_size: LARGE_BATCH,
            next_offset: floor,
        }
    }

    /// The same walk as far as `reach` goes.
    pub fn within(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// Where the next batch starts.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next batch's position and header, `None` at the end.
    pub fn next(&mut self) -> Result<Option<(u64, BatchHeader)>, ScanStop> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let header = match self.header_at(position) {
            Ok(bytes) => BatchHeader::parse(bytes),
            Err(error) => return Err(ScanStop::Io(error)),
        };
        let invalid = |problem: String| ScanStop::Invalid { position, problem };
        let header = header.map_err(|problem| invalid(problem.to_string()))?;
        let rest = self.end - position;
        if header.size() as u64 > rest {
            let problem = format!(
                "the batch has {} bytes, the file only {rest}",
                header.size()
            );
            return Err(invalid(problem));
        }
        if header.base_offset < self.next_offset || header.last_offset_delta < 0 {
            let problem = format!(
                "offsets {}..={} where at least {} was due",
                header.base_offset,
                header.last_offset(),
                self.next_offset
            );
            return Err(invalid(problem));
        }
        self.next_offset = header.last_offset() + 1;
        self.last_size = header.size();
        self.position += header.size() as u64;
        Ok(Some((position, header)))
    }

    /// As `next`, and the batch's bytes match its checksum.
    pub fn next_checked(&mut self) -> Result<Option<(u64, BatchHeader)>, ScanStop> {
        let Some((position, header)) = self.next()? else {
            return Ok(None);
        };
        let computed = match self.checksum(position, header.size() as u64) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let problem = "the file ends within the batch".to_owned();
                return Err(ScanStop::Invalid { position, problem });
            }
            computed => computed.map_err(ScanStop::Io)?,
        };
        if computed != header.crc {
            let problem = format!(
                "checksum {computed:#010x} is not the stored {:#010x}",
                header.crc
            );
            return Err(ScanStop::Invalid { position, problem });
        }
        Ok(Some((position, header)))
    }

    fn checksum(&mut self, position: u64, size: u64) -> io::Result<u32> {
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
        let (mut at, end) = (position + CRC_COVERS_FROM, position + size);
        while at < end {
            let held_to = self.buffer_at + self.buffer.len() as u64;
            if at < self.buffer_at || at >= held_to {
                self.fill(at, CHUNK)?;
                if self.buffer.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                continue;
            }
            let from = (at - self.buffer_at) as usize;
            let to = (held_to.min(end) - self.buffer_at) as usize;
            digest.update(&self.buffer[from..to]);
            at += (to - from) as u64;
        }
        Ok(digest.finalize() as u32)
    }

    fn header_at(&mut self, position: u64) -> io::Result<&[u8]> {
        let held_to = self.buffer_at + self.buffer.len() as u64;
        let wanted = (position + BATCH_HEADER_SIZE as u64).min(self.end);
        if position < self.buffer_at || wanted > held_to {
            let chunk = if self.last_size >= LARGE_BATCH {
                BATCH_HEADER_SIZE
            } else {
                CHUNK
            };
            self.fill(position, chunk)?;
        }
        let from = (position - self.buffer_at) as usize;
        let to = (from + BATCH_HEADER_SIZE).min(self.buffer.len());
        Ok(&self.buffer[from..to])
    }

    fn fill(&mut self, position: u64, bytes: usize) -> io::Result<()> {
        let bytes = bytes.min((self.end - position) as usize);
        self.buffer.resize(bytes, 0);
        let bytes_min = bytes.min(BATCH_HEADER_SIZE);
        let read = self
            .file
            .read_within(self.reach, &mut self.buffer, position, bytes_min)?;
        self.buffer.truncate(read);
        self.buffer_at = position;
        Ok(())
    }
}
