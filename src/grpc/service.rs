//! Answers of the health service.

use axum::body::Body;
use axum::response::Response;

use super::answer::{streaming, trailers_only, unary};
use super::call::{Call, Method};
use super::health::{Health, MAX_WATCHES, SERVICES};
use super::message::{Serving, list};
use super::watch::Watch;
use crate::fault::{Client, GrpcStatus, Target};
use crate::telemetry::metrics::Limit;

impl Health {
    /// Answers a call for a class. `fault` is the status that a rule determines, if any.
    pub(crate) fn answer(
        &self,
        call: Call,
        target: Target,
        client: Client,
        fault: Option<Serving>,
    ) -> Response {
        match call.method {
            Method::Check => {
                let is_shutting_down = target == Target::Readiness && self.is_shutting_down();
                let own = if is_shutting_down { Serving::No } else { Serving::Yes };
                unary(fault.unwrap_or(own).framed())
            }
            Method::List => self.list(client),
            Method::Watch => self.watch(call, Some(target), client, fault),
        }
    }

    /// Answers a call for an unknown service.
    pub(crate) fn unknown(&self, call: Call, service: &str) -> Response {
        if call.method == Method::Watch {
            return self.watch(call, None, Client::Other, None);
        }
        let names = SERVICES.map(Target::name).join(", ");
        let line = format!("unknown service {service:?}; use {names}, or the empty name for readiness");
        trailers_only(GrpcStatus::NOT_FOUND, &line)
    }

    /// Answers a call of `List`.
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
            let line = format!("the limit of {MAX_WATCHES} Watch streams is reached");
            return trailers_only(GrpcStatus::RESOURCE_EXHAUSTED, &line);
        };
        streaming(Body::new(Watch::new(self.clone(), call, target, client, fault, permit)))
    }
}
