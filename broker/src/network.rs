//! Sockets, in one place so that a simulation can put others there: all that brokers and clients say to a broker.

#[cfg(feature = "simulation")]
mod simulated;

#[cfg(not(feature = "simulation"))]
use real as chosen;
#[cfg(feature = "simulation")]
use simulated as chosen;

pub use chosen::{
    Listener, OwnedReadHalf, OwnedWriteHalf, Socket, Stream, attach, bind, closed, connect, detach,
    move_here, send_as_begin, send_region, set_nodelay, set_unacknowledged_max,
};
#[cfg(not(feature = "simulation"))]
mod real;
