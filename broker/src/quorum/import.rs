//! Reads the store that version 0.1 kept in development: a log of records and snapshots of its own.
//!
//! | file in `quorum/` | holds |
//! | --- | --- |
//! | `<offset>.snapshot` | a frame `{"offset","epoch","records"}`, then the image's records, in frames |
//! | `<offset>.log` | frames `{"offset","epoch"}` with the records that follow the snapshot of that offset |
//! | `*.tmp` | a snapshot that a crash cut short |
//!
//! `<offset>` is 20 digits: the number of records before. There is a log from 0 until the first snapshot. What is
//! older than the newest snapshot is not needed. The files go once the image is in the new store.

mod frame;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use milena_metadata::{Image, Mismatch, Position, Record, RecordError};
use serde::Deserialize;

use frame::Found;

/// Why the older store can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The disk or its permissions.
    #[error("can't {action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Bytes changed that were whole once, so acknowledged changes may be missing.
    #[error(
        "{} is damaged at byte {byte}: {why}; nothing was changed: restore the file, or its folder, from a copy",
        path.display()
    )]
    Damaged {
        path: PathBuf,
        byte: usize,
        why: String,
    },
    /// A record that this software can't read.
    #[error("{} at byte {byte}: {source}", path.display())]
    Record {
        path: PathBuf,
        /// Where its entry starts.
        byte: usize,
        source: RecordError,
    },
    /// A file that the others need.
    #[error("{} is missing, and the metadata after {after} is in it: restore it from a copy", path.display())]
    Lost {
        path: PathBuf,
        /// The offset that it follows.
        after: u64,
    },
}

/// The first line of each frame of a log, and of a snapshot's first frame.
#[derive(Deserialize)]
struct Head {
    offset: u64,
    epoch: u64,
    /// A snapshot's number of records.
    #[serde(default)]
    records: Option<usize>,
}

/// The image in `dir`, if an older store is there and says anything.
pub(super) fn read(dir: &Path) -> Result<Option<Image>, ImportError> {
    let files = Files::of(dir)?;
    let base = files.newest_snapshot(dir)?;
    let mut image = match base {
        0 => Image::default(),
        base => read_snapshot(&path(dir, base, SNAPSHOT))?,
    };
    if files.logs.contains(&base) {
        replay(&path(dir, base, LOG), &mut image)?;
    }
    Ok(image.cluster_id().is_some().then_some(image))
}

/// Removes the older store.
pub(super) fn remove(dir: &Path) -> Result<(), ImportError> {
    for path in Files::of(dir)?.all {
        fs::remove_file(&path).map_err(|error| failed("remove", &path, error))?;
    }
    Ok(())
}

const SNAPSHOT: &str = "snapshot";
const LOG: &str = "log";

fn path(dir: &Path, base: u64, kind: &str) -> PathBuf {
    dir.join(format!("{base:020}.{kind}"))
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> ImportError {
    ImportError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// The older store's files.
#[derive(Default)]
struct Files {
    snapshots: Vec<u64>,
    logs: Vec<u64>,
    all: Vec<PathBuf>,
}

impl Files {
    fn of(dir: &Path) -> Result<Self, ImportError> {
        let mut files = Self::default();
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
            entries => entries.map_err(|error| failed("list", dir, error))?,
        };
        for entry in entries {
            let path = entry.map_err(|error| failed("list", dir, error))?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let base = stem
                .filter(|stem| stem.len() == 20)
                .and_then(|stem| stem.parse().ok());
            match (path.extension().and_then(|kind| kind.to_str()), base) {
                (Some(SNAPSHOT), Some(base)) => files.snapshots.push(base),
                (Some(LOG), Some(base)) => files.logs.push(base),
                (Some("tmp"), Some(_)) => {}
                _ => continue,
            }
            files.all.push(path);
        }
        Ok(files)
    }

    /// The offset of the newest snapshot, 0 where there is none; checks that no file is missing.
    fn newest_snapshot(&self, dir: &Path) -> Result<u64, ImportError> {
        let base = self.snapshots.iter().copied().max().unwrap_or(0);
        let lost = |path| Err(ImportError::Lost { path, after: base });
        match self.logs.iter().copied().max() {
            Some(log) if log > base => lost(path(dir, log, SNAPSHOT)),
            None if base > 0 => lost(path(dir, base, LOG)),
            _ => Ok(base),
        }
    }
}

/// The image of a snapshot. It got its name when it was whole, so nothing of it may be missing.
fn read_snapshot(path: &Path) -> Result<Image, ImportError> {
    let file = fs::read(path).map_err(|error| failed("read", path, error))?;
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
        let expected = head.records.unwrap_or_default();
        return Err(damaged(
            at,
            &format!("it holds {count} records of {expected}"),
        ));
    }
    let (epoch, offset) = (head.epoch, head.offset);
    Ok(image.at(Position { epoch, offset }))
}

/// Applies a log to the image before it. A write that a crash cut short, which nobody was told of, is left out.
fn replay(path: &Path, image: &mut Image) -> Result<(), ImportError> {
    let file = fs::read(path).map_err(|error| failed("read", path, error))?;
    let mut at = match frame::check_header(&file) {
        Found::Whole(_, next) => next,
        Found::Damaged(why) => return Err(damage(path, 0, why)),
        Found::Torn | Found::End => return Ok(()),
    };
    loop {
        let (payload, next) = match frame::read(&file, at) {
            Found::Whole(payload, next) => (payload, next),
            Found::End | Found::Torn => return Ok(()),
            Found::Damaged(why) => return Err(damage(path, at, why)),
        };
        let (head, records) = parse_head(path, at, payload)?;
        let reached = image.position().offset;
        if head.offset != reached {
            let why = format!(
                "an entry follows offset {}, and offset {reached} was reached",
                head.offset
            );
            return Err(damage(path, at, &why));
        }
        apply(path, at, records, image)?;
        let (epoch, offset) = (head.epoch, image.position().offset);
        *image = std::mem::take(image).at(Position { epoch, offset });
        at = next;
    }
}

fn damage(path: &Path, byte: usize, why: &str) -> ImportError {
    let (path, why) = (path.to_owned(), why.to_owned());
    ImportError::Damaged { path, byte, why }
}

/// A frame's first line, and its records.
fn parse_head<'a>(
    path: &Path,
    at: usize,
    payload: &'a [u8],
) -> Result<(Head, &'a [u8]), ImportError> {
    let end = payload.iter().position(|&byte| byte == b'\n');
    let (line, records) = payload.split_at(end.map_or(payload.len(), |end| end + 1));
    let head = serde_json::from_slice(line)
        .map_err(|error| damage(path, at, &format!("an entry's first line: {error}")))?;
    Ok((head, records))
}

/// Applies a frame's lines; how many there were.
fn apply(path: &Path, at: usize, lines: &[u8], image: &mut Image) -> Result<usize, ImportError> {
    let mut count = 0;
    for line in lines
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let record = Record::from_json(line).map_err(|source| {
            let (path, byte) = (path.to_owned(), at);
            ImportError::Record { path, byte, source }
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
