//! Passes hyper's requests to the routes, and tracks their answers.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use pin_project_lite::pin_project;

use super::authority;
use super::budget::Reservation;
use super::routes::Route;
use super::state::ConnectionState;
use super::{ListenerService, ProcessStage};
use crate::fault::Client;
use crate::telemetry::metrics::Limit;

/// Up to this many header fields are covered by the memory reserved for an ordinary request.
const SMALL_FIELD_COUNT: usize = 32;

/// Memory of a field in a header map: name, value, hash and position.
const FIELD: usize = 112;

/// Memory of each further value of a field in a header map.
const FURTHER_VALUE: usize = 72;

/// Memory of a header map, in bytes, without the text of names and values. Its list of further values grows by doubling.
pub(super) fn map_memory(fields: &HeaderMap) -> usize {
    fields.capacity() * FIELD + 2 * (fields.len() - fields.keys_len()) * FURTHER_VALUE
}

/// Passes hyper's HTTP/1 requests to the routes.
pub(super) struct Http1Handler {
    pub(super) service: Arc<ListenerService>,
    pub(super) state: Arc<ConnectionState>,
}

impl Http1Handler {
    /// Reserves memory for the fields of a request; `Err` if they do not fit.
    fn reserve(&self, fields: &HeaderMap) -> Result<Option<Reservation>, ()> {
        if fields.len() <= SMALL_FIELD_COUNT {
            return Ok(None);
        }
        let reserved = self.state.budget().reserve(map_memory(fields), self.state.bulk_share());
        reserved.map(Some).ok_or(())
    }

    /// Reserves memory for a request's fields, or returns the status of a request that is rejected before routing.
    fn admit(&self, request: &Request<Incoming>, client: Client) -> Result<Option<Reservation>, StatusCode> {
        if let Some(status) = refusal(&self.service, &self.state, request, client) {
            return Err(status);
        }
        self.reserve(request.headers()).map_err(|()| StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// The class of the client that sent a request with these headers.
pub fn client_of(headers: &HeaderMap) -> Client {
    let agent = headers.get(USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
    Client::from_user_agent(agent)
}

/// The status of a request that is rejected before routing, if any.
pub(super) fn refusal<B>(
    service: &ListenerService,
    state: &ConnectionState,
    request: &Request<B>,
    client: Client,
) -> Option<StatusCode> {
    if !authority::is_valid(request) {
        return Some(StatusCode::BAD_REQUEST);
    }
    if state.refuses(client) {
        service.metrics.limit(Limit::Memory);
        return Some(StatusCode::SERVICE_UNAVAILABLE);
    }
    None
}

impl hyper::service::Service<Request<Incoming>> for Http1Handler {
    type Response = Response<TrackedBody>;
    type Error = Infallible;
    type Future = AnswerFuture;

    fn call(&self, request: Request<Incoming>) -> AnswerFuture {
        let client = client_of(request.headers());
        self.state.request_begins(client, !request.body().is_end_stream());
        let (fields, route) = match self.admit(&request, client) {
            Ok(fields) => (fields, route(&self.service, request)),
            Err(status) => (None, refuse(status)),
        };
        let conditions = *self.service.conditions.borrow();
        AnswerFuture {
            state: self.state.clone(),
            asks: self.service.faulted.is_some() && conditions.link.partial,
            closes: conditions.stage == ProcessStage::HandingOver,
            fields,
            route,
        }
    }
}

/// Passes a request to its route.
pub(super) fn route(service: &ListenerService, request: Request<Incoming>) -> Route {
    // An empty body needs no allocation.
    service
        .routes
        .call(request.map(|body| if body.is_end_stream() { Body::empty() } else { Body::new(body) }))
}

/// The answer to a request that is rejected before routing. Over HTTP/1 it closes the connection to free its place.
pub(super) fn refuse(status: StatusCode) -> Route {
    let reason = match status {
        StatusCode::BAD_REQUEST => "the Host is missing, repeated or invalid",
        StatusCode::METHOD_NOT_ALLOWED => "CONNECT is not supported",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the head of this request is too large",
        _ => "no memory is left for this request; try again",
    };
    let mut response = Response::new(Body::from(reason));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Route::ready(response)
}

pin_project! {
    /// The answer to a request in flight.
    pub(super) struct AnswerFuture {
        state: Arc<ConnectionState>,
        // Whether it waits for admission.
        asks: bool,
        // Whether the connection ends with this answer.
        closes: bool,
        // Memory of the request's fields.
        fields: Option<Reservation>,
        #[pin]
        route: Route,
    }
}

impl Future for AnswerFuture {
    type Output = Result<Response<TrackedBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The connection's task decides, and polls again.
        if *this.asks && !this.state.is_admitted() {
            return Poll::Pending;
        }
        *this.asks = false;
        let mut response = ready!(this.route.poll(cx))?;
        if *this.closes && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        this.state.answer_begins();
        let state = this.state.clone();
        Poll::Ready(Ok(response.map(|body| TrackedBody { body, state })))
    }
}

/// A body that reports when it has been sent.
pub(super) struct TrackedBody {
    body: Body,
    state: Arc<ConnectionState>,
}

impl http_body::Body for TrackedBody {
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

impl Drop for TrackedBody {
    fn drop(&mut self) {
        self.state.request_ends();
    }
}
