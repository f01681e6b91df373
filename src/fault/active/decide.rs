//! What a request gets.

use std::time::Duration;

use super::{ActivePlan, Decision, RequestInfo, RuleHit, Verdict};
use crate::fault::draw::{Draws, Lane, Purpose};
use crate::fault::rule::Action;
use crate::fault::target::{Target, TargetId};

impl ActivePlan {
    /// What a request gets that no match admits, such as one of which no more than its target is known. Otherwise as
    /// [`decide_matched`](Self::decide_matched).
    pub fn decide(&self, attempt: &RequestInfo, observe: impl FnMut(RuleHit)) -> Decision {
        self.decide_matched(attempt, false, |_| None, observe)
    }

    /// What a request gets. `observe` is told of each rule that was eligible; of the dependency's, asked by readiness,
    /// only of those that can fail it.
    ///
    /// `matched` is asked once for each rule that has a match and acts on the request's target and client: the request's
    /// number among those that the match admits, from 1 on, or `None` where it is not one of them.
    ///
    /// With `is_faulted`, the request has a mode already that it asked for, and rules with a mode are passed over.
    ///
    /// Delays of all rules that fire add up; of those with a mode, the first decides. A rule with a mode is eligible
    /// only while none has fired; passed over, it adds no delay. Each rule is drawn once for a request: one that names
    /// both readiness and dependency acts on a readiness request as readiness's own. A rule with a match on the dependency
    /// takes no part in the check of readiness.
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
                // Also where the rule is passed over: its numbers do not depend on other rules.
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
                    // This is what the dependency answers; no later rule is asked for it.
                    asks_dependency = false;
                }
            }
        }
        decision
    }
}
