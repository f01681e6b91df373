//! A connection that has switched protocols: bytes are passed through unchanged.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::Socket;

/// What runs on a connection after its answer `101 Switching Protocols`, or from its start.
pub struct Tunnel(Run);

/// Makes the tunnel of a connection to the given address.
#[derive(Clone)]
pub struct PassThrough(pub Arc<dyn Fn(Option<IpAddr>) -> Tunnel + Send + Sync>);

impl fmt::Debug for PassThrough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassThrough").finish_non_exhaustive()
    }
}

type Run = Box<dyn FnOnce(ClientEnd) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

impl Tunnel {
    /// `run` owns the client's end until it returns; then the connection is closed.
    pub fn new<F>(run: impl FnOnce(ClientEnd) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Box::new(move |client| Box::pin(run(client))))
    }

    pub(super) fn run(self, client: ClientEnd) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        (self.0)(client)
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}

/// The client's end of a tunnel.
#[derive(Debug)]
pub struct ClientEnd {
    pub(super) socket: Arc<Socket>,
    /// What the client sent after its request, before the answer.
    pub(super) unread: Bytes,
}

impl AsyncRead for ClientEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let count = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread.split_to(count));
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_read(cx, buf).map_ok(drop)
    }
}

impl AsyncWrite for ClientEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_write(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.socket.poll_flush(cx))?;
        self.socket.shutdown();
        Poll::Ready(Ok(()))
    }
}
