//! One direction of a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::TcpProxy;
use super::buffers::SIZE;
use crate::fault::Stream;
use crate::listener::budget::{Reservation, Share};
use crate::proxy::stream::UpstreamStream;

/// What is read where the memory does not suffice for more, in bytes.
const LITTLE: usize = 4 << 10;

/// A remainder up to this size is copied out of its buffer, so that a connection that waits holds little.
const COPIED: usize = 16 << 10;

/// One direction of a connection.
pub(super) struct Pipe {
    stream: Stream,
    /// What was read and is not written yet.
    left: Option<Left>,
    /// Whether the source has ended.
    has_ended: bool,
    /// Whether the sink has been told so.
    is_closed: bool,
}

/// Bytes that wait to be written.
struct Left {
    bytes: Box<[u8]>,
    from: usize,
    to: usize,
    memory: Reservation,
}

/// Which side a connection broke on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Source,
    Sink,
    /// There is no memory for what the connection would hold.
    Memory,
}

impl Pipe {
    pub(super) const fn new(stream: Stream) -> Self {
        Self { stream, left: None, has_ended: false, is_closed: false }
    }

    /// Whether all has been passed on, the end included.
    pub(super) const fn is_done(&self) -> bool {
        self.is_closed
    }

    /// Passes bytes on until there are none, or the sink takes none. Ready when all is passed on, the end included.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut UpstreamStream,
        sink: &mut UpstreamStream,
        proxy: &TcpProxy,
    ) -> Poll<Result<(), Broken>> {
        loop {
            ready!(self.poll_write(cx, sink, proxy))?;
            if self.has_ended {
                if !self.is_closed {
                    ready!(Pin::new(&mut *sink).poll_shutdown(cx)).map_err(|_| Broken::Sink)?;
                    self.is_closed = true;
                }
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_read(cx, source, sink, proxy))?;
        }
    }

    /// Writes what is left.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut UpstreamStream,
        proxy: &TcpProxy,
    ) -> Poll<Result<(), Broken>> {
        if let Some(left) = &mut self.left {
            let range = &left.bytes[left.from..left.to];
            let written = write_all(cx, sink, range);
            let (count, state) = written;
            left.from += count;
            proxy.metrics.passed(self.stream, count);
            ready!(state).map_err(|_| Broken::Sink)?;
            if let Some(left) = self.left.take() {
                proxy.shared.buffers.give(left.bytes);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once, and writes as much of it as the sink takes.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut UpstreamStream,
        sink: &mut UpstreamStream,
        proxy: &TcpProxy,
    ) -> Poll<Result<(), Broken>> {
        let (memory, size) = match proxy.shared.budget.reserve(SIZE, Share::Bulk) {
            Some(memory) => (memory, SIZE),
            None => (proxy.shared.budget.reserve(LITTLE, Share::Ordinary).ok_or(Broken::Memory)?, LITTLE),
        };
        let mut buffer = proxy.shared.buffers.take();
        let mut read = ReadBuf::new(&mut buffer[..size]);
        let polled = Pin::new(source).poll_read(cx, &mut read);
        let to = read.filled().len();
        if !matches!(polled, Poll::Ready(Ok(()))) || to == 0 {
            proxy.shared.buffers.give(buffer);
            ready!(polled).map_err(|_| Broken::Source)?;
            self.has_ended = true;
            return Poll::Ready(Ok(()));
        }
        let (from, state) = write_all(cx, sink, &buffer[..to]);
        proxy.metrics.passed(self.stream, from);
        match state {
            Poll::Ready(Ok(())) => {
                proxy.shared.buffers.give(buffer);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(Broken::Sink)),
            Poll::Pending => {
                self.keep(buffer, from, to, memory, proxy);
                Poll::Pending
            }
        }
    }

    fn keep(&mut self, buffer: Box<[u8]>, from: usize, to: usize, memory: Reservation, proxy: &TcpProxy) {
        let mut left = Left { bytes: buffer, from, to, memory };
        if to - from <= COPIED {
            let copy: Box<[u8]> = left.bytes[from..to].into();
            proxy.shared.buffers.give(std::mem::replace(&mut left.bytes, copy));
            (left.from, left.to) = (0, to - from);
            left.memory.shrink_to(to - from);
        }
        self.left = Some(left);
    }
}

/// Writes and flushes as much as the sink takes; gives how much that is, and whether it is all.
fn write_all(cx: &mut Context<'_>, sink: &mut UpstreamStream, bytes: &[u8]) -> (usize, Poll<io::Result<()>>) {
    let mut count = 0;
    while count < bytes.len() {
        match Pin::new(&mut *sink).poll_write(cx, &bytes[count..]) {
            Poll::Ready(Ok(0)) => return (count, Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
            Poll::Ready(Ok(written)) => count += written,
            Poll::Ready(Err(error)) => return (count, Poll::Ready(Err(error))),
            Poll::Pending => return (count, Poll::Pending),
        }
    }
    (count, Pin::new(sink).poll_flush(cx))
}
