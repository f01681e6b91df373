//! Routes of both listeners, and the layer that injects faults.
//!
//! A request to a target goes through one [`layer::FaultLayer`], which asks the engine and obeys; only target routes are
//! wrapped, so there is no list of paths to leave out.

mod answer;
mod behind;
mod forward;
mod index;
pub mod layer;
mod named;
mod replace;
mod requested;
mod served;
mod shared_bodies;
mod stream;
mod strike;
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
use tokio::sync::watch;
use tower::{Layer, Service};

pub use self::behind::Behind;
pub use self::named::{Exchangeable, proxy_routes};
use self::shared_bodies::SharedBodies;
use crate::clock::Timer;
use crate::engine::Engine;
use crate::env::Identity;
use crate::fault::Target;
use crate::listener::{Conditions, Handle, Routes, Stage};
use crate::telemetry::metrics::Metrics;

/// What handlers know.
#[derive(Debug)]
pub struct App {
    /// Decides.
    pub engine: Engine,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Delays.
    pub timer: Timer,
    /// Who this replica is.
    pub identity: Identity,
    /// Which path belongs to which target; a prefix ends in `/*`.
    pub paths: Vec<(String, Target)>,
    /// The application behind the probe listener.
    pub upstream: Option<Behind>,
    /// Whether requests may ask for faults.
    pub request_faults: bool,
    /// Partition and stage of the probe listener.
    pub conditions: watch::Receiver<Conditions>,
}

impl App {
    /// Whether the process is on its way out.
    fn is_leaving(&self) -> bool {
        self.conditions.borrow().stage != Stage::Running
    }
}

/// Targets, `/metrics` and the index; with an application behind us, all is its own but for the targets.
pub fn probe_routes(app: &Arc<App>) -> Routes {
    if let Some(upstream) = &app.upstream {
        return behind::routes(app, upstream);
    }
    let mut router = Router::new().without_v07_checks();
    let mut direct: HashMap<String, Handle> = HashMap::new();
    for (path, target) in &app.paths {
        let faulted = layer::FaultLayer::new(*target, app.clone())
            .layer(Ordinary { app: app.clone(), target: *target });
        // Any method, as load balancers check with OPTIONS, too.
        let route = || any_service(faulted.clone());
        router = match path.strip_suffix('*') {
            // The index keeps its place where everything below is a target.
            Some("/") => router.route("/{*rest}", route()),
            Some(prefix) => router.route(prefix, route()).route(&format!("{prefix}{{*rest}}"), route()),
            None => router.route(path, route()),
        };
        if !path.ends_with('*') {
            direct.insert(path.clone(), Box::new(move |request| faulted.clone().call(request)));
        }
    }
    let (of_index, pages) = (app.clone(), Arc::new(SharedBodies::default()));
    let index = move || ready(answer::shared(pages.text(|| index::page(&of_index)), answer::page));
    let router = router
        .route("/", any(index))
        .route("/metrics", metrics(app))
        .fallback(not_found)
        // Without it, axum would make the routes anew for each request.
        .with_state(());
    Routes::new(router, direct)
}

/// `/metrics` and `/healthz`, never faulted, and the admin API.
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
    // One for each listener: who does not read at one takes nothing from the other.
    let (app, scrapes) = (app.clone(), Arc::new(SharedBodies::default()));
    get(move || ready(answer::shared(scrapes.text(|| app.metrics.encode()), answer::metrics)))
}

async fn not_found() -> Response<Body> {
    answer::text(StatusCode::NOT_FOUND, "not found")
}

/// Answers for a target where no rule does. A service, since a handler of axum's costs a request some allocations.
#[derive(Clone)]
struct Ordinary {
    app: Arc<App>,
    target: Target,
}

impl Service<Request> for Ordinary {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        ready(Ok(ordinary(&self.app, self.target, &request)))
    }
}

/// The answer of a target that no rule replaces.
fn ordinary(app: &App, target: Target, request: &Request) -> Response<Body> {
    if target == Target::Traffic {
        return answer::identity(&app.identity);
    }
    let shutdown = target == Target::Readiness && app.is_leaving();
    let failure =
        shutdown.then_some(verbose::Failure { check: "shutdown", reason: "the process ends".into() });
    let status = if shutdown { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    if verbose::is_wanted(request.uri()) {
        return answer::text(
            status,
            verbose::body(app, target.into(), request.uri().path(), failure.as_ref()),
        );
    }
    match failure {
        None => answer::text(status, "ok"),
        Some(failure) => answer::text(status, failure.to_string()),
    }
}
