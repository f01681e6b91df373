//! A stream whose received bytes are observed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Observes received bytes.
pub(super) trait Look {
    /// Called with received bytes.
    fn look(&mut self, bytes: &[u8]);
}

/// A stream and the observer of its received bytes.
#[derive(Debug)]
pub(super) struct Tap<S, L> {
    pub(super) stream: S,
    pub(super) look: L,
}

impl<S: AsyncRead + Unpin, L: Look + Unpin> AsyncRead for Tap<S, L> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, into);
        this.look.look(&into.filled()[before..]);
        polled
    }
}

impl<S: AsyncWrite + Unpin, L: Unpin> AsyncWrite for Tap<S, L> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
