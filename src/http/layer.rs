//! The layer that asks the engine about each request and does what it says.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use hyper::header::USER_AGENT;
use hyper::{Method, StatusCode};
use tokio::time::Instant;
use tower::{Layer, Service};
use tracing::debug;

use super::strike::Strike;
use super::view::RequestHead;
use super::{App, answer, verbose};
use crate::engine::events::EventKind;
use crate::engine::{Engine, Injection};
use crate::fault::{Client, Mode, Rule, TargetId, Verdict};
use crate::listener::{ConnectionHandle, Ended, Script, Takeover};
use crate::telemetry::metrics::Outcome;

/// Wraps the route of a target.
#[derive(Clone, Debug)]
pub struct FaultLayer {
    target: TargetId,
    app: Arc<App>,
}

impl FaultLayer {
    /// Faults for requests to `target`.
    pub fn new(target: impl Into<TargetId>, app: Arc<App>) -> Self {
        Self { target: target.into(), app }
    }
}

impl<S> Layer<S> for FaultLayer {
    type Service = Faulted<S>;

    fn layer(&self, inner: S) -> Faulted<S> {
        Faulted { inner, target: self.target, app: self.app.clone() }
    }
}

/// A route whose answers come late, wrong or not at all.
#[derive(Clone, Debug)]
pub struct Faulted<S> {
    inner: S,
    target: TargetId,
    app: Arc<App>,
}

impl<S> Service<Request> for Faulted<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The service that is ready is the one to call; the clone stays for the next request.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(serve(self.app.clone(), self.target, inner, request))
    }
}

/// One request, from the decision to the answer.
async fn serve<S>(
    app: Arc<App>,
    target: TargetId,
    mut inner: S,
    request: Request,
) -> Result<Response, Infallible>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let agent = request.headers().get(USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
    let client = Client::from_user_agent(agent);
    let connection = ConnectionHandle::current();
    let served = Served { app, target, client, arrived: Instant::now(), connection, ended: false };

    let mut injection = served.app.engine.decide_for(target, client, &RequestHead(&request));
    report_injection(&served.app.engine, &injection, target, client);
    let waited = served.wait(served.arrived + injection.decision.delay).await;

    let verdict = match waited {
        Waited::Whole => injection.decision.verdict,
        // All rules are out of force: the request gets its ordinary answer at once.
        Waited::Stopped => Verdict::Pass,
    };
    let active = injection.active.clone();
    let plan = &active.plan;
    let mut fault = injection.first;
    let mut response = match verdict {
        Verdict::Pass => inner.call(request).await?,
        Verdict::Inject(position) => {
            let rule = plan.rule(position);
            let Some(mode) = rule.mode() else { return inner.call(request).await };
            fault = Some(position);
            if let Some(script) = script(rule, mode, request.method()) {
                injection.confirm();
                let Some(connection) = served.connection.clone() else {
                    // Called without a connection of ours, as in a test of the router alone.
                    return Ok(answer::text(StatusCode::NOT_IMPLEMENTED, "no connection to inject into"));
                };
                let status = mode.status();
                let report = Box::new(move |ended| served.end(outcome(ended, status)));
                match connection.take_over(Takeover { script, report }).await {}
            }
            if mode.info().needs_body {
                let (method, version) = (request.method().clone(), request.version());
                let whole = match own(rule, mode) {
                    Some(response) => response,
                    None => inner.call(request).await?,
                };
                let strike = Strike {
                    method: &method,
                    version,
                    connection: served.connection.clone(),
                    timer: &served.app.timer,
                    draws: plan.draws_within(position, target, client, injection.drawn_number),
                    confirm: Box::new(move || injection.confirm()),
                };
                let (mut response, is_struck) = strike.apply(mode, whole);
                if is_struck {
                    answer::add_headers(&mut response, rule);
                } else {
                    fault = None;
                }
                response
            } else {
                let mut response = replacement(&served, rule, mode, &request);
                answer::add_headers(&mut response, rule);
                response
            }
        }
        Verdict::DependencyFailed(position) => {
            injection.confirm();
            fault = Some(position);
            let name = plan.rule(position).name();
            let failure = verbose::Failure { check: "dependency", reason: format!("fault {name}") };
            served.failure(StatusCode::INTERNAL_SERVER_ERROR, &failure, failure.to_string(), &request)
        }
    };
    if let Some(position) = fault {
        answer::mark(&mut response, plan.rule(position));
    }
    served.end(Outcome::Answered(response.status().as_u16()));
    Ok(response)
}

/// What a mode does on the bare socket; one with a body of its own strikes that instead.
fn script(rule: &Rule, mode: &Mode, method: &Method) -> Option<Script> {
    let strikes_text = mode.info().needs_body && rule.answer().body_text.is_some();
    answer::script(rule, mode, method).filter(|_| !strikes_text)
}

/// The answer that a mode strikes, if it is one that we make for it.
fn own(rule: &Rule, mode: &Mode) -> Option<Response> {
    let status = answer::status(mode.status().unwrap_or(200));
    answer::own(rule, status).or_else(|| match mode {
        Mode::Drip { partial, .. } => Some(answer::filling(status, partial.body)),
        _ => None,
    })
}

/// The whole answer of a mode that has nothing to do with that of the service.
fn replacement(served: &Served, rule: &Rule, mode: &Mode, request: &Request) -> Response {
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
                served.failure(status, &failure, answer::line(rule), request)
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

fn report_injection(engine: &Engine, injection: &Injection, target: TargetId, client: Client) {
    let Some(first) = injection.first else { return };
    let target = injection.active.plan.proxies().target_name(target);
    let decided = match injection.decision.verdict {
        Verdict::Pass => first,
        Verdict::Inject(position) | Verdict::DependencyFailed(position) => position,
    };
    let rule = injection.active.plan.rule(decided);
    let delay_ms = injection.decision.delay.as_secs_f64() * 1e3;
    engine.events().sample(engine.elapsed(), || EventKind::Injection {
        fault: rule.name().to_string(),
        target: target.to_owned(),
        client: client.name(),
        number: injection.number,
        mode: rule.effect(),
        delay_ms,
    });
    debug!(
        fault = %rule.name(),
        target,
        client = client.name(),
        number = injection.number,
        mode = rule.effect(),
        delay_ms,
        "injected"
    );
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    /// With the delay.
    Whole,
    /// Early: all rules were put out of force.
    Stopped,
}

/// A request under way. Dropped before its end, it was left by its client, or ended by the server.
struct Served {
    app: Arc<App>,
    target: TargetId,
    client: Client,
    arrived: Instant,
    connection: Option<ConnectionHandle>,
    ended: bool,
}

impl Served {
    /// Waits for the end of a delay, or for a stop of all rules.
    async fn wait(&self, until: Instant) -> Waited {
        if until <= self.arrived {
            return Waited::Whole;
        }
        if let Some(connection) = &self.connection {
            connection.waits_until(until);
        }
        tokio::select! {
            () = self.app.timer.sleep_until(until) => Waited::Whole,
            () = self.app.engine.stopped() => Waited::Stopped,
        }
    }

    fn failure(
        &self,
        status: StatusCode,
        failure: &verbose::Failure<'_>,
        line: String,
        request: &Request,
    ) -> Response {
        if verbose::is_wanted(request.uri()) {
            answer::text(status, verbose::body(&self.app, self.target, request.uri().path(), Some(failure)))
        } else {
            answer::text(status, line)
        }
    }

    fn end(mut self, outcome: Outcome) {
        self.ended = true;
        self.count(outcome);
    }

    fn count(&self, outcome: Outcome) {
        self.app.metrics.request(self.target, self.client, outcome, self.arrived.elapsed());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if !self.ended {
            let by_server = self.connection.as_ref().is_some_and(ConnectionHandle::ended_by_server);
            self.count(if by_server { Outcome::Unanswered } else { Outcome::Gone });
        }
    }
}
