//! One connection, from accept to close.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::header::USER_AGENT;
use hyper::server::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::Conditions;
use super::accept::Counted;
use super::handle::{ConnectionState, Takeover, Wish};
use super::partitioned::reset_on_close;
use super::routes::{Route, Routes};
use super::script::{Ending, linger};
use super::stream::Stream;
use super::{ConnectionHandle, Service, Stage};
use crate::fault::{Client, Cut};
use crate::telemetry::metrics::Limit;

/// How long a connection is idle before hyper and its buffers are let go, to be had anew for the next request.
const REST: Duration = Duration::from_secs(1);

/// How often a frozen connection with unread input is looked at: whether its client has closed it shows no other way.
const PEER_CHECK: Duration = Duration::from_millis(100);

/// What hyper insists on as the least size of its buffer.
const LEAST_BUFFER: usize = 8192;

/// What the shared state of a connection takes, its two counts included.
const STATE: usize = size_of::<ConnectionState>() + 2 * size_of::<usize>();

/// What malloc is asked for where tokio wants 1,280 bytes, aligned to 128, for the task of a connection.
const TASK: usize = 1280 + 112;

/// The answer to a client that takes too long over its head.
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Why a connection stops being driven for a moment.
enum Event {
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
}

/// What happens to a connection next.
enum Fate {
    GoesOn,
    Closes,
    Resets,
}

/// Memory to hold and not to use. musl's malloc unmaps a group of equal pieces with its last one: a connection that comes
/// and goes alone would map and unmap its task, its state and its buffer each time, at twice the CPU time.
pub fn spare_memory() -> impl Sized {
    let mut pieces: Vec<Vec<u8>> = [(18, STATE), (9, TASK), (9, LEAST_BUFFER)]
        .into_iter()
        .flat_map(|(pieces, size)| (0..pieces).map(move |_| Vec::with_capacity(size)))
        .collect();
    // What the compiler can see nobody use, it does not allocate.
    std::hint::black_box(&mut pieces);
    // Each one held is in a group with some that are free again, wherever the groups begin. A few groups, since others
    // allocate of these, too. A group has 15 states.
    pieces.into_iter().skip(2).step_by(3).collect::<Vec<_>>()
}

/// Serves one connection, `counted` for as long. Not a future around this one: each level would have the room for all
/// below it twice.
pub(super) async fn serve(socket: TcpStream, peer: SocketAddr, service: Service, _counted: Option<Counted>) {
    let state = ConnectionState::new(peer, socket.local_addr().ok());
    let mut connection = Connection {
        socket: Arc::new(socket),
        state,
        service,
        frozen: None,
        counted_cut: None,
        endless: false,
        drain_until: None,
    };
    let handle = ConnectionHandle(connection.state.clone());
    let fate = handle.serves(connection.run()).await;
    if let Fate::Resets = fate {
        reset_on_close(&connection.socket);
    }
}

struct Connection {
    socket: Arc<TcpStream>,
    state: Arc<ConnectionState>,
    service: Service,
    /// Since when a partition silences it.
    frozen: Option<Instant>,
    /// The rule that last cut it, so that each counts a connection once.
    counted_cut: Option<usize>,
    /// Whether a script that never ends is running.
    endless: bool,
    /// When a process on its way out stops waiting for it.
    drain_until: Option<Instant>,
}

impl Connection {
    async fn run(&mut self) -> Fate {
        let mut conditions = self.service.conditions.clone();
        match self.obey_link() {
            Fate::GoesOn => {}
            fate => return fate,
        }
        let mut driver = Driver::Idle { asked: false };
        let mut timer = pin!(sleep(REST.min(self.service.limits.idle_time)));
        loop {
            let Conditions { stage, is_stopped, .. } = *conditions.borrow_and_update();
            if is_stopped && self.endless {
                // The rule that holds the request is out of force.
                return self.ends();
            }
            if let Stage::Draining(until) = stage {
                if self.is_hopeless(until) || matches!(driver, Driver::Idle { .. }) {
                    return self.ends();
                }
                self.drain_until = Some(until);
                driver.drain();
                timer.as_mut().reset(self.next_check(&driver));
            }
            let frozen = self.frozen.is_some();
            tokio::select! {
                biased;
                changed = conditions.changed() => {
                    if changed.is_err() {
                        return self.ends();
                    }
                    match self.obey_link() {
                        Fate::GoesOn => {}
                        fate => return fate,
                    }
                }
                event = driver.drive(&self.socket, &self.state), if !frozen => match event {
                    Event::Input => {
                        driver = self.http(Bytes::new());
                        let next = self.next_check(&driver);
                        if next < timer.deadline() {
                            timer.as_mut().reset(next);
                        }
                    }
                    Event::Takeover(takeover) => {
                        self.endless = takeover.script.ending == Ending::Never;
                        // Dropping hyper drops the handler, whose request the script reports on from here.
                        driver = self.script(takeover);
                    }
                    Event::ClientGone => return Fate::Closes,
                    Event::Head => timer.as_mut().reset(self.next_check(&driver)),
                    Event::Admission => match self.obey_link() {
                        Fate::GoesOn => {}
                        fate => return fate,
                    },
                    Event::Done { bad_request } => {
                        drop(driver);
                        if bad_request || self.state.has_unread_body() {
                            linger(&self.socket).await;
                        }
                        return Fate::Closes;
                    }
                },
                () = peer_closed(&self.socket), if frozen => return Fate::Closes,
                () = &mut timer => {
                    let now = Instant::now();
                    if matches!(stage, Stage::Draining(until) if until <= now) {
                        return self.ends();
                    }
                    match self.state.deadline(&self.service.limits) {
                        Some((deadline, limit)) if deadline <= now && !frozen => return self.times_out(driver, limit).await,
                        _ => {
                            if self.state.rests_since(now - REST) {
                                driver = self.rest(driver);
                            }
                            timer.as_mut().reset(self.next_check(&driver));
                        }
                    }
                }
            }
        }
    }

    /// When to look at the client's time again. Phases change without a word to the timer, but for the begin of a head.
    fn next_check(&self, driver: &Driver) -> Instant {
        let limits = &self.service.limits;
        let deadline = self.state.deadline(limits).filter(|_| self.frozen.is_none());
        let mut next = deadline.map_or_else(|| Instant::now() + limits.idle_time, |(deadline, _)| deadline);
        if let Driver::Http(..) = driver {
            next = next.min(Instant::now() + REST);
        }
        self.drain_until.map_or(next, |until| next.min(until))
    }

    /// Lets hyper go. What it has read already of a request to come, another one reads again.
    fn rest(&self, driver: Driver) -> Driver {
        match driver {
            Driver::Http(connection, _) => match connection.into_parts().read_buf {
                unread if unread.is_empty() => Driver::Idle { asked: true },
                unread => self.http(unread),
            },
            other => other,
        }
    }

    fn http(&self, unread: Bytes) -> Driver {
        let stream = Stream { socket: self.socket.clone(), state: self.state.clone(), unread };
        let handler = Handler {
            routes: self.service.routes.clone(),
            state: self.state.clone(),
            faulted: self.service.faulted.is_some(),
            conditions: self.service.conditions.clone(),
        };
        let size = self.service.limits.head_size;
        let connection = http1::Builder::new()
            .max_buf_size(size.max(LEAST_BUFFER))
            .max_header_size(size)
            // Its timer would go on in a frozen connection, and end idle ones by the limit of a head.
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), handler);
        Driver::Http(Box::new(connection), self.service.metrics.clone())
    }

    fn script(&self, takeover: Takeover) -> Driver {
        let (socket, state) = (self.socket.clone(), self.state.clone());
        Driver::Script(Box::pin(async move { takeover.script.run(&socket, &state, takeover.report).await }))
    }

    /// Does what the partition in force says of this connection.
    fn obey_link(&mut self) -> Fate {
        let Some(engine) = &self.service.faulted else { return Fate::GoesOn };
        let active = engine.active();
        let peer = self.state.peer().ip();
        let cut = active.plan.cut(engine.elapsed(), peer, self.state.client());
        if let Some(cut) = cut
            && self.counted_cut.replace(cut.rule) != Some(cut.rule)
        {
            active.score_cut(cut.rule);
        }
        match cut.map(|cut| cut.cut) {
            Some(Cut::Drop) => {
                self.frozen.get_or_insert_with(Instant::now);
                Fate::GoesOn
            }
            Some(Cut::Refuse | Cut::Reset) => {
                self.state.end_by_server();
                Fate::Resets
            }
            None => {
                self.counted_cut = None;
                if let Some(since) = self.frozen.take() {
                    self.state.forgive(since.elapsed());
                }
                self.state.admit();
                Fate::GoesOn
            }
        }
    }

    /// Whether a drain that ends at `until` cannot see the end of what the connection is at.
    fn is_hopeless(&self, until: Instant) -> bool {
        self.frozen.is_some() || self.endless || self.state.waits_beyond(until)
    }

    fn ends(&self) -> Fate {
        self.state.end_by_server();
        Fate::Closes
    }

    async fn times_out(&self, driver: Driver, limit: Limit) -> Fate {
        self.service.metrics.limit(limit);
        self.state.end_by_server();
        drop(driver);
        match limit {
            Limit::HeadTime => {
                let _ = self.socket.try_write(REQUEST_TIMEOUT);
                linger(&self.socket).await;
                Fate::Closes
            }
            // Whoever takes nothing would not see a FIN before the answer it does not read.
            Limit::WriteTime => Fate::Resets,
            _ => Fate::Closes,
        }
    }
}

type Http = http1::Connection<TokioIo<Stream>, Handler>;

/// What moves a connection on.
enum Driver {
    /// Nothing, while the client asks for nothing. tokio takes a new socket for readable until it was `asked`.
    Idle {
        asked: bool,
    },
    Http(Box<Http>, Arc<crate::telemetry::metrics::Metrics>),
    Script(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl Driver {
    async fn drive(&mut self, socket: &TcpStream, state: &ConnectionState) -> Event {
        poll_fn(|cx| match self {
            Self::Idle { asked } => {
                let input = if std::mem::replace(asked, true) {
                    socket.poll_read_ready(cx).map(drop)
                } else {
                    peek(socket, cx).map(drop)
                };
                input.map(|()| Event::Input)
            }
            Self::Http(connection, metrics) => match Pin::new(connection).poll(cx) {
                Poll::Ready(result) => {
                    let error = result.err();
                    if error.as_ref().is_some_and(hyper::Error::is_parse_too_large) {
                        metrics.limit(Limit::HeadSize);
                    }
                    Poll::Ready(Event::Done { bad_request: error.is_some_and(|error| error.is_parse()) })
                }
                Poll::Pending => match state.wish() {
                    Some(Wish::Takeover(takeover)) => Poll::Ready(Event::Takeover(takeover)),
                    Some(Wish::Admission) => Poll::Ready(Event::Admission),
                    Some(Wish::HeadTime) => Poll::Ready(Event::Head),
                    Some(Wish::Answer) if is_at_end(socket, cx) => Poll::Ready(Event::ClientGone),
                    _ => Poll::Pending,
                },
            },
            Self::Script(script) => script.as_mut().poll(cx).map(|()| Event::Done { bad_request: false }),
        })
        .await
    }

    /// Takes no further request; ends the connection if it is at none.
    fn drain(&mut self) {
        if let Self::Http(connection, _) = self {
            Pin::new(&mut **connection).graceful_shutdown();
        }
    }
}

/// Whether nothing is left to read; if not, the task is woken when there is. hyper does not look while it has a further
/// request in its buffer.
fn is_at_end(socket: &TcpStream, cx: &mut Context<'_>) -> bool {
    matches!(peek(socket, cx), Poll::Ready(Ok(0) | Err(_)))
}

fn peek(socket: &TcpStream, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    socket.poll_peek(cx, &mut tokio::io::ReadBuf::uninit(&mut byte))
}

/// Waits until the client has closed a connection of which nothing is read.
async fn peer_closed(socket: &TcpStream) {
    loop {
        match socket.ready(Interest::READABLE | Interest::ERROR).await {
            Ok(ready) if !ready.is_read_closed() && !ready.is_error() => sleep(PEER_CHECK).await,
            _ => return,
        }
    }
}

/// Hands hyper's requests on.
struct Handler {
    routes: Routes,
    state: Arc<ConnectionState>,
    faulted: bool,
    conditions: tokio::sync::watch::Receiver<super::Conditions>,
}

impl hyper::service::Service<Request<Incoming>> for Handler {
    type Response = Response<Tracked>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let agent = request.headers().get(USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
        self.state.request_begins(Client::from_user_agent(agent), !request.body().is_end_stream());
        // A body that is none takes no allocation.
        let request = request.map(|body| if body.is_end_stream() { Body::empty() } else { Body::new(body) });
        Answer {
            state: self.state.clone(),
            asks: self.faulted && self.conditions.borrow().link.partial,
            route: self.routes.call(request),
        }
    }
}

pin_project! {
    /// The answer to a request under way.
    struct Answer {
        state: Arc<ConnectionState>,
        // Whether it has to wait for admission.
        asks: bool,
        #[pin]
        route: Route,
    }
}

impl Future for Answer {
    type Output = Result<Response<Tracked>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The connection's task answers, and polls again.
        if *this.asks && !this.state.is_admitted() {
            return Poll::Pending;
        }
        *this.asks = false;
        let response = ready!(this.route.poll(cx))?;
        this.state.answer_begins();
        let state = this.state.clone();
        Poll::Ready(Ok(response.map(|body| Tracked { body, state })))
    }
}

/// A body that tells when it has been sent.
struct Tracked {
    body: Body,
    state: Arc<ConnectionState>,
}

impl http_body::Body for Tracked {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.state.request_ends();
    }
}
