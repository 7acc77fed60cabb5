//! One client's connection: requests in, responses out in the order of the requests.
//!
//! Only Produce overtakes a waiting Produce, and appends happen in the order of arrival. Any other
//! request starts when all before it are answered, and nothing starts behind it until it is answered
//! itself. That is the order clients rely on, and what acks=all gains from.

pub mod outbox;
pub mod pending;
pub mod reader;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use milena_protocol::DecodeError;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Call, Started};
use crate::broker::Broker;
use crate::network::{Stream, closed};
use outbox::{Outbox, SendError};
use pending::PendingProduce;
use reader::{FrameReader, ReadError, Request};

/// Produce requests of one connection that wait for their replicas; beyond it the socket is not read.
const PENDING_MAX: usize = 64;

/// A year: as good as no bound, and within what timers can hold.
const IDLE_FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Why a connection ended other than by its client's wish.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// What came is not to be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A frame that is no request of ours.
    #[error("{api} (version {version}) can't be read: {source}")]
    Malformed {
        api: &'static str,
        /// Its version; -1 where the header can't be read.
        version: i16,
        source: DecodeError,
    },
    /// An API or version that is not in the routing table.
    #[error("API key {key} in version {version} is not served; ApiVersions tells what is")]
    NotServed { key: i16, version: i16 },
    /// A Produce with acks=0 failed; closing is the only answer such a client gets.
    #[error("a produce request with acks=0 failed: {0}")]
    UnansweredProduce(milena_protocol::ErrorCode),
    /// The client closed the connection while its request waited.
    #[error("the client left while its request waited")]
    Left,
    #[error(transparent)]
    Send(#[from] io::Error),
    /// The client neither sent nor took anything for `connections.max.idle.ms`.
    #[error("the connection was idle for {0:?}")]
    Idle(Duration),
}

impl ConnectionError {
    /// Whether the client just left, which is nothing to warn of.
    pub fn is_disconnect(&self) -> bool {
        matches!(
            self,
            Self::Read(ReadError::Io(_) | ReadError::ClosedInside) | Self::Send(_) | Self::Left
        )
    }
}

/// The state of one connection, owned by its task.
pub struct Connection {
    stream: Stream,
    broker: Arc<Broker>,
    call: Call,
    reader: FrameReader,
    pending: VecDeque<Box<PendingProduce>>,
    outbox: Outbox,
    idle_max: Duration,
    stopping: CancellationToken,
}

/// What the connection's loop goes on with.
enum Event {
    Answered,
    Progressed,
    Received(Option<Request>),
    Stopping,
}

impl Connection {
    /// A connection whose socket is set up already.
    pub fn new(
        stream: Stream,
        broker: Arc<Broker>,
        call: Call,
        reader: FrameReader,
        stopping: CancellationToken,
    ) -> Self {
        let idle_max = idle_max(broker.config().connections_max_idle_ms);
        let (pending, outbox) = (VecDeque::new(), Outbox::default());
        Self {
            stream,
            broker,
            call,
            reader,
            pending,
            outbox,
            idle_max,
            stopping,
        }
    }

    /// Serves requests until the client leaves, misbehaves, or the broker stops.
    pub async fn run(mut self) -> Result<(), ConnectionError> {
        use ConnectionError::{Malformed, NotServed, UnansweredProduce};
        // A request that ends the connection leaves those before it their answers.
        match self.converse().await {
            Err(refused @ (Malformed { .. } | NotServed { .. })) => {
                self.answer_pending().await?;
                self.flush().await?;
                Err(refused)
            }
            Err(failed @ UnansweredProduce(_)) => {
                self.flush().await?;
                Err(failed)
            }
            ended => ended,
        }
    }

    async fn converse(&mut self) -> Result<(), ConnectionError> {
        loop {
            if !self.reader.has_frame() || self.pending.len() >= PENDING_MAX {
                self.flush().await?;
            }
            match self.next_event().await? {
                Event::Answered | Event::Progressed => {}
                Event::Received(Some(request)) => self.serve(request).await?,
                // Records are stored whether or not anybody is left to hear of their replicas.
                Event::Received(None) => break,
                Event::Stopping => {
                    self.answer_pending().await?;
                    break;
                }
            }
        }
        self.flush().await
    }

    /// Waits for the oldest waiting Produce, or the next request, whichever comes first.
    async fn next_event(&mut self) -> Result<Event, ConnectionError> {
        let waiting = !self.pending.is_empty();
        let readable = self.pending.len() < PENDING_MAX;
        self.reader.take_progress();
        tokio::select! {
            biased;
            () = pending::front(&mut self.pending), if waiting => {
                self.take_answer()?;
                Ok(Event::Answered)
            }
            request = self.reader.next(&self.stream), if readable => Ok(Event::Received(request?)),
            () = closed(&self.stream), if !readable => Err(ConnectionError::Left),
            () = self.stopping.cancelled() => Ok(Event::Stopping),
            // A large request on a slow line may take longer than that.
            () = tokio::time::sleep(self.idle_max), if !waiting => match self.reader.take_progress() {
                true => Ok(Event::Progressed),
                false => Err(ConnectionError::Idle(self.idle_max)),
            },
        }
    }

    async fn serve(&mut self, request: Request) -> Result<(), ConnectionError> {
        match api::start(&self.broker, &self.call, request).await? {
            Started::Produce(produce) => {
                self.pending.push_back(produce);
                self.take_ready()
            }
            Started::Other(request) => {
                self.answer_pending().await?;
                self.flush().await?;
                let can_end = request.can_be_given_up();
                let hurry = request.hurry();
                if let Some(hurry) = hurry.as_ref().filter(|_| self.reader.has_frame()) {
                    hurry.cancel();
                }
                let answer = api::answer(&self.broker, request);
                tokio::pin!(answer);
                let response = loop {
                    tokio::select! {
                        biased;
                        response = &mut answer => break response?,
                        () = closed(&self.stream), if can_end => return Err(ConnectionError::Left),
                        () = more(&self.stream, hurry.as_ref()) => {}
                    }
                };
                self.outbox.push(response);
                Ok(())
            }
        }
    }

    /// Moves what is answered already from the front of the waiting to the outbox.
    fn take_ready(&mut self) -> Result<(), ConnectionError> {
        while self
            .pending
            .front()
            .is_some_and(|pending| pending.is_done())
        {
            self.take_answer()?;
        }
        Ok(())
    }

    fn take_answer(&mut self) -> Result<(), ConnectionError> {
        let Some(done) = self.pending.pop_front() else {
            return Ok(());
        };
        if let Some(frame) = done.into_answer(&self.broker)? {
            self.outbox.push(frame.into());
        }
        Ok(())
    }

    async fn answer_pending(&mut self) -> Result<(), ConnectionError> {
        while !self.pending.is_empty() {
            pending::front(&mut self.pending).await;
            self.take_answer()?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), ConnectionError> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        let sent = self.outbox.flush(&self.stream, self.idle_max).await;
        sent.map_err(|error| match error {
            SendError::Io(error) => error.into(),
            SendError::Idle => ConnectionError::Idle(self.idle_max),
        })
    }
}

/// Hurries a request on once the peer has sent another, or its end; never ends where there is nothing to hurry.
async fn more(stream: &Stream, hurry: Option<&CancellationToken>) {
    match hurry.filter(|hurry| !hurry.is_cancelled()) {
        Some(hurry) => {
            // An error shows at the next read.
            let _ = stream.peek(&mut [0]).await;
            hurry.cancel();
        }
        None => std::future::pending().await,
    }
}

/// `connections.max.idle.ms`, where -1 is for ever.
fn idle_max(ms: i64) -> Duration {
    u64::try_from(ms).map_or(IDLE_FOR_EVER, Duration::from_millis)
}

#[cfg(test)]
mod tests;
