//! The network itself: who is connected to whom, and what is on its way.

mod arrivals;
mod faults;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::machine::{self, Machine};
use crate::{clock, trace};

/// So long an end waits for a peer that it does not hear, if it waits with a bound.
pub const UNACKNOWLEDGED_MAX_MS: u64 = 3_000;
/// After so long at the most a keepalive finds that the machine at the other end knows nothing of the connection.
const KEEPALIVE_MS: u64 = 1_000;
/// After so long at the most TCP sends again what a cut has held up.
const SENT_AGAIN_MS: u64 = 200;
/// Bytes of one direction that are on their way or not read yet.
const WINDOW_BYTES: usize = 256 << 10;
/// Connections that wait to be accepted.
const BACKLOG_MAX: usize = 64;
const EPHEMERAL_PORT_MIN: u16 = 32_768;

/// How long bytes take.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// Usually at least this.
    pub min_ms: u64,
    /// Usually at most this.
    pub max_ms: u64,
    /// Of a thousand sends so many take up to [`Latency::late_ms`] instead.
    pub late_permille: u32,
    /// See there.
    pub late_ms: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            min_ms: 1,
            max_ms: 2,
            late_permille: 2,
            late_ms: 40,
        }
    }
}

pub(super) static NET: Mutex<Net> = Mutex::new(Net::new());

pub(super) struct Net {
    rng: Option<StdRng>,
    cuts: BTreeSet<(Machine, Machine)>,
    latencies: BTreeMap<(Machine, Machine), Latency>,
    /// What arrives when; the second number keeps the order of what arrives at once.
    due: BTreeMap<(u64, u64), Event>,
    /// What a cut holds up.
    held: BTreeMap<(Machine, Machine), VecDeque<Event>>,
    /// Since when two machines do not hear each other.
    apart: BTreeMap<(Machine, Machine), u64>,
    listeners: BTreeMap<(Machine, u16), Backlog>,
    conns: BTreeMap<u64, Conn>,
    numbers: u64,
    woken: Vec<Waker>,
}

#[derive(Default)]
struct Backlog {
    waiting: VecDeque<u64>,
    accepting: Vec<Waker>,
}

struct Conn {
    port: u16,
    /// The ends: of who dialled, and of who listens.
    ends: [End; 2],
}

struct End {
    machine: Machine,
    boot: u64,
    address: SocketAddr,
    established: bool,
    /// Nobody holds this end any more.
    dropped: bool,
    /// It has said that nothing more comes.
    shut: bool,
    /// The peer has said so, and all before it was received.
    ended: bool,
    error: Option<io::ErrorKind>,
    received: BytesMut,
    /// Bytes that it has sent and its peer has not read.
    unread: usize,
    bounded: bool,
    /// When the last of what it has sent arrives.
    arrives_ms: u64,
    reading: Vec<Waker>,
    writing: Vec<Waker>,
}

/// Something that goes to an end of a connection.
#[derive(Debug)]
struct Event {
    conn: u64,
    to: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Syn,
    SynAck,
    Refusal,
    Data(Bytes),
    Fin,
    Reset,
}

impl End {
    fn new(machine: Machine, address: SocketAddr) -> Self {
        Self {
            machine,
            boot: machine::boot(machine),
            address,
            established: false,
            dropped: false,
            shut: false,
            ended: false,
            error: None,
            received: BytesMut::new(),
            unread: 0,
            bounded: false,
            arrives_ms: 0,
            reading: Vec::new(),
            writing: Vec::new(),
        }
    }

    fn lives(&self) -> bool {
        machine::is_on(self.machine) && machine::boot(self.machine) == self.boot
    }

    fn breaks(&mut self, error: io::ErrorKind) -> Vec<Waker> {
        self.error.get_or_insert(error);
        self.wake()
    }

    fn wake(&mut self) -> Vec<Waker> {
        let mut woken = std::mem::take(&mut self.reading);
        woken.append(&mut self.writing);
        woken
    }
}

fn wait(wakers: &mut Vec<Waker>, cx: &Context<'_>) {
    if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
        wakers.push(cx.waker().clone());
    }
}

impl Net {
    const fn new() -> Self {
        Self {
            rng: None,
            cuts: BTreeSet::new(),
            latencies: BTreeMap::new(),
            due: BTreeMap::new(),
            held: BTreeMap::new(),
            apart: BTreeMap::new(),
            listeners: BTreeMap::new(),
            conns: BTreeMap::new(),
            numbers: 0,
            woken: Vec::new(),
        }
    }

    pub(super) fn seed(&mut self, seed: u64) {
        self.rng = Some(StdRng::seed_from_u64(seed));
    }

    fn draw(&mut self, from: u64, to: u64) -> u64 {
        let rng = self.rng.get_or_insert_with(|| StdRng::seed_from_u64(0));
        rng.random_range(from..=to.max(from))
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn set_latency(&mut self, from: Machine, to: Machine, latency: Latency) {
        self.latencies.insert((from, to), latency);
    }

    fn delay(&mut self, from: Machine, to: Machine) -> u64 {
        let latency = self.latencies.get(&(from, to)).copied().unwrap_or_default();
        let late = self.draw(0, 999) < u64::from(latency.late_permille);
        match late {
            true => self.draw(latency.min_ms, latency.late_ms),
            false => self.draw(latency.min_ms, latency.max_ms),
        }
        .max(1)
    }

    /// Sends to the other end than `from`.
    fn send(&mut self, conn: u64, from: usize, what: What) {
        let to = 1 - from;
        let Some(ends) = self.conns.get(&conn).map(|conn| &conn.ends) else {
            return;
        };
        let (here, there) = (ends[from].machine, ends[to].machine);
        let bytes = match &what {
            What::Data(bytes) => bytes.clone(),
            _ => Bytes::new(),
        };
        trace::note(
            match &what {
                What::Syn => "dials",
                What::SynAck => "accepts",
                What::Refusal => "refuses",
                What::Data(_) => "sends",
                What::Fin => "closes",
                What::Reset => "resets",
            },
            &[conn, here.number() as u64, there.number() as u64],
            &bytes,
        );
        let at = clock::elapsed_ms() + self.delay(here, there);
        let number = self.number();
        let Some(end) = self.conns.get_mut(&conn).map(|conn| &mut conn.ends[from]) else {
            return;
        };
        end.arrives_ms = end.arrives_ms.max(at);
        let at = end.arrives_ms;
        self.due.insert((at, number), Event { conn, to, what });
    }

    pub(super) fn dial(&mut self, from: Machine, to: Machine, port: u16) -> u64 {
        let number = self.number();
        let span = u64::from(u16::MAX - EPHEMERAL_PORT_MIN);
        let ephemeral = EPHEMERAL_PORT_MIN + u16::try_from(number % span).unwrap_or(0);
        let ends = [
            End::new(from, SocketAddr::new(from.ip(), ephemeral)),
            End::new(to, SocketAddr::new(to.ip(), port)),
        ];
        self.conns.insert(number, Conn { port, ends });
        self.send(number, 0, What::Syn);
        number
    }

    pub(super) fn bind(&mut self, machine: Machine, port: u16) -> io::Result<u16> {
        let mut free =
            (1_024..EPHEMERAL_PORT_MIN).filter(|p| !self.listeners.contains_key(&(machine, *p)));
        let port = match port {
            0 => free.next().ok_or(io::ErrorKind::AddrInUse)?,
            port => port,
        };
        if self.listeners.contains_key(&(machine, port)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.listeners.insert((machine, port), Backlog::default());
        Ok(port)
    }

    pub(super) fn unbind(&mut self, machine: Machine, port: u16) {
        let Some(backlog) = self.listeners.remove(&(machine, port)) else {
            return;
        };
        for conn in backlog.waiting {
            self.close(conn, 1);
        }
    }

    pub(super) fn poll_accept(
        &mut self,
        machine: Machine,
        port: u16,
        cx: &Context<'_>,
    ) -> Poll<(u64, SocketAddr)> {
        let Some(backlog) = self.listeners.get_mut(&(machine, port)) else {
            return Poll::Pending;
        };
        let Some(number) = backlog.waiting.pop_front() else {
            wait(&mut backlog.accepting, cx);
            return Poll::Pending;
        };
        let address = self.conns.get(&number).map(|conn| conn.ends[0].address);
        match address {
            Some(address) => Poll::Ready((number, address)),
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    pub(super) fn poll_connected(&mut self, conn: u64, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(end) = self.end(conn, 0) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        match end.error {
            Some(error) => Poll::Ready(Err(error.into())),
            None if end.established => Poll::Ready(Ok(())),
            None => {
                wait(&mut end.reading, cx);
                Poll::Pending
            }
        }
    }

    fn end(&mut self, conn: u64, end: usize) -> Option<&mut End> {
        self.conns.get_mut(&conn).map(|conn| &mut conn.ends[end])
    }

    pub(super) fn poll_readable(&mut self, conn: u64, end: usize, cx: &Context<'_>) -> Poll<()> {
        match self.end(conn, end) {
            Some(end) if end.received.is_empty() && !end.ended && end.error.is_none() => {
                wait(&mut end.reading, cx);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    pub(super) fn poll_closed(&mut self, conn: u64, end: usize, cx: &Context<'_>) -> Poll<()> {
        match self.end(conn, end) {
            Some(end) if !end.ended && end.error.is_none() => {
                wait(&mut end.reading, cx);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    pub(super) fn poll_writable(&mut self, conn: u64, end: usize, cx: &Context<'_>) -> Poll<()> {
        match self.end(conn, end) {
            Some(end) if end.unread >= WINDOW_BYTES && end.error.is_none() && !end.shut => {
                wait(&mut end.writing, cx);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    pub(super) fn peek(&mut self, conn: u64, end: usize, out: &mut [u8]) -> io::Result<usize> {
        let end = self.end(conn, end).ok_or(io::ErrorKind::NotConnected)?;
        if let Some(error) = end.error {
            return Err(error.into());
        }
        let len = out.len().min(end.received.len());
        out[..len].copy_from_slice(&end.received[..len]);
        Ok(len)
    }

    pub(super) fn read(&mut self, conn: u64, at: usize, max: usize) -> io::Result<BytesMut> {
        let end = self.end(conn, at).ok_or(io::ErrorKind::NotConnected)?;
        if let Some(error) = end.error {
            return Err(error.into());
        }
        if end.received.is_empty() && !end.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = max.min(end.received.len());
        let bytes = end.received.split_to(len);
        if let Some(peer) = self.end(conn, 1 - at) {
            peer.unread -= len;
            let woken = std::mem::take(&mut peer.writing);
            // The window's news takes a moment too.
            self.woken.extend(woken);
        }
        Ok(bytes)
    }

    pub(super) fn write(&mut self, conn: u64, at: usize, bytes: &[u8]) -> io::Result<usize> {
        let end = self.end(conn, at).ok_or(io::ErrorKind::NotConnected)?;
        if let Some(error) = end.error {
            return Err(error.into());
        }
        if end.shut {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let len = bytes.len().min(WINDOW_BYTES.saturating_sub(end.unread));
        if len == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        end.unread += len;
        let bytes = Bytes::copy_from_slice(&bytes[..len]);
        self.send(conn, at, What::Data(bytes));
        Ok(len)
    }

    pub(super) fn end_when_unacknowledged(&mut self, conn: u64, end: usize) {
        if let Some(end) = self.end(conn, end) {
            end.bounded = true;
        }
    }

    /// Nothing more is sent from this end.
    pub(super) fn shut_down(&mut self, conn: u64, at: usize) {
        let Some(end) = self.end(conn, at) else {
            return;
        };
        if !std::mem::replace(&mut end.shut, true) && end.lives() && end.error.is_none() {
            self.send(conn, at, What::Fin);
        }
    }

    /// Nobody holds this end any more. What it has not read makes the peer's bytes lost, which a reset says.
    pub(super) fn close(&mut self, conn: u64, at: usize) {
        let Some(end) = self.end(conn, at) else {
            return;
        };
        end.dropped = true;
        let quiet = end.error.is_some() || !end.lives();
        match quiet {
            true => {}
            false if !end.received.is_empty() => self.send(conn, at, What::Reset),
            false => self.shut_down(conn, at),
        }
        self.forget(conn);
    }

    /// A connection that both ends have left is gone.
    fn forget(&mut self, conn: u64) {
        let gone = |end: &End| end.dropped || !end.lives();
        if self
            .conns
            .get(&conn)
            .is_some_and(|conn| conn.ends.iter().all(gone))
            && !self.due.values().any(|event| event.conn == conn)
            && !self.held.values().flatten().any(|event| event.conn == conn)
        {
            self.conns.remove(&conn);
        }
    }
}
