//! A connection on which a request was sent before hyper began to drive it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::UpstreamStream;

/// Drops the head that hyper writes first, because the upstream has it already. Then hyper reads what has arrived of the
/// answer, and the rest from the connection.
#[derive(Debug)]
pub(in crate::proxy) struct BegunStream {
    pub(super) stream: UpstreamStream,
    received: Bytes,
    is_dropping: bool,
    /// Waits for hyper to write the head. Before, it takes every byte for an error.
    reader: Option<Waker>,
}

impl BegunStream {
    /// `received` has arrived of the answer.
    pub(in crate::proxy) fn new(stream: UpstreamStream, received: Bytes) -> Self {
        Self { stream, received, is_dropping: true, reader: None }
    }
}

impl AsyncRead for BegunStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_dropping {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if self.received.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let count = self.received.len().min(buf.remaining());
        buf.put_slice(&self.received.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BegunStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper writes the head of a request without a body at once.
        if std::mem::take(&mut self.is_dropping) {
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
