//! Replacing or modifying the answer of a service.

use std::convert::Infallible;

use axum::extract::Request;
use axum::response::Response;
use hyper::{Method, StatusCode, Uri, Version};
use tower::Service;

use super::body_fault::BodyFault;
use super::forward::LostAnswer;
use super::in_flight::InFlight;
use super::stream::{self, StreamEffect};
use super::{answer, verbose};
use crate::engine::Injection;
use crate::fault::{Mode, Rule};
use crate::listener::{Script, ScriptOutcome, StreamReset, Takeover};
use crate::telemetry::metrics::RequestOutcome;

/// Marks an error answer that comes from the proxy, not from the application.
const UPSTREAM_ERROR: &str = "x-probesim-upstream-error";

/// The service inside the layer, before or after it was called.
pub(super) enum InnerService<S> {
    /// Not called yet.
    Pending(S, Request),
    /// Already called.
    Answered(LostAnswer),
}

impl<S> InnerService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    pub(super) async fn answer(self) -> Response {
        match self {
            Self::Pending(mut inner, request) => {
                let Ok(response) = inner.call(request).await;
                response
            }
            Self::Answered(lost) => lost.into_response(),
        }
    }

    /// Discards the answer, if there is one.
    pub(super) fn discard(self) {
        if let Self::Answered(lost) = self {
            lost.discard();
        }
    }
}

/// The parts of a request that are needed after it has been forwarded.
pub(super) struct RequestLine {
    method: Method,
    version: Version,
    uri: Uri,
}

impl RequestLine {
    pub(super) fn of(request: &Request) -> Self {
        Self { method: request.method().clone(), version: request.version(), uri: request.uri().clone() }
    }
}

/// Hands the connection over to a script. Over HTTP/2, only the stream is affected.
pub(super) async fn take_over(
    in_flight: InFlight,
    injection: &Injection,
    rule: &Rule,
    request_line: &RequestLine,
    script: Script,
) -> Response {
    in_flight.confirm(injection, rule);
    let Some(connection) = in_flight.connection.clone() else {
        // No connection, as in tests of the router alone.
        return answer::text(StatusCode::NOT_IMPLEMENTED, "no connection to inject into");
    };
    let mut status = rule.mode().and_then(Mode::status);
    let mut script = script;
    if connection.is_multiplexed()
        && let Some(mode) = rule.mode()
    {
        let ended = rule.answer().ends_connection.then_some(&connection);
        match stream::effect(mode, &request_line.method, &in_flight.app.engine, script, ended) {
            StreamEffect::Hang => {
                in_flight.hang().await;
                match in_flight.reset(StreamReset::Cancel).await {}
            }
            StreamEffect::Reset(reset) => match in_flight.reset(reset).await {},
            StreamEffect::Answer(mut response) => {
                answer::add_headers(&mut response, rule);
                answer::mark(&mut response, rule);
                in_flight.end(RequestOutcome::Answered(response.status().as_u16()));
                return response;
            }
            StreamEffect::Connection(of_connection) => (script, status) = (of_connection, None),
        }
    }
    let report = Box::new(move |ended| in_flight.end(outcome(ended, status)));
    match connection.take_over(Takeover { script, report }).await {}
}

/// The answer of a rule that HTTP can express, and whether the fault was applied to it.
pub(super) async fn replace<S>(
    in_flight: &InFlight,
    injection: Injection,
    rule: &Rule,
    request_line: &RequestLine,
    inner: InnerService<S>,
) -> (Response, bool)
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let Some(mode) = rule.mode() else { return (inner.answer().await, true) };
    if !mode.info().needs_body {
        inner.discard();
        let mut response = replacement(in_flight, rule, mode, &request_line.uri);
        answer::add_headers(&mut response, rule);
        return (response, true);
    }
    let whole = match own(in_flight, rule, mode) {
        Some(response) => response,
        None => inner.answer().await,
    };
    if whole.headers().contains_key(UPSTREAM_ERROR) {
        // Our own error answer about an unreachable upstream stays as it is.
        return (whole, false);
    }
    let body_fault = BodyFault {
        method: &request_line.method,
        version: request_line.version,
        connection: in_flight.connection.clone(),
        ends_connection: rule.answer().ends_connection,
        timer: &in_flight.app.timer,
        engine: &in_flight.app.engine,
        draws: injection.draws(),
        confirm: in_flight.confirm_later(injection, rule),
    };
    let (mut response, is_injected) = body_fault.apply(mode, whole);
    if is_injected {
        answer::add_headers(&mut response, rule);
    }
    (response, is_injected)
}

/// What a mode writes to the raw socket. `None` if the mode acts on the body of an application or on `body_text`.
pub(super) fn script(in_flight: &InFlight, rule: &Rule, request_line: &RequestLine) -> Option<Script> {
    let mode = rule.mode()?;
    let acts_on_body =
        mode.info().needs_body && (in_flight.is_application || rule.answer().body_text.is_some());
    answer::script(rule, mode, &request_line.method).filter(|_| !acts_on_body)
}

/// The generated answer that a body mode acts on, if there is one.
fn own(in_flight: &InFlight, rule: &Rule, mode: &Mode) -> Option<Response> {
    if in_flight.health.is_some() {
        return None;
    }
    let status = answer::status(mode.status().unwrap_or(200));
    answer::own(rule, status).or_else(|| match mode {
        Mode::Drip { partial, .. } if !in_flight.is_application => {
            Some(answer::filling(status, partial.body))
        }
        _ => None,
    })
}

/// The answer of a mode that replaces the service's answer.
fn replacement(in_flight: &InFlight, rule: &Rule, mode: &Mode, uri: &Uri) -> Response {
    match mode {
        Mode::Redirect(location) => answer::redirect(rule, location),
        Mode::Grpc { status, message } => answer::grpc(rule, *status, message),
        _ => {
            let status = answer::status(mode.status().unwrap_or(500));
            // The health service has no text.
            let given = if in_flight.health.is_some() { None } else { answer::own(rule, status) };
            given.unwrap_or_else(|| {
                let failure = verbose::FailedCheck {
                    check: rule.name().as_str(),
                    reason: format!("status {}", status.as_u16()),
                };
                in_flight.failure(status, &failure, answer::line(rule), uri)
            })
        }
    }
}

fn outcome(ended: ScriptOutcome, status: Option<u16>) -> RequestOutcome {
    match (ended, status) {
        (ScriptOutcome::HeadSent, Some(status)) => RequestOutcome::Answered(status),
        (ScriptOutcome::ClientGone, _) => RequestOutcome::Gone,
        _ => RequestOutcome::Unanswered,
    }
}
