//! The metadata on disk: a log of records, and from time to time a snapshot that replaces what is before it.
//!
//! | file in `quorum/` | holds |
//! | --- | --- |
//! | `<offset>.snapshot` | a frame `{"offset","epoch","records"}`, then the image's records, in frames |
//! | `<offset>.log` | frames `{"offset","epoch"}` with the records that follow the snapshot of that offset |
//! | `*.tmp` | a snapshot that a crash cut short |
//!
//! `<offset>` is 20 digits: the number of records before. There is a log from 0 until the first snapshot. A
//! snapshot is whole before it has its name; then the new log is made; then the old files go. So a log is
//! missing only beside an older one, and whatever is older than the newest snapshot is not needed.

mod files;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use milena_metadata::{Image, Mismatch, Position, Record, RecordError};
use serde::{Deserialize, Serialize};

use super::frame::{self, Found};
use files::Listing;

/// The term of every entry: one member never elects.
pub(super) const EPOCH: u64 = 1;

/// Bytes of records in one frame of a snapshot.
const SNAPSHOT_FRAME_BYTES: usize = 1 << 20;

/// How the store is kept.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// The log's bytes after which a snapshot is taken, where the last snapshot is not longer still: so that a
    /// start reads little, and snapshots cost no more than the log.
    pub log_bytes_max: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            log_bytes_max: 2 << 20,
        }
    }
}

/// Why the store can't be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or its permissions.
    #[error("can't {action} {}: {source}; let this user read and write it, or restore it from a copy", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Bytes changed that were whole once, so acknowledged changes may be missing.
    #[error(
        "{} is damaged at byte {byte}: {why}; nothing was changed: restore the file, or its folder, from a copy",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        byte: usize,
        /// How it shows.
        why: String,
    },
    /// A record that this software can't read.
    #[error("{} at byte {byte}: {source}", path.display())]
    Record {
        /// Which file.
        path: PathBuf,
        /// Where its entry starts.
        byte: usize,
        /// What is wrong with it.
        source: RecordError,
    },
    /// A file that the others need.
    #[error("{} is missing, and the metadata after {} is in it: restore it from a copy", path.display(), after)]
    Lost {
        /// Which file.
        path: PathBuf,
        /// The offset that it follows.
        after: u64,
    },
    /// More than a frame holds.
    #[error("a change of {bytes} bytes is too large for the metadata log")]
    TooLarge {
        /// The change's size.
        bytes: usize,
    },
}

impl StoreError {
    pub(super) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        Self::Io {
            action,
            path,
            source,
        }
    }
}

/// The first line of each frame of a log, and of a snapshot's first frame.
#[derive(Serialize, Deserialize)]
struct Head {
    offset: u64,
    epoch: u64,
    /// A snapshot's number of records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    records: Option<usize>,
}

/// The open store; it has one owner.
pub(super) struct Store {
    dir: PathBuf,
    options: StoreOptions,
    log: File,
    log_path: PathBuf,
    log_bytes: u64,
    snapshot_bytes: u64,
}

impl Store {
    /// Reads the newest snapshot and the log after it, and cuts a write that a crash left unfinished.
    pub(super) fn open(dir: &Path, options: StoreOptions) -> Result<(Self, Image), StoreError> {
        files::create_dir(dir)?;
        let listing = Listing::of(dir)?;
        let base = listing.newest_snapshot()?;
        let (mut image, snapshot_bytes) = match base {
            0 => (Image::default(), 0),
            base => read_snapshot(&files::snapshot_path(dir, base))?,
        };
        let log_path = files::log_path(dir, base);
        let log = match listing.has_log(base) {
            true => replay(&log_path, &mut image)?,
            false => None,
        };
        let (log, log_bytes) = match log {
            Some(open) => open,
            None => files::create_log(dir, &log_path)?,
        };
        listing.remove_older_than(base)?;
        let store = Self {
            dir: dir.to_owned(),
            options,
            log,
            log_path,
            log_bytes,
            snapshot_bytes,
        };
        Ok((store, image))
    }

    /// Writes records that follow `before`, durably. After an error the store is not to be used.
    pub(super) fn append(
        &mut self,
        before: Position,
        records: &[Record],
    ) -> Result<(), StoreError> {
        let head = Head {
            offset: before.offset,
            epoch: EPOCH,
            records: None,
        };
        let mut payload = head.line();
        for record in records {
            record.write_json(&mut payload);
            payload.push(b'\n');
        }
        let frame = framed(&payload)?;
        self.log
            .write_all(&frame)
            .and_then(|()| self.log.sync_data())
            .map_err(|error| StoreError::io("write", &self.log_path, error))?;
        self.log_bytes += frame.len() as u64;
        Ok(())
    }

    /// Whether it is time for a snapshot.
    pub(super) fn is_long(&self) -> bool {
        self.log_bytes > self.options.log_bytes_max.max(self.snapshot_bytes)
    }

    /// Writes the image, which holds everything appended, and starts the log that follows it.
    pub(super) fn snapshot(&mut self, image: &Image) -> Result<(), StoreError> {
        let base = image.position().offset;
        let bytes = snapshot_of(image)?;
        files::write_atomically(&self.dir, &files::snapshot_path(&self.dir, base), &bytes)?;
        self.log_path = files::log_path(&self.dir, base);
        (self.log, self.log_bytes) = files::create_log(&self.dir, &self.log_path)?;
        self.snapshot_bytes = bytes.len() as u64;
        Listing::of(&self.dir)?.remove_older_than(base)
    }
}

impl Head {
    fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("numbers are JSON");
        line.push(b'\n');
        line
    }
}

fn framed(payload: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut frame = Vec::with_capacity(payload.len() + frame::HEADER_BYTES);
    push(&mut frame, payload)?;
    Ok(frame)
}

fn push(file: &mut Vec<u8>, payload: &[u8]) -> Result<(), StoreError> {
    let bytes = payload.len();
    frame::push(file, payload).map_err(|_| StoreError::TooLarge { bytes })
}

fn snapshot_of(image: &Image) -> Result<Vec<u8>, StoreError> {
    let position = image.position();
    let (mut body, mut payload, mut count) = (Vec::new(), Vec::new(), 0);
    for record in image.records() {
        record.write_json(&mut payload);
        payload.push(b'\n');
        count += 1;
        if payload.len() >= SNAPSHOT_FRAME_BYTES {
            push(&mut body, &payload)?;
            payload.clear();
        }
    }
    if !payload.is_empty() {
        push(&mut body, &payload)?;
    }
    let head = Head {
        offset: position.offset,
        epoch: position.epoch,
        records: Some(count),
    };
    let mut file = frame::header().to_vec();
    push(&mut file, &head.line())?;
    file.append(&mut body);
    Ok(file)
}

/// The image of a snapshot, and its bytes. It got its name when it was whole, so nothing of it may be missing.
fn read_snapshot(path: &Path) -> Result<(Image, u64), StoreError> {
    let file = std::fs::read(path).map_err(|error| StoreError::io("read", path, error))?;
    let damaged = |byte: usize, why: &str| damage(path, byte, why);
    let mut at = match frame::check_header(&file) {
        Found::Whole(_, next) => next,
        Found::Damaged(why) => return Err(damaged(0, why)),
        Found::Torn | Found::End => return Err(damaged(0, "its start is missing")),
    };
    let (mut head, mut image, mut count) = (None, Image::default(), 0);
    loop {
        let (payload, next) = match frame::read(&file, at) {
            Found::Whole(payload, next) => (payload, next),
            Found::End => break,
            Found::Torn => return Err(damaged(at, "its end is missing")),
            Found::Damaged(why) => return Err(damaged(at, why)),
        };
        match head {
            None => head = Some(parse_head(path, at, payload)?.0),
            Some(_) => count += apply(path, at, payload, &mut image)?,
        }
        at = next;
    }
    let head = head.ok_or_else(|| damaged(at, "it is empty"))?;
    if head.records != Some(count) {
        let why = format!(
            "it holds {count} records of {}",
            head.records.unwrap_or_default()
        );
        return Err(damaged(at, &why));
    }
    let (epoch, offset) = (head.epoch, head.offset);
    Ok((image.at(Position { epoch, offset }), file.len() as u64))
}

/// Applies a log to the image before it and opens it for more. `None` where not even its header was written.
fn replay(path: &Path, image: &mut Image) -> Result<Option<(File, u64)>, StoreError> {
    let file = std::fs::read(path).map_err(|error| StoreError::io("read", path, error))?;
    let mut at = match frame::check_header(&file) {
        Found::Whole(_, next) => next,
        Found::Damaged(why) => return Err(damage(path, 0, why)),
        Found::Torn | Found::End => return Ok(None),
    };
    loop {
        match frame::read(&file, at) {
            Found::Whole(payload, next) => {
                let (head, records) = parse_head(path, at, payload)?;
                if head.offset != image.position().offset {
                    let why = format!(
                        "an entry follows offset {}, and offset {} was reached",
                        head.offset,
                        image.position().offset
                    );
                    return Err(damage(path, at, &why));
                }
                apply(path, at, records, image)?;
                let (epoch, offset) = (head.epoch, image.position().offset);
                *image = std::mem::take(image).at(Position { epoch, offset });
                at = next;
            }
            Found::End | Found::Torn => break,
            Found::Damaged(why) => return Err(damage(path, at, why)),
        }
    }
    let cut = file.len() - at;
    let log = files::open_log(path, at as u64, cut > 0)?;
    if cut > 0 {
        tracing::warn!(
            file = %path.display(), byte = at, cut,
            "cut an unfinished write, which nobody was told of, from the end of the metadata log"
        );
    }
    Ok(Some((log, at as u64)))
}

fn damage(path: &Path, byte: usize, why: &str) -> StoreError {
    let (path, why) = (path.to_owned(), why.to_owned());
    StoreError::Damaged { path, byte, why }
}

/// A frame's first line, and its records.
fn parse_head<'a>(
    path: &Path,
    at: usize,
    payload: &'a [u8],
) -> Result<(Head, &'a [u8]), StoreError> {
    let end = payload.iter().position(|&byte| byte == b'\n');
    let (line, records) = payload.split_at(end.map_or(payload.len(), |end| end + 1));
    let head = serde_json::from_slice(line)
        .map_err(|error| damage(path, at, &format!("an entry's first line: {error}")))?;
    Ok((head, records))
}

/// Applies a frame's lines; how many there were.
fn apply(path: &Path, at: usize, lines: &[u8], image: &mut Image) -> Result<usize, StoreError> {
    let mut count = 0;
    for line in lines
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let record = Record::from_json(line).map_err(|source| {
            let (path, byte) = (path.to_owned(), at);
            StoreError::Record { path, byte, source }
        })?;
        image.apply(&record).map_err(|mismatch: Mismatch| {
            damage(
                path,
                at,
                &format!("a record does not fit those before: {mismatch}"),
            )
        })?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
