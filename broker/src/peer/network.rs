//! The network between brokers, in one place so that a simulation can put another there.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

/// A connection to another broker.
pub type Stream = TcpStream;

/// Where other brokers connect to.
pub type Listener = TcpListener;

/// Accepts on this runtime from a socket that is bound.
pub fn listen(socket: std::net::TcpListener) -> io::Result<Listener> {
    TcpListener::from_std(socket)
}

/// Unacknowledged bytes for so long end a connection: a peer whose machine is gone is told from a slow one.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(3);
/// A connection at rest is probed after this time, and as often again.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// Looks the name up, and connects to the first of its addresses that takes it. The caller sets the bound.
pub async fn connect(host: &str, port: u16) -> io::Result<Stream> {
    let stream = TcpStream::connect((host, port)).await?;
    set_up(&stream)?;
    Ok(stream)
}

/// Sets what both ends of a connection between brokers need.
pub fn set_up(stream: &Stream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE),
    )
}

/// Whether nobody listens there: the process is gone, and its machine is not.
pub async fn is_refused(host: &str, port: u16, within: Duration) -> bool {
    let dial = tokio::time::timeout(within, TcpStream::connect((host, port))).await;
    matches!(dial, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Whether an error says that the other end closed the connection, and not that it fell silent.
pub fn is_closed_by_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
    )
}
