//! What the engine says of one request.

use std::sync::Arc;

use super::active::Active;
use crate::fault::{Client, Decision, Draws, TargetId, Verdict};

/// What the engine says of a request.
#[derive(Debug)]
pub struct Injection {
    /// What the request gets.
    pub decision: Decision,
    /// The plan that decided.
    pub active: Arc<Active>,
    /// The first rule that fired, whether with a mode or with a delay alone.
    pub first: Option<usize>,
    /// The request's number among those of its target and client class.
    pub number: u64,
    /// The number that the rule whose mode was injected was drawn with: the request's, or its number among those that
    /// the rule's match admits.
    pub drawn_number: u64,
    /// Of the rules that the request asks for, the one that decides: the first with a mode that fires, else the first.
    pub requested: Option<usize>,
    /// What was asked.
    pub target: TargetId,
    /// Who asked.
    pub client: Client,
    /// An injection that is not counted yet.
    pub(super) unconfirmed: Option<Unconfirmed>,
}

/// An injection that shows later.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unconfirmed {
    /// Of the rule at this position.
    Rule(usize),
    /// Of a rule that the request asks for, with this mode.
    Requested(&'static str),
}

impl Injection {
    /// Whether its injection is counted already: the mode does not depend on a body.
    pub fn is_sure(&self) -> bool {
        self.unconfirmed.is_none()
    }

    /// The draws within its answer, of the rule that decides.
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
