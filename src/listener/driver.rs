//! The driver of a connection's task: hyper, a script, or nothing while the connection is idle.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::ListenerService;
use super::detect::{Detected, poll_detect};
use super::event::DriverEvent;
use super::handler::Http1Handler;
use super::http2::{Finished, Http2};
use super::plain::PlainConnection;
use super::socket::Socket;
use super::state::{ConnectionSignal, ConnectionState};
use super::stream::HyperStream;
use crate::telemetry::metrics::Limit;
use crate::tls::session::Negotiated;

/// How often a frozen connection with unread input is checked: nothing else shows that its client has closed it.
const PEER_CHECK: Duration = Duration::from_millis(100);

pub(super) type Http1 = http1::Connection<TokioIo<HyperStream>, Http1Handler>;

/// The driver of a connection's task.
pub(super) enum Driver {
    /// Nothing, until the protocol is detected; the number of HTTP/2 preface bytes seen so far.
    New { seen: usize },
    /// The TLS handshake.
    Handshake,
    /// Nothing, before the next HTTP/1 request or the first HTTP/2 request.
    Idle(Negotiated),
    /// HTTP/1 as long as all requests are plain.
    Plain(Box<PlainConnection>),
    /// hyper's HTTP/1; `is_single` if the connection may rest after one request.
    Http1 { connection: Box<Http1>, is_single: bool },
    /// hyper's HTTP/2.
    Http2(Box<Http2>),
    /// The bytes of a fault.
    Script(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl Driver {
    pub(super) async fn drive(
        &mut self,
        socket: &Socket,
        state: &ConnectionState,
        service: &ListenerService,
    ) -> DriverEvent {
        poll_fn(|cx| match self {
            Self::New { seen } => poll_detect(socket.tcp(), cx, seen).map(|detected| match detected {
                Detected::Http1 => DriverEvent::Http1,
                Detected::Http2 => DriverEvent::Http2,
                Detected::Tls => DriverEvent::Tls,
                Detected::Partial => {
                    state.head_begins();
                    DriverEvent::Head
                }
            }),
            Self::Handshake => socket.poll_handshake(cx).map(DriverEvent::Handshake),
            Self::Idle(speaks) => socket.poll_readable(cx).map(|()| match speaks {
                Negotiated::Http1 => DriverEvent::Http1,
                Negotiated::Http2 => DriverEvent::Http2,
            }),
            Self::Plain(plain) => plain.poll(cx, service),
            Self::Http1 { connection, is_single } => match Pin::new(connection).poll(cx) {
                Poll::Ready(result) => {
                    if state.was_refused_memory() {
                        return Poll::Ready(DriverEvent::OutOfMemory);
                    }
                    let error = result.err();
                    if error.as_ref().is_some_and(hyper::Error::is_parse_too_large) {
                        service.metrics.limit(Limit::HeadSize);
                    }
                    Poll::Ready(DriverEvent::Done {
                        lingers: error.is_some_and(|error| error.is_parse()) || state.has_unread_body(),
                    })
                }
                Poll::Pending => match state.signal() {
                    Some(ConnectionSignal::Takeover(takeover)) => {
                        Poll::Ready(DriverEvent::Takeover(takeover))
                    }
                    Some(ConnectionSignal::Admission) => Poll::Ready(DriverEvent::Admission),
                    Some(ConnectionSignal::HeadTime) => Poll::Ready(DriverEvent::Head),
                    Some(ConnectionSignal::Answer) if has_left(socket, state, cx) => {
                        Poll::Ready(DriverEvent::ClientGone)
                    }
                    None if *is_single && state.rests_since(Instant::now()) => {
                        Poll::Ready(DriverEvent::Rests)
                    }
                    _ => Poll::Pending,
                },
            },
            Self::Http2(http2) => match http2.poll(cx) {
                Poll::Ready(_) if state.is_out_of_memory() => {
                    // The streams are lost with the connection.
                    state.end_by_server();
                    Poll::Ready(DriverEvent::OutOfMemory)
                }
                Poll::Ready(Finished::ByFlood) => Poll::Ready(DriverEvent::Flood),
                _ if state.is_flooded() => Poll::Ready(DriverEvent::Flood),
                Poll::Ready(finished) => {
                    Poll::Ready(DriverEvent::Done { lingers: finished == Finished::WithError })
                }
                Poll::Pending => match state.signal() {
                    Some(ConnectionSignal::Takeover(takeover)) => {
                        Poll::Ready(DriverEvent::Takeover(takeover))
                    }
                    Some(ConnectionSignal::Admission) => Poll::Ready(DriverEvent::Admission),
                    Some(ConnectionSignal::HeadTime) => Poll::Ready(DriverEvent::Head),
                    _ => Poll::Pending,
                },
            },
            Self::Script(script) => {
                // The script has ended the connection itself; lingering would turn its reset into a FIN.
                script.as_mut().poll(cx).map(|()| DriverEvent::Done { lingers: false })
            }
        })
        .await
    }

    /// Whether no request was begun.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::New { .. } | Self::Handshake | Self::Idle(_) => true,
            Self::Plain(plain) => plain.is_idle(),
            Self::Http1 { .. } | Self::Http2(_) | Self::Script(_) => false,
        }
    }

    /// Accepts no further request; ends the connection if it is idle.
    pub(super) fn drain(&mut self) {
        match self {
            Self::Http1 { connection, .. } => Pin::new(&mut **connection).graceful_shutdown(),
            Self::Plain(plain) => plain.drain(),
            Self::Http2(http2) => http2.drain(),
            Self::New { .. } | Self::Handshake | Self::Idle(_) | Self::Script(_) => {}
        }
    }
}

/// Whether the client has left; if not, the task is woken when there is input. What a client has sent ahead hides its
/// end from a peek, but not from the reactor; then nothing wakes the task, which looks again with its next timer.
fn has_left(socket: &Socket, state: &ConnectionState, cx: &mut Context<'_>) -> bool {
    let has_ended = match socket.poll_peek_end(cx) {
        Poll::Ready(Ok(false)) => is_read_closed(socket.tcp(), cx),
        Poll::Ready(Ok(true)) => true,
        Poll::Ready(Err(_)) => return true,
        Poll::Pending => false,
    };
    has_ended && !state.may_half_close()
}

/// Whether the peer has ended its side, although there are bytes of it to read.
fn is_read_closed(tcp: &TcpStream, cx: &mut Context<'_>) -> bool {
    let ready = pin!(tcp.ready(Interest::READABLE)).poll(cx);
    matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
}

/// Waits until the client has closed a connection that is not read.
pub(super) async fn peer_closed(socket: &TcpStream) {
    loop {
        match socket.ready(Interest::READABLE | Interest::ERROR).await {
            Ok(ready) if !ready.is_read_closed() && !ready.is_error() => sleep(PEER_CHECK).await,
            _ => return,
        }
    }
}
