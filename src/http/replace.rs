//! What takes the place of an answer.

use std::convert::Infallible;

use axum::extract::Request;
use axum::response::Response;
use hyper::{Method, StatusCode, Uri, Version};
use tower::Service;

use super::forward::Lost;
use super::served::Served;
use super::stream::{self, Effect};
use super::strike::Strike;
use super::{answer, verbose};
use crate::engine::Injection;
use crate::fault::{Mode, Rule};
use crate::listener::{Ended, Script, StreamReset, Takeover};
use crate::telemetry::metrics::Outcome;

/// Marks an answer as ours, in place of one of the application.
const UPSTREAM_ERROR: &str = "x-probesim-upstream-error";

/// What stands behind the layer, and what it has been asked.
pub(super) enum Behind<S> {
    /// It has not been asked yet.
    Unasked(S, Request),
    /// It has answered.
    Answered(Lost),
}

impl<S> Behind<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    pub(super) async fn answer(self) -> Response {
        match self {
            Self::Unasked(mut inner, request) => {
                let Ok(response) = inner.call(request).await;
                response
            }
            Self::Answered(lost) => lost.found(),
        }
    }

    /// Nobody gets its answer, if it has been asked at all.
    pub(super) fn forget(self) {
        if let Self::Answered(lost) = self {
            lost.discard();
        }
    }
}

/// What of a request is needed after it has been forwarded.
pub(super) struct Asked {
    method: Method,
    version: Version,
    uri: Uri,
}

impl Asked {
    pub(super) fn of(request: &Request) -> Self {
        Self { method: request.method().clone(), version: request.version(), uri: request.uri().clone() }
    }
}

/// Hands the connection over to a script, or does to one stream of HTTP/2 what comes in its place.
pub(super) async fn take_over(
    served: Served,
    injection: &Injection,
    rule: &Rule,
    asked: &Asked,
    script: Script,
) -> Response {
    served.confirm(injection, rule);
    let Some(connection) = served.connection.clone() else {
        // Called without a connection of ours, as in a test of the router alone.
        return answer::text(StatusCode::NOT_IMPLEMENTED, "no connection to inject into");
    };
    let mut status = rule.mode().and_then(Mode::status);
    let mut script = script;
    if connection.is_multiplexed()
        && let Some(mode) = rule.mode()
    {
        match stream::effect(mode, &asked.method, &served.app.engine, script) {
            Effect::Hang => {
                served.hang().await;
                match served.reset(StreamReset::Cancel).await {}
            }
            Effect::Reset(reset) => match served.reset(reset).await {},
            Effect::Answer(mut response) => {
                answer::add_headers(&mut response, rule);
                answer::mark(&mut response, rule);
                served.end(Outcome::Answered(response.status().as_u16()));
                return response;
            }
            Effect::Connection(of_connection) => (script, status) = (of_connection, None),
        }
    }
    let report = Box::new(move |ended| served.end(outcome(ended, status)));
    match connection.take_over(Takeover { script, report }).await {}
}

/// The answer of a rule that HTTP can express, and whether its fault shows in it.
pub(super) async fn replace<S>(
    served: &Served,
    injection: Injection,
    rule: &Rule,
    asked: &Asked,
    behind: Behind<S>,
) -> (Response, bool)
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let Some(mode) = rule.mode() else { return (behind.answer().await, true) };
    if !mode.info().needs_body {
        behind.forget();
        let mut response = replacement(served, rule, mode, &asked.uri);
        answer::add_headers(&mut response, rule);
        return (response, true);
    }
    let whole = match own(rule, mode, served.is_application) {
        Some(response) => response,
        None => behind.answer().await,
    };
    if whole.headers().contains_key(UPSTREAM_ERROR) {
        // It is our line about an application that has not answered.
        return (whole, false);
    }
    let strike = Strike {
        method: &asked.method,
        version: asked.version,
        connection: served.connection.clone(),
        timer: &served.app.timer,
        engine: &served.app.engine,
        draws: injection.draws(),
        confirm: served.confirm_later(injection, rule),
    };
    let (mut response, is_struck) = strike.apply(mode, whole);
    if is_struck {
        answer::add_headers(&mut response, rule);
    }
    (response, is_struck)
}

/// What a mode does on the bare socket. One that acts on the body of an application, or of a given text, strikes that
/// instead.
pub(super) fn script(served: &Served, rule: &Rule, asked: &Asked) -> Option<Script> {
    let mode = rule.mode()?;
    let strikes = mode.info().needs_body && (served.is_application || rule.answer().body_text.is_some());
    answer::script(rule, mode, &asked.method).filter(|_| !strikes)
}

/// The answer that a mode strikes, if it is one that we make for it.
fn own(rule: &Rule, mode: &Mode, is_application: bool) -> Option<Response> {
    let status = answer::status(mode.status().unwrap_or(200));
    answer::own(rule, status).or_else(|| match mode {
        Mode::Drip { partial, .. } if !is_application => Some(answer::filling(status, partial.body)),
        _ => None,
    })
}

/// The whole answer of a mode that has nothing to do with that of the service.
fn replacement(served: &Served, rule: &Rule, mode: &Mode, uri: &Uri) -> Response {
    match mode {
        Mode::Redirect(location) => answer::redirect(rule, location),
        Mode::Grpc { status, message } => answer::grpc(rule, *status, message),
        _ => {
            let status = answer::status(mode.status().unwrap_or(500));
            answer::own(rule, status).unwrap_or_else(|| {
                let failure = verbose::Failure {
                    check: rule.name().as_str(),
                    reason: format!("status {}", status.as_u16()),
                };
                served.failure(status, &failure, answer::line(rule), uri)
            })
        }
    }
}

fn outcome(ended: Ended, status: Option<u16>) -> Outcome {
    match (ended, status) {
        (Ended::HeadSent, Some(status)) => Outcome::Answered(status),
        (Ended::ClientGone, _) => Outcome::Gone,
        _ => Outcome::Unanswered,
    }
}
