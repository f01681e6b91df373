//! The socket of a connection: TCP, with TLS on top if the client uses it.

use std::io;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use socket2::SockRef;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::budget::Reservation;
use super::partitioned::reset_on_close;
use crate::tls::session::{Negotiated, TlsSession, read_once};

/// A client's socket. The connection's task shares it with hyper and outlives hyper; all of them run in that task, so
/// the lock of the session is never contended.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    /// Set once the client begins a handshake. Boxed, since most connections have none.
    session: OnceLock<Box<Mutex<TlsSession>>>,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, session: OnceLock::new() }
    }

    /// The socket below TLS.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Whether TLS is used; true from the start of the handshake.
    pub(super) fn is_tls(&self) -> bool {
        self.session.get().is_some()
    }

    /// Expects a handshake from now on, which has `handshake` for its memory.
    pub(super) fn begin_tls(
        &self,
        config: Arc<ServerConfig>,
        mut handshake: Reservation,
    ) -> Result<(), rustls::Error> {
        let reserved = handshake.bytes();
        let charge = Box::new(move |bytes| handshake.grow_to(reserved + bytes));
        let session = TlsSession::server(config, charge)?;
        let _ = self.session.set(Box::new(Mutex::new(session)));
        Ok(())
    }

    /// Continues the handshake. Ready when it has ended.
    pub(super) fn poll_handshake(&self, cx: &mut Context<'_>) -> Poll<io::Result<Negotiated>> {
        match self.session() {
            Some(mut session) => session.poll_handshake(&self.tcp, cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn session(&self) -> Option<MutexGuard<'_, TlsSession>> {
        self.session.get().map(|session| session.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for input, the end of the client's side, or an error.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.session() {
            Some(mut session) => session.poll_fill(&self.tcp, cx).map(drop),
            None => self.tcp.poll_read_ready(cx).map(drop),
        }
    }

    /// Whether the client has ended its side or broken the connection. If not, the task is woken on input.
    pub(super) fn poll_peek_end(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if let Some(mut session) = self.session() {
            return session.poll_fill(&self.tcp, cx).map_ok(|is_there| !is_there);
        }
        let mut byte = [std::mem::MaybeUninit::uninit()];
        self.tcp.poll_peek(cx, &mut ReadBuf::uninit(&mut byte)).map_ok(|count| count == 0)
    }

    /// Reads once. Zero bytes: the client has ended its side.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        if let Some(mut session) = self.session() {
            return session.poll_read(&self.tcp, cx, buf);
        }
        loop {
            ready!(self.tcp.poll_read_ready(cx))?;
            let room = buf.remaining();
            match read_once(&self.tcp, room, || self.tcp.try_read_buf(&mut &mut *buf)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
        }
    }

    /// Writes some of the bytes. TLS may buffer them until [`poll_flush`](Self::poll_flush).
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(mut session) = self.session() {
            return session.poll_write(&self.tcp, cx, bufs);
        }
        loop {
            ready!(self.tcp.poll_write_ready(cx))?;
            match self.tcp.try_write_vectored(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Sends buffered bytes. Plain TCP has none.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.session() {
            Some(mut session) => session.poll_flush(&self.tcp, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Writes a short message, as far as possible without waiting.
    pub(super) fn try_write(&self, bytes: &[u8]) {
        match self.session() {
            Some(mut session) => session.try_write(&self.tcp, bytes),
            // The client may miss it; the connection ends in any case.
            None => drop(self.tcp.try_write(bytes)),
        }
    }

    /// Ends our side: `close_notify` within TLS, and FIN.
    pub(super) fn shutdown(&self) {
        self.notify();
        let _ = SockRef::from(&self.tcp).shutdown(Shutdown::Write);
    }

    /// Sends `close_notify` within TLS.
    pub(super) fn notify(&self) {
        if let Some(mut session) = self.session() {
            session.notify(&self.tcp);
        }
    }

    /// Suppresses `close_notify`: within TLS, the connection appears to be cut off.
    pub(super) fn silence(&self) {
        if let Some(mut session) = self.session() {
            session.silence();
        }
    }

    /// Makes the close of the connection a reset.
    pub(super) fn reset_on_close(&self) {
        self.silence();
        reset_on_close(&self.tcp);
    }
}
