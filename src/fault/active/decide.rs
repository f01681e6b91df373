//! Decisions on requests.

use std::time::Duration;

use super::{ActivePlan, Decision, RequestInfo, RuleHit, Verdict};
use crate::fault::draw::{Draws, Lane, Purpose};
use crate::fault::rule::Action;
use crate::fault::target::{Target, TargetId};

impl ActivePlan {
    /// The decision on a request that no match admits, for example if only its target is known. Otherwise like
    /// [`decide_matched`](Self::decide_matched).
    pub fn decide(&self, attempt: &RequestInfo, observe: impl FnMut(RuleHit)) -> Decision {
        self.decide_matched(attempt, false, |_| None, observe)
    }

    /// The decision on a request. `observe` is called for each eligible rule. When readiness checks its dependency,
    /// it is called only for rules that can fail it.
    ///
    /// `matched` is called once for each rule that has a match and acts on the request's target and client. It
    /// returns the request's number among those that the match admits, from 1, or `None` if it is not admitted.
    ///
    /// With `is_faulted`, the request already has a requested mode, and rules with a mode are skipped.
    ///
    /// The delays of all rules that fire add up; the first rule with a mode decides. A rule with a mode is eligible
    /// only until one has fired; a skipped rule adds no delay. Each rule is drawn once per request: a rule that names
    /// both readiness and dependency acts on a readiness request as a readiness rule. A rule with a match on the
    /// dependency does not take part in the readiness check.
    pub fn decide_matched(
        &self,
        attempt: &RequestInfo,
        is_faulted: bool,
        mut matched: impl FnMut(usize) -> Option<u64>,
        mut observe: impl FnMut(RuleHit),
    ) -> Decision {
        let mut decision = Decision { delay: Duration::ZERO, verdict: Verdict::Pass };
        let mut asks_dependency =
            !is_faulted && self.checks_dependency && attempt.target == TargetId::Class(Target::Readiness);
        let lane = self.proxies.lane(attempt.target);
        for (position, entry) in self.entries.iter().enumerate() {
            let Action::Requests { delay, mode, .. } = entry.rule.action() else { continue };
            let acts = entry.acts_on(attempt.target, attempt.client);
            let number = if entry.has_match {
                // Even if the rule is skipped: its numbers must not depend on other rules.
                let number = if acts { matched(position) } else { None };
                if number.is_none() {
                    continue;
                }
                number
            } else {
                None
            };
            if mode.is_some() && (is_faulted || decision.verdict != Verdict::Pass) {
                continue;
            }
            if acts {
                let Some(fired) = entry.fires(attempt, lane, number) else { continue };
                observe(RuleHit { rule: position, fired, number: number.unwrap_or(attempt.number) });
                if !fired {
                    continue;
                }
                if mode.is_some() {
                    decision.verdict = Verdict::Inject(position);
                }
                if let Some(delay) = delay {
                    let draws = Draws::of_rule(entry.key, lane, attempt.client, Purpose::Delay);
                    let delay = delay.draw(&draws, number.unwrap_or(attempt.number));
                    decision.delay = decision.delay.saturating_add(delay);
                }
            } else if asks_dependency
                && entry.acts_on(Target::Dependency.into(), attempt.client)
                && let Some(mode) = mode
                && let Some(fired) = entry.fires(attempt, Lane::from(Target::Dependency), None)
            {
                if mode.fails() {
                    observe(RuleHit { rule: position, fired, number: number.unwrap_or(attempt.number) });
                    if fired {
                        decision.verdict = Verdict::DependencyFailed(position);
                    }
                } else if fired {
                    // The dependency has answered; no later rule is checked for it.
                    asks_dependency = false;
                }
            }
        }
        decision
    }
}
