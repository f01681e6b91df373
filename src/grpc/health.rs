//! What the health service says of each class of probes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::message::Serving;
use crate::clock::Timer;
use crate::engine::Engine;
use crate::fault::{Client, Target};
use crate::listener::{Conditions, ProcessStage};
use crate::telemetry::metrics::Metrics;

/// How many `Watch` streams there may be at a time. Each takes the memory of a request under way for as long as it lasts.
pub(super) const MAX_WATCHES: usize = 1000;

/// The classes that are services, each by its name.
pub(super) const SERVICES: [Target; 4] =
    [Target::Liveness, Target::Readiness, Target::Startup, Target::Dependency];

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
    pub(super) metrics: Arc<Metrics>,
    pub(super) watches: Arc<Semaphore>,
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
