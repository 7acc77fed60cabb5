//! The system's sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::Duration;

use milena_log::Region;
use rustix::net::SendFlags;
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};
use tokio::io::Interest;

pub use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
pub use tokio::net::{TcpListener as Listener, TcpStream as Stream};

/// A listener that belongs to no runtime yet.
pub type Socket = std::net::TcpListener;

/// Looks the name up, and connects to the first of its addresses that takes it. The caller sets the bound.
pub async fn connect(host: &str, port: u16) -> io::Result<Stream> {
    Stream::connect((host, port)).await
}

/// Takes a port; an empty host is every address, IPv6 where the system has it. Also where it is bound.
pub fn bind(host: &str, port: u16, backlog: i32) -> io::Result<(Listener, SocketAddr)> {
    let socket = socket(address(host, port)?, backlog)?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

fn address(host: &str, port: u16) -> io::Result<SocketAddr> {
    if !host.is_empty() {
        return (host, port)
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into());
    }
    let six = RawSocket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP));
    let any = if six.is_ok() {
        IpAddr::from(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::from(Ipv4Addr::UNSPECIFIED)
    };
    Ok(SocketAddr::new(any, port))
}

fn socket(address: SocketAddr, backlog: i32) -> io::Result<Listener> {
    let socket = RawSocket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Listener::from_std(socket.into())
}

/// The listener's socket, for another runtime to accept from.
pub fn detach(listener: &Listener) -> io::Result<Socket> {
    SockRef::from(listener).try_clone().map(Into::into)
}

/// Accepts on this runtime from a socket that is bound.
pub fn attach(socket: Socket) -> io::Result<Listener> {
    Listener::from_std(socket)
}

/// Has this runtime see the socket's events.
pub fn move_here(stream: Stream) -> io::Result<Stream> {
    stream.into_std().and_then(Stream::from_std)
}

/// Small answers do not wait for the next ones (Nagle's algorithm).
pub fn set_nodelay(stream: &Stream) -> io::Result<()> {
    SockRef::from(stream).set_tcp_nodelay(true)
}

/// Unacknowledged bytes end the connection after `unacknowledged_max`; at rest it is probed each `keepalive`.
pub fn set_unacknowledged_max(
    stream: &Stream,
    unacknowledged_max: Duration,
    keepalive: Duration,
) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(unacknowledged_max))?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(keepalive)
            .with_interval(keepalive),
    )
}

/// Waits until the peer has closed its side, or the connection broke, whatever is still unread.
pub async fn closed(stream: &Stream) {
    // For these two the socket is not ready because of mere bytes, but it is at the end of input.
    let interest = Interest::PRIORITY | Interest::ERROR;
    while let Ok(ready) = stream.ready(interest).await {
        if ready.is_read_closed() || ready.is_error() {
            return;
        }
        // Urgent bytes, which Kafka's protocol has no use for: nothing more is learnt here.
        std::future::pending::<()>().await;
    }
}

/// Sends bytes that are to travel in one packet with those that follow; returns how many were taken.
pub async fn send_as_begin(stream: &Stream, bytes: &[u8]) -> io::Result<usize> {
    stream
        .async_io(Interest::WRITABLE, || {
            Ok(rustix::net::send(stream, bytes, SendFlags::MORE)?)
        })
        .await
}

/// Hands a part of a log from the page cache to the socket, as much as it takes now.
pub async fn send_region(stream: &Stream, region: &mut Region) -> io::Result<()> {
    let socket = stream.as_fd();
    stream
        .async_io(Interest::WRITABLE, || region.send(socket))
        .await
}
