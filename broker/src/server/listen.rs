//! Listeners: bound before the data is opened, accepting when it is.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StartError;
use crate::api::Call;
use crate::broker::Broker;
use crate::config::{BrokerConfig, Listener};
use crate::connection::reader::FrameReader;
use crate::connection::{Connection, ConnectionError};
use crate::limits::{Limits, Place};
use crate::network::{self, Socket, Stream};

/// Accepting fails while descriptors are short; it is tried again after this.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A listener whose port is taken.
pub struct BoundListener {
    /// What it was configured as.
    pub listener: Listener,
    socket: network::Listener,
    /// Where it is bound; the port is the real one where 0 was asked for.
    pub address: SocketAddr,
}

impl BoundListener {
    /// Where the others are told to find it.
    pub fn advertised(&self) -> Option<(String, u16)> {
        self.listener.advertised(self.address.port())
    }

    /// The socket, for another runtime to accept from.
    pub fn socket(&self) -> io::Result<Socket> {
        network::detach(&self.socket)
    }
}

pub fn bind_all(config: &BrokerConfig) -> Result<Vec<BoundListener>, StartError> {
    config
        .listeners
        .iter()
        .map(|listener| bind(listener, config.socket_listen_backlog_size))
        .collect()
}

fn bind(listener: &Listener, backlog: i32) -> Result<BoundListener, StartError> {
    let bound = network::bind(&listener.host, listener.port, backlog);
    let (socket, address) = bound.map_err(|source| StartError::Listen {
        listener: listener.name.clone(),
        address: format!("{}:{}", listener.host, listener.port),
        hint: match source.kind() {
            io::ErrorKind::AddrInUse => {
                "; another process has the port: stop it, or set listeners to another port"
            }
            io::ErrorKind::PermissionDenied => {
                "; ports below 1024 need a privilege: set listeners to another port"
            }
            _ => "",
        },
        source,
    })?;
    Ok(BoundListener {
        listener: listener.clone(),
        socket,
        address,
    })
}

/// Accepts connections until the broker stops.
pub async fn accept(
    listener: BoundListener,
    broker: Arc<Broker>,
    tasks: TaskTracker,
    stopping: CancellationToken,
) {
    let server = Server::new(&listener.listener.name, broker, stopping);
    tracing::info!(listener = listener.listener.name, address = %listener.address, "listening");
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            () = server.stopping.cancelled() => return,
        };
        match accepted {
            Ok((stream, address)) => {
                if let Some(serving) = server.admit(stream, address) {
                    tasks.spawn(serving);
                }
            }
            Err(error) => {
                tracing::warn!(%error, listener = listener.listener.name, "a connection can't be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Takes connections that another has accepted on that listener, and serves them here.
pub fn taker(
    name: &str,
    broker: Arc<Broker>,
    tasks: TaskTracker,
    stopping: CancellationToken,
) -> Box<dyn Fn(Stream, SocketAddr) + Send + Sync> {
    let server = Server::new(name, broker, stopping);
    let data = Handle::current();
    Box::new(move |stream, address| {
        // The socket's events go to the runtime that serves it.
        let _here = data.enter();
        match network::move_here(stream) {
            Ok(stream) => {
                if let Some(serving) = server.admit(stream, address) {
                    tasks.spawn_on(serving, &data);
                }
            }
            Err(error) => tracing::warn!(%error, %address, "a connection can't be served"),
        }
    })
}

/// What a listener's connections share.
struct Server {
    broker: Arc<Broker>,
    name: Arc<str>,
    in_flight: Arc<tokio::sync::Semaphore>,
    in_flight_max: u32,
    stopping: CancellationToken,
}

impl Server {
    fn new(name: &str, broker: Arc<Broker>, stopping: CancellationToken) -> Self {
        let (in_flight, in_flight_max) = broker.in_flight();
        Self {
            broker,
            name: name.into(),
            in_flight,
            in_flight_max,
            stopping,
        }
    }

    /// The connection's service, if there is room for it; otherwise it is closed.
    fn admit(
        &self,
        stream: Stream,
        address: SocketAddr,
    ) -> Option<impl Future<Output = ()> + use<>> {
        let config = self.broker.config();
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let place = match self
            .broker
            .connections()
            .admit(address.ip(), &limits(&config, address.ip()))
        {
            Ok(place) => place,
            Err(refusal) => {
                self.broker.metrics().connection_refused();
                tracing::warn!(%refusal, %address, "connection refused");
                return None;
            }
        };
        self.broker.metrics().connection_accepted();
        // Small answers must not wait for the next ones (Nagle's algorithm).
        if let Err(error) = network::set_nodelay(&stream) {
            tracing::debug!(%error, %address, "TCP_NODELAY can't be set");
        }
        let size_max = u32::try_from(config.socket_request_max_bytes).unwrap_or(0);
        let reader = FrameReader::new(size_max, self.in_flight.clone(), self.in_flight_max);
        let call = Call {
            address,
            listener: self.name.clone(),
        };
        let connection = Connection::new(
            stream,
            self.broker.clone(),
            call,
            reader,
            self.stopping.clone(),
        );
        Some(serve(connection, place, address))
    }
}

fn limits(config: &BrokerConfig, address: IpAddr) -> Limits {
    let total = usize::try_from(config.max_connections).unwrap_or(0);
    let per_address = config.max_connections_from(&address.to_string()) as usize;
    Limits { total, per_address }
}

async fn serve(connection: Connection, place: Place, address: SocketAddr) {
    match connection.run().await {
        Ok(()) => {}
        Err(error @ (ConnectionError::Send(_) | ConnectionError::Idle(_))) => {
            tracing::debug!(%address, %error, "connection closed");
        }
        Err(error) if error.is_disconnect() => {
            tracing::debug!(%address, %error, "connection closed")
        }
        Err(error) => tracing::warn!(%address, %error, "connection closed"),
    }
    drop(place);
}
