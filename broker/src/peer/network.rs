//! The network between brokers: what both ends of a connection need, and what its end tells.

use std::io;
use std::time::Duration;

use crate::network;
pub use crate::network::{Listener, OwnedReadHalf, OwnedWriteHalf, Socket, Stream};

/// Accepts on this runtime from a socket that is bound.
pub fn listen(socket: Socket) -> io::Result<Listener> {
    network::attach(socket)
}

/// Unacknowledged bytes for so long end a connection: a peer whose machine is gone is told from a slow one.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(3);
/// A connection at rest is probed after this time, and as often again.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// Looks the name up, and connects to the first of its addresses that takes it. The caller sets the bound.
pub async fn connect(host: &str, port: u16) -> io::Result<Stream> {
    let stream = network::connect(host, port).await?;
    set_up(&stream)?;
    Ok(stream)
}

/// Sets what both ends of a connection between brokers need.
pub fn set_up(stream: &Stream) -> io::Result<()> {
    network::set_nodelay(stream)?;
    network::set_unacknowledged_max(stream, UNACKNOWLEDGED_MAX, KEEPALIVE)
}

/// Whether nobody listens there: the process is gone, and its machine is not.
pub async fn is_refused(host: &str, port: u16, within: Duration) -> bool {
    let dial = tokio::time::timeout(within, network::connect(host, port)).await;
    matches!(dial, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Whether an error says that the other end closed the connection, and not that it fell silent.
pub fn is_closed_by_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
    )
}
