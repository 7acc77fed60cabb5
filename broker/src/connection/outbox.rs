//! Responses out: bytes, and parts of log segments that are read when their turn comes.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use milena_log::Region;
use milena_protocol::{Chunk, Frame};
use parking_lot::Mutex;
use thiserror::Error;

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

/// Why not everything was sent.
#[derive(Debug, Error)]
pub enum SendError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The client took nothing for as long as it may.
    #[error("the client took nothing")]
    Idle,
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

    /// Sends everything to a client that takes something at least each `idle_max`. It must not be given up midway: what
    /// was taken from the queue would be lost.
    pub async fn flush(&mut self, stream: &Stream, idle_max: Duration) -> Result<(), SendError> {
        let line = &Line { stream, idle_max };
        if let [Piece::Bytes(only)] = self.pieces.make_contiguous() {
            let only = std::mem::take(only);
            self.pieces.clear();
            return line.send(&only).await;
        }
        let mut stage = Stage::take();
        while let Some(piece) = self.pieces.pop_front() {
            match piece {
                Piece::Bytes(bytes) if bytes.len() >= DIRECT_SIZE_MIN => {
                    stage.send(line).await?;
                    line.send(&bytes).await?;
                }
                Piece::Bytes(bytes) => {
                    if bytes.len() > stage.room().len() {
                        stage.send(line).await?;
                    }
                    stage.room()[..bytes.len()].copy_from_slice(&bytes);
                    stage.filled += bytes.len();
                }
                Piece::Region(region) if region.len() >= DIRECT_SIZE_MIN => {
                    stage.send_as_begin(line).await?;
                    line.send_region(region).await?;
                }
                Piece::Region(region) => stage.copy(line, region).await?,
            }
        }
        stage.send(line).await
    }
}

/// The way to a client.
struct Line<'a> {
    stream: &'a Stream,
    /// How long it may take nothing; the time that our disk takes does not count.
    idle_max: Duration,
}

impl Line<'_> {
    /// Waits until the client has taken something.
    async fn taken<T>(&self, some: impl Future<Output = io::Result<T>>) -> Result<T, SendError> {
        let taken = tokio::time::timeout(self.idle_max, some).await;
        Ok(taken.map_err(|_| SendError::Idle)??)
    }

    async fn send(&self, mut bytes: &[u8]) -> Result<(), SendError> {
        while !bytes.is_empty() {
            let sent = self.taken(write_some(self.stream, bytes)).await?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// Sends what is to travel in one packet with the bytes that follow.
    async fn send_as_begin(&self, mut bytes: &[u8]) -> Result<(), SendError> {
        while !bytes.is_empty() {
            let sent = self
                .taken(network::send_as_begin(self.stream, bytes))
                .await?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// Hands a part of the log to the socket. What the page cache lacks is fetched by a thread that may wait for the
    /// disk.
    async fn send_region(&self, mut region: Region) -> Result<(), SendError> {
        while !region.is_empty() {
            let mut part = region.split_to(PART_SIZE);
            if !part.is_cached() {
                let warmed = crate::blocking::spawn(move || part.warm().map(|()| part));
                part = warmed.await.map_err(io::Error::other)??;
            }
            while !part.is_empty() {
                self.taken(network::send_region(self.stream, &mut part))
                    .await?;
            }
        }
        Ok(())
    }
}

async fn write_some(stream: &Stream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match stream.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            written => return written,
        }
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

    async fn send(&mut self, line: &Line<'_>) -> Result<(), SendError> {
        line.send(&self.bytes[..self.filled]).await?;
        self.filled = 0;
        Ok(())
    }

    async fn send_as_begin(&mut self, line: &Line<'_>) -> Result<(), SendError> {
        line.send_as_begin(&self.bytes[..self.filled]).await?;
        self.filled = 0;
        Ok(())
    }

    /// Copies a part of the log, behind what the stage holds already.
    async fn copy(&mut self, line: &Line<'_>, mut region: Region) -> Result<(), SendError> {
        while !region.is_empty() {
            if self.room().is_empty() {
                self.send(line).await?;
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
