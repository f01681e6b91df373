//! Requests of streams: admission, routing, and their answers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use http_body::{Frame, SizeHint};
use hyper::body::{Body as _, Incoming};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HOST, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use pin_project_lite::pin_project;

use super::tasks::StreamExecutor;
use crate::fault::Client;
use crate::listener::budget::{BudgetShare, Reservation};
use crate::listener::handler::{client_of, map_memory, refusal, refuse, route};
use crate::listener::plain_answer::{PlainDecision, PlainRequest};
use crate::listener::routes::Route;
use crate::listener::script::StreamReset;
use crate::listener::state::ConnectionState;
use crate::listener::streams::StreamState;
use crate::listener::{ConnectionHandle, ListenerService};
use crate::telemetry::metrics::Limit;

/// Memory of an open stream, in bytes: its request, its answer, and hyper's state.
const STREAM_MEMORY: usize = 6 << 10;

/// Memory of a field's name outside the frames that carried it.
const NAME_MEMORY: usize = 48;

/// Size of a field in a field list, in addition to its name and value (RFC 9113, section 6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// Passes on hyper's requests.
pub(super) struct StreamHandler {
    pub(super) service: Arc<ListenerService>,
    pub(super) state: Arc<ConnectionState>,
    pub(super) executor: StreamExecutor,
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
        let share = if client == Client::Kubelet { BudgetShare::Reserved } else { self.state.share() };
        // Names and values are slices of the buffers that their frames were read into.
        let texts = size.saturating_sub(FIELD_OVERHEAD * request.headers().len());
        let names = NAME_MEMORY * request.headers().len();
        let memory = STREAM_MEMORY + map_memory(request.headers()) + names + texts * 5 / 2;
        self.state.budget().reserve(memory, share).ok_or(StatusCode::SERVICE_UNAVAILABLE)
    }

    /// The answer to a plain request, without the layers of the routes: a GET of a known path with no field but the usual
    /// ones, on which no rule acts, or which a rule fails by a status.
    fn plain(&self, request: &Request<Incoming>, stream: &StreamState) -> Option<Response<Body>> {
        let plain = self.service.routes.plain(request.uri().path_and_query()?.as_str())?;
        let is_usual = |name| [USER_AGENT, ACCEPT, ACCEPT_ENCODING, HOST].contains(name);
        let is_plain = request.method() == Method::GET
            && request.body().is_end_stream()
            && request.headers().keys().all(is_usual);
        if !is_plain || self.service.cuts(self.state.peer().ip(), stream.client()) {
            return None;
        }
        match (plain.decide)(PlainRequest { client: stream.client(), arrived: stream.begins() }) {
            PlainDecision::Answer => Some(plain.response()),
            PlainDecision::Failure(failure) => Some(failure.response()),
            PlainDecision::Other(injection) => {
                stream.set_injection(injection);
                None
            }
        }
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
            Ok(reservation) => {
                self.service.spare_maps.keep_like(request.headers(), self.state.budget());
                let plain = self.plain(&request, &stream).map(Route::ready);
                (Some(reservation), plain.unwrap_or_else(|| route(&self.service, request)))
            }
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
    pub(super) struct StreamAnswer {
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
pub(super) struct StreamBody {
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
