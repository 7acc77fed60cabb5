//! One end of a connection, with the face of tokio's.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::net::NET;

/// An end of a connection. It closes with its drop.
#[derive(Debug)]
pub struct Stream {
    conn: u64,
    end: usize,
}

impl Stream {
    pub(super) fn new(conn: u64, end: usize) -> Self {
        Self { conn, end }
    }

    /// Waits until there are bytes, the end of input, or an error.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| {
            NET.lock()
                .poll_readable(self.conn, self.end, cx)
                .map(|()| Ok(()))
        })
        .await
    }

    /// Waits until the peer has closed its side, or the connection broke.
    pub async fn closed(&self) {
        poll_fn(|cx| NET.lock().poll_closed(self.conn, self.end, cx)).await;
    }

    /// Waits until bytes can be written, or there is an error.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| {
            NET.lock()
                .poll_writable(self.conn, self.end, cx)
                .map(|()| Ok(()))
        })
        .await
    }

    /// Takes bytes that are there; 0 at the end of input.
    pub fn try_read_buf(&self, out: &mut impl BufMut) -> io::Result<usize> {
        let bytes = NET.lock().read(self.conn, self.end, out.remaining_mut())?;
        out.put_slice(&bytes);
        Ok(bytes.len())
    }

    /// Writes what the window takes.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        NET.lock().write(self.conn, self.end, bytes)
    }

    /// Waits for bytes, and leaves them there; 0 at the end of input.
    pub async fn peek(&self, out: &mut [u8]) -> io::Result<usize> {
        self.readable().await?;
        NET.lock().peek(self.conn, self.end, out)
    }

    /// Has this end break when its peer is not heard for too long: TCP_USER_TIMEOUT, with keepalives.
    pub fn end_when_unacknowledged(&self) {
        NET.lock().end_when_unacknowledged(self.conn, self.end);
    }

    /// Both halves.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let whole = Arc::new(self);
        (OwnedReadHalf(whole.clone()), OwnedWriteHalf(whole))
    }

    fn poll_read_into(&self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut net = NET.lock();
        std::task::ready!(net.poll_readable(self.conn, self.end, cx));
        let bytes = net.read(self.conn, self.end, out.remaining())?;
        out.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }

    fn poll_write_from(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut net = NET.lock();
        std::task::ready!(net.poll_writable(self.conn, self.end, cx));
        Poll::Ready(net.write(self.conn, self.end, bytes))
    }

    fn shut_down(&self) {
        NET.lock().shut_down(self.conn, self.end);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        NET.lock().close(self.conn, self.end);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_read_into(cx, out)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_from(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut_down();
        Poll::Ready(Ok(()))
    }
}

/// The reading half.
#[derive(Debug)]
pub struct OwnedReadHalf(Arc<Stream>);

impl AsyncRead for OwnedReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read_into(cx, out)
    }
}

/// The writing half; its drop tells the peer that nothing more comes.
#[derive(Debug)]
pub struct OwnedWriteHalf(Arc<Stream>);

impl AsyncWrite for OwnedWriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write_from(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.shut_down();
        Poll::Ready(Ok(()))
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        self.0.shut_down();
    }
}
