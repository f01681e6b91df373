//! A request in flight, and how it is counted and reported.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::Response;
use hyper::{StatusCode, Uri};
use tokio::time::Instant;
use tracing::debug;

use super::body_fault::OnInjected;
use super::{App, answer, health, verbose};
use crate::engine::events::EventKind;
use crate::engine::{Engine, Injection};
use crate::fault::{Client, Rule, RuleName, TargetId};
use crate::grpc::{Call, Serving};
use crate::listener::{ConnectionHandle, StreamReset};
use crate::telemetry::metrics::RequestOutcome;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitEnd {
    /// The delay has passed.
    Elapsed,
    /// All rules were stopped.
    Stopped,
}

/// A request in flight. If it is dropped before `end`, the client left or the server closed the connection.
pub(super) struct InFlight {
    pub(super) app: Arc<App>,
    pub(super) target: TargetId,
    pub(super) client: Client,
    pub(super) arrived: Instant,
    pub(super) connection: Option<ConnectionHandle>,
    pub(super) is_application: bool,
    /// The call of the health service that it is, if it is one.
    pub(super) health: Option<Call>,
    pub(super) ended: bool,
}

impl InFlight {
    /// Waits until a delay has passed or all rules are stopped.
    pub(super) async fn wait(&self, until: Instant) -> WaitEnd {
        if until <= self.arrived {
            return WaitEnd::Elapsed;
        }
        if let Some(connection) = &self.connection {
            connection.waits_until(until);
        }
        // Boxed, so that requests without a delay take less memory.
        Box::pin(async {
            tokio::select! {
                () = self.app.timer.sleep_until(until) => WaitEnd::Elapsed,
                () = self.app.engine.stopped() => WaitEnd::Stopped,
            }
        })
        .await
    }

    /// Waits until all rules are stopped or the client gives up.
    pub(super) async fn hang(&self) {
        if let Some(connection) = &self.connection {
            connection.waits_forever();
        }
        self.app.engine.stopped().await;
    }

    /// Resets the HTTP/2 stream without an answer.
    pub(super) async fn reset(self, reset: StreamReset) -> Infallible {
        let connection = self.connection.clone();
        self.end(RequestOutcome::Unanswered);
        match connection {
            Some(connection) => match connection.reset_stream(reset).await {},
            None => std::future::pending().await,
        }
    }

    /// The answer that fails a request by a status code.
    pub(super) fn failure(
        &self,
        status: StatusCode,
        failure: &verbose::FailedCheck<'_>,
        line: String,
        uri: &Uri,
    ) -> Response {
        if let Some(answer) = self.health_answer(status) {
            return answer;
        }
        if verbose::is_wanted(uri) {
            answer::text(status, verbose::body(&self.app, self.target, uri.path(), Some(failure)))
        } else {
            answer::text(status, line)
        }
    }

    /// The health service's answer for a status code, if the request is a call of that service.
    pub(super) fn health_answer(&self, status: StatusCode) -> Option<Response> {
        let (call, TargetId::Class(target)) = (self.health?, self.target) else { return None };
        let response = self.app.health.answer(call, target, self.client, Some(Serving::of_status(status)));
        Some(health::counted_as(status, response))
    }

    /// Reports an injection that is already counted.
    pub(super) fn report(&self, injection: &Injection, rule: &Rule) {
        report(&self.app.engine, injection, rule);
    }

    /// Counts and reports an injection that was uncertain until now.
    pub(super) fn confirm(&self, injection: &Injection, rule: &Rule) {
        confirm(&self.app.engine, injection, rule.name(), rule.effect());
    }

    /// Returns a callback that counts and reports an uncertain injection when its fault takes effect, possibly after
    /// the request has ended.
    pub(super) fn confirm_later(&self, injection: Injection, rule: &Rule) -> OnInjected {
        let (engine, fault, effect) = (self.app.engine.clone(), rule.name().clone(), rule.effect());
        Box::new(move || confirm(&engine, &injection, &fault, effect))
    }

    /// Ends with an answer, or with the reset of a stream that takes its place.
    pub(super) fn answered(self, response: &Response) {
        let is_multiplexed = self.connection.as_ref().is_some_and(ConnectionHandle::is_multiplexed);
        let is_reset = is_multiplexed && response.extensions().get::<StreamReset>().is_some();
        self.end(if is_reset {
            RequestOutcome::Unanswered
        } else {
            RequestOutcome::Answered(health::status(response).as_u16())
        });
    }

    pub(super) fn end(mut self, outcome: RequestOutcome) {
        self.ended = true;
        self.count(outcome);
    }

    pub(super) fn count(&self, outcome: RequestOutcome) {
        self.app.metrics.request(self.target, self.client, outcome, self.arrived.elapsed());
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.ended {
            let by_server = self.connection.as_ref().is_some_and(ConnectionHandle::ended_by_server);
            self.count(if by_server { RequestOutcome::Unanswered } else { RequestOutcome::Gone });
        }
    }
}

fn confirm(engine: &Engine, injection: &Injection, fault: &RuleName, effect: &'static str) {
    if !injection.is_confirmed() {
        engine.confirm(injection);
        report_effect(engine, injection, fault, effect);
    }
}

/// Reports an injection that is already counted.
pub(super) fn report(engine: &Engine, injection: &Injection, rule: &Rule) {
    report_effect(engine, injection, rule.name(), rule.effect());
}

fn report_effect(engine: &Engine, injection: &Injection, fault: &RuleName, effect: &'static str) {
    let target = injection.active.plan.proxies().target_name(injection.target);
    let client = injection.client.name();
    let delay_ms = injection.decision.delay.as_secs_f64() * 1e3;
    engine.events().sample(engine.elapsed(), || EventKind::Injection {
        fault: fault.to_string(),
        target: target.to_owned(),
        client: Some(client),
        number: injection.number,
        mode: effect,
        delay_ms,
    });
    debug!(
        fault = %fault,
        target,
        client,
        number = injection.number,
        mode = effect,
        delay_ms,
        "injected"
    );
}
