//! Faults requested by a request.

use std::time::Duration;

use super::{ActivePlan, RequestInfo};
use crate::fault::draw::{Draws, Purpose};
use crate::fault::rule::{Action, Rule};
use crate::fault::target::{Client, TargetId};

/// The name used for their draws.
const NAME: &str = "request";

/// The decision on the faults requested by a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestedDecision {
    /// Delay of the request.
    pub delay: Duration,
    /// Position of the rule whose mode applies.
    pub mode: Option<usize>,
    /// Position of the first rule that fires, with a mode or with only a delay.
    pub first: Option<usize>,
}

impl ActivePlan {
    /// The decision on the requested `rules`: each fires by its rate, delays add up, and the first mode
    /// decides. None fires while all rules are stopped. Other conditions are ignored.
    pub fn decide_requested(&self, rules: &[Rule], attempt: &RequestInfo) -> RequestedDecision {
        let mut decision = RequestedDecision::default();
        if self.is_stopped {
            return decision;
        }
        let draws = self.requested_draws(attempt.target, attempt.client).within(attempt.number);
        for (position, rule) in rules.iter().enumerate() {
            let Action::Requests { delay, mode, .. } = rule.action() else { continue };
            let is_passed_over = mode.is_some() && decision.mode.is_some();
            let share = draws.share(position as u64 + 1);
            if is_passed_over || share >= rule.trigger().rate.percent() / 100.0 {
                continue;
            }
            decision.first = decision.first.or(Some(position));
            decision.mode = decision.mode.or(mode.as_ref().map(|_| position));
            if let Some(delay) = delay {
                decision.delay = decision.delay.saturating_add(delay.draw(&draws, position as u64 + 1));
            }
        }
        decision
    }

    /// Draws for requested faults, by target.
    pub fn requested_draws(&self, target: TargetId, client: Client) -> Draws {
        Draws::of_rule(self.seed.rule_key(NAME), self.proxies.lane(target), client, Purpose::Fire)
    }
}
