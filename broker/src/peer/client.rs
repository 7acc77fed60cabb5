//! One connection to a peer. Requests go out as they come; answers find who asked by their number.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::frame::{self, FRAME_BYTES_MAX, GREETING_BYTES_MAX, Reader};
use super::network::{OwnedReadHalf, OwnedWriteHalf};
use super::{Answer, Hello, Request, network};

/// Looking a name up, connecting and greeting; on a network that works it takes milliseconds.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// The oldest unanswered request of a connection that still works: above the longest wait for a command.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const STALL_CHECK: Duration = Duration::from_secs(1);
/// Requests that wait to be written, each up to a frame's size: beyond it the peer does not keep up.
const WAITING_MAX: usize = 32;
/// Requests without an answer: heartbeats to a stopped process for as long as it is waited for.
const UNANSWERED_MAX: usize = 1_024;

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there: the request was not sent.
    #[error("{address}: connection refused")]
    Refused { address: String },
    /// There is no way to it, or it does not answer the greeting: the request was not sent.
    #[error("{address}: {why}")]
    Unreachable { address: String, why: String },
    /// It is not who was looked for, or of another cluster: the request was not sent.
    #[error("{address} refused the connection: {why}")]
    Rejected { address: String, why: String },
    /// The connection ended before the answer came.
    #[error("the connection was closed before the answer")]
    Closed,
    /// Time ran out before the answer came.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// More is waiting to be sent than the peer takes.
    #[error("the peer does not keep up")]
    Busy,
    /// The request is above a frame's bound.
    #[error("{0}")]
    TooLarge(String),
}

/// A connection; a clone is the same one. It ends with its last handle.
#[derive(Clone)]
pub struct Connection {
    outgoing: mpsc::Sender<Outgoing>,
    end: End,
}

/// A connection's end, and whose doing it was.
#[derive(Clone, Default)]
pub(super) struct End {
    closed: CancellationToken,
    by_peer: Arc<AtomicBool>,
}

impl End {
    /// Waits for it; whether the other end closed the connection.
    pub(super) async fn by_peer(&self) -> bool {
        self.closed.cancelled().await;
        self.by_peer.load(Ordering::Acquire)
    }

    /// What it will have ended with.
    fn note(&self, error: &io::Error) {
        if network::is_closed_by_peer(error) {
            self.by_peer.store(true, Ordering::Release);
        }
    }
}

struct Outgoing {
    frame: BytesMut,
    answer: oneshot::Sender<Answer>,
}

struct Unanswered {
    answer: oneshot::Sender<Answer>,
    since: Instant,
}

type Waiting = Arc<Mutex<HashMap<u32, Unanswered>>>;

impl Connection {
    /// Connects and greets; also who answered.
    pub async fn open(host: &str, port: u16, hello: Hello) -> Result<(Self, Hello), CallError> {
        let address = format!("{host}:{port}");
        let unreachable = |why: String| CallError::Unreachable {
            address: address.clone(),
            why,
        };
        let greeted = timeout(CONNECT_WITHIN, greet(host, port, hello)).await;
        match greeted {
            Err(_) => Err(unreachable(format!("no answer within {CONNECT_WITHIN:?}"))),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Err(CallError::Refused { address })
            }
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Ok(Ok((_, _, Answer::Failed(why)))) => Err(CallError::Rejected { address, why }),
            Ok(Ok((reader, writer, Answer::Hello(who)))) => Ok((Self::run(reader, writer), who)),
            Ok(Ok(_)) => Err(unreachable("it does not greet back".into())),
        }
    }

    fn run(reader: Reader<OwnedReadHalf>, writer: OwnedWriteHalf) -> Self {
        let (outgoing, requests) = mpsc::channel(WAITING_MAX);
        let (waiting, end) = (Waiting::default(), End::default());
        tokio::spawn(write(writer, requests, waiting.clone(), end.clone()));
        tokio::spawn(read(reader, waiting, end.clone()));
        Self { outgoing, end }
    }

    /// Sends, and hands out where the answer will come. Dropping that is no harm.
    pub fn send(&self, request: &Request) -> Result<oneshot::Receiver<Answer>, CallError> {
        let frame = frame::request(request, request.attachment())
            .map_err(|error| CallError::TooLarge(error.to_string()))?;
        let (answer, answered) = oneshot::channel();
        match self.outgoing.try_send(Outgoing { frame, answer }) {
            Ok(()) => Ok(answered),
            Err(mpsc::error::TrySendError::Full(_)) => Err(CallError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(CallError::Closed),
        }
    }

    pub fn is_closed(&self) -> bool {
        self.end.closed.is_cancelled()
    }

    /// Its end, which does not keep it from ending.
    pub(super) fn end(&self) -> End {
        self.end.clone()
    }
}

async fn greet(
    host: &str,
    port: u16,
    hello: Hello,
) -> io::Result<(Reader<OwnedReadHalf>, OwnedWriteHalf, Answer)> {
    let stream = network::connect(host, port).await?;
    let (reader, mut writer) = stream.into_split();
    writer
        .write_all(&frame::request(&Request::Hello(hello), &[])?)
        .await?;
    let mut reader = Reader::new(reader);
    let frame = reader.next(GREETING_BYTES_MAX).await?;
    let frame = frame.ok_or(io::ErrorKind::UnexpectedEof)?;
    let (_, body) = frame::open_answer(frame)?;
    Ok((reader, writer, body.parse()?))
}

async fn write(
    mut writer: OwnedWriteHalf,
    mut requests: mpsc::Receiver<Outgoing>,
    waiting: Waiting,
    end: End,
) {
    let _end = end.closed.clone().drop_guard();
    let mut correlation = 0u32;
    loop {
        let next = tokio::select! {
            next = requests.recv() => next,
            () = end.closed.cancelled() => None,
        };
        let Some(Outgoing { mut frame, answer }) = next else {
            return;
        };
        correlation = correlation.wrapping_add(1);
        frame::set_correlation(&mut frame, correlation);
        {
            let mut waiting = waiting.lock();
            if waiting.len() >= UNANSWERED_MAX {
                return;
            }
            let since = Instant::now();
            waiting.insert(correlation, Unanswered { answer, since });
        }
        let written = tokio::select! {
            written = writer.write_all(&frame) => written,
            () = end.closed.cancelled() => return,
        };
        if let Err(error) = written {
            return end.note(&error);
        }
    }
}

async fn read(mut reader: Reader<OwnedReadHalf>, waiting: Waiting, end: End) {
    let _end = end.closed.clone().drop_guard();
    let mut check = tokio::time::interval(STALL_CHECK);
    loop {
        tokio::select! {
            frame = reader.next(FRAME_BYTES_MAX) => {
                let frame = match frame.and_then(|frame| frame.ok_or(io::ErrorKind::UnexpectedEof.into())) {
                    Ok(frame) => frame,
                    Err(error) => {
                        end.note(&error);
                        break;
                    }
                };
                let Ok((correlation, answer)) = opened(frame) else { break };
                if let Some(unanswered) = waiting.lock().remove(&correlation) {
                    // Who asked may have gone.
                    let _ = unanswered.answer.send(answer);
                }
            }
            _ = check.tick() => {
                let late = |unanswered: &Unanswered| unanswered.since.elapsed() > ANSWER_WITHIN;
                if waiting.lock().values().any(late) {
                    break;
                }
            }
            () = end.closed.cancelled() => break,
        }
    }
    // Whoever still waits is told by its channel's end.
    waiting.lock().clear();
}

fn opened(frame: bytes::Bytes) -> io::Result<(u32, Answer)> {
    let (correlation, body) = frame::open_answer(frame)?;
    Ok((correlation, body.parse()?))
}
