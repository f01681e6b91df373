//! A request under way, and what is told of it.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::Response;
use hyper::{StatusCode, Uri};
use tokio::time::Instant;
use tracing::debug;

use super::strike::OnStrike;
use super::{App, answer, verbose};
use crate::engine::events::EventKind;
use crate::engine::{Engine, Injection};
use crate::fault::{Client, Rule, RuleName, TargetId};
use crate::listener::{ConnectionHandle, StreamReset};
use crate::telemetry::metrics::Outcome;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// With the delay.
    Whole,
    /// Early: all rules were put out of force.
    Stopped,
}

/// A request under way. Dropped before its end, it was left by its client, or ended by the server.
pub(super) struct Served {
    pub(super) app: Arc<App>,
    pub(super) target: TargetId,
    pub(super) client: Client,
    pub(super) arrived: Instant,
    pub(super) connection: Option<ConnectionHandle>,
    pub(super) is_application: bool,
    pub(super) ended: bool,
}

impl Served {
    /// Waits for the end of a delay, or for a stop of all rules.
    pub(super) async fn wait(&self, until: Instant) -> Waited {
        if until <= self.arrived {
            return Waited::Whole;
        }
        if let Some(connection) = &self.connection {
            connection.waits_until(until);
        }
        tokio::select! {
            () = self.app.timer.sleep_until(until) => Waited::Whole,
            () = self.app.engine.stopped() => Waited::Stopped,
        }
    }

    /// Waits until all rules are put out of force, unless the client gives up before.
    pub(super) async fn hang(&self) {
        if let Some(connection) = &self.connection {
            connection.waits_for_ever();
        }
        self.app.engine.stopped().await;
    }

    /// Resets the stream of HTTP/2. Nothing comes after it.
    pub(super) async fn reset(self, reset: StreamReset) -> Infallible {
        let connection = self.connection.clone();
        self.end(Outcome::Unanswered);
        match connection {
            Some(connection) => match connection.reset_stream(reset).await {},
            None => std::future::pending().await,
        }
    }

    pub(super) fn failure(
        &self,
        status: StatusCode,
        failure: &verbose::Failure<'_>,
        line: String,
        uri: &Uri,
    ) -> Response {
        if verbose::is_wanted(uri) {
            answer::text(status, verbose::body(&self.app, self.target, uri.path(), Some(failure)))
        } else {
            answer::text(status, line)
        }
    }

    /// Reports an injection that is counted already.
    pub(super) fn report(&self, injection: &Injection, rule: &Rule) {
        report(&self.app.engine, injection, rule.name(), rule.effect());
    }

    /// Counts and reports an injection that was in doubt.
    pub(super) fn confirm(&self, injection: &Injection, rule: &Rule) {
        confirm(&self.app.engine, injection, rule.name(), rule.effect());
    }

    /// Counts and reports an injection in doubt once its fault shows, which may be after the request.
    pub(super) fn confirm_later(&self, injection: Injection, rule: &Rule) -> OnStrike {
        let (engine, fault, effect) = (self.app.engine.clone(), rule.name().clone(), rule.effect());
        Box::new(move || confirm(&engine, &injection, &fault, effect))
    }

    /// Ends with an answer, or with the reset of a stream that takes its place.
    pub(super) fn answered(self, response: &Response) {
        let is_multiplexed = self.connection.as_ref().is_some_and(ConnectionHandle::is_multiplexed);
        let is_reset = is_multiplexed && response.extensions().get::<StreamReset>().is_some();
        self.end(if is_reset { Outcome::Unanswered } else { Outcome::Answered(response.status().as_u16()) });
    }

    pub(super) fn end(mut self, outcome: Outcome) {
        self.ended = true;
        self.count(outcome);
    }

    fn count(&self, outcome: Outcome) {
        self.app.metrics.request(self.target, self.client, outcome, self.arrived.elapsed());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if !self.ended {
            let by_server = self.connection.as_ref().is_some_and(ConnectionHandle::ended_by_server);
            self.count(if by_server { Outcome::Unanswered } else { Outcome::Gone });
        }
    }
}

fn confirm(engine: &Engine, injection: &Injection, fault: &RuleName, effect: &'static str) {
    if !injection.is_sure() {
        engine.confirm(injection);
        report(engine, injection, fault, effect);
    }
}

fn report(engine: &Engine, injection: &Injection, fault: &RuleName, effect: &'static str) {
    let target = injection.active.plan.proxies().target_name(injection.target);
    let client = injection.client.name();
    let delay_ms = injection.decision.delay.as_secs_f64() * 1e3;
    engine.events().sample(engine.elapsed(), || EventKind::Injection {
        fault: fault.to_string(),
        target: target.to_owned(),
        client,
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
