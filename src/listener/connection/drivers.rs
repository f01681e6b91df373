//! The drivers of a connection's task: hyper for each protocol, a script, or nothing.

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::AlertDescription;

use super::refusal::ConnectionRefusal;
use super::{BudgetShare, Connection};
use crate::listener::MIN_BUFFER;
use crate::listener::driver::Driver;
use crate::listener::event::DriverEvent;
use crate::listener::flood::FloodGuard;
use crate::listener::frames::Frames;
use crate::listener::handler::Http1Handler;
use crate::listener::http2::Http2;
use crate::listener::plain::PlainConnection;
use crate::listener::script::ScriptEnding;
use crate::listener::script::Takeover;
use crate::listener::stream::{HyperStream, ReceiveProgress};
use crate::listener::tunnel::{ClientEnd, PassThrough, Tunnel};
use crate::telemetry::metrics::HandshakeResult;
use crate::tls::session::Negotiated;

/// Memory of an ordinary request in progress, in addition to that of an idle connection, in bytes: hyper with its
/// buffers, the request, its answer, and the kernel's buffers.
pub(in crate::listener) const REQUEST_MEMORY: usize = 26 << 10;

/// Memory of TLS records while a request is in progress, in bytes: one per direction, encrypted and in plain text.
const RECORD_MEMORY: usize = 34 << 10;

/// Memory of an HTTP/2 connection without its streams, in addition to that of an idle connection, in bytes: hyper with
/// its tables and buffers, and the kernel's buffers.
const HTTP2_MEMORY: usize = 64 << 10;

/// hyper's own limit of trailers, in bytes.
const MAX_TRAILERS: usize = 16 << 10;

impl Connection {
    /// The next driver, once the client sends.
    pub(super) fn begins(&mut self, event: DriverEvent) -> Result<Driver, ConnectionRefusal> {
        let is_http2 = match event {
            DriverEvent::Tls if self.service.tls.is_some() => return self.begin_handshake(),
            DriverEvent::Tls if self.service.pass_through.is_some() => return self.passes_through(),
            DriverEvent::Handshake(Ok(negotiated)) => {
                self.service.metrics.tls().handshake(HandshakeResult::Completed);
                self.state.handshake_ends();
                return Ok(Driver::Idle(negotiated));
            }
            DriverEvent::Handshake(Err(error)) => return Err(ConnectionRefusal::HandshakeFailed(error)),
            DriverEvent::Http2 => self.service.speaks_http2,
            _ => false,
        };
        if self.lacks_tls() {
            return Err(ConnectionRefusal::Plain { is_http2 });
        }
        let records = if self.socket.is_tls() { RECORD_MEMORY } else { 0 };
        if !self.reserve_request(records + if is_http2 { HTTP2_MEMORY } else { REQUEST_MEMORY }) {
            return Err(ConnectionRefusal::Memory { is_http2 });
        }
        Ok(if is_http2 {
            self.http2()
        } else if self.service.routes.has_plain() {
            Driver::Plain(Box::new(PlainConnection::new(self.http1_stream(Bytes::new()), &self.service)))
        } else {
            self.http1(self.http1_stream(Bytes::new()), false)
        })
    }

    /// Drops hyper while the connection is idle. A new instance gets the bytes of the next request that were already
    /// read.
    pub(super) fn rest(&mut self, driver: Driver) -> Driver {
        match driver {
            Driver::Http1 { connection, .. } => match connection.into_parts().read_buf {
                unread if unread.is_empty() => {
                    self.request = None;
                    Driver::Idle(Negotiated::Http1)
                }
                unread => self.http1(self.http1_stream(unread), false),
            },
            Driver::Plain(plain) if plain.is_idle() => {
                self.request = None;
                Driver::Idle(Negotiated::Http1)
            }
            other => other,
        }
    }

    /// Lets hyper answer a request that is not plain, and those that follow until the connection rests. If only the
    /// decision on it makes it so, those that follow may be plain again.
    pub(super) fn not_plain(&self, driver: Driver, unread: Bytes) -> Driver {
        match driver {
            Driver::Plain(plain) => self.http1(plain.into_stream(unread), self.state.has_injection()),
            other => other,
        }
    }

    fn http1_stream(&self, unread: Bytes) -> HyperStream {
        self.stream(unread, ReceiveProgress::Http1 { head: 0 })
    }

    fn http1(&self, stream: HyperStream, is_single: bool) -> Driver {
        let handler = Http1Handler { service: self.service.clone(), state: self.state.clone() };
        let size = self.service.limits.head_size;
        let mut builder = http1::Builder::new();
        // hyper applies this limit to trailers, too, which it keeps in memory outside of the budget. Larger heads are
        // limited by its buffer.
        if size <= MAX_TRAILERS {
            builder.max_header_size(size);
        }
        let connection = builder
            .max_buf_size(size.max(MIN_BUFFER))
            // Its timer would continue in a frozen connection, and apply the head limit to idle ones.
            .header_read_timeout(None)
            .preserve_header_case(self.service.transparent)
            // The connection's task notices a client that leaves. hyper would take a second buffer to look for it.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), handler);
        Driver::Http1 { connection: Box::new(connection), is_single }
    }

    pub(super) fn http2(&self) -> Driver {
        self.state.multiplexes();
        let stream = self.stream(Bytes::new(), ReceiveProgress::Http2(Frames::new(), FloodGuard::new()));
        Driver::Http2(Box::new(Http2::new(stream, &self.service, &self.state)))
    }

    fn stream(&self, unread: Bytes, progress: ReceiveProgress) -> HyperStream {
        HyperStream {
            socket: self.socket.clone(),
            state: self.state.clone(),
            unread,
            progress,
            buffered: None,
            stalled: None,
        }
    }

    /// The successor of hyper if the last answer switched protocols. Otherwise, hyper is dropped.
    pub(super) fn tunnelled(&self, driver: Driver) -> Option<Driver> {
        let Driver::Http1 { connection, .. } = driver else { return None };
        let tunnel = self.state.take_tunnel()?;
        let unread = connection.into_parts().read_buf;
        Some(self.runs(tunnel, unread))
    }

    fn runs(&self, tunnel: Tunnel, unread: Bytes) -> Driver {
        Driver::Script(tunnel.run(ClientEnd { socket: self.socket.clone(), unread }))
    }

    /// Passes on what a client sends within TLS that ends elsewhere.
    fn passes_through(&mut self) -> Result<Driver, ConnectionRefusal> {
        let refusal = || ConnectionRefusal::Handshake(AlertDescription::InternalError);
        self.request = self.state.budget().reserve(REQUEST_MEMORY, BudgetShare::Ordinary);
        let pass_through = self.service.pass_through.as_ref().filter(|_| self.request.is_some());
        let PassThrough(pass_through) = pass_through.ok_or_else(refusal)?;
        self.state.tunnel(pass_through(self.state.local().map(|local| local.ip())));
        let tunnel = self.state.take_tunnel().ok_or_else(refusal)?;
        Ok(self.runs(tunnel, Bytes::new()))
    }

    /// Runs the script instead of hyper.
    pub(super) fn taken_over(&mut self, driver: Driver, takeover: Takeover) -> Driver {
        self.endless = takeover.script.ending == ScriptEnding::Never;
        if let Driver::Http2(_) = driver {
            // The other streams are lost.
            self.state.end_by_server();
        }
        // This drops the handler. The script reports how its request ended.
        drop(driver);
        let (socket, state) = (self.socket.clone(), self.state.clone());
        Driver::Script(Box::pin(
            async move { takeover.script.perform(&socket, &state, takeover.report).await },
        ))
    }
}
