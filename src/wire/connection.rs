//! One connection, from accept to close.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::header::USER_AGENT;
use hyper::server::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tower::Service as _;

use super::gate::reset_on_close;
use super::handle::{ConnectionState, Takeover};
use super::script::{Ending, linger};
use super::stream::Stream;
use super::{ConnectionHandle, Service, Stage};
use crate::fault::{Client, Cut};
use crate::metrics::Limit;

/// How often a frozen connection with unread input is looked at: whether its client has closed it shows no other way.
const PEER_CHECK: Duration = Duration::from_millis(100);

/// What hyper insists on as the least size of its buffer.
const LEAST_BUFFER: usize = 8192;

/// The answer to a client that takes too long over its head.
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Why a connection stops being driven for a moment.
enum Event {
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

/// Serves one connection.
pub(super) async fn serve(socket: TcpStream, service: Service) {
    let Ok(peer) = socket.peer_addr() else { return };
    let state = ConnectionState::new(peer);
    let mut connection = Connection {
        socket: Arc::new(socket),
        state,
        service,
        frozen: None,
        counted_cut: None,
        endless: false,
        drain_until: None,
    };
    let fate = connection.run().await;
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
        let mut driver = self.http();
        let mut timer = pin!(sleep(self.service.limits.idle_time));
        loop {
            let stage = conditions.borrow_and_update().stage;
            if let Stage::Draining(until) = stage {
                if self.is_hopeless(until) {
                    return self.ends();
                }
                self.drain_until = Some(until);
                driver.drain();
                timer.as_mut().reset(self.next_check());
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
                    Event::Takeover(takeover) => {
                        self.endless = takeover.script.ending == Ending::Never;
                        // Dropping hyper drops the handler, whose request the script reports on from here.
                        driver = self.script(takeover);
                    }
                    Event::ClientGone => return Fate::Closes,
                    Event::Head => timer.as_mut().reset(self.next_check()),
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
                        _ => timer.as_mut().reset(self.next_check()),
                    }
                }
            }
        }
    }

    /// When to look at the client's time again. Phases change without a word to the timer, but for the begin of a head.
    fn next_check(&self) -> Instant {
        let limits = &self.service.limits;
        let deadline = self.state.deadline(limits).filter(|_| self.frozen.is_none());
        let next = deadline.map_or_else(|| Instant::now() + limits.idle_time, |(deadline, _)| deadline);
        self.drain_until.map_or(next, |until| next.min(until))
    }

    fn http(&self) -> Driver {
        let stream = Stream { socket: self.socket.clone(), state: self.state.clone() };
        let handler = Handler {
            router: self.service.router.clone(),
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
        Driver::Http(Box::pin(connection), self.service.metrics.clone())
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
    Http(Pin<Box<Http>>, Arc<crate::metrics::Metrics>),
    Script(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl Driver {
    async fn drive(&mut self, socket: &TcpStream, state: &ConnectionState) -> Event {
        poll_fn(|cx| match self {
            Self::Http(connection, metrics) => match connection.as_mut().poll(cx) {
                Poll::Ready(result) => {
                    let error = result.err();
                    if error.as_ref().is_some_and(hyper::Error::is_parse_too_large) {
                        metrics.limit(Limit::HeadSize);
                    }
                    Poll::Ready(Event::Done { bad_request: error.is_some_and(|error| error.is_parse()) })
                }
                Poll::Pending => match state.take_over() {
                    Some(takeover) => Poll::Ready(Event::Takeover(takeover)),
                    None if state.asks_admission() => Poll::Ready(Event::Admission),
                    None if state.notice_head() => Poll::Ready(Event::Head),
                    None if state.is_unanswered() && is_at_end(socket, cx) => Poll::Ready(Event::ClientGone),
                    None => Poll::Pending,
                },
            },
            Self::Script(script) => script.as_mut().poll(cx).map(|()| Event::Done { bad_request: false }),
        })
        .await
    }

    /// Takes no further request; ends the connection if it is at none.
    fn drain(&mut self) {
        if let Self::Http(connection, _) = self {
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// Whether nothing is left to read; if not, the task is woken when there is. hyper does not look while it has a further
/// request in its buffer.
fn is_at_end(socket: &TcpStream, cx: &mut Context<'_>) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    let peeked = socket.poll_peek(cx, &mut tokio::io::ReadBuf::uninit(&mut byte));
    matches!(peeked, Poll::Ready(Ok(0) | Err(_)))
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

/// Hands hyper's requests to the router.
struct Handler {
    router: axum::Router,
    state: Arc<ConnectionState>,
    faulted: bool,
    conditions: tokio::sync::watch::Receiver<super::Conditions>,
}

impl hyper::service::Service<Request<Incoming>> for Handler {
    type Response = Response<Tracked>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let agent = request.headers().get(USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
        self.state.request_begins(Client::from_user_agent(agent), !request.body().is_end_stream());
        request.extensions_mut().insert(ConnectionHandle(self.state.clone()));
        let state = self.state.clone();
        let mut router = self.router.clone();
        let cut = self.faulted && self.conditions.borrow().link.partial;
        Box::pin(async move {
            if cut {
                // The connection's task answers, and polls again.
                poll_fn(|_| if state.is_admitted() { Poll::Ready(()) } else { Poll::Pending }).await;
            }
            // A body that is none takes no allocation.
            let request =
                request.map(|body| if body.is_end_stream() { Body::empty() } else { Body::new(body) });
            let response = router.call(request).await?;
            state.answer_begins();
            Ok(response.map(|body| Tracked { body, state }))
        })
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
