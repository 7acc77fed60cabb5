//! One record of a magic 2 batch, behind the header and decompressed (KIP-98).
//!
//! | field | type |
//! | --- | --- |
//! | length of what follows | varint |
//! | attributes, unused | i8 |
//! | timestamp delta to the batch's base timestamp, ms | varlong |
//! | offset delta to the batch's base offset | varint |
//! | key's length or -1, key | varint, bytes |
//! | value's length or -1, value | varint, bytes |
//! | header count; of each: key's length, key, value's length or -1, value | varint, ... |

use bytes::Bytes;
use thiserror::Error;

use super::varint;

/// The fewest bytes a record takes: its length, and six fields of one byte.
pub(super) const RECORD_SIZE_MIN: usize = 7;

/// Why bytes are not the records that a batch's header promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordProblem {
    /// The bytes end inside a record.
    #[error("the batch ends inside a record")]
    Truncated,
    /// A variable-length number with more bits than its type.
    #[error("a variable-length number does not end")]
    BadVarint,
    /// A length that is negative or goes beyond its record.
    #[error("length {0} goes beyond its record")]
    BadLength(i32),
    /// A negative number of records or headers.
    #[error("a count of {0}")]
    BadCount(i32),
    /// A record's own length does not end where its last field ends.
    #[error("a record is {0} bytes longer than its fields")]
    LongRecord(usize),
    /// Bytes are left behind the last record that the header counts.
    #[error("{0} bytes are left behind the last record")]
    Trailing(usize),
    /// A record's offset does not follow that of the record before it.
    #[error("offset delta {found} where {expected} was due")]
    BadOffsetDelta {
        /// What the record says.
        found: i32,
        /// What the record's place in the batch calls for.
        expected: i32,
    },
}

/// A record's fields where they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Distance to the batch's base offset.
    pub offset_delta: i32,
    /// The key; null is `None`.
    pub key: Option<&'a [u8]>,
    /// The value; null (a tombstone in a compacted topic) is `None`.
    pub value: Option<&'a [u8]>,
    /// The headers, in their order.
    pub headers: RawHeaders<'a>,
}

/// A record's headers where they lie; their lengths have been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RawHeaders<'a> {
    count: i32,
    bytes: &'a [u8],
}

/// The records of one batch in order; ends behind the first problem.
#[derive(Debug, Clone)]
pub struct RawRecords<'a> {
    rest: &'a [u8],
    left: i32,
}

impl<'a> RawRecords<'a> {
    /// Reads exactly `count` records from `bytes`: fewer, or bytes behind them, are a problem.
    pub fn new(bytes: &'a [u8], count: i32) -> Self {
        Self {
            rest: bytes,
            left: count,
        }
    }

    /// What is not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn step(&mut self) -> Result<Option<RawRecord<'a>>, RecordProblem> {
        match self.left {
            0 if self.rest.is_empty() => Ok(None),
            0 => Err(RecordProblem::Trailing(self.rest.len())),
            ..0 => Err(RecordProblem::BadCount(self.left)),
            _ => {
                self.left -= 1;
                take_record(&mut self.rest).map(Some)
            }
        }
    }
}

impl<'a> Iterator for RawRecords<'a> {
    type Item = Result<RawRecord<'a>, RecordProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step().transpose();
        if matches!(step, Some(Err(_))) {
            (self.rest, self.left) = (&[], 0);
        }
        step
    }
}

/// Takes one record off the front of `rest`.
#[inline(always)]
pub(super) fn take_record<'a>(rest: &mut &'a [u8]) -> Result<RawRecord<'a>, RecordProblem> {
    let len = varint::take_i32(rest)?;
    let mut body = take(rest, len)?;
    // The attributes: no bit of them has a meaning yet.
    take(&mut body, 1)?;
    let record = RawRecord {
        timestamp_delta: varint::take_i64(&mut body)?,
        offset_delta: varint::take_i32(&mut body)?,
        key: take_nullable(&mut body)?,
        value: take_nullable(&mut body)?,
        headers: take_headers(&mut body)?,
    };
    if body.is_empty() {
        Ok(record)
    } else {
        Err(RecordProblem::LongRecord(body.len()))
    }
}

#[inline(always)]
fn take<'a>(rest: &mut &'a [u8], len: i32) -> Result<&'a [u8], RecordProblem> {
    let (taken, after) = usize::try_from(len)
        .ok()
        .and_then(|len| rest.split_at_checked(len))
        .ok_or(RecordProblem::BadLength(len))?;
    *rest = after;
    Ok(taken)
}

#[inline(always)]
fn take_nullable<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordProblem> {
    match varint::take_i32(rest)? {
        -1 => Ok(None),
        len => take(rest, len).map(Some),
    }
}

#[inline(always)]
fn take_headers<'a>(body: &mut &'a [u8]) -> Result<RawHeaders<'a>, RecordProblem> {
    let count = varint::take_i32(body)?;
    let bytes = *body;
    if count < 0 {
        return Err(RecordProblem::BadCount(count));
    }
    // Each turn takes at least two bytes, so a false count ends with the bytes.
    for _ in 0..count {
        take_header(body)?;
    }
    let bytes = &bytes[..bytes.len() - body.len()];
    Ok(RawHeaders { count, bytes })
}

fn take_header<'a>(rest: &mut &'a [u8]) -> Result<RawHeader<'a>, RecordProblem> {
    let key_len = varint::take_i32(rest)?;
    let key = take(rest, key_len)?;
    let value = take_nullable(rest)?;
    Ok(RawHeader { key, value })
}

/// One header of a record where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawHeader<'a> {
    /// The key, by rights UTF-8; nothing has checked that.
    pub key: &'a [u8],
    /// The value; null is `None`.
    pub value: Option<&'a [u8]>,
}

impl<'a> RawHeaders<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        // `take_headers` has refused a negative count.
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers in order.
    pub fn iter(&self) -> impl Iterator<Item = RawHeader<'a>> + use<'a> {
        let mut rest = self.bytes;
        (0..self.count).map_while(move |_| take_header(&mut rest).ok())
    }
}

/// A header of its own; a clone copies nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The key, by rights UTF-8; nothing has checked that.
    pub key: Bytes,
    /// The value; null is `None`.
    pub value: Option<Bytes>,
}

/// A record of any magic with absolute offset and timestamp. It shares the bytes of the batch that it
/// was read from (the decompressed ones if that was compressed), and keeps them alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: i64,
    /// Milliseconds since 1970, or -1: none (magic 0).
    pub timestamp: i64,
    /// The key; null is `None`.
    pub key: Option<Bytes>,
    /// The value; null (a tombstone in a compacted topic) is `None`.
    pub value: Option<Bytes>,
    /// The headers, in their order; none below magic 2.
    pub headers: Vec<Header>,
}

impl RawRecord<'_> {
    /// Shares the record's fields; `within` must be the bytes that it was read from.
    pub(super) fn share(&self, within: &Bytes, offset: i64, timestamp: i64) -> Record {
        let share = |field: &[u8]| within.slice_ref(field);
        Record {
            offset,
            timestamp,
            key: self.key.map(share),
            value: self.value.map(share),
            headers: self
                .headers
                .iter()
                .map(|header| Header {
                    key: share(header.key),
                    value: header.value.map(share),
                })
                .collect(),
        }
    }
}

/// What a record is made of when it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewRecord<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: NewHeaders<'a>,
}

/// Headers to be written: a list, or those of another record as they lie.
#[derive(Debug, Clone, Copy)]
pub(super) enum NewHeaders<'a> {
    List(&'a [Header]),
    Raw(RawHeaders<'a>),
}

impl NewRecord<'_> {
    /// Bytes that `put` appends, saturating: a caller refuses what does not fit a batch.
    pub(super) fn size(&self) -> usize {
        let body = self.body_size();
        body.saturating_add(varint::size_i32(body.try_into().unwrap_or(i32::MAX)))
    }

    fn body_size(&self) -> usize {
        let fixed =
            1 + varint::size_i64(self.timestamp_delta) + varint::size_i32(self.offset_delta);
        fixed
            .saturating_add(nullable_size(self.key))
            .saturating_add(nullable_size(self.value))
            .saturating_add(self.headers.size())
    }

    /// Appends the record; every length must fit an `i32`, which `size` lets the caller check.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        varint::put_i32(out, self.body_size() as i32);
        out.push(0);
        varint::put_i64(out, self.timestamp_delta);
        varint::put_i32(out, self.offset_delta);
        put_nullable(out, self.key);
        put_nullable(out, self.value);
        self.headers.put(out);
    }
}

impl NewHeaders<'_> {
    fn size(&self) -> usize {
        match self {
            Self::List(list) => list.iter().fold(len_size(list.len()), |size, header| {
                size.saturating_add(nullable_size(Some(&header.key)))
                    .saturating_add(nullable_size(header.value.as_deref()))
            }),
            Self::Raw(raw) => varint::size_i32(raw.count) + raw.bytes.len(),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::List(list) => {
                varint::put_i32(out, list.len() as i32);
                for header in *list {
                    put_nullable(out, Some(&header.key));
                    put_nullable(out, header.value.as_deref());
                }
            }
            Self::Raw(raw) => {
                varint::put_i32(out, raw.count);
                out.extend_from_slice(raw.bytes);
            }
        }
    }
}

fn len_size(len: usize) -> usize {
    varint::size_i32(len.try_into().unwrap_or(i32::MAX))
}

fn nullable_size(field: Option<&[u8]>) -> usize {
    field.map_or(1, |field| field.len().saturating_add(len_size(field.len())))
}

fn put_nullable(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => varint::put_i32(out, -1),
        Some(field) => {
            varint::put_i32(out, field.len() as i32);
            out.extend_from_slice(field);
        }
    }
}
