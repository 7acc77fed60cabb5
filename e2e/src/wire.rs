//! A connection that sends any bytes at all, in any order, and reads whole frames.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use milena_protocol::Request;
use milena_protocol::header::{decode_response, encode_request};

/// Far more than any answer takes, for a machine that is busy with the other tests.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// One connection, read and written by blocking calls that are bounded in time.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
}

impl Wire {
    /// Connects to HOST:PORT.
    pub fn connect(address: &str) -> Result<Self> {
        Self::connect_within(address, ANSWER_LIMIT)
    }

    /// Connects to HOST:PORT; neither that nor an answer may take longer than `limit`.
    pub fn connect_within(address: &str, limit: Duration) -> Result<Self> {
        let address: SocketAddr = address.parse().context("an address")?;
        let stream = TcpStream::connect_timeout(&address, limit).context("connect")?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// HOST:PORT of this end, as the broker names it in its log.
    pub fn local_address(&self) -> io::Result<String> {
        Ok(self.stream.local_addr()?.to_string())
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request in one of its versions.
    pub fn send<R: Request>(&mut self, request: &R, version: i16, id: i32) -> io::Result<()> {
        self.send_bytes(&framed(request, version, id))
    }

    /// Sends a request and reads its answer.
    pub fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        const ID: i32 = 77;
        self.send(request, version, ID).context(R::NAME)?;
        let frame = self.receive()?.context("closed instead of an answer")?;
        let (id, response) = decode_response::<R>(frame, version)?;
        ensure!(id == ID, "the answer's correlation id is {id}, not {ID}");
        Ok(response)
    }

    /// The next whole frame without its length; `None` where the broker has closed the connection.
    pub fn receive(&mut self) -> Result<Option<Bytes>> {
        let mut length = [0; 4];
        match self.stream.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if is_closed(&error) => return Ok(None),
            Err(error) => bail!("neither an answer nor an end: {error}"),
        }
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).context("half a frame")?;
        Ok(Some(frame.into()))
    }

    /// Says that nothing more will be sent; answers can still be read.
    pub fn end(&self) -> io::Result<()> {
        match self.stream.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }
}

/// A request with its length and header.
pub fn framed<R: Request>(request: &R, version: i16, id: i32) -> Vec<u8> {
    encode_request(request, version, id, Some("e2e")).to_vec()
}

/// Whether an error is what a closed connection gives, be it closed with or without unread bytes.
pub fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}
