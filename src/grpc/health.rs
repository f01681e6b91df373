//! What the health service says of each class of probes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use tokio::sync::{Semaphore, watch};

use super::answer::{head, trailers_only, unary};
use super::call::{Call, Method};
use super::message::{Serving, list};
use super::watch::Watch;
use crate::clock::Timer;
use crate::engine::Engine;
use crate::fault::{Client, GrpcStatus, Target};
use crate::listener::{Conditions, ProcessStage};
use crate::telemetry::metrics::{Limit, Metrics};

/// How many `Watch` streams there may be at a time. Each takes the memory of a request under way for as long as it lasts.
const MAX_WATCHES: usize = 1000;

/// The classes that are services, each by its name.
const SERVICES: [Target; 4] = [Target::Liveness, Target::Readiness, Target::Startup, Target::Dependency];

/// The class that a service names; the empty name is readiness.
pub(crate) fn target(service: &str) -> Option<Target> {
    if service.is_empty() {
        return Some(Target::Readiness);
    }
    SERVICES.into_iter().find(|target| target.name() == service)
}

/// The health service.
#[derive(Clone, Debug)]
pub struct Health {
    pub(super) engine: Engine,
    pub(super) conditions: watch::Receiver<Conditions>,
    pub(super) timer: Timer,
    metrics: Arc<Metrics>,
    watches: Arc<Semaphore>,
}

impl Health {
    /// It says what the rules of `engine` and the stage in `conditions` make of each class.
    pub fn new(
        engine: Engine,
        conditions: watch::Receiver<Conditions>,
        timer: Timer,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { engine, conditions, timer, metrics, watches: Arc::new(Semaphore::new(MAX_WATCHES)) }
    }

    /// Whether the process is on its way out.
    pub fn is_leaving(&self) -> bool {
        self.conditions.borrow().stage != ProcessStage::Running
    }

    /// The answer to a call about a class. `fault` is what a rule makes of it.
    pub(crate) fn answer(
        &self,
        call: Call,
        target: Target,
        client: Client,
        fault: Option<Serving>,
    ) -> Response {
        match call.method {
            Method::Check => {
                let is_leaving = target == Target::Readiness && self.is_leaving();
                let own = if is_leaving { Serving::No } else { Serving::Yes };
                unary(fault.unwrap_or(own).framed())
            }
            Method::List => self.list(client),
            Method::Watch => self.watch(call, Some(target), client, fault),
        }
    }

    /// The answer to a call about a service that is not known.
    pub(crate) fn unknown(&self, call: Call, service: &str) -> Response {
        if call.method == Method::Watch {
            return self.watch(call, None, Client::Other, None);
        }
        let names = SERVICES.map(Target::name).join(", ");
        let line = format!("unknown service {service:?}; it is one of {names}, or empty for readiness");
        trailers_only(GrpcStatus::NOT_FOUND, &line)
    }

    /// The answer about all services.
    pub(crate) fn list(&self, client: Client) -> Response {
        let readiness = std::iter::once(("", Target::Readiness));
        let services = readiness.chain(SERVICES.map(|target| (target.name(), target)));
        unary(list(
            services.map(|(name, target)| (name, self.serving(target, client, self.engine.elapsed()))),
        ))
    }

    fn watch(&self, call: Call, target: Option<Target>, client: Client, fault: Option<Serving>) -> Response {
        let Ok(permit) = self.watches.clone().try_acquire_owned() else {
            self.metrics.limit(Limit::Watches);
            let line = format!("there are {MAX_WATCHES} Watch streams already");
            return trailers_only(GrpcStatus::RESOURCE_EXHAUSTED, &line);
        };
        head(Body::new(Watch::new(self.clone(), call, target, client, fault, permit)))
    }

    /// What is said of a class to a client at a time on the engine's clock: not serving while every request of that
    /// client fails, or while the process takes no new ones.
    pub(super) fn serving(&self, target: Target, client: Client, elapsed: Duration) -> Serving {
        let snapshot = self.engine.snapshot();
        let is_down = snapshot.active.plan.is_down_for(target, &[client], elapsed, &snapshot.counts);
        let is_leaving = target == Target::Readiness && self.is_leaving();
        if is_down || is_leaving { Serving::No } else { Serving::Yes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_probes_are_services_and_traffic_is_none() {
        for (service, expected) in [
            ("", Some(Target::Readiness)),
            ("liveness", Some(Target::Liveness)),
            ("dependency", Some(Target::Dependency)),
            ("traffic", None),
            ("Liveness", None),
            ("liveness ", None),
        ] {
            assert_eq!(target(service), expected, "{service:?}");
        }
    }
}
