//! Sockets, in one place so that a simulation can put others there.

#[cfg(not(feature = "simulation"))]
pub use tokio::net::TcpStream as Stream;
#[cfg(not(feature = "simulation"))]
pub use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

#[cfg(feature = "simulation")]
pub use milena_simulation::network::{OwnedReadHalf, OwnedWriteHalf, Stream};

/// Connects to `host:port`; the caller sets the bound.
#[cfg(not(feature = "simulation"))]
pub async fn connect(address: &str) -> std::io::Result<Stream> {
    let stream = Stream::connect(address).await?;
    // Requests are written whole: waiting for more to send would only delay them.
    stream.set_nodelay(true).ok();
    Ok(stream)
}

/// Connects to `host:port`; the caller sets the bound.
#[cfg(feature = "simulation")]
pub async fn connect(address: &str) -> std::io::Result<Stream> {
    milena_simulation::network::connect_to(address).await
}
