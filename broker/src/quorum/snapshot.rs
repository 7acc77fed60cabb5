//! A snapshot's bytes: lines of JSON, the first with the position and the number of the records that follow.

use bytes::Bytes;
use milena_metadata::{Image, Position, Record};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Head {
    epoch: u64,
    offset: u64,
    records: usize,
}

/// Why bytes are no snapshot.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("its first line: {0}")]
    Head(#[from] serde_json::Error),
    #[error(transparent)]
    Record(#[from] milena_metadata::RecordError),
    #[error("a record does not fit those before: {0}")]
    Mismatch(#[from] milena_metadata::Mismatch),
    #[error("it holds {found} records of {expected}")]
    Short { found: usize, expected: usize },
}

/// The image's records.
pub(super) fn write(image: &Image) -> Bytes {
    let mut lines = Vec::new();
    let mut records = 0;
    for record in image.records() {
        record.write_json(&mut lines);
        lines.push(b'\n');
        records += 1;
    }
    let Position { epoch, offset } = image.position();
    let head = Head {
        epoch,
        offset,
        records,
    };
    let mut bytes = serde_json::to_vec(&head).expect("numbers are JSON");
    bytes.push(b'\n');
    bytes.append(&mut lines);
    bytes.into()
}

/// The image that was written.
pub(super) fn read(bytes: &[u8]) -> Result<Image, SnapshotError> {
    let mut lines = bytes
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty());
    let head: Head = serde_json::from_slice(lines.next().unwrap_or_default())?;
    let (mut image, mut found) = (Image::default(), 0);
    for line in lines {
        image.apply(&Record::from_json(line)?)?;
        found += 1;
    }
    let (epoch, offset, expected) = (head.epoch, head.offset, head.records);
    if found != expected {
        return Err(SnapshotError::Short { found, expected });
    }
    Ok(image.at(Position { epoch, offset }))
}
