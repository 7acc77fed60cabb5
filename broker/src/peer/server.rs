//! The peers' listener: what brokers ask is answered here; what speaks Kafka's own APIs is handed on.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::frame::{self, Body, FRAME_BYTES_MAX, GREETING_BYTES_MAX, Reader};
use super::network::{self, Listener, OwnedReadHalf, OwnedWriteHalf, Stream};
use super::{Answer, Hello, Request};
use crate::quorum::types::NodeId;

/// Several connections a broker, for more brokers than a cluster may have; beyond it new ones are closed.
const CONNECTIONS_MAX: usize = 10_000;
/// Requests of one connection in hand; beyond it the socket is not read.
const IN_HAND_MAX: usize = 64;
/// Bytes of them, with which a frame of any size can be in hand: of more the next frame waits, whole, for those before it.
const IN_HAND_BYTES_MAX: usize = FRAME_BYTES_MAX;
/// The first bytes and the greeting.
const GREETING_WITHIN: Duration = Duration::from_secs(10);
const PEEK_AGAIN: Duration = Duration::from_millis(1);
/// Accepting fails while descriptors are short; it is tried again after this.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Who answers peers.
pub trait Answers: Send + Sync + 'static {
    /// Greets back, or says why not.
    fn hello(&self, hello: &Hello) -> Result<Hello, String>;

    fn answer(&self, from: NodeId, request: Request) -> impl Future<Output = Answer> + Send;

    /// A peer's connection, which began with this greeting, has ended. `by_peer` says that the other end closed it.
    fn closed(&self, hello: &Hello, by_peer: bool);
}

/// Takes the connections that speak Kafka's APIs; set once the broker can serve them.
pub type Others = Arc<OnceLock<Box<dyn Fn(Stream, SocketAddr) + Send + Sync>>>;

/// Serves the listener until `stopping`.
pub async fn serve<A: Answers>(
    listener: Listener,
    answers: Arc<A>,
    others: Others,
    stopping: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.cancelled() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a peer's connection can't be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!(%address, "too many connections on the peers' listener; this one is closed");
            continue;
        };
        let (answers, others, stopping) = (answers.clone(), others.clone(), stopping.child_token());
        tokio::spawn(async move {
            tokio::select! {
                () = admit(stream, address, answers, &others) => {}
                () = stopping.cancelled() => {}
            }
            drop(place);
        });
    }
}

async fn admit<A: Answers>(stream: Stream, address: SocketAddr, answers: Arc<A>, others: &Others) {
    match timeout(GREETING_WITHIN, first_key(&stream)).await {
        Ok(Ok(frame::KEY)) => {
            if let Err(error) = converse(stream, address, answers).await {
                tracing::debug!(%address, %error, "a peer's connection ended");
            }
        }
        Ok(Ok(_)) => match others.get() {
            Some(take) => take(stream, address),
            None => tracing::debug!(%address, "not serving yet; the connection is closed"),
        },
        _ => tracing::debug!(%address, "a connection said nothing, and is closed"),
    }
}

/// The API key of the first request, which stays unread.
async fn first_key(stream: &Stream) -> io::Result<i16> {
    let mut head = [0; 6];
    loop {
        match stream.peek(&mut head).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            6 => return Ok(i16::from_be_bytes([head[4], head[5]])),
            _ => tokio::time::sleep(PEEK_AGAIN).await,
        }
    }
}

async fn converse<A: Answers>(
    stream: Stream,
    address: SocketAddr,
    answers: Arc<A>,
) -> io::Result<()> {
    network::set_up(&stream)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = Reader::new(reader);
    let Some(hello) = greeting(&mut reader).await? else {
        return Ok(());
    };
    match answers.hello(&hello) {
        Ok(answer) => {
            writer
                .write_all(&frame::answer(&Answer::Hello(answer), 0)?)
                .await?;
        }
        Err(why) => {
            tracing::debug!(%address, broker = hello.broker, why, "a peer is refused");
            return writer
                .write_all(&frame::answer(&Answer::Failed(why), 0)?)
                .await;
        }
    }
    let ended = exchange(reader, writer, hello.from, &answers).await;
    let by_peer = match &ended {
        Ok(()) => true,
        Err(error) => network::is_closed_by_peer(error),
    };
    answers.closed(&hello, by_peer);
    ended
}

async fn greeting(reader: &mut Reader<OwnedReadHalf>) -> io::Result<Option<Hello>> {
    let frame = timeout(GREETING_WITHIN, reader.next(GREETING_BYTES_MAX)).await??;
    let Some(frame) = frame else {
        return Ok(None);
    };
    let (_, body) = frame::open_request(frame)?;
    match body.parse()? {
        Request::Hello(hello) => Ok(Some(hello)),
        _ => Err(frame::invalid("the first request is no greeting")),
    }
}

/// Reads requests, and has each answered as soon as it can be.
async fn exchange<A: Answers>(
    mut reader: Reader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    from: NodeId,
    answers: &Arc<A>,
) -> io::Result<()> {
    let (finished, outgoing) = mpsc::channel(IN_HAND_MAX);
    let in_hand = Arc::new(Semaphore::new(IN_HAND_MAX));
    let bytes_in_hand = Arc::new(Semaphore::new(IN_HAND_BYTES_MAX));
    let ended = CancellationToken::new();
    let _end = ended.clone().drop_guard();
    tokio::spawn(write(writer, outgoing, ended.clone()));
    loop {
        let place = in_hand.clone().acquire_owned().await;
        let frame = tokio::select! {
            frame = reader.next(FRAME_BYTES_MAX) => frame?,
            () = ended.cancelled() => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        let Some(frame) = frame else {
            return Ok(());
        };
        let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let bytes = bytes_in_hand.clone().acquire_many_owned(bytes).await;
        let (correlation, body) = frame::open_request(frame)?;
        let request = request(&body);
        let (answers, finished) = (answers.clone(), finished.clone());
        tokio::spawn(async move {
            let answer = match request {
                Ok(request) => answers.answer(from, request).await,
                // Of newer software. Its heartbeats share the connection, and go on.
                Err(error) => Answer::Failed(format!(
                    "{} can't read what it is asked: {error}",
                    crate::software()
                )),
            };
            match frame::answer(&answer, correlation) {
                // The connection may have ended meanwhile.
                Ok(frame) => drop(finished.send(frame).await),
                Err(error) => tracing::error!(%error, "an answer to a peer can't be sent"),
            }
            drop((place, bytes));
        });
    }
}

fn request(body: &Body) -> io::Result<Request> {
    let mut request: Request = body.parse()?;
    request.attach(body.attachment.clone());
    Ok(request)
}

async fn write(
    mut writer: OwnedWriteHalf,
    mut answers: mpsc::Receiver<BytesMut>,
    ended: CancellationToken,
) {
    let _end = ended.clone().drop_guard();
    loop {
        let next = tokio::select! {
            next = answers.recv() => next,
            () = ended.cancelled() => None,
        };
        let Some(frame) = next else {
            return;
        };
        let written = tokio::select! {
            written = writer.write_all(&frame) => written.is_ok(),
            () = ended.cancelled() => false,
        };
        if !written {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
