//! A connection to an upstream: TCP, TLS over TCP, or a Unix socket.

mod begun;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::tls::ClientStream;
pub(super) use begun::BegunStream;

/// A connection to an upstream.
#[derive(Debug)]
pub(super) enum UpstreamStream {
    Tcp(TcpStream),
    /// Boxed, because it is ten times as large as the others.
    Tls(Box<ClientStream>),
    Unix(UnixStream),
    /// One on which a request was sent before hyper began to drive it.
    Begun(Box<BegunStream>),
}

impl UpstreamStream {
    /// The TCP socket; `None` for a Unix socket.
    pub(super) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Tls(stream) => Some(stream.tcp()),
            Self::Unix(_) => None,
            Self::Begun(begun) => begun.stream.tcp(),
        }
    }

    /// Whether the upstream has sent nothing, and has not closed the connection, as far as the reactor knows.
    pub(super) fn is_quiet(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(&mut cx).is_pending(),
            Self::Unix(stream) => stream.poll_read_ready(&mut cx).is_pending(),
            Self::Tls(_) | Self::Begun(_) => false,
        }
    }
}

/// Calls a method of the variant's stream.
macro_rules! delegate {
    ($self:ident, $method:ident $(, $argument:expr)*) => {
        match $self.get_mut() {
            UpstreamStream::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            UpstreamStream::Tls(stream) => Pin::new(&mut **stream).$method($($argument),*),
            UpstreamStream::Unix(stream) => Pin::new(stream).$method($($argument),*),
            UpstreamStream::Begun(stream) => Pin::new(&mut **stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for UpstreamStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_read, cx, buf)
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write, cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write_vectored, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_shutdown, cx)
    }
}
