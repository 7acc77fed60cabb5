//! Records of any magic, one after the other: what a consumer sees of a fetch response or a segment.

use bytes::{Buf, Bytes};

use super::legacy::{DeepMessages, LegacyProblem};
use super::validate::magic;
use super::{BatchHeader, BatchProblem, OpenBatch, RawRecords, Record, RecordsProblem};

/// The records in `bytes` of whatever magic, compressed or not, without those of control batches. Each
/// batch is opened when its turn comes, its CRC checked, to at most `limit` bytes.
///
/// A last batch that is cut short ends the iteration without an error, as a fetch response may have one.
/// The first problem ends it with one. Records below the offset that a consumer asked for, and those of
/// aborted transactions, are the caller's to skip.
pub fn records(bytes: &Bytes, limit: usize) -> Records {
    Records {
        rest: bytes.clone(),
        limit,
        open: Open::Nothing,
    }
}

/// See [`records`].
#[derive(Debug)]
pub struct Records {
    rest: Bytes,
    limit: usize,
    open: Open,
}

#[derive(Debug)]
enum Open {
    Nothing,
    /// A batch, how many of its records' bytes are read, and how many records are left.
    Batch(OpenBatch, usize, i32),
    Messages(Box<DeepMessages>),
}

impl Records {
    fn step(&mut self) -> Result<Option<Record>, RecordsProblem> {
        loop {
            if let Some(record) = self.open.next()? {
                return Ok(Some(record));
            }
            self.open = Open::Nothing;
            if self.rest.is_empty() || !self.open_next()? {
                return Ok(None);
            }
        }
    }

    /// Opens what comes next; `false` if it is cut short.
    fn open_next(&mut self) -> Result<bool, RecordsProblem> {
        match magic(&self.rest) {
            None => Ok(false),
            Some(0 | 1) => self.open_message(),
            Some(_) => self.open_batch(),
        }
    }

    fn open_message(&mut self) -> Result<bool, RecordsProblem> {
        let size = match super::legacy::measure(&self.rest) {
            Ok((size, _)) => size,
            Err(LegacyProblem::Truncated) => return Ok(false),
            Err(problem) => return Err(problem.into()),
        };
        let message = self.rest.split_to(size);
        self.open = Open::Messages(Box::new(DeepMessages::new(&message, self.limit)));
        Ok(true)
    }

    fn open_batch(&mut self) -> Result<bool, RecordsProblem> {
        let header = match BatchHeader::parse(&self.rest) {
            Ok(header) => header,
            Err(BatchProblem::Truncated { .. }) => return Ok(false),
            Err(problem) => return Err(problem.into()),
        };
        if header.check_whole(&self.rest).is_err() {
            return Ok(false);
        }
        header.check_crc(&self.rest)?;
        if header.is_control() {
            self.rest.advance(header.size());
            return Ok(true);
        }
        let batch = self.rest.split_to(header.size());
        let open = OpenBatch::open(header, &batch, self.limit)?;
        self.open = Open::Batch(open, 0, header.record_count);
        Ok(true)
    }
}

impl Open {
    fn next(&mut self) -> Result<Option<Record>, RecordsProblem> {
        match self {
            Self::Nothing => Ok(None),
            Self::Messages(messages) => Ok(messages
                .next()
                .transpose()?
                .map(|message| message.into_record())),
            Self::Batch(batch, at, left) => {
                let mut raw = RawRecords::new(&batch.records[*at..], *left);
                let Some(record) = raw.next().transpose()? else {
                    return Ok(None);
                };
                *left -= 1;
                *at = batch.records.len() - raw.rest().len();
                let (offset, timestamp) = (
                    batch.header.offset_of(&record),
                    batch.header.timestamp_of(&record),
                );
                Ok(Some(record.share(&batch.records, offset, timestamp)))
            }
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordsProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step().transpose();
        if !matches!(step, Some(Ok(_))) {
            (self.rest, self.open) = (Bytes::new(), Open::Nothing);
        }
        step
    }
}
