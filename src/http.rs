//! Routes of both listeners, and the layer that injects faults.
//!
//! A request to a target goes through one [`layer::FaultLayer`], which asks the engine and obeys; only target routes are
//! wrapped, so there is no list of paths to leave out.

mod answer;
mod drip;
mod index;
pub mod layer;
mod verbose;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::get;
use hyper::StatusCode;
use tokio::sync::watch;

use crate::config::Identity;
use crate::engine::Engine;
use crate::fault::Target;
use crate::metrics::Metrics;
use crate::timer::Timer;
use crate::wire::{Conditions, Stage};

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
    /// Partition and stage of the probe listener.
    pub conditions: watch::Receiver<Conditions>,
}

impl App {
    /// Whether the process is on its way out.
    fn is_leaving(&self) -> bool {
        self.conditions.borrow().stage != Stage::Running
    }
}

/// Targets, `/metrics` and the index.
pub fn probe_router(app: &Arc<App>) -> Router {
    let mut router = Router::new().without_v07_checks();
    for (path, target) in &app.paths {
        let route = || {
            let app_of_handler = app.clone();
            let target = *target;
            get(move |request: Request| std::future::ready(ordinary(&app_of_handler, target, &request)))
                // Around GET and HEAD alone: another method is refused, not faulted.
                .route_layer(layer::FaultLayer::new(target, app.clone()))
        };
        router = match path.strip_suffix('*') {
            // The index keeps its place where everything below is a target.
            Some("/") => router.route("/{*rest}", route()),
            Some(prefix) => router.route(prefix, route()).route(&format!("{prefix}{{*rest}}"), route()),
            None => router.route(path, route()),
        };
    }
    let of_index = app.clone();
    router
        .route("/", get(move || std::future::ready(index::page(&of_index))))
        .route("/metrics", metrics(app))
        .fallback(not_found)
}

/// `/metrics` and `/healthz`, never faulted.
pub fn admin_router(app: &Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(|| std::future::ready(answer::text(StatusCode::OK, "ok"))))
        .route("/metrics", metrics(app))
        .fallback(not_found)
}

fn metrics(app: &Arc<App>) -> axum::routing::MethodRouter {
    let app = app.clone();
    get(move || std::future::ready(answer::metrics(app.metrics.encode())))
}

async fn not_found() -> Response<Body> {
    answer::text(StatusCode::NOT_FOUND, "not found")
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
        return answer::text(status, verbose::body(app, target, request.uri().path(), failure.as_ref()));
    }
    answer::text(status, failure.map_or_else(|| "ok".to_owned(), |failure| failure.to_string()))
}
