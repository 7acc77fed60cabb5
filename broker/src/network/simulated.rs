//! The simulation's sockets, with the face of the system's.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use milena_log::Region;

pub use milena_simulation::network::{Listener, OwnedReadHalf, OwnedWriteHalf, Stream, connect};

/// What is read of a log at once.
const PART_SIZE: usize = 64 * 1024;

/// A listener; one runtime is all runtimes here.
pub type Socket = Listener;

/// Takes a port of the machine that calls.
pub fn bind(_host: &str, port: u16, _backlog: i32) -> io::Result<(Listener, SocketAddr)> {
    let listener = Listener::bind(port)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The same listener.
pub fn detach(listener: &Listener) -> io::Result<Socket> {
    Ok(listener.clone())
}

/// The same listener.
pub fn attach(socket: Socket) -> io::Result<Listener> {
    Ok(socket)
}

/// The same stream.
pub fn move_here(stream: Stream) -> io::Result<Stream> {
    Ok(stream)
}

/// Nothing is delayed in any case.
pub fn set_nodelay(_stream: &Stream) -> io::Result<()> {
    Ok(())
}

/// The simulation has one bound, the brokers'.
pub fn set_unacknowledged_max(
    stream: &Stream,
    _unacknowledged_max: Duration,
    _keepalive: Duration,
) -> io::Result<()> {
    stream.end_when_unacknowledged();
    Ok(())
}

/// Waits until the peer has closed its side, or the connection broke.
pub async fn closed(stream: &Stream) {
    stream.closed().await;
}

/// Sends bytes; returns how many were taken.
pub async fn send_as_begin(stream: &Stream, bytes: &[u8]) -> io::Result<usize> {
    stream.writable().await?;
    stream.try_write(bytes)
}

/// Sends a part of a log that is read first.
pub async fn send_region(stream: &Stream, region: &mut Region) -> io::Result<()> {
    let bytes = region.split_to(region.len().min(PART_SIZE)).read_all()?;
    let mut sent = 0;
    while sent < bytes.len() {
        sent += send_as_begin(stream, &bytes[sent..]).await?;
    }
    Ok(())
}
