//! TCP between the machines of a simulation.
//!
//! A connection carries bytes in order. What is sent over a direction that is cut is not lost: it comes after the cut,
//! as what TCP sends again. An end that asked for it ([`Stream::end_when_unacknowledged`]) breaks once its peer has not
//! been heard for [`UNACKNOWLEDGED_MAX_MS`]. A process that dies closes its connections; a machine without power says
//! nothing, and once it is back it resets what it does not know.

mod net;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::machine::{self, Machine};
use net::NET;
pub use net::{Latency, UNACKNOWLEDGED_MAX_MS};
pub use stream::{OwnedReadHalf, OwnedWriteHalf, Stream};

/// A socket that accepts; a clone is the same one.
#[derive(Debug, Clone)]
pub struct Listener(Arc<Bound>);

#[derive(Debug)]
struct Bound {
    machine: Machine,
    port: u16,
}

impl Listener {
    /// Takes a port of the calling machine; 0 is any.
    pub fn bind(port: u16) -> io::Result<Self> {
        let machine = here()?;
        let port = NET.lock().bind(machine, port)?;
        Ok(Self(Arc::new(Bound { machine, port })))
    }

    /// Waits for a connection.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let (machine, port) = (self.0.machine, self.0.port);
        let accepted = std::future::poll_fn(|cx| NET.lock().poll_accept(machine, port, cx)).await;
        let (conn, address) = accepted;
        Ok((Stream::new(conn, 1), address))
    }

    /// Where it is bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::new(self.0.machine.ip(), self.0.port))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        NET.lock().unbind(self.machine, self.port);
    }
}

fn here() -> io::Result<Machine> {
    machine::current().ok_or_else(|| io::Error::other("not on a machine of the simulation"))
}

/// Connects to a machine by its name. Where nobody listens it is refused; where there is no way it waits.
pub async fn connect(host: &str, port: u16) -> io::Result<Stream> {
    let from = here()?;
    let to = machine::named(host).ok_or(io::ErrorKind::NotFound)?;
    let conn = NET.lock().dial(from, to, port);
    // Dropped with this future, it takes the attempt back.
    let stream = Stream::new(conn, 0);
    std::future::poll_fn(|cx| NET.lock().poll_connected(conn, cx)).await?;
    Ok(stream)
}

/// As [`connect`], to `host:port`.
pub async fn connect_to(address: &str) -> io::Result<Stream> {
    let (host, port) = address
        .rsplit_once(':')
        .ok_or(io::ErrorKind::InvalidInput)?;
    let port = port.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    connect(host, port).await
}

/// Decides all delays from now on.
pub fn seed(seed: u64) {
    NET.lock().seed(seed);
}

/// Delivers what is due; called for each millisecond.
pub fn tick() {
    let woken = NET.lock().tick();
    woken.into_iter().for_each(std::task::Waker::wake);
}

/// Stops what is sent from one machine to another.
pub fn cut(from: Machine, to: Machine) {
    NET.lock().cut(from, to);
}

/// Lets it through again, what was held up included.
pub fn heal(from: Machine, to: Machine) {
    NET.lock().heal(from, to);
}

/// Sets how long bytes take from one machine to another.
pub fn set_latency(from: Machine, to: Machine, latency: Latency) {
    NET.lock().set_latency(from, to, latency);
}

/// A machine loses its power; what ran there is to be dropped next.
pub fn power_off(machine: Machine) {
    machine::set_off(machine);
    NET.lock().powered_off(machine);
}

/// It is back.
pub fn power_on(machine: Machine) {
    machine::set_on(machine);
    NET.lock().powered_on(machine);
}
