//! Routes of both listeners, and the layer that injects faults.
//!
//! Each target route is wrapped in a [`layer::FaultLayer`], which gets a decision from the engine and applies it.
//! Other routes are not wrapped, so no list of excluded paths is needed.

mod answer;
mod body_fault;
mod filling;
mod forward;
mod health;
mod in_flight;
mod index;
pub mod layer;
mod named;
mod plain;
mod replace;
mod requested;
mod shared_bodies;
mod stream;
mod upstream;
mod verbose;
mod view;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{any, any_service, get};
use hyper::StatusCode;
use hyper::header::HeaderValue;
use tokio::sync::watch;
use tower::{Layer, Service};

pub use self::named::{Exchangeable, proxy_routes};
use self::shared_bodies::SharedBodies;
pub use self::upstream::ProbeUpstream;
use crate::clock::Timer;
use crate::engine::{Engine, Injection};
use crate::env::Identity;
use crate::fault::{Mode, Target, Verdict};
use crate::grpc::{self, Call, Health, Method};
use crate::listener::{
    Answering, Conditions, Direct, Handle, PlainAnswer, PlainDecision, PlainFailure, PlainRequest, Routes,
};
use crate::rpc::is_grpc;
use crate::telemetry::metrics::{Metrics, RequestOutcome};

/// The answer of a class that is healthy.
const HEALTHY: &str = "ok";

/// The status of readiness while a rule makes the dependency fail.
const DEPENDENCY_FAILED: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

/// State shared by all handlers.
#[derive(Debug)]
pub struct App {
    /// Decides which rules apply to a request.
    pub engine: Engine,
    /// Counts requests and errors.
    pub metrics: Arc<Metrics>,
    /// Waits for delays.
    pub timer: Timer,
    /// Pod, namespace and node of this replica.
    pub identity: Identity,
    /// Paths and their targets; a prefix ends in `/*`.
    pub paths: Vec<(String, Target)>,
    /// The application behind the probe listener.
    pub upstream: Option<ProbeUpstream>,
    /// Whether requests may select their own faults.
    pub request_faults: bool,
    /// Partition and stage of the probe listener.
    pub conditions: watch::Receiver<Conditions>,
    /// The gRPC health service.
    pub health: Health,
}

impl App {
    /// Whether the process is shutting down.
    fn is_leaving(&self) -> bool {
        self.health.is_shutting_down()
    }

    /// Decides on a request whose answer is fixed, and counts it with `status` if no rule acts on it. Otherwise, returns
    /// the decision, unless a rule has to see the request first.
    fn decide_unfaulted(
        &self,
        target: Target,
        request: PlainRequest,
        status: StatusCode,
    ) -> Result<(), Option<Injection>> {
        match self.engine.decide_unseen(target, request.client) {
            Some(injection) if injection.is_none() => {
                self.count_answer(target, request, status);
                Ok(())
            }
            other => Err(other),
        }
    }

    fn count_answer(&self, target: Target, request: PlainRequest, status: StatusCode) {
        let outcome = RequestOutcome::Answered(status.as_u16());
        self.metrics.request(target, request.client, outcome, request.arrived.elapsed());
    }

    /// The answer to a plain request that a rule fails by a status and nothing else. It is counted and reported.
    fn plain_failure(
        &self,
        target: Target,
        request: PlainRequest,
        injection: &Injection,
    ) -> Option<PlainFailure> {
        if !injection.decision.delay.is_zero() || !injection.is_confirmed() {
            return None;
        }
        let rule = |position| injection.active.plan.rule(position);
        let (rule, code, text) = match injection.decision.verdict {
            Verdict::Inject(position) => {
                let Some(Mode::Status(code)) = rule(position).mode() else { return None };
                (rule(position), *code, answer::line(rule(position)))
            }
            Verdict::DependencyFailed(position) => (
                rule(position),
                DEPENDENCY_FAILED.as_u16(),
                verbose::dependency_failed(rule(position)).to_string(),
            ),
            Verdict::Pass => return None,
        };
        let status = answer::status(code);
        // A status below 200 or of a redirection may frame its body differently.
        if !rule.answer().is_plain() || code < 400 || status.canonical_reason().is_none() {
            return None;
        }
        let fault = HeaderValue::from_str(rule.name().as_str()).ok()?;
        in_flight::report(&self.engine, injection, rule);
        self.count_answer(target, request, status);
        Some(PlainFailure { status, fault, text })
    }
}

/// Routes of the probe listener: targets, `/metrics` and the index. With an upstream, everything but the targets goes
/// to the upstream.
pub fn probe_routes(app: &Arc<App>) -> Routes {
    if let Some(upstream) = &app.upstream {
        return upstream::routes(app, upstream);
    }
    let mut router = Router::new().without_v07_checks();
    let mut direct: HashMap<String, Direct> = HashMap::new();
    for (path, target) in &app.paths {
        let faulted = layer::FaultLayer::new(*target, app.clone())
            .layer(DefaultAnswer { app: app.clone(), target: *target });
        // Any method: load balancers also check with OPTIONS.
        let route = || any_service(faulted.clone());
        router = match path.strip_suffix('*') {
            // `/` stays the index even when everything below it is a target.
            Some("/") => router.route("/{*rest}", route()),
            Some(prefix) => router.route(prefix, route()).route(&format!("{prefix}{{*rest}}"), route()),
            None => router.route(path, route()),
        };
        if !path.ends_with('*') {
            let handle: Handle = Box::new(move |request| faulted.clone().call(request));
            direct.insert(path.clone(), Direct { handle, plain: plain(app, *target) });
        }
    }
    let services = Target::ALL.map(|target| {
        layer::FaultLayer::new(target, app.clone()).layer(DefaultAnswer { app: app.clone(), target })
    });
    let serve =
        move |target: Target, request| -> Answering { services[target.index()].clone().call(request) };
    let calls = health::HealthCalls::new(app.clone(), Arc::new(serve));
    for (path, _) in Method::ALL {
        let calls = calls.clone();
        direct.entry(path.to_owned()).or_insert_with(|| Direct {
            handle: Box::new(move |request| calls.answer(request)),
            plain: None,
        });
    }
    let (of_index, pages) = (app.clone(), Arc::new(SharedBodies::default()));
    let index = move || ready(answer::shared(pages.text(|| index::page(&of_index)), answer::page));
    let router = router
        .route("/", any(index))
        .route("/metrics", metrics(app))
        .fallback(not_found)
        // `with_state` builds the routes once; without it, axum builds them for each request.
        .with_state(());
    Routes::new(router, direct)
}

/// Routes of the admin listener: `/metrics` and `/healthz`, which never fail on purpose, and the admin API.
pub fn admin_routes(app: &Arc<App>, api: Router) -> Routes {
    let router = Router::new()
        .route("/healthz", get(|| ready(answer::text(StatusCode::OK, "ok"))))
        .route("/metrics", metrics(app))
        .fallback(not_found)
        .with_state(())
        .merge(api);
    Routes::new(router, HashMap::new())
}

fn metrics(app: &Arc<App>) -> axum::routing::MethodRouter {
    // One set of bodies per listener: slow readers of one listener must not affect the other.
    let (app, scrapes) = (app.clone(), Arc::new(SharedBodies::default()));
    get(move || ready(answer::shared(scrapes.text(|| app.metrics.encode()), answer::metrics)))
}

async fn not_found(request: Request) -> Response<Body> {
    if is_grpc(request.headers()) {
        return grpc::unimplemented(request.uri().path());
    }
    answer::text(StatusCode::NOT_FOUND, "not found")
}

/// Answers plain requests to a target, but for those whose fault is more than a status.
fn plain(app: &Arc<App>, target: Target) -> Option<PlainAnswer> {
    if target == Target::Traffic {
        return None;
    }
    let app = app.clone();
    Some(PlainAnswer::new(HEALTHY, move |request| {
        if target == Target::Readiness && app.is_leaving() {
            return PlainDecision::Other(None);
        }
        match app.decide_unfaulted(target, request, StatusCode::OK) {
            Ok(()) => PlainDecision::Answer,
            Err(None) => PlainDecision::Other(None),
            Err(Some(injection)) => match app.plain_failure(target, request, &injection) {
                Some(failure) => PlainDecision::Failure(failure),
                None => PlainDecision::Other(Some(Box::new(injection))),
            },
        }
    }))
}

/// The default answer of a target. A plain service: an axum handler would allocate for each request.
#[derive(Clone)]
struct DefaultAnswer {
    app: Arc<App>,
    target: Target,
}

impl Service<Request> for DefaultAnswer {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        ready(Ok(default_answer(&self.app, self.target, &request)))
    }
}

/// The answer of a target when no rule replaces it.
fn default_answer(app: &App, target: Target, request: &Request) -> Response<Body> {
    if let Some(call) = Call::of(request) {
        return health::default_answer(app, call, target, request);
    }
    if is_grpc(request.headers()) {
        return grpc::unimplemented(request.uri().path());
    }
    if target == Target::Traffic {
        return answer::identity(&app.identity);
    }
    let status = health::own_status(app, target);
    let failure = (status != StatusCode::OK)
        .then_some(verbose::FailedCheck { check: "shutdown", reason: "the process is shutting down".into() });
    if verbose::is_wanted(request.uri()) {
        return answer::text(
            status,
            verbose::body(app, target.into(), request.uri().path(), failure.as_ref()),
        );
    }
    match failure {
        None => answer::text(status, HEALTHY),
        Some(failure) => answer::text(status, failure.to_string()),
    }
}
