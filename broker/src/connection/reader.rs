//! Frames in: one read fills a buffer, and each request is a slice of it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::network::Stream;

/// Bytes asked of the socket at once: several small requests come with one call, and it stays in the
/// processor's second-level cache.
const READ_SIZE: usize = 128 * 1024;
const LENGTH_SIZE: usize = 4;
/// A request of this size holds a part of the bytes in flight that others wait for ...
const LARGE_SIZE_MIN: u32 = 1024 * 1024;
/// ... so that its bytes must not stop coming for this long; nor those of a smaller one, once half of all is taken.
const STALL_MAX: Duration = Duration::from_secs(10);
/// While room is short, a request may take as long as its bytes need at this pace, beyond `STALL_MAX`: bytes that
/// trickle would otherwise hold room for as long as their sender likes.
const PACE_MIN: u32 = 64 * 1024;

/// One request's bytes, counted against the bytes in flight while it lives.
#[derive(Debug)]
pub struct Request {
    /// Header and body, without the length.
    pub frame: Bytes,
    _in_flight: OwnedSemaphorePermit,
}

/// Why a connection can't be read any further.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer closed it in the middle of a request.
    #[error("the connection was closed in the middle of a request")]
    ClosedInside,
    /// A request that was begun and did not go on.
    #[error("a request of {len} bytes stopped coming for {STALL_MAX:?}")]
    Stalled {
        /// What the length field says.
        len: u32,
    },
    /// A request whose bytes came far too slowly.
    #[error("a request of {len} bytes came too slowly while others waited for its room")]
    Trickled {
        /// What the length field says.
        len: u32,
    },
    /// A length that no request has.
    #[error("a request of {len} bytes is over socket.request.max.bytes ({max}){hint}")]
    BadLength {
        /// What the length field says.
        len: u32,
        max: u32,
        /// What the bytes look like, if not like Kafka's protocol.
        hint: &'static str,
    },
}

/// The unread part of a connection's input. It holds no memory while the connection is idle.
#[derive(Debug)]
pub struct FrameReader {
    buf: BytesMut,
    size_max: u32,
    in_flight: Arc<Semaphore>,
    in_flight_max: u32,
    permit: Option<OwnedSemaphorePermit>,
    admitted: Instant,
    progressed: bool,
}

impl FrameReader {
    /// Reads requests of at most `size_max` bytes, each counted against `in_flight`.
    pub fn new(size_max: u32, in_flight: Arc<Semaphore>, in_flight_max: u32) -> Self {
        Self {
            buf: BytesMut::new(),
            size_max,
            in_flight,
            in_flight_max,
            permit: None,
            admitted: Instant::now(),
            progressed: false,
        }
    }

    /// Whether bytes came since this was asked before.
    pub fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    /// Whether a whole request is here already.
    pub fn has_frame(&self) -> bool {
        self.length()
            .is_some_and(|len| self.buf.len() >= LENGTH_SIZE + len as usize)
    }

    /// The next request; `None` at the connection's end. Nothing is lost where the wait is given up.
    pub async fn next(&mut self, stream: &Stream) -> Result<Option<Request>, ReadError> {
        loop {
            if let Some(len) = self.length() {
                self.check(len)?;
                self.admit(len).await;
                if self.has_frame() {
                    return Ok(Some(self.take(len as usize)));
                }
                self.buf
                    .reserve((LENGTH_SIZE + len as usize).saturating_sub(self.buf.len()));
            }
            let open = match self.length() {
                Some(len) => self.fill_in_time(len, stream).await?,
                None => self.fill(stream).await?,
            };
            if !open {
                let whole = self.buf.is_empty();
                return if whole {
                    Ok(None)
                } else {
                    Err(ReadError::ClosedInside)
                };
            }
        }
    }

    /// As `fill`, for a request of which the length is known: it holds room that others may wait for.
    async fn fill_in_time(&mut self, len: u32, stream: &Stream) -> Result<bool, ReadError> {
        loop {
            match tokio::time::timeout(STALL_MAX, self.fill(stream)).await {
                Ok(_) if self.is_late(len) && self.is_room_short() => {
                    return Err(ReadError::Trickled { len });
                }
                Ok(filled) => return Ok(filled?),
                Err(_) if len >= LARGE_SIZE_MIN || self.is_room_short() => {
                    return Err(ReadError::Stalled { len });
                }
                Err(_) => {}
            }
        }
    }

    fn is_late(&self, len: u32) -> bool {
        let time_max = STALL_MAX + Duration::from_secs(u64::from(len / PACE_MIN));
        !self.has_frame() && self.admitted.elapsed() > time_max
    }

    fn is_room_short(&self) -> bool {
        self.in_flight.available_permits() < self.in_flight_max as usize / 2
    }

    fn length(&self) -> Option<u32> {
        self.buf
            .first_chunk()
            .map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn check(&self, len: u32) -> Result<(), ReadError> {
        if len <= self.size_max {
            return Ok(());
        }
        let hint = match self.buf.first_chunk::<LENGTH_SIZE>() {
            Some(b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" | b"DELE") => {
                ": it looks like HTTP, and this port speaks Kafka's protocol"
            }
            Some([0x16, 0x03, _, _]) => ": it looks like TLS, and this listener is PLAINTEXT",
            _ => "",
        };
        Err(ReadError::BadLength {
            len,
            max: self.size_max,
            hint,
        })
    }

    /// Waits until the request fits into the bytes in flight; meanwhile the socket is not read.
    async fn admit(&mut self, len: u32) {
        if self.permit.is_none() {
            let bytes = len.min(self.in_flight_max);
            self.permit = self.in_flight.clone().try_acquire_many_owned(bytes).ok();
            if self.permit.is_none() {
                // Many may wait: none keeps room that it does not fill.
                self.buf = BytesMut::from(&self.buf[..]);
                // The semaphore is never closed, so this is always a permit.
                self.permit = self.in_flight.clone().acquire_many_owned(bytes).await.ok();
            }
            self.admitted = Instant::now();
        }
    }

    fn take(&mut self, len: usize) -> Request {
        self.buf.advance(LENGTH_SIZE);
        let frame = self.buf.split_to(len).freeze();
        let permit = self.permit.take();
        let permit =
            permit.unwrap_or_else(|| unreachable!("a request is admitted before it is taken"));
        Request {
            frame,
            _in_flight: permit,
        }
    }

    /// One read; `false` at the end of input.
    async fn fill(&mut self, stream: &Stream) -> io::Result<bool> {
        loop {
            if self.buf.is_empty() {
                self.buf = BytesMut::new();
            }
            stream.readable().await?;
            if self.buf.capacity() - self.buf.len() < READ_SIZE / 2 {
                self.buf.reserve(READ_SIZE);
            }
            match stream.try_read_buf(&mut self.buf) {
                Ok(read) => {
                    self.progressed |= read > 0;
                    return Ok(read > 0);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const ROOM: u32 = 1000;
    const LEN: u32 = 400;

    /// Both ends of a connection on which a request was begun.
    async fn begun() -> (Stream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = Stream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        client.write_all(&LEN.to_be_bytes()).await.unwrap();
        client.write_all(&[7; 10]).await.unwrap();
        (client, stream)
    }

    /// What a reader says of a request that was begun; `taken` bytes are in others' hands.
    async fn half_sent(taken: u32) -> Result<Option<Request>, ReadError> {
        let (_client, stream) = begun().await;
        let room = Arc::new(Semaphore::new(ROOM as usize));
        let _others = room.clone().acquire_many_owned(taken).await.unwrap();
        let mut reader = FrameReader::new(ROOM, room, ROOM);
        let reading = reader.next(&stream);
        tokio::time::timeout(STALL_MAX * 3, reading)
            .await
            .unwrap_or(Ok(None))
    }

    #[tokio::test(start_paused = true)]
    async fn a_half_sent_request_is_given_up_only_while_others_need_its_room() {
        assert!(matches!(half_sent(0).await, Ok(None)));
        let short = half_sent(ROOM / 2).await;
        assert!(matches!(short, Err(ReadError::Stalled { len: LEN })));
    }

    /// As `half_sent`, but that a byte comes each time before the request would count as stalled.
    async fn trickled(taken: u32) -> Result<Option<Request>, ReadError> {
        let (mut client, stream) = begun().await;
        let room = Arc::new(Semaphore::new(ROOM as usize));
        let _others = room.clone().acquire_many_owned(taken).await.unwrap();
        let mut reader = FrameReader::new(ROOM, room, ROOM);
        let trickle = async {
            for _ in 0..10 {
                tokio::time::sleep(STALL_MAX / 2).await;
                client.write_all(&[7]).await.unwrap();
            }
        };
        let read = tokio::select! {
            read = reader.next(&stream) => read,
            () = trickle => Ok(None),
        };
        assert!(reader.take_progress() && !reader.take_progress());
        read
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickling_request_is_given_up_only_while_others_need_its_room() {
        assert!(matches!(trickled(0).await, Ok(None)));
        let short = trickled(ROOM / 2).await;
        assert!(matches!(short, Err(ReadError::Trickled { len: LEN })));
    }
}
