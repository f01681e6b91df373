//! The socket as hyper uses it; records the client's progress.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::budget::Reservation;
use super::flood::FloodGuard;
use super::frames::Frames;
use super::script::FILLING;
use super::socket::Socket;
use super::state::ConnectionState;

/// hyper's half of a connection. It shares the socket with the connection's task, which outlives hyper.
#[derive(Debug)]
pub(super) struct HyperStream {
    pub(super) socket: Arc<Socket>,
    pub(super) state: Arc<ConnectionState>,
    /// Bytes to read before those of the socket.
    pub(super) unread: Bytes,
    /// The client's progress, by protocol.
    pub(super) progress: ReceiveProgress,
    /// Reservation for hyper's buffer beyond an ordinary head. hyper keeps the buffer until it is dropped, together
    /// with this.
    pub(super) buffered: Option<Reservation>,
    /// Reservation for the kernel's buffer while the client does not read.
    pub(super) stalled: Option<Reservation>,
}

/// Progress of the bytes that a client sends.
#[derive(Debug)]
pub(super) enum ReceiveProgress {
    /// Size of the current HTTP/1 head.
    Http1 { head: usize },
    /// The frames of HTTP/2.
    Http2(Frames, FloodGuard),
}

impl AsyncRead for HyperStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let count = self.unread.len().min(buf.remaining());
            let unread = self.unread.split_to(count);
            buf.put_slice(&unread);
            return Poll::Ready(self.account(&unread));
        }
        let before = buf.filled().len();
        match ready!(self.socket.poll_read(cx, buf)) {
            // hyper would drop the handler before its first poll. The connection's task decides whether the client
            // has left, after the handler could answer.
            Ok(0) if self.state.defers_end(cx.waker()) => Poll::Pending,
            Ok(0) => Poll::Ready(Ok(())),
            Ok(_) => Poll::Ready(self.account(&buf.filled()[before..])),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

/// Bytes of unread bodies that hyper holds over HTTP/2: the window and a frame.
const UNREAD_BODIES: usize = (64 + 16) << 10;

/// Kernel memory of an answer that its client does not read: the buffer, whose size the kernel doubles, and its overhead.
const UNREAD_ANSWER: usize = 36 << 10;

/// Heads up to this size are covered by the memory reserved for an ordinary request.
const SMALL_HEAD: usize = 4096;

impl HyperStream {
    /// Records the client's progress after `bytes` more, and reserves memory for what hyper holds of them. Its buffer
    /// grows by copying, up to twice its content.
    fn account(&mut self, bytes: &[u8]) -> io::Result<()> {
        let needed = match &mut self.progress {
            ReceiveProgress::Http1 { head } => {
                let goes_on = !self.state.head_begins() && self.state.is_sending_head();
                *head = if goes_on { *head + bytes.len() } else { bytes.len() };
                if *head > SMALL_HEAD { 3 * *head } else { 0 }
            }
            ReceiveProgress::Http2(frames, flood) => {
                frames.feed(bytes);
                let (useless, blocks) = frames.take_counts();
                if !flood.received(useless, blocks) {
                    self.state.is_flooding();
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                self.state.set_unfinished(frames.is_unfinished());
                let block = if frames.block() > SMALL_HEAD { 3 * frames.block() } else { 0 };
                block + if frames.has_data() { UNREAD_BODIES } else { 0 }
            }
        };
        if needed == 0 {
            return Ok(());
        }
        let fits = if let Some(buffered) = &mut self.buffered {
            buffered.grow_to(needed)
        } else {
            self.buffered = self.state.budget().reserve(needed, self.state.bulk_share());
            self.buffered.is_some()
        };
        if fits { Ok(()) } else { Err(self.run_out_of_memory()) }
    }

    /// Reserves memory for what waits in the kernel while the client does not read.
    fn write_waits(&mut self, waits: bool) -> io::Result<()> {
        self.state.write_waits(waits);
        if !waits {
            self.stalled = None;
        } else if self.stalled.is_none() {
            self.stalled = self.state.budget().reserve(UNREAD_ANSWER, self.state.bulk_share());
            if self.stalled.is_none() {
                return Err(self.run_out_of_memory());
            }
        }
        Ok(())
    }

    fn run_out_of_memory(&self) -> io::Error {
        self.state.run_out_of_memory();
        io::ErrorKind::OutOfMemory.into()
    }
}

impl AsyncWrite for HyperStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.state.holds_output() {
            // The connection's task polls again at once.
            return Poll::Pending;
        }
        if self.state.take_expects_reset() {
            let _ = SockRef::from(self.socket.tcp()).set_send_buffer_size(FILLING.len());
        }
        let written = self.socket.poll_write(cx, bufs)?;
        self.write_waits(written.is_pending())?;
        if let (Poll::Ready(count), ReceiveProgress::Http2(_, flood)) = (written, &mut self.progress) {
            flood.wrote(count);
        }
        written.map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper calls this when its own buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.socket.poll_flush(cx)?;
        if flushed.is_pending() {
            self.write_waits(true)?;
        } else {
            self.state.flushed();
        }
        flushed.map(Ok)
    }

    /// hyper is finished with it. The connection's task closes the socket at once, or lingers.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
