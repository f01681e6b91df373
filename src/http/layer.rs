//! The layer that asks the engine about each request and does what it says.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::USER_AGENT;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::forward::Forwarding;
use super::replace::{self, Asked, Behind};
use super::served::{Served, Waited};
use super::view::RequestHead;
use super::{App, answer, requested, verbose};
use crate::engine::Injection;
use crate::fault::{Client, Rule, TargetId, Verdict};
use crate::listener::ConnectionHandle;
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

/// What becomes of a request.
enum Fault<'a> {
    /// Its answer is that of the service.
    None,
    /// It gets the mode of a rule.
    Mode(&'a Rule),
    /// Readiness fails with the dependency, by a rule.
    Dependency(&'a Rule),
}

/// One request, from the decision to the answer.
async fn serve<S>(layer: FaultLayer, mut inner: S, mut request: Request) -> Result<Response, Infallible>
where
    S: Service<Request, Response = Response, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    let agent = request.headers().get(USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
    let client = Client::from_user_agent(agent);
    let FaultLayer { target, app, is_application, forwarding } = layer;
    let takes_requested = app.request_faults;
    let connection = ConnectionHandle::current();
    let served =
        Served { app, target, client, arrived: Instant::now(), connection, is_application, ended: false };

    let requested = if takes_requested { requested::take(&mut request) } else { Ok(Vec::new()) };
    let requested = match requested {
        Ok(rules) => rules,
        Err(wrong) => {
            served.end(Outcome::Answered(StatusCode::BAD_REQUEST.as_u16()));
            return Ok(answer::text(StatusCode::BAD_REQUEST, wrong.to_string()));
        }
    };
    let injection =
        served.app.engine.decide_requested_for(target, client, &RequestHead(&request), &requested);
    let active = injection.active.clone();
    let asked_for = injection.requested.and_then(|position| requested.get(position));
    let first = asked_for.or_else(|| injection.first.map(|position| active.plan.rule(position)));
    let fault = match (asked_for.filter(|rule| rule.mode().is_some()), injection.decision.verdict) {
        (Some(rule), _) => Fault::Mode(rule),
        (None, Verdict::Pass) => Fault::None,
        (None, Verdict::Inject(position)) => Fault::Mode(active.plan.rule(position)),
        (None, Verdict::DependencyFailed(position)) => Fault::Dependency(active.plan.rule(position)),
    };
    let decided = match fault {
        Fault::None => first,
        Fault::Mode(rule) | Fault::Dependency(rule) => Some(rule),
    };
    if let Some(rule) = decided.filter(|_| injection.is_sure()) {
        served.report(&injection, rule);
    }
    let delay = injection.decision.delay;
    let (response, marked) = match fault {
        Fault::None => {
            served.wait(served.arrived + delay).await;
            let Ok(response) = inner.call(request).await;
            (response, first)
        }
        // In a box of its own, so that a request without a fault takes less memory and time.
        Fault::Mode(rule) => {
            let faulted = faulted(served, &forwarding, injection, rule, first, inner, request);
            return Ok(Box::pin(faulted).await);
        }
        Fault::Dependency(rule) => match served.wait(served.arrived + delay).await {
            Waited::Stopped => {
                let Ok(response) = inner.call(request).await;
                (response, first)
            }
            Waited::Whole => {
                served.confirm(&injection, rule);
                let failure =
                    verbose::Failure { check: "dependency", reason: format!("fault {}", rule.name()) };
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                (served.failure(status, &failure, failure.to_string(), request.uri()), Some(rule))
            }
        },
    };
    Ok(finish(served, response, marked))
}

/// A request that gets the mode of `rule`, after its delay. `first` is the first rule that applies to it.
async fn faulted<S>(
    served: Served,
    forwarding: &Forwarding,
    injection: Injection,
    rule: &Rule,
    first: Option<&Rule>,
    inner: S,
    request: Request,
) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    let delay = injection.decision.delay;
    let asked = Asked::of(&request);
    let (from, behind) = if rule.answer().forward {
        match forwarding.call(inner, request, served.connection.clone()).await {
            Some(lost) => (Instant::now(), Behind::Answered(lost)),
            None => return answer::text(StatusCode::INTERNAL_SERVER_ERROR, "the forwarding failed"),
        }
    } else {
        (served.arrived, Behind::Unasked(inner, request))
    };
    match served.wait(from + delay).await {
        // All rules are out of force: the request gets its ordinary answer at once.
        Waited::Stopped => {
            let response = behind.answer().await;
            finish(served, response, first)
        }
        Waited::Whole => {
            if let Some(script) = replace::script(&served, rule, &asked) {
                behind.forget();
                return replace::take_over(served, &injection, rule, &asked, script).await;
            }
            let (response, shows) = replace::replace(&served, injection, rule, &asked, behind).await;
            let others = first.filter(|first| first.name() != rule.name());
            finish(served, response, if shows { Some(rule) } else { others })
        }
    }
}

/// Names the rule that the client sees in the answer, and counts the request.
fn finish(served: Served, mut response: Response, marked: Option<&Rule>) -> Response {
    if let Some(rule) = marked {
        answer::mark(&mut response, rule);
    }
    served.answered(&response);
    response
}
