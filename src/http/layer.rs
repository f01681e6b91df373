//! The layer that gets a decision from the engine for each request and applies it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use hyper::StatusCode;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::forward::Forwarding;
use super::in_flight::{InFlight, WaitEnd};
use super::replace::{self, InnerService, RequestLine};
use super::view::RequestHead;
use super::{App, DEPENDENCY_FAILED, answer, requested, verbose};
use crate::engine::Injection;
use crate::fault::{Rule, TargetId, Verdict};
use crate::grpc::Call;
use crate::listener::{ConnectionHandle, client_of};
use crate::telemetry::metrics::RequestOutcome;

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

    /// Marks the layer as being in front of a real application: body faults then act on its answers instead of
    /// generated bodies.
    #[must_use]
    pub fn before_application(mut self) -> Self {
        self.is_application = true;
        self
    }
}

impl<S> Layer<S> for FaultLayer {
    type Service = FaultedRoute<S>;

    fn layer(&self, inner: S) -> FaultedRoute<S> {
        FaultedRoute { inner, layer: self.clone() }
    }
}

/// A route with fault injection.
#[derive(Clone, Debug)]
pub struct FaultedRoute<S> {
    inner: S,
    layer: FaultLayer,
}

impl<S> Service<Request> for FaultedRoute<S>
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
        // Call the instance that is ready; keep the clone for the next request.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(serve(self.layer.clone(), inner, request))
    }
}

/// The decision for one request.
enum Fault<'a> {
    /// The service answers.
    None,
    /// A rule's mode applies.
    Mode(&'a Rule),
    /// Readiness fails because a rule makes the dependency fail.
    Dependency(&'a Rule),
}

/// Serves one request, from the decision to the answer.
async fn serve<S>(layer: FaultLayer, mut inner: S, mut request: Request) -> Result<Response, Infallible>
where
    S: Service<Request, Response = Response, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    let connection = ConnectionHandle::current();
    let client = connection.as_ref().map_or_else(|| client_of(request.headers()), ConnectionHandle::client);
    let FaultLayer { target, app, is_application, forwarding } = layer;
    let takes_requested = app.request_faults;
    let health = matches!(target, TargetId::Class(_)).then(|| Call::of(&request)).flatten();
    // Without an upstream, only the health service reads the body.
    let is_application = is_application || health.is_some();
    let in_flight = InFlight {
        app,
        target,
        client,
        arrived: Instant::now(),
        connection,
        is_application,
        health,
        ended: false,
    };

    let requested = if takes_requested { requested::take(&mut request) } else { Ok(Vec::new()) };
    let requested = match requested {
        Ok(rules) => rules,
        Err(wrong) => {
            in_flight.end(RequestOutcome::Answered(StatusCode::BAD_REQUEST.as_u16()));
            return Ok(answer::text(StatusCode::BAD_REQUEST, wrong.to_string()));
        }
    };
    let decided = in_flight.connection.as_ref().and_then(ConnectionHandle::take_injection);
    let injection = match decided {
        Some(injection) => *injection,
        None => in_flight.app.engine.decide_requested_for(target, client, &RequestHead(&request), &requested),
    };
    let active = injection.active.clone();
    let requested_rule = injection.requested.and_then(|position| requested.get(position));
    let first = requested_rule.or_else(|| injection.first.map(|position| active.plan.rule(position)));
    let fault = match (requested_rule.filter(|rule| rule.mode().is_some()), injection.decision.verdict) {
        (Some(rule), _) => Fault::Mode(rule),
        (None, Verdict::Pass) => Fault::None,
        (None, Verdict::Inject(position)) => Fault::Mode(active.plan.rule(position)),
        (None, Verdict::DependencyFailed(position)) => Fault::Dependency(active.plan.rule(position)),
    };
    let decided = match fault {
        Fault::None => first,
        Fault::Mode(rule) | Fault::Dependency(rule) => Some(rule),
    };
    if let Some(rule) = decided.filter(|_| injection.is_confirmed()) {
        in_flight.report(&injection, rule);
    }
    let delay = injection.decision.delay;
    let (response, marked) = match fault {
        Fault::None => {
            in_flight.wait(in_flight.arrived + delay).await;
            let Ok(response) = inner.call(request).await;
            (response, first)
        }
        // Boxed separately, so that requests without a fault take less memory and time.
        Fault::Mode(rule) => {
            let faulted = faulted(in_flight, &forwarding, injection, rule, first, inner, request);
            return Ok(Box::pin(faulted).await);
        }
        Fault::Dependency(rule) => match in_flight.wait(in_flight.arrived + delay).await {
            WaitEnd::Stopped => {
                let Ok(response) = inner.call(request).await;
                (response, first)
            }
            WaitEnd::Elapsed => {
                in_flight.confirm(&injection, rule);
                let failure = verbose::dependency_failed(rule);
                (
                    in_flight.failure(DEPENDENCY_FAILED, &failure, failure.to_string(), request.uri()),
                    Some(rule),
                )
            }
        },
    };
    Ok(finish(in_flight, response, marked))
}

/// A request that gets the mode of `rule`, after its delay. `first` is the first rule that applies to it.
async fn faulted<S>(
    in_flight: InFlight,
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
    let request_line = RequestLine::of(&request);
    let (from, inner) = if rule.answer().forward {
        match forwarding.call(inner, request, in_flight.connection.clone()).await {
            Some(lost) => (Instant::now(), InnerService::Answered(lost)),
            None => return answer::text(StatusCode::INTERNAL_SERVER_ERROR, "forwarding failed"),
        }
    } else {
        (in_flight.arrived, InnerService::Pending(inner, request))
    };
    match in_flight.wait(from + delay).await {
        // All rules were stopped: send the ordinary answer at once.
        WaitEnd::Stopped => {
            let response = inner.answer().await;
            finish(in_flight, response, first)
        }
        WaitEnd::Elapsed => {
            if let Some(script) = replace::script(&in_flight, rule, &request_line) {
                inner.discard();
                return replace::take_over(in_flight, &injection, rule, &request_line, script).await;
            }
            let (response, shows) = replace::replace(&in_flight, injection, rule, &request_line, inner).await;
            let others = first.filter(|first| first.name() != rule.name());
            finish(in_flight, response, if shows { Some(rule) } else { others })
        }
    }
}

/// Names the rule that the client sees in the answer, and counts the request.
fn finish(in_flight: InFlight, mut response: Response, marked: Option<&Rule>) -> Response {
    if let Some(rule) = marked {
        answer::mark(&mut response, rule);
    }
    in_flight.answered(&response);
    response
}
