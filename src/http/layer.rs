//! The layer that asks the engine about each request and does what it says.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use hyper::header::USER_AGENT;
use hyper::{Method, StatusCode, Uri, Version};
use tokio::time::Instant;
use tower::{Layer, Service};
use tracing::debug;

use super::forward::{Forwarding, Lost};
use super::stream::{self, Effect};
use super::strike::Strike;
use super::view::RequestHead;
use super::{App, answer, verbose};
use crate::engine::events::EventKind;
use crate::engine::{Engine, Injection};
use crate::fault::{Client, Mode, Rule, TargetId, Verdict};
use crate::listener::{ConnectionHandle, Ended, Script, StreamReset, Takeover};
use crate::telemetry::metrics::Outcome;

/// Wraps the route of a target.
#[derive(Clone, Debug)]
pub struct FaultLayer {
    target: TargetId,
    app: Arc<App>,
    is_application: bool,
    forwarding: Forwarding,
}

impl FaultLayer {
    /// Faults for requests to `target`.
    pub fn new(target: impl Into<TargetId>, app: Arc<App>) -> Self {
        Self { target: target.into(), app, is_application: false, forwarding: Forwarding::default() }
    }

    /// The same in front of a real application, whose answers body faults act on. Without one, they act on bodies of
    /// their own making.
    #[must_use]
    pub fn before_application(mut self) -> Self {
        self.is_application = true;
        self
    }
}

impl<S> Layer<S> for FaultLayer {
    type Service = Faulted<S>;

    fn layer(&self, inner: S) -> Faulted<S> {
        Faulted { inner, layer: self.clone() }
    }
}

/// A route whose answers come late, wrong or not at all.
#[derive(Clone, Debug)]
pub struct Faulted<S> {
    inner: S,
    layer: FaultLayer,
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
        Box::pin(serve(self.layer.clone(), inner, request))
    }
}

/// Marks an answer as ours, in place of one of the application.
const UPSTREAM_ERROR: &str = "x-probesim-upstream-error";

/// What stands behind the layer, and what it has been asked.
enum Behind<S> {
    /// It has not been asked yet.
    Unasked(S, Request),
    /// It has answered.
    Answered(Lost),
}

impl<S> Behind<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    async fn answer(self) -> Response {
        match self {
            Self::Unasked(mut inner, request) => {
                let Ok(response) = inner.call(request).await;
                response
            }
            Self::Answered(lost) => lost.found(),
        }
    }

    /// Nobody gets its answer, if it has been asked at all.
    fn forget(self) {
        if let Self::Answered(lost) = self {
            lost.discard();
        }
    }
}

/// What of a request is needed after it has been forwarded.
struct Asked {
    method: Method,
    version: Version,
    uri: Uri,
}

/// One request, from the decision to the answer.
async fn serve<S>(layer: FaultLayer, inner: S, request: Request) -> Result<Response, Infallible>
where
    S: Service<Request, Response = Response, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    let agent = request.headers().get(USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
    let client = Client::from_user_agent(agent);
    let FaultLayer { target, app, is_application, forwarding } = layer;
    let connection = ConnectionHandle::current();
    let served =
        Served { app, target, client, arrived: Instant::now(), connection, is_application, ended: false };

    let injection = served.app.engine.decide_for(target, client, &RequestHead(&request));
    let active = injection.active.clone();
    let plan = &active.plan;
    if injection.is_sure() {
        report_injection(&served.app.engine, &injection, target, client);
    }
    let delay = injection.decision.delay;
    let (mut response, fault) = match injection.decision.verdict {
        Verdict::Pass => {
            served.wait(served.arrived + delay).await;
            (Behind::Unasked(inner, request).answer().await, injection.first)
        }
        Verdict::Inject(position) => {
            let rule = plan.rule(position);
            let (method, uri) = (request.method().clone(), request.uri().clone());
            let asked = Asked { method, version: request.version(), uri };
            let (from, behind) = if rule.answer().forward {
                match forwarding.call(inner, request, served.connection.clone()).await {
                    Some(lost) => (Instant::now(), Behind::Answered(lost)),
                    None => {
                        return Ok(answer::text(StatusCode::INTERNAL_SERVER_ERROR, "the forwarding failed"));
                    }
                }
            } else {
                (served.arrived, Behind::Unasked(inner, request))
            };
            match served.wait(from + delay).await {
                // All rules are out of force: the request gets its ordinary answer at once.
                Waited::Stopped => (behind.answer().await, injection.first),
                Waited::Whole => {
                    if let Some(script) = script(&served, rule, &asked.method) {
                        behind.forget();
                        return Ok(take_over(served, injection, rule, &asked.method, script).await);
                    }
                    let first = injection.first.filter(|first| *first != position);
                    let (response, shows) = replace(&served, injection, rule, position, &asked, behind).await;
                    (response, if shows { Some(position) } else { first })
                }
            }
        }
        Verdict::DependencyFailed(position) => match served.wait(served.arrived + delay).await {
            Waited::Stopped => (Behind::Unasked(inner, request).answer().await, injection.first),
            Waited::Whole => {
                confirm(&served.app.engine, &injection, target, client);
                let name = plan.rule(position).name();
                let failure = verbose::Failure { check: "dependency", reason: format!("fault {name}") };
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                (served.failure(status, &failure, failure.to_string(), request.uri()), Some(position))
            }
        },
    };
    if let Some(position) = fault {
        answer::mark(&mut response, plan.rule(position));
    }
    served.end(Outcome::Answered(response.status().as_u16()));
    Ok(response)
}

/// Hands the connection over to a script, or does to one stream of HTTP/2 what comes in its place.
async fn take_over(
    served: Served,
    injection: Injection,
    rule: &Rule,
    method: &Method,
    script: Script,
) -> Response {
    confirm(&served.app.engine, &injection, served.target, served.client);
    let Some(connection) = served.connection.clone() else {
        // Called without a connection of ours, as in a test of the router alone.
        return answer::text(StatusCode::NOT_IMPLEMENTED, "no connection to inject into");
    };
    let mut status = rule.mode().and_then(Mode::status);
    let mut script = script;
    if connection.is_multiplexed()
        && let Some(mode) = rule.mode()
    {
        match stream::effect(mode, method, &served.app.engine, script) {
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
async fn replace<S>(
    served: &Served,
    injection: Injection,
    rule: &Rule,
    position: usize,
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
    let (engine, target, client) = (served.app.engine.clone(), served.target, served.client);
    let strike = Strike {
        method: &asked.method,
        version: asked.version,
        connection: served.connection.clone(),
        timer: &served.app.timer,
        engine: &served.app.engine,
        draws: injection.active.plan.draws_within(position, target, client, injection.drawn_number),
        confirm: Box::new(move || confirm(&engine, &injection, target, client)),
    };
    let (mut response, is_struck) = strike.apply(mode, whole);
    if is_struck {
        answer::add_headers(&mut response, rule);
    }
    (response, is_struck)
}

/// What a mode does on the bare socket. One that acts on the body of an application, or of a given text, strikes that
/// instead.
fn script(served: &Served, rule: &Rule, method: &Method) -> Option<Script> {
    let mode = rule.mode()?;
    let strikes = mode.info().needs_body && (served.is_application || rule.answer().body_text.is_some());
    answer::script(rule, mode, method).filter(|_| !strikes)
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

/// Counts and reports an injection that was in doubt.
fn confirm(engine: &Engine, injection: &Injection, target: TargetId, client: Client) {
    if !injection.is_sure() {
        injection.confirm();
        report_injection(engine, injection, target, client);
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
    is_application: bool,
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

    /// Waits until all rules are put out of force, unless the client gives up before.
    async fn hang(&self) {
        if let Some(connection) = &self.connection {
            connection.waits_for_ever();
        }
        self.app.engine.stopped().await;
    }

    /// Resets the stream of HTTP/2. Nothing comes after it.
    async fn reset(self, reset: StreamReset) -> Infallible {
        let connection = self.connection.clone();
        self.end(Outcome::Unanswered);
        match connection {
            Some(connection) => match connection.reset_stream(reset).await {},
            None => std::future::pending().await,
        }
    }

    fn failure(
        &self,
        status: StatusCode,
        failure: &verbose::Failure<'_>,
        line: String,
        uri: &Uri,
    ) -> Response {
        if verbose::is_wanted(uri) {
            answer::text(status, verbose::body(&self.app, self.target, uri.path(), Some(failure)))
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
