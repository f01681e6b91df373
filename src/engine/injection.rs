//! The engine's decision on one request.

use std::sync::Arc;

use super::active::Active;
use crate::fault::{Client, Decision, Draws, TargetId, Verdict};

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
