//! The health service and the status of each class of probes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::message::Serving;
use crate::clock::Timer;
use crate::engine::Engine;
use crate::fault::{Client, Target};
use crate::listener::{Conditions, ProcessStage};
use crate::telemetry::metrics::Metrics;

/// Limit of concurrent `Watch` streams. Each holds the memory of a request in progress.
pub(super) const MAX_WATCHES: usize = 1000;

/// The classes that are services of the same name.
pub(super) const SERVICES: [Target; 4] =
    [Target::Liveness, Target::Readiness, Target::Startup, Target::Dependency];

/// Returns the class of a service; the empty name is readiness.
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
    pub(super) metrics: Arc<Metrics>,
    pub(super) watches: Arc<Semaphore>,
}

impl Health {
    /// Creates the service. The status of a class depends on the rules of `engine` and the stage in `conditions`.
    pub fn new(
        engine: Engine,
        conditions: watch::Receiver<Conditions>,
        timer: Timer,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { engine, conditions, timer, metrics, watches: Arc::new(Semaphore::new(MAX_WATCHES)) }
    }

    /// Whether the process is shutting down.
    pub fn is_shutting_down(&self) -> bool {
        !matches!(self.conditions.borrow().stage, ProcessStage::Running | ProcessStage::HandingOver)
    }

    /// Returns the status of a class for a client at a time of the engine's clock: not serving while every request of the
    /// client fails, and for readiness also during a shutdown.
    pub(super) fn serving(&self, target: Target, client: Client, elapsed: Duration) -> Serving {
        let snapshot = self.engine.snapshot();
        let is_down = snapshot.active.plan.is_down_for(target, &[client], elapsed, &snapshot.counts);
        let is_shutting_down = target == Target::Readiness && self.is_shutting_down();
        if is_down || is_shutting_down { Serving::No } else { Serving::Yes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_probes_are_services_and_traffic_is_not() {
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
