//! Responses out: bytes, and parts of log segments that are read when their turn comes.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use milena_log::Region;
use milena_protocol::{Chunk, Frame};
use parking_lot::Mutex;

use crate::network::{self, Stream};

/// Bytes gathered for one write. They are read and written while they are in the processor's cache, and a
/// response of many megabytes to a client that does not read costs no more memory than this.
const STAGE_SIZE: usize = 64 * 1024;
/// Stages kept for reuse; more are made where more connections send at once, and dropped afterwards.
const STAGES_KEPT: usize = 16;
/// From here on bytes go to the socket as they are, and are not gathered first.
const DIRECT_SIZE_MIN: usize = 32 * 1024;
/// What the page cache is asked for, and a thread fetches from the disk where it is not there, at once.
const PART_SIZE: usize = 512 * 1024;

static STAGES: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// An encoded response, and the parts of the log that its external chunks name by index.
#[derive(Debug, Default)]
pub struct Response {
    /// The message.
    pub frame: Frame,
    /// What the frame's external chunks stand for.
    pub regions: Vec<Region>,
}

impl From<Frame> for Response {
    fn from(frame: Frame) -> Self {
        Self {
            frame,
            regions: Vec::new(),
        }
    }
}

#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    Region(Region),
}

/// What a connection has still to send.
#[derive(Debug, Default)]
pub struct Outbox {
    pieces: VecDeque<Piece>,
}

impl Outbox {
    /// Queues a response behind those before it.
    pub fn push(&mut self, response: Response) {
        let mut regions: Vec<Option<Region>> = response.regions.into_iter().map(Some).collect();
        for chunk in response.frame.into_chunks() {
            let piece = match chunk {
                Chunk::Bytes(bytes) => Some(Piece::Bytes(bytes)),
                Chunk::External(external) => regions
                    .get_mut(external.token as usize)
                    .and_then(Option::take)
                    .map(Piece::Region),
            };
            self.pieces.extend(piece);
        }
    }

    /// Whether everything was sent.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Sends everything. It must not be given up midway: what was taken from the queue would be lost.
    pub async fn flush(&mut self, stream: &Stream) -> io::Result<()> {
        if let [Piece::Bytes(only)] = self.pieces.make_contiguous() {
            let only = std::mem::take(only);
            self.pieces.clear();
            return write_all(stream, &only).await;
        }
        let mut stage = Stage::take();
        while let Some(piece) = self.pieces.pop_front() {
            match piece {
                Piece::Bytes(bytes) if bytes.len() >= DIRECT_SIZE_MIN => {
                    stage.send(stream).await?;
                    write_all(stream, &bytes).await?;
                }
                Piece::Bytes(bytes) => {
                    if bytes.len() > stage.room().len() {
                        stage.send(stream).await?;
                    }
                    stage.room()[..bytes.len()].copy_from_slice(&bytes);
                    stage.filled += bytes.len();
                }
                Piece::Region(region) if region.len() >= DIRECT_SIZE_MIN => {
                    stage.send_as_begin(stream).await?;
                    send_region(stream, region).await?;
                }
                Piece::Region(region) => stage.copy(stream, region).await?,
            }
        }
        stage.send(stream).await
    }
}

/// A buffer that is lent while a connection sends.
struct Stage {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Stage {
    fn take() -> Self {
        let kept = STAGES.lock().pop();
        Self {
            bytes: kept.unwrap_or_else(|| vec![0; STAGE_SIZE].into()),
            filled: 0,
        }
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    async fn send(&mut self, stream: &Stream) -> io::Result<()> {
        write_all(stream, &self.bytes[..self.filled]).await?;
        self.filled = 0;
        Ok(())
    }

    /// Sends what is to travel in one packet with the bytes that follow.
    async fn send_as_begin(&mut self, stream: &Stream) -> io::Result<()> {
        let mut bytes = &self.bytes[..self.filled];
        while !bytes.is_empty() {
            let sent = network::send_as_begin(stream, bytes).await?;
            bytes = &bytes[sent..];
        }
        self.filled = 0;
        Ok(())
    }

    /// Copies a part of the log, behind what the stage holds already.
    async fn copy(&mut self, stream: &Stream, mut region: Region) -> io::Result<()> {
        while !region.is_empty() {
            if self.room().is_empty() {
                self.send(stream).await?;
            }
            let read = region.read_cached(self.room());
            self.filled += read;
            if read == 0 {
                self.copy_cold(&mut region).await?;
            }
        }
        Ok(())
    }

    /// What the page cache lacks is read by a thread that may wait for the disk.
    async fn copy_cold(&mut self, region: &mut Region) -> io::Result<()> {
        let mut cold = region.split_to(self.room().len());
        let read = crate::blocking::spawn(move || cold.read_all());
        let bytes = read.await.map_err(io::Error::other)??;
        self.room()[..bytes.len()].copy_from_slice(&bytes);
        self.filled += bytes.len();
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let mut kept = STAGES.lock();
        if kept.len() < STAGES_KEPT {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// Hands a part of the log to the socket. What the page cache lacks is fetched by a thread that may wait for the disk.
async fn send_region(stream: &Stream, mut region: Region) -> io::Result<()> {
    while !region.is_empty() {
        let mut part = region.split_to(PART_SIZE);
        if !part.is_cached() {
            let warmed = crate::blocking::spawn(move || part.warm().map(|()| part));
            part = warmed.await.map_err(io::Error::other)??;
        }
        while !part.is_empty() {
            network::send_region(stream, &mut part).await?;
        }
    }
    Ok(())
}

async fn write_all(stream: &Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => bytes = &bytes[sent..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
