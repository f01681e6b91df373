//! The engine's decision on one request or connection.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::debug;

use super::Engine;
use super::active::Active;
use super::events::EventKind;
use crate::fault::{Client, Decision, Draws, HandshakeFault, Slot, TargetId, Verdict};

/// The engine's decision on a request.
#[derive(Debug)]
pub struct Injection {
    /// Delay and mode.
    pub decision: Decision,
    /// The plan that made the decision.
    pub active: Arc<Active>,
    /// Position of the first rule that fired, with a mode or with only a delay.
    pub first: Option<usize>,
    /// Number of the request within its target and client class.
    pub number: u64,
    /// The number that the injected rule was drawn with: the request's number, or its number among those that the
    /// rule's match admits.
    pub drawn_number: u64,
    /// Position of the deciding rule among the requested ones: the first with a mode that fires, else the
    /// first.
    pub requested: Option<usize>,
    /// Target of the request.
    pub target: TargetId,
    /// Client class of the request.
    pub client: Client,
    /// The injection, if it is not counted yet.
    pub(super) unconfirmed: Option<Unconfirmed>,
}

/// An injection that takes effect later.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unconfirmed {
    /// Of the rule at this position.
    Rule(usize),
    /// Of a requested rule with this mode.
    Requested(&'static str),
}

impl Injection {
    /// Whether the injection is already counted: its mode does not depend on a body.
    pub fn is_confirmed(&self) -> bool {
        self.unconfirmed.is_none()
    }

    /// Whether no rule fired.
    pub fn is_none(&self) -> bool {
        self.first.is_none() && self.requested.is_none() && self.decision.verdict == Verdict::Pass
    }

    /// Random draws of the deciding rule for the answer's body.
    pub fn draws(&self) -> Draws {
        let plan = &self.active.plan;
        match (self.requested, self.decision.verdict) {
            (None, Verdict::Inject(position)) => {
                plan.draws_within(position, self.target, self.client, self.drawn_number)
            }
            _ => plan.requested_draws(self.target, self.client).within(self.number),
        }
    }
}

impl Engine {
    /// Numbers a TLS handshake on the probe listener and decides on it.
    pub fn decide_handshake(&self, peer: IpAddr) -> Option<HandshakeFault> {
        let number = 1 + self.0.handshakes.fetch_add(1, Ordering::Relaxed);
        let active = self.active();
        let rule = active.plan.decide_handshake(peer, self.elapsed(), number, |hit| {
            active.rule_counters[hit.rule].count_handshake(hit.fired);
        })?;
        self.sample_connection(&active, rule, "listener", number);
        let rule = active.plan.rule(rule);
        debug!(%peer, number, fault = %rule.name(), mode = rule.effect(), "TLS handshake fault");
        rule.handshake()
    }

    /// Reports an injection into a connection to a proxy.
    pub fn report_connection(&self, active: &Active, rule: usize, slot: Slot, number: u64) {
        let target = active.plan.proxies().target_name(TargetId::Proxy(slot));
        self.sample_connection(active, rule, target, number);
    }

    fn sample_connection(&self, active: &Active, rule: usize, target: &str, number: u64) {
        let rule = active.plan.rule(rule);
        self.events().sample(self.elapsed(), || EventKind::Injection {
            fault: rule.name().to_string(),
            target: target.to_owned(),
            client: None,
            number,
            mode: rule.effect(),
            delay_ms: 0.0,
        });
    }
}
