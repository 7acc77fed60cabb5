//! Frames between brokers: Kafka's, with an API key that no Kafka API has.
//!
//! | bytes of a request | what | of an answer |
//! | --- | --- | --- |
//! | 4 | bytes that follow | 4 |
//! | 2 | API key, [`KEY`] | - |
//! | 2 | API version, [`VERSION`] | - |
//! | 4 | correlation id, which the answer repeats | 4 |
//! | 4 | bytes of the document | 4 |
//! | n | a [`Request`], an [`Answer`]: JSON | n |
//! | rest | bytes that go with it: a part of a snapshot | - |
//!
//! Numbers are big-endian. Answers come in any order.
//!
//! [`Request`]: super::Request
//! [`Answer`]: super::Answer

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The API key of what is asked here; Kafka's own are below 1,000.
pub const KEY: i16 = 10_000;
/// A change that older brokers can't read gets the next number.
pub const VERSION: i16 = 0;
/// An entry of the metadata log with the most partitions that one request may create is a tenth of it.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// Until a peer has said who it is, it may say no more than that.
pub const GREETING_BYTES_MAX: usize = 4 << 10;
/// Key, version and correlation id.
const REQUEST_HEAD_BYTES: usize = 8;
const READ_BYTES: usize = 16 << 10;

/// A document with what goes with it.
#[derive(Debug)]
pub struct Body {
    document: Bytes,
    /// The rest of the frame.
    pub attachment: Bytes,
}

impl Body {
    /// Reads the document.
    pub fn parse<T: DeserializeOwned>(&self) -> io::Result<T> {
        serde_json::from_slice(&self.document).map_err(invalid)
    }

    fn split(mut frame: Bytes) -> io::Result<Self> {
        if frame.len() < 4 {
            return Err(invalid("a frame is too short"));
        }
        let length = frame.get_u32() as usize;
        if length > frame.len() {
            return Err(invalid("a document is longer than its frame"));
        }
        let document = frame.split_to(length);
        let attachment = frame;
        Ok(Self {
            document,
            attachment,
        })
    }
}

/// A request as it goes to the socket; its correlation id is set when it goes.
pub fn request(request: &impl Serialize, attachment: &[u8]) -> io::Result<BytesMut> {
    let mut frame = BytesMut::with_capacity(256 + attachment.len());
    frame.put_u32(0);
    frame.put_i16(KEY);
    frame.put_i16(VERSION);
    finish(frame, request, attachment)
}

/// An answer as it goes to the socket; its correlation id is the request's.
pub fn answer(answer: &impl Serialize, correlation: u32) -> io::Result<BytesMut> {
    let mut frame = BytesMut::with_capacity(256);
    frame.put_u32(0);
    let mut frame = finish(frame, answer, &[])?;
    frame[4..8].copy_from_slice(&correlation.to_be_bytes());
    Ok(frame)
}

fn finish(mut frame: BytesMut, body: &impl Serialize, attachment: &[u8]) -> io::Result<BytesMut> {
    frame.put_u32(0);
    let head = frame.len();
    frame.put_u32(0);
    serde_json::to_writer((&mut frame).writer(), body).map_err(invalid)?;
    let document = frame.len() - head - 4;
    frame[head..head + 4].copy_from_slice(&(document as u32).to_be_bytes());
    frame.extend_from_slice(attachment);
    let length = frame.len() - 4;
    if length > FRAME_BYTES_MAX {
        return Err(invalid(format!(
            "a frame of {length} bytes is above the bound of {FRAME_BYTES_MAX}"
        )));
    }
    frame[..4].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(frame)
}

pub fn set_correlation(request: &mut BytesMut, correlation: u32) {
    request[8..12].copy_from_slice(&correlation.to_be_bytes());
}

/// A request's correlation id and body.
pub fn open_request(mut frame: Bytes) -> io::Result<(u32, Body)> {
    if frame.len() < REQUEST_HEAD_BYTES {
        return Err(invalid("a frame is too short"));
    }
    let (key, version) = (frame.get_i16(), frame.get_i16());
    if (key, version) != (KEY, VERSION) {
        return Err(invalid(format!(
            "API key {key} in version {version} is not spoken between brokers of this version"
        )));
    }
    Ok((frame.get_u32(), Body::split(frame)?))
}

/// An answer's correlation id and body.
pub fn open_answer(mut frame: Bytes) -> io::Result<(u32, Body)> {
    if frame.len() < 4 {
        return Err(invalid("a frame is too short"));
    }
    Ok((frame.get_u32(), Body::split(frame)?))
}

/// Reads frames; an idle connection holds no buffer.
pub struct Reader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub fn new(stream: R) -> Self {
        let buffer = BytesMut::new();
        Self { stream, buffer }
    }

    /// The next frame without its length; `None` where the other end closed in order. May be dropped while it
    /// waits, and nothing is lost.
    pub async fn next(&mut self, bytes_max: usize) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(frame) = self.whole(bytes_max)? {
                return Ok(Some(frame));
            }
            self.buffer.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    fn whole(&mut self, bytes_max: usize) -> io::Result<Option<Bytes>> {
        let Some(length) = self.buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > bytes_max {
            return Err(invalid(format!(
                "a frame of {length} bytes is above the bound of {bytes_max}"
            )));
        }
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        self.buffer.advance(4);
        let frame = self.buffer.split_to(length).freeze();
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(Some(frame))
    }
}

pub(super) fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_and_an_answer_come_over_whole_however_they_are_cut() {
        let mut sent = request(&["a", "b"], b"more").unwrap();
        set_correlation(&mut sent, 7);
        let whole = [&sent[..], &sent[..]].concat();
        for cut in 0..whole.len() {
            let parts = AsyncReadExt::chain(&whole[..cut], &whole[cut..]);
            let mut reader = Reader::new(parts);
            for _ in 0..2 {
                let frame = reader.next(100).await.unwrap().unwrap();
                let (correlation, body) = open_request(frame).unwrap();
                assert_eq!(correlation, 7);
                assert_eq!(body.parse::<Vec<String>>().unwrap(), ["a", "b"]);
                assert_eq!(&body.attachment[..], b"more");
            }
            assert!(reader.next(100).await.unwrap().is_none());
        }
        let answered = answer(&1, 9).unwrap().freeze().slice(4..);
        let (correlation, body) = open_answer(answered).unwrap();
        assert_eq!((correlation, body.parse::<i32>().unwrap()), (9, 1));
    }

    #[tokio::test]
    async fn bad_frames_are_refused_and_never_taken_for_memory() {
        let long = [&u32::MAX.to_be_bytes()[..], b"x"].concat();
        assert!(Reader::new(&long[..]).next(FRAME_BYTES_MAX).await.is_err());
        let torn = [0, 0, 0, 9, 1];
        assert!(Reader::new(&torn[..]).next(FRAME_BYTES_MAX).await.is_err());
        let good = request(&1, b"").unwrap().freeze().slice(4..);
        for length in 0..good.len() {
            let frame = good.slice(..length);
            assert!(
                open_request(frame)
                    .and_then(|(_, body)| body.parse::<i32>())
                    .is_err()
            );
        }
        let fetch = Bytes::from_static(&[0, 1, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert!(open_request(fetch).is_err());
    }
}
