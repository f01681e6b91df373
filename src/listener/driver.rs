//! What moves a connection on: hyper, a script, or nothing while it is idle.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::handle::{ConnectionSignal, ConnectionState, Takeover};
use super::handler::Handler;
use super::stream::Stream;
use crate::telemetry::metrics::{Limit, Metrics};

/// How often a frozen connection with unread input is looked at: whether its client has closed it shows no other way.
const PEER_CHECK: Duration = Duration::from_millis(100);

/// Why a connection stops being driven for a moment.
pub(super) enum Event {
    /// The client of an idle connection sends something, or leaves.
    Input,
    /// hyper, or the script, is done.
    Done { bad_request: bool },
    /// A handler wants the socket.
    Takeover(Takeover),
    /// The client has begun a head and not ended it.
    Head,
    /// The client has ended its side while its request waits. Half a close looks like a whole one, so it is taken for
    /// the leave of a client that has lost patience.
    ClientGone,
    /// A request wants to know whether its class of clients is cut.
    Admission,
    /// The budget has refused the head that the client sends.
    OutOfMemory,
}

pub(super) type Http1 = http1::Connection<TokioIo<Stream>, Handler>;

/// What moves a connection on.
pub(super) enum Driver {
    /// Nothing, while the client asks for nothing. tokio takes a new socket for readable until it was `asked`.
    Idle { asked: bool },
    /// hyper's HTTP/1.
    Http1(Box<Http1>),
    /// The bytes of a fault.
    Script(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl Driver {
    pub(super) async fn drive(
        &mut self,
        socket: &TcpStream,
        state: &ConnectionState,
        metrics: &Metrics,
    ) -> Event {
        poll_fn(|cx| match self {
            Self::Idle { asked } => {
                let input = if std::mem::replace(asked, true) {
                    socket.poll_read_ready(cx).map(drop)
                } else {
                    peek(socket, cx).map(drop)
                };
                input.map(|()| Event::Input)
            }
            Self::Http1(connection) => match Pin::new(connection).poll(cx) {
                Poll::Ready(result) => {
                    if state.was_refused_memory() {
                        return Poll::Ready(Event::OutOfMemory);
                    }
                    let error = result.err();
                    if error.as_ref().is_some_and(hyper::Error::is_parse_too_large) {
                        metrics.limit(Limit::HeadSize);
                    }
                    Poll::Ready(Event::Done { bad_request: error.is_some_and(|error| error.is_parse()) })
                }
                Poll::Pending => match state.signal() {
                    Some(ConnectionSignal::Takeover(takeover)) => Poll::Ready(Event::Takeover(takeover)),
                    Some(ConnectionSignal::Admission) => Poll::Ready(Event::Admission),
                    Some(ConnectionSignal::HeadTime) => Poll::Ready(Event::Head),
                    Some(ConnectionSignal::Answer) if has_left(socket, state, cx) => {
                        Poll::Ready(Event::ClientGone)
                    }
                    _ => Poll::Pending,
                },
            },
            Self::Script(script) => script.as_mut().poll(cx).map(|()| Event::Done { bad_request: false }),
        })
        .await
    }

    /// Takes no further request; ends the connection if it is at none.
    pub(super) fn drain(&mut self) {
        if let Self::Http1(connection) = self {
            Pin::new(&mut **connection).graceful_shutdown();
        }
    }
}

/// Whether the client has left; if not, the task is woken when there is something to read. hyper does not look while it
/// has a further request in its buffer.
fn has_left(socket: &TcpStream, state: &ConnectionState, cx: &mut Context<'_>) -> bool {
    match peek(socket, cx) {
        Poll::Ready(Ok(0)) => !state.may_half_close(),
        Poll::Ready(Err(_)) => true,
        _ => false,
    }
}

fn peek(socket: &TcpStream, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    socket.poll_peek(cx, &mut tokio::io::ReadBuf::uninit(&mut byte))
}

/// Waits until the client has closed a connection of which nothing is read.
pub(super) async fn peer_closed(socket: &TcpStream) {
    loop {
        match socket.ready(Interest::READABLE | Interest::ERROR).await {
            Ok(ready) if !ready.is_read_closed() && !ready.is_error() => sleep(PEER_CHECK).await,
            _ => return,
        }
    }
}
