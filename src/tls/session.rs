//! A TLS session on a TCP socket.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use tokio::io::{Interest, ReadBuf};
use tokio::net::TcpStream;

/// Limit of plain text that is encrypted ahead of the socket, in bytes: one record.
const SEND_BUFFER: usize = 16 << 10;

/// Handshake bytes that the initial reservation covers.
const COVERED: usize = 4 << 10;

/// Limit of bytes after the handshake that contain no application data: more than the largest record.
const MAX_UNPRODUCTIVE: usize = 20 << 10;

/// Limit of the memory that a client uses for a server's handshake messages, in bytes.
const MAX_CLIENT_HANDSHAKE: usize = 256 << 10;

/// Charges the memory of a handshake beyond its initial reservation, in bytes; false if it is too much.
pub(crate) type Charge = Box<dyn FnMut(usize) -> bool + Send>;

/// The protocol that client and server negotiated (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negotiated {
    /// HTTP/1, also if nothing was negotiated.
    Http1,
    /// HTTP/2.
    Http2,
}

/// One side of TLS on a socket.
pub(crate) struct TlsSession {
    tls: Connection,
    /// Charges the handshake's memory; `None` after its end.
    handshake: Option<Charge>,
    /// Bytes received since the start of the handshake, or since the last application data.
    unproductive: usize,
    /// Decrypted bytes that were not read yet.
    plaintext: usize,
    /// Whether the peer has ended its side.
    has_ended: bool,
    /// Whether the peer has sent `close_notify`.
    is_notified: bool,
    /// Whether nothing more is sent, not even `close_notify`.
    is_silent: bool,
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession").field("plaintext", &self.plaintext).finish_non_exhaustive()
    }
}

impl TlsSession {
    /// Creates the server's side, before the handshake. `charge` is called for the memory of the handshake.
    pub(crate) fn server(config: Arc<ServerConfig>, charge: Charge) -> Result<Self, rustls::Error> {
        Ok(Self::new(ServerConnection::new(config)?.into(), charge))
    }

    /// Creates the client's side, before the handshake with the server of this name.
    pub(crate) fn client(
        config: Arc<ClientConfig>,
        server: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let charge = Box::new(|bytes| bytes <= MAX_CLIENT_HANDSHAKE);
        Ok(Self::new(ClientConnection::new(config, server)?.into(), charge))
    }

    fn new(mut tls: Connection, charge: Charge) -> Self {
        tls.set_buffer_limit(Some(SEND_BUFFER));
        Self {
            tls,
            handshake: Some(charge),
            unproductive: 0,
            plaintext: 0,
            has_ended: false,
            is_notified: false,
            is_silent: false,
        }
    }

    /// Continues the handshake. Ready when it has ended.
    pub(crate) fn poll_handshake(
        &mut self,
        tcp: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Negotiated>> {
        loop {
            let flushed = self.poll_flush(tcp, cx)?;
            if !self.tls.is_handshaking() {
                ready!(flushed);
                (self.handshake, self.unproductive) = (None, 0);
                return Poll::Ready(Ok(match self.tls.alpn_protocol() {
                    Some(b"h2") => Negotiated::Http2,
                    _ => Negotiated::Http1,
                }));
            }
            if self.has_ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            ready!(self.poll_receive(tcp, cx))?;
        }
    }

    /// Waits for application data. False if the peer has ended its side.
    pub(crate) fn poll_fill(&mut self, tcp: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            if self.plaintext > 0 {
                return Poll::Ready(Ok(true));
            }
            if self.has_ended {
                return Poll::Ready(Ok(false));
            }
            ready!(self.poll_receive(tcp, cx))?;
            // TLS answers some messages by itself. Answers that cannot be sent now are sent with the next data.
            let _ = self.poll_flush(tcp, cx)?;
        }
    }

    /// Reads application data; 0 bytes if the peer has ended its side.
    pub(crate) fn poll_read(
        &mut self,
        tcp: &TcpStream,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        if !ready!(self.poll_fill(tcp, cx))? {
            return Poll::Ready(Ok(0));
        }
        let room = self.plaintext.min(buf.remaining());
        let count = self.tls.reader().read(buf.initialize_unfilled_to(room))?;
        self.plaintext -= count;
        buf.advance(count);
        Poll::Ready(Ok(count))
    }

    /// Encrypts application data and sends as much as possible. The rest is sent by [`poll_flush`](Self::poll_flush).
    pub(crate) fn poll_write(
        &mut self,
        tcp: &TcpStream,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Flush first, so that at most one record is buffered.
        ready!(self.poll_flush(tcp, cx))?;
        let count = self.tls.writer().write_vectored(bufs)?;
        let _ = self.poll_flush(tcp, cx)?;
        Poll::Ready(Ok(count))
    }

    /// Sends buffered records.
    pub(crate) fn poll_flush(&mut self, tcp: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            ready!(tcp.poll_write_ready(cx))?;
            match self.send(tcp) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => sent?,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends a short message, as far as possible without waiting.
    pub(crate) fn try_write(&mut self, tcp: &TcpStream, bytes: &[u8]) {
        if !self.tls.is_handshaking() {
            // The peer may miss it; the connection ends in any case.
            let _ = self.tls.writer().write(bytes);
            let _ = self.send_all(tcp);
        }
    }

    /// Sends `close_notify`.
    pub(crate) fn notify(&mut self, tcp: &TcpStream) {
        if !std::mem::replace(&mut self.is_silent, true) {
            self.tls.send_close_notify();
            let _ = self.send_all(tcp);
        }
    }

    /// Whether the peer's side ended without `close_notify`.
    pub(crate) fn is_truncated(&self) -> bool {
        self.has_ended && !self.is_notified
    }

    /// Suppresses `close_notify`.
    pub(crate) fn silence(&mut self) {
        self.is_silent = true;
    }

    fn send(&mut self, tcp: &TcpStream) -> io::Result<()> {
        self.tls.write_tls(&mut RawSocket(tcp)).map(drop)
    }

    fn send_all(&mut self, tcp: &TcpStream) -> io::Result<()> {
        while self.tls.wants_write() {
            self.send(tcp)?;
        }
        Ok(())
    }

    /// Reads from the socket once, and decrypts.
    fn poll_receive(&mut self, tcp: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(tcp.poll_read_ready(cx))?;
            match self.tls.read_tls(&mut RawSocket(tcp)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                // A missing `close_notify` matters only to some callers; see `is_truncated`.
                Ok(0) => self.has_ended = true,
                read => self.account(read?)?,
            }
            return Poll::Ready(match self.tls.process_new_packets() {
                Ok(state) => {
                    self.plaintext = state.plaintext_bytes_to_read();
                    if self.plaintext > 0 {
                        self.unproductive = 0;
                    }
                    self.is_notified = state.peer_has_closed();
                    self.has_ended |= self.is_notified;
                    Ok(())
                }
                Err(error) => {
                    self.has_ended = true;
                    // Send the alert.
                    let _ = self.send_all(tcp);
                    Err(io::Error::new(io::ErrorKind::InvalidData, error))
                }
            });
        }
    }

    /// Charges the memory for incomplete messages of the peer: at most 64 KiB, in a buffer that grows by copying.
    fn account(&mut self, count: usize) -> io::Result<()> {
        self.unproductive += count;
        let fits = match &mut self.handshake {
            Some(charge) => charge(3 * self.unproductive.saturating_sub(COVERED)),
            None => self.unproductive <= MAX_UNPRODUCTIVE,
        };
        if fits { Ok(()) } else { Err(io::ErrorKind::OutOfMemory.into()) }
    }
}

/// The record of a fatal alert, not encrypted (RFC 8446, sections 5.1 and 6).
pub(crate) fn alert(description: u8) -> [u8; 7] {
    [0x15, 3, 3, 0, 2, 2, description]
}

/// The socket as rustls reads and writes it.
struct RawSocket<'a>(&'a TcpStream);

impl io::Read for RawSocket<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        read_once(self.0, buf.len(), || self.0.try_read(buf))
    }
}

impl io::Write for RawSocket<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_write(buf)
    }

    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Calls `read` once, which reads into a buffer of `room` bytes. A short read means that the socket is empty, so the next
/// read waits for the reactor instead of making a futile system call.
pub(crate) fn read_once(
    tcp: &TcpStream,
    room: usize,
    mut read: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    let mut result = Err(io::ErrorKind::WouldBlock.into());
    // `try_io` clears only the readiness observed before the read, so data that arrive later are not missed.
    let _ = tcp.try_io(Interest::READABLE, || {
        result = read();
        match result {
            Ok(count) if 0 < count && count < room => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    });
    result
}
