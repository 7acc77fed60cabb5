//! The framing that the older store's log and snapshots share.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `MILENAQM` |
//! | 4 | version, 1 |
//! | 4 | CRC-32C of the twelve bytes before |
//! | then, of each frame: 4 | bytes of its payload, at least 1 |
//! | 4 | CRC-32C of the payload |
//! | 4 | CRC-32C of the eight bytes before |
//! | n | the payload: lines of JSON |
//!
//! Numbers are big-endian. One write is one frame, and the next waits for its fsync, so a crash can spoil only
//! the last. JSON holds no zero byte: that tells a page that was never written from one that was damaged.

use crc_fast::{CrcAlgorithm, checksum};

/// Bytes before the first frame.
const HEADER_BYTES: usize = 16;
const MAGIC: &[u8; 8] = b"MILENAQM";
const VERSION: u32 = 1;
const FRAME_HEADER_BYTES: usize = 12;

/// No write comes near it; a larger length is damage.
pub(super) const PAYLOAD_BYTES_MAX: usize = 256 << 20;

fn crc32c(bytes: &[u8]) -> u32 {
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_be_bytes());
    let crc = crc32c(&header[..12]);
    header[12..].copy_from_slice(&crc.to_be_bytes());
    header
}

/// What stands at a place of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A payload, and where the next frame starts.
    Whole(&'a [u8], usize),
    End,
    /// The rest of a write that a crash cut short, with nothing after it.
    Torn,
    /// Bytes that were whole once.
    Damaged(&'static str),
}

pub(super) fn check_header(file: &[u8]) -> Found<'_> {
    let Some(head) = file.get(..HEADER_BYTES) else {
        return match header().starts_with(file) {
            true => Found::Torn,
            false => Found::Damaged("it does not start as a file of the metadata store"),
        };
    };
    if head == header() {
        Found::Whole(&[], HEADER_BYTES)
    } else if file.iter().all(|&byte| byte == 0) {
        Found::Torn
    } else if head.starts_with(MAGIC) && crc32c(&head[..12]) == word(head, 12) {
        Found::Damaged("its format is newer than this software: start the version that wrote it")
    } else {
        Found::Damaged("it does not start as a file of the metadata store")
    }
}

pub(super) fn read(file: &[u8], at: usize) -> Found<'_> {
    if at == file.len() {
        return Found::End;
    }
    if let Some((payload, next)) = whole(file, at) {
        return Found::Whole(payload, next);
    }
    if (at + 1..file.len()).any(|later| whole(file, later).is_some()) {
        return Found::Damaged("an entry fails its checksum, and whole ones follow it");
    }
    if is_torn(&file[at..]) {
        Found::Torn
    } else {
        Found::Damaged("the last entry fails its checksum, though all of it was written")
    }
}

/// The frame at `at`, if every checksum agrees.
fn whole(file: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let length = length(&file[at..])?;
    let start = at + FRAME_HEADER_BYTES;
    let payload = file.get(start..start + length)?;
    (crc32c(payload) == word(&file[at..], 4)).then_some((payload, start + length))
}

/// The payload's length, if the frame's header is whole.
fn length(frame: &[u8]) -> Option<usize> {
    let head = frame.get(..FRAME_HEADER_BYTES)?;
    let length = word(head, 0) as usize;
    let plausible = (1..=PAYLOAD_BYTES_MAX).contains(&length);
    (plausible && crc32c(&head[..8]) == word(head, 8)).then_some(length)
}

/// Whether the last frame, which is not whole, was never written to its end.
fn is_torn(frame: &[u8]) -> bool {
    let Some((head, payload)) = frame.split_at_checked(FRAME_HEADER_BYTES) else {
        return true;
    };
    let unwritten = |bytes: &[u8]| bytes.contains(&0);
    match length(frame) {
        Some(length) => payload.len() < length || unwritten(payload),
        None => head.iter().all(|&byte| byte == 0) || unwritten(payload),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(into: &mut Vec<u8>, payload: &[u8]) {
        let mut head = [0; FRAME_HEADER_BYTES];
        head[..4].copy_from_slice(&(payload.len() as u32).to_be_bytes());
        head[4..8].copy_from_slice(&crc32c(payload).to_be_bytes());
        let crc = crc32c(&head[..8]);
        head[8..].copy_from_slice(&crc.to_be_bytes());
        into.extend_from_slice(&head);
        into.extend_from_slice(payload);
    }

    fn file(payloads: &[&[u8]]) -> Vec<u8> {
        let mut file = header().to_vec();
        for payload in payloads {
            push(&mut file, payload);
        }
        file
    }

    #[test]
    fn frames_read_back_in_order() {
        let file = file(&[b"one", b"two"]);
        assert_eq!(check_header(&file), Found::Whole(&[], HEADER_BYTES));
        let Found::Whole(b"one", next) = read(&file, HEADER_BYTES) else {
            panic!("the first frame");
        };
        assert_eq!(read(&file, next), Found::Whole(b"two", file.len()));
        assert_eq!(read(&file, file.len()), Found::End);
    }

    #[test]
    fn every_flipped_bit_is_found_and_never_taken_for_a_torn_tail() {
        let good = file(&[b"{\"one\":1}", b"{\"two\":2}"]);
        for bit in 0..good.len() * 8 {
            let mut file = good.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            let mut found = check_header(&file);
            while let Found::Whole(_, next) = found {
                found = read(&file, next);
            }
            // A payload byte can become zero in no single flip of these texts.
            assert!(matches!(found, Found::Damaged(_)), "bit {bit}: {found:?}");
        }
    }

    #[test]
    fn pages_that_were_never_written_are_a_torn_tail() {
        let mut file = file(&[b"{\"one\":1}"]);
        let whole = file.len();
        file.extend_from_slice(&[0; 500]);
        assert_eq!(read(&file, whole), Found::Torn);
        file.truncate(whole);
        push(&mut file, b"{\"two\":2}");
        let end = file.len();
        file[end - 4..].fill(0);
        assert_eq!(read(&file, whole), Found::Torn);
    }

    #[test]
    fn a_newer_format_is_named_as_such() {
        let mut file = header();
        file[11] = 2;
        let crc = crc32c(&file[..12]);
        file[12..].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(check_header(&file), Found::Damaged(why) if why.contains("newer")));
    }
}
