//! Calls of the gRPC health service: each is a request to the class that its message names.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::StatusCode;
use tokio::time::{Instant, timeout_at};

use super::{App, answer};
use crate::fault::{GrpcStatus, Target};
use crate::grpc::{self, Call, Method};
use crate::listener::{Answering, ConnectionHandle, PlainRequest, client_of};

/// Answers a request to a class.
pub(super) type Serve = Arc<dyn Fn(Target, Request) -> Answering + Send + Sync>;

/// Answers calls of the health service.
#[derive(Clone)]
pub(super) struct HealthCalls {
    app: Arc<App>,
    serve: Serve,
    /// Whether unknown services are forwarded to an application.
    has_application: bool,
}

impl HealthCalls {
    pub(super) fn new(app: Arc<App>, serve: Serve) -> Self {
        let has_application = app.upstream.is_some();
        Self { app, serve, has_application }
    }

    /// The answer to a request with the path of a method.
    pub(super) fn answer(&self, request: Request) -> Answering {
        let calls = self.clone();
        Box::pin(async move { Ok(calls.within_deadline(request).await) })
    }

    async fn within_deadline(self, request: Request) -> Response {
        let Some(call) = Call::of(&request) else { return no_call(&request) };
        match call.deadline.filter(|_| !self.has_application) {
            None => self.run(call, request).await,
            Some(deadline) => timeout_at(deadline, self.run(call, request)).await.unwrap_or_else(|_| {
                grpc::trailers_only(GrpcStatus::DEADLINE_EXCEEDED, "the deadline of the call has passed")
            }),
        }
    }

    async fn run(&self, call: Call, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let message = match grpc::read(body).await {
            Ok(message) => message,
            Err((status, why)) => return grpc::trailers_only(status, &why),
        };
        let service = grpc::service(&message);
        let target = match &service {
            Ok(service) if call.method != Method::List => grpc::target(service),
            _ => None,
        };
        let target = target.or(self.has_application.then_some(Target::Traffic));
        match (target, service) {
            (Some(target), _) => {
                if let Some(answer) = self.plain(call, target) {
                    return answer;
                }
                let request = Request::from_parts(head, Body::from(message.clone()));
                let Ok(response) = (self.serve)(target, request).await;
                response
            }
            (None, Err(wrong)) => grpc::trailers_only(wrong.status(), &wrong.to_string()),
            (None, Ok(_)) if call.method == Method::List => self.app.health.list(client_of(&head.headers)),
            (None, Ok(service)) => self.app.health.unknown(call, service),
        }
    }

    /// The answer to a `Check` on which no rule acts, without the layers of its class.
    fn plain(&self, call: Call, target: Target) -> Option<Response> {
        if call.method != Method::Check || self.has_application || self.app.request_faults {
            return None;
        }
        let connection = ConnectionHandle::current()?;
        let request = PlainRequest { client: connection.client(), arrived: Instant::now() };
        let status = own_status(&self.app, target);
        match self.app.decide_unfaulted(target, request, status) {
            Ok(()) => Some(self.app.health.answer(call, target, request.client, None)),
            Err(injection) => {
                connection.set_injection(injection.map(Box::new));
                None
            }
        }
    }
}

/// The answer to a request to a method's path that is not a gRPC call.
fn no_call(request: &Request) -> Response {
    let status = grpc::refusal(request).unwrap_or(StatusCode::NOT_FOUND);
    answer::text(
        status,
        "this path accepts only gRPC calls: POST over HTTP/2 with Content-Type: application/grpc",
    )
}

/// The answer of a class if no rule replaces it.
pub(super) fn default_answer(app: &App, call: Call, target: Target, request: &Request) -> Response {
    let response = app.health.answer(call, target, client_of(request.headers()), None);
    counted_as(own_status(app, target), response)
}

/// The status of a class on which no rule acts, as over HTTP.
pub(super) fn own_status(app: &App, target: Target) -> StatusCode {
    let is_leaving = target == Target::Readiness && app.is_leaving();
    if is_leaving { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

/// The status that metrics count for an answer of the health service: the one it would have over HTTP.
#[derive(Clone, Copy)]
struct CountedAs(StatusCode);

pub(super) fn counted_as(status: StatusCode, mut response: Response) -> Response {
    if status != response.status() {
        response.extensions_mut().insert(CountedAs(status));
    }
    response
}

/// The status that an answer counts with.
pub(super) fn status(response: &Response) -> StatusCode {
    response.extensions().get::<CountedAs>().map_or(response.status(), |counted| counted.0)
}
