//! One connection to a broker: many requests in flight, answered in the order they were sent.
//!
//! A task owns the socket; a [`Connection`] is a handle that can be cloned. Whatever future of a caller
//! is dropped, the frame it queued is sent whole and its answer is read and thrown away.

mod driver;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use milena_protocol::api::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use milena_protocol::header::{decode_response, encode_request};
use milena_protocol::{ErrorCode, Request};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::ConnectionError;
use crate::network::{Stream, connect};
use driver::{Awaited, Outgoing};

/// Requests that wait for their answers on one connection; more wait to be sent. Far above the five that
/// a producer uses, far below what a broker's own queue would need.
const IN_FLIGHT_MAX: usize = 64;

/// How a connection is opened and how long it waits.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// The client's name for itself, shown in the broker's logs and metrics.
    pub client_id: Arc<str>,
    /// How long opening may take, name lookup and ApiVersions included.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// A longer answer closes the connection. Fetch answers stay below a client's own `max_bytes` but for
    /// a first batch that is larger.
    pub response_bytes_max: usize,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            client_id: "milena".into(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            response_bytes_max: 256 << 20,
        }
    }
}

/// A handle to an open connection. The socket closes when the last handle and the last answer are gone.
#[derive(Debug, Clone)]
pub struct Connection {
    link: Arc<Link>,
    versions: Arc<HashMap<i16, (i16, i16)>>,
}

/// The way to the task that owns the socket.
#[derive(Debug)]
struct Link {
    address: Arc<str>,
    client_id: Arc<str>,
    request_timeout: Duration,
    outgoing: mpsc::Sender<Outgoing>,
    slots: Arc<Semaphore>,
    next_correlation_id: AtomicI32,
    end: Arc<driver::End>,
}

impl Connection {
    /// Connects to `host:port` and learns which API versions the broker serves.
    pub async fn open(address: &str, options: &ConnectionOptions) -> Result<Self, ConnectionError> {
        let unreachable = |problem: String| ConnectionError::Unreachable {
            address: address.into(),
            problem,
        };
        let opening = async {
            let stream = connect(address).await;
            let stream = stream.map_err(|error| unreachable(plain(&error)))?;
            let link = Arc::new(Link::new(stream, address, options));
            let versions = Arc::new(negotiate(&link).await?);
            Ok(Self { link, versions })
        };
        match timeout(options.connect_timeout, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(unreachable(format!(
                "no answer within {:?}",
                options.connect_timeout
            ))),
        }
    }

    /// The broker's `host:port` as it was connected to.
    pub fn address(&self) -> &str {
        &self.link.address
    }

    /// Whether the connection has ended; a call on it fails at once.
    pub fn is_closed(&self) -> bool {
        self.link.outgoing.is_closed()
    }

    /// Which versions of an API the broker serves.
    pub fn served(&self, api_key: i16) -> Option<(i16, i16)> {
        self.versions.get(&api_key).copied()
    }

    /// The newest version of `R` that both sides know, and that is no newer than `newest`.
    pub fn version_up_to<R: Request>(&self, newest: i16) -> Result<i16, ConnectionError> {
        let ours = R::VERSIONS;
        self.served(R::KEY)
            .map(|(oldest_served, newest_served)| {
                let version = newest_served.min(*ours.end()).min(newest);
                (version, oldest_served.max(*ours.start()))
            })
            .filter(|(version, oldest)| version >= oldest)
            .map(|(version, _)| version)
            .ok_or_else(|| ConnectionError::Unsupported {
                address: self.link.address.clone(),
                api: R::NAME,
            })
    }

    /// Sends `request` in the newest version both sides know, and waits for its answer.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response, ConnectionError> {
        let version = self.version_up_to::<R>(i16::MAX)?;
        self.send(request, version).await?.receive().await
    }

    /// Queues `request` behind those queued before it, and returns its answer to be waited for: two
    /// calls, one after the other, go out in that order.
    pub async fn send<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<Answer<R>, ConnectionError> {
        self.link.send(request, version).await
    }

    /// Sends a request that the broker does not answer: Produce with acks=0. Returns when the socket has taken it:
    /// from then on the system delivers it, though the process may end.
    pub async fn send_unanswered<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<(), ConnectionError> {
        let frame = encode_request(request, version, 0, Some(&self.link.client_id));
        let (sender, written) = oneshot::channel();
        self.link
            .queue(Outgoing {
                frame,
                waiting: Awaited::Written(sender),
            })
            .await?;
        match timeout(self.link.request_timeout, written).await {
            Ok(written) => written.map_err(|_| self.link.closed()),
            Err(_) => {
                self.link.end.close("a request could not be written");
                Err(self.link.timed_out(R::NAME))
            }
        }
    }
}

impl Link {
    fn new(stream: Stream, address: &str, options: &ConnectionOptions) -> Self {
        let (outgoing, queue) = mpsc::channel(IN_FLIGHT_MAX);
        let end = Arc::new(driver::End::default());
        let run = driver::run(stream, queue, options.response_bytes_max, end.clone());
        tokio::spawn(run);
        Self {
            address: address.into(),
            client_id: options.client_id.clone(),
            request_timeout: options.request_timeout,
            outgoing,
            slots: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            next_correlation_id: AtomicI32::new(1),
            end,
        }
    }

    async fn send<R: Request>(
        self: &Arc<Self>,
        request: &R,
        version: i16,
    ) -> Result<Answer<R>, ConnectionError> {
        let deadline = Instant::now() + self.request_timeout;
        let slot = timeout_at(deadline, self.slots.clone().acquire_owned()).await;
        let Ok(Ok(slot)) = slot else {
            return Err(self.timed_out(R::NAME));
        };
        let correlation_id = self.next_correlation_id.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let frame = encode_request(request, version, correlation_id, Some(&self.client_id));
        let (sender, answer) = oneshot::channel();
        self.queue(Outgoing {
            frame,
            waiting: Awaited::Answer(driver::Waiting {
                correlation_id,
                sender,
                _slot: slot,
            }),
        })
        .await?;
        Ok(Answer {
            link: self.clone(),
            answer,
            version,
            deadline,
            request: std::marker::PhantomData,
        })
    }

    async fn queue(&self, outgoing: Outgoing) -> Result<(), ConnectionError> {
        let sent = self.outgoing.send(outgoing).await;
        sent.map_err(|_| self.closed())
    }

    fn closed(&self) -> ConnectionError {
        ConnectionError::Closed {
            address: self.address.clone(),
            reason: self.end.reason(),
        }
    }

    fn timed_out(&self, api: &'static str) -> ConnectionError {
        ConnectionError::TimedOut {
            address: self.address.clone(),
            api,
            after: self.request_timeout,
        }
    }
}

/// An answer on its way.
#[derive(Debug)]
#[must_use = "without receiving, whether the broker refused is never known"]
pub struct Answer<R> {
    link: Arc<Link>,
    answer: oneshot::Receiver<Bytes>,
    version: i16,
    deadline: Instant,
    request: std::marker::PhantomData<fn() -> R>,
}

impl<R: Request> Answer<R> {
    /// Waits longer or shorter than the connection's requests wait: `timeout` from now.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.deadline = Instant::now() + timeout;
        self
    }

    /// Waits for the answer. Dropping this future and calling again goes on waiting. Without an answer in
    /// time the connection is closed, for a broker that hangs is best left.
    pub async fn receive(&mut self) -> Result<R::Response, ConnectionError> {
        let frame = self.frame().await?;
        decode_response::<R>(frame, self.version)
            .map(|(_, response)| response)
            .map_err(|problem| ConnectionError::Unreadable {
                address: self.link.address.clone(),
                api: R::NAME,
                problem,
            })
    }

    async fn frame(&mut self) -> Result<Bytes, ConnectionError> {
        match timeout_at(self.deadline, &mut self.answer).await {
            Ok(Ok(frame)) => Ok(frame),
            Ok(Err(_)) => Err(self.link.closed()),
            Err(_) => {
                self.link
                    .end
                    .close("a request before this one got no answer");
                Err(self.link.timed_out(R::NAME))
            }
        }
    }
}

/// Asks in ApiVersions 3, and once more in 0 if the broker is older: it answers in 0 then (KIP-511).
async fn negotiate(link: &Arc<Link>) -> Result<HashMap<i16, (i16, i16)>, ConnectionError> {
    let request = ApiVersionsRequest {
        client_software_name: "milena".into(),
        client_software_version: env!("CARGO_PKG_VERSION").into(),
    };
    let mut answer = link.send(&request, 3).await?;
    let frame = answer.frame().await?;
    let response = if error_code(&frame) == ErrorCode::UnsupportedVersion {
        link.send(&request, 0).await?.receive().await?
    } else {
        decode_response::<ApiVersionsRequest>(frame, 3)
            .map(|(_, response)| response)
            .map_err(|problem| ConnectionError::Unreadable {
                address: link.address.clone(),
                api: ApiVersionsRequest::NAME,
                problem,
            })?
    };
    Ok(ranges(&response))
}

/// The error of an ApiVersions answer, which stands behind the correlation id in every version.
fn error_code(frame: &Bytes) -> ErrorCode {
    match frame.get(4..6) {
        Some(mut code) => ErrorCode::from(code.get_i16()),
        None => ErrorCode::UnknownServerError,
    }
}

fn ranges(response: &ApiVersionsResponse) -> HashMap<i16, (i16, i16)> {
    let range = |api: &milena_protocol::api::api_versions::ApiVersion| {
        (api.api_key, (api.min_version, api.max_version))
    };
    response.api_keys.iter().map(range).collect()
}

/// The system's words without the error number that people have no use for.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((plain, _)) => plain.to_lowercase(),
        None => text,
    }
}
