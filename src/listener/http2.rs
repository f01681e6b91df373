//! HTTP/2: hyper and the tasks of its streams, all polled by the connection's task.
//!
//! hyper spawns a task for each stream. Here, the tasks stay with the connection: a partition freezes them, closing
//! the connection drops them at once, and each knows its stream.

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use futures_util::Stream as _;
use futures_util::stream::FuturesUnordered;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::budget::Reservation;
use super::handler::{client_of, map_memory, refusal, refuse, route};
use super::routes::Route;
use super::script::StreamReset;
use super::state::ConnectionState;
use super::stream::HyperStream;
use super::streams::StreamState;
use super::{ConnectionHandle, ListenerService};
use crate::fault::Client;
use crate::telemetry::metrics::Limit;

/// Limit of concurrent requests per connection.
const MAX_STREAMS: u32 = 100;

/// Flow-control window for request bodies, per stream and per connection.
const WINDOW: u32 = 65_535;

/// Limit of the answer bytes that hyper buffers per stream.
const SEND_BUFFER: usize = 16 << 10;

/// Memory of an open stream, in bytes: its request, its answer, and hyper's state.
const STREAM_MEMORY: usize = 6 << 10;

/// Memory of a field's name outside the frames that carried it.
const NAME_MEMORY: usize = 48;

/// Size of a field in a field list, in addition to its name and value (RFC 9113, section 6.5.2).
const FIELD_OVERHEAD: usize = 32;

type Http2Connection = http2::Connection<TokioIo<HyperStream>, StreamHandler, StreamExecutor>;

/// HTTP/2 on one connection.
pub(super) struct Http2 {
    connection: Pin<Box<Http2Connection>>,
    tasks: FuturesUnordered<StreamTask>,
    executor: StreamExecutor,
}

/// How HTTP/2 on a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finished {
    /// The client left, or the connection was done.
    Normally,
    /// The client violated the protocol, and was notified.
    WithError,
    /// The client caused useless work.
    ByFlood,
}

impl Http2 {
    pub(super) fn new(
        stream: HyperStream,
        service: &Arc<ListenerService>,
        state: &Arc<ConnectionState>,
    ) -> Self {
        let executor = StreamExecutor::default();
        let handler =
            StreamHandler { service: service.clone(), state: state.clone(), executor: executor.clone() };
        let connection = http2::Builder::new(executor.clone())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            // Twice our limit: the handler answers and counts field lists that are slightly too large.
            .max_header_list_size(u32::try_from(2 * service.limits.head_size).unwrap_or(u32::MAX))
            .serve_connection(TokioIo::new(stream), handler);
        Self { connection: Box::pin(connection), tasks: FuturesUnordered::new(), executor }
    }

    /// Reads, polls the handlers, and writes. Ready when the connection is done.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Finished> {
        loop {
            let result = self.connection.as_mut().poll(cx);
            self.tasks.extend(self.executor.take_tasks());
            let before = self.tasks.len();
            while let Poll::Ready(Some(())) = Pin::new(&mut self.tasks).poll_next(cx) {}
            if let Poll::Ready(result) = result {
                return Poll::Ready(finished(result.err().as_ref()));
            }
            if self.tasks.len() == before {
                // Output of the handlers wakes this task.
                return Poll::Pending;
            }
        }
    }

    /// Accepts no further request and notifies the client (GOAWAY).
    pub(super) fn drain(&mut self) {
        self.connection.as_mut().graceful_shutdown();
    }

    /// Resets streams whose clients have read nothing since `instant`.
    pub(super) fn reset_stalled(&mut self, instant: Instant) {
        let tasks = std::mem::take(&mut self.tasks);
        self.tasks = tasks.into_iter().filter(|task| !task.is_stalled_since(instant)).collect();
    }
}

fn finished(error: Option<&hyper::Error>) -> Finished {
    let Some(error) = error else { return Finished::Normally };
    let Some(error) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) else {
        return Finished::Normally;
    };
    match error.reason() {
        Some(h2::Reason::ENHANCE_YOUR_CALM) if error.is_library() => Finished::ByFlood,
        _ if error.is_library() && error.is_go_away() => Finished::WithError,
        _ => Finished::Normally,
    }
}

/// Collects the stream tasks that hyper spawns, for the connection's task to poll.
#[derive(Clone, Default)]
struct StreamExecutor(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    /// The stream whose task comes next: hyper spawns it right after calling the handler.
    next: Option<ConnectionHandle>,
    tasks: Vec<StreamTask>,
}

impl StreamExecutor {
    fn announce(&self, handle: ConnectionHandle) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next = Some(handle);
    }

    fn take_tasks(&self) -> Vec<StreamTask> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).tasks)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = waiting.next.take() {
            waiting.tasks.push(StreamTask { future: Box::pin(future), handle });
        }
    }
}

/// A stream, from its head to its end.
struct StreamTask {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    handle: ConnectionHandle,
}

impl StreamTask {
    fn is_stalled_since(&self, instant: Instant) -> bool {
        self.handle.stream.as_ref().is_some_and(|stream| stream.is_stalled_since(instant))
    }
}

impl Future for StreamTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { future, handle } = &mut *self;
        handle.enter(|| future.as_mut().poll(cx))
    }
}

impl Drop for StreamTask {
    fn drop(&mut self) {
        if let Some(stream) = &self.handle.stream {
            self.handle.connection.stream_ends(stream);
        }
    }
}

/// Passes on hyper's requests.
struct StreamHandler {
    service: Arc<ListenerService>,
    state: Arc<ConnectionState>,
    executor: StreamExecutor,
}

impl StreamHandler {
    /// Reserves memory for the request, or returns the status of a request that is rejected before routing.
    fn admit(&self, request: &Request<Incoming>, client: Client) -> Result<Reservation, StatusCode> {
        if request.method() == Method::CONNECT {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        if let Some(status) = refusal(&self.service, &self.state, request, client) {
            return Err(status);
        }
        let fields = request.headers().iter();
        let size: usize =
            fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD).sum();
        let size = size + request.uri().path_and_query().map_or(0, |path| path.as_str().len());
        if size > self.service.limits.head_size {
            self.service.metrics.limit(Limit::HeadSize);
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        let share =
            if client == Client::Kubelet { super::budget::BudgetShare::Reserved } else { self.state.share() };
        // Names and values are slices of the buffers that their frames were read into.
        let texts = size.saturating_sub(FIELD_OVERHEAD * request.headers().len());
        let names = NAME_MEMORY * request.headers().len();
        let memory = STREAM_MEMORY + map_memory(request.headers()) + names + texts * 5 / 2;
        self.state.budget().reserve(memory, share).ok_or(StatusCode::SERVICE_UNAVAILABLE)
    }
}

impl hyper::service::Service<Request<Incoming>> for StreamHandler {
    type Response = Response<StreamBody>;
    type Error = h2::Error;
    type Future = StreamAnswer;

    fn call(&self, request: Request<Incoming>) -> StreamAnswer {
        let client = client_of(request.headers());
        let stream = self.state.stream_begins(client);
        self.executor
            .announce(ConnectionHandle { connection: self.state.clone(), stream: Some(stream.clone()) });
        let (reservation, route) = match self.admit(&request, client) {
            Ok(reservation) => (Some(reservation), route(&self.service, request)),
            Err(status) => (None, refuse(status)),
        };
        StreamAnswer {
            service: self.service.clone(),
            state: self.state.clone(),
            stream,
            client,
            is_admitted: false,
            reservation,
            route,
        }
    }
}

pin_project! {
    /// The answer to a stream's request in flight.
    struct StreamAnswer {
        service: Arc<ListenerService>,
        state: Arc<ConnectionState>,
        stream: Arc<StreamState>,
        client: Client,
        is_admitted: bool,
        reservation: Option<Reservation>,
        #[pin]
        route: Route,
    }
}

impl Future for StreamAnswer {
    type Output = Result<Response<StreamBody>, h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if !*this.is_admitted {
            if this.service.cuts(this.state.peer().ip(), *this.client) {
                // The connection's task takes care of it: it ends the connection, or wakes this when the partition
                // ends.
                this.state.await_admission(*this.client, cx.waker());
                return Poll::Pending;
            }
            *this.is_admitted = true;
        }
        match this.route.poll(cx) {
            Poll::Ready(Ok(response)) => {
                this.stream.answer_begins();
                if let Some(reset) = response.extensions().get::<StreamReset>() {
                    return Poll::Ready(Err(reset.error()));
                }
                let (stream, reservation) = (this.stream.clone(), this.reservation.take());
                let state = this.state.clone();
                Poll::Ready(Ok(response.map(|body| StreamBody {
                    body,
                    state,
                    stream,
                    _reservation: reservation,
                })))
            }
            Poll::Ready(Err(never)) => match never {},
            Poll::Pending => match this.stream.take_reset() {
                Some(reset) => Poll::Ready(Err(reset.error())),
                None => Poll::Pending,
            },
        }
    }
}

/// A body that records whether its client reads it. It goes on only while the connection's client reads: h2 would keep
/// each small part with an overhead of its own.
struct StreamBody {
    body: Body,
    state: Arc<ConnectionState>,
    stream: Arc<StreamState>,
    _reservation: Option<Reservation>,
}

impl http_body::Body for StreamBody {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.state.is_stalled() {
            self.stream.blocks(cx.waker());
            return Poll::Pending;
        }
        self.stream.offers(false);
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.stream.offers(matches!(frame, Some(Ok(_))));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
