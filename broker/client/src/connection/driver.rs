//! The task that owns a connection's socket: frames out as they are queued, answers in by their order.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, OnceLock};

use bytes::{Buf, Bytes, BytesMut};
use milena_protocol::{Chunk, Frame};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};

use crate::network::{OwnedReadHalf, OwnedWriteHalf, Stream};

/// What one vectored write takes at the most; more chunks go with the next.
const SLICES_MAX: usize = 64;

/// What one read takes when no longer answer is under way.
const READ_BYTES: usize = 64 << 10;

/// A frame to send, and who waits for what.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub frame: Frame,
    pub waiting: Awaited,
}

/// What is waited for.
#[derive(Debug)]
pub(super) enum Awaited {
    Answer(Waiting),
    /// That the socket has taken the frame: there is no answer to it.
    Written(oneshot::Sender<()>),
}

/// Who waits for an answer; the slot is free again when the answer has come.
#[derive(Debug)]
pub(super) struct Waiting {
    pub correlation_id: i32,
    pub sender: oneshot::Sender<Bytes>,
    pub _slot: OwnedSemaphorePermit,
}

/// Why the connection ended, once it has; and the way to end it.
#[derive(Debug, Default)]
pub(super) struct End {
    reason: OnceLock<Arc<str>>,
    wanted: Notify,
}

impl End {
    pub(super) fn reason(&self) -> Arc<str> {
        let reason = self.reason.get().cloned();
        reason.unwrap_or_else(|| "it has ended".into())
    }

    /// Closes the connection; the first reason stays.
    pub(super) fn close(&self, reason: &str) {
        let _ = self.reason.set(reason.into());
        self.wanted.notify_one();
    }
}

/// Requests sent and not yet answered, in order. Its two users run in one task, so the lock is free.
type Pending = Mutex<VecDeque<Waiting>>;

/// Runs until the handles are gone, the peer closes, or an error.
pub(super) async fn run(
    stream: Stream,
    mut queue: mpsc::Receiver<Outgoing>,
    response_bytes_max: usize,
    end: Arc<End>,
) {
    let (read_half, write_half) = stream.into_split();
    let pending = Pending::default();
    let ended = tokio::select! {
        ended = write_requests(write_half, &mut queue, &pending) => ended,
        ended = read_answers(read_half, &pending, response_bytes_max) => ended,
        () = end.wanted.notified() => Ok(()),
    };
    let reason = match ended {
        Ok(()) => "the broker closed it".to_owned(),
        Err(error) => error.to_string(),
    };
    // Whoever waits wakes when `pending` and `queue` drop, behind this, and then asks for the reason.
    end.close(&reason);
}

async fn write_requests(
    mut socket: OwnedWriteHalf,
    queue: &mut mpsc::Receiver<Outgoing>,
    pending: &Pending,
) -> io::Result<()> {
    let (mut unsent, mut written) = (VecDeque::new(), Vec::new());
    while let Some(first) = queue.recv().await {
        let more = std::iter::from_fn(|| queue.try_recv().ok());
        for Outgoing { frame, waiting } in std::iter::once(first).chain(more) {
            match waiting {
                Awaited::Answer(waiting) => pending.lock().push_back(waiting),
                Awaited::Written(sender) => written.push(sender),
            }
            unsent.extend(frame.into_chunks().into_iter().filter_map(bytes_of));
        }
        while !unsent.is_empty() {
            let slices: Vec<_> = unsent
                .iter()
                .take(SLICES_MAX)
                .map(|c| IoSlice::new(c))
                .collect();
            let sent = socket.write_vectored(&slices).await?;
            drop_front(&mut unsent, sent);
        }
        for sender in written.drain(..) {
            // A caller may have stopped waiting.
            let _ = sender.send(());
        }
    }
    Ok(())
}

/// A request's chunks are all bytes: only a broker's answers refer to other places.
fn bytes_of(chunk: Chunk) -> Option<Bytes> {
    match chunk {
        Chunk::Bytes(bytes) if !bytes.is_empty() => Some(bytes),
        _ => None,
    }
}

fn drop_front(unsent: &mut VecDeque<Bytes>, mut sent: usize) {
    while let Some(chunk) = unsent.front_mut() {
        if chunk.len() > sent {
            return chunk.advance(sent);
        }
        sent -= chunk.len();
        unsent.pop_front();
    }
}

async fn read_answers(
    mut socket: OwnedReadHalf,
    pending: &Pending,
    response_bytes_max: usize,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        while let Some(frame) = next_frame(&mut buffer, response_bytes_max)? {
            deliver(frame, pending)?;
        }
        buffer.reserve(READ_BYTES);
        if socket.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

/// Takes one whole frame, without its length, from the buffer's front; makes room for one that is begun.
fn next_frame(buffer: &mut BytesMut, bytes_max: usize) -> io::Result<Option<Bytes>> {
    let Some(prefix) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*prefix);
    let size = match usize::try_from(length) {
        Ok(size) if (4..=bytes_max).contains(&size) => size,
        _ => {
            return Err(invalid(format!(
                "its answer's length is {length}: this is no Kafka broker"
            )));
        }
    };
    if buffer.len() < 4 + size {
        buffer.reserve(4 + size - buffer.len());
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(size).freeze()))
}

fn deliver(frame: Bytes, pending: &Pending) -> io::Result<()> {
    let correlation_id = frame.first_chunk().copied().map(i32::from_be_bytes);
    let waiting = pending.lock().pop_front();
    match waiting {
        Some(waiting) if Some(waiting.correlation_id) == correlation_id => {
            // A caller that stopped waiting has dropped its end.
            let _ = waiting.sender.send(frame);
            Ok(())
        }
        _ => Err(invalid(
            "it answered a request that was not the next".into(),
        )),
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use milena_protocol::api::api_versions::ApiVersionsRequest;
    use milena_protocol::header::encode_request;

    use super::*;

    #[tokio::test]
    async fn a_frame_that_nobody_answers_is_with_the_system_when_that_is_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stream = crate::network::connect(&address).await.unwrap();
        let (queue, queued) = mpsc::channel(1);
        let running = tokio::spawn(run(stream, queued, 100, Arc::default()));
        let (sender, written) = oneshot::channel();
        let frame = encode_request(&ApiVersionsRequest::default(), 0, 0, None);
        let expected = frame.to_vec();
        let waiting = Awaited::Written(sender);
        queue.send(Outgoing { frame, waiting }).await.unwrap();
        written.await.unwrap();
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        let mut arrived = Vec::new();
        let (mut peer, _) = listener.accept().unwrap();
        peer.read_to_end(&mut arrived).unwrap();
        assert_eq!(arrived, expected);
    }

    #[test]
    fn a_frame_is_taken_only_when_it_is_whole() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 5, 1, 2, 3, 4][..]);
        assert_eq!(next_frame(&mut buffer, 100).unwrap(), None);
        buffer.extend_from_slice(&[5, 0]);
        assert_eq!(
            next_frame(&mut buffer, 100).unwrap().as_deref(),
            Some(&[1, 2, 3, 4, 5][..])
        );
        assert_eq!(buffer.as_ref(), [0]);
    }

    #[test]
    fn a_length_that_no_broker_sends_is_an_error() {
        for prefix in [-1, 3, 101, i32::MAX, i32::from_be_bytes(*b"HTTP")] {
            let mut buffer = BytesMut::from(&prefix.to_be_bytes()[..]);
            assert!(next_frame(&mut buffer, 100).is_err(), "length {prefix}");
        }
    }
}
