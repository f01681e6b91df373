//! A plan in force and the counters of its rules.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::counters::{RuleCounters, Tally};
use super::matched::MatchCounters;
use crate::fault::{ActivePlan, Client, MAX_RULES, RequestCounts, Rule, RuleName, Slot, TargetId, Timestamp};
use crate::order;
use crate::plan::Source;

/// How long the counters of a removed rule are exported: longer than any scrape interval.
const RETIREMENT: Duration = Duration::from_secs(600);

/// A plan with the counters of its rules, and of removed rules.
#[derive(Debug)]
pub struct Active {
    /// The plan.
    pub plan: ActivePlan,
    /// Generation of the plan in this process, from 1.
    pub generation: u64,
    /// The source of each rule, in the order of the plan.
    pub sources: Vec<Source>,
    /// The stop in force, if any.
    pub stop: Option<Stop>,
    /// In the order of the plan.
    pub(super) rule_counters: Vec<RuleCounters>,
    /// Of removed rules, most recent last.
    retired: Vec<(Instant, RuleCounters)>,
    /// Positions of rules with a request window and without a match; empty while the plan is stopped.
    pub(super) request_windows: Vec<usize>,
    /// In the order of the plan, for rules with a match; empty if there are none.
    matched: Vec<Option<MatchCounters>>,
}

/// A stop of all rules of all sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Where the stop comes from.
    pub source: Source,
    /// Who made it: a peer of the API, or the path of a file.
    pub by: String,
    /// When it was made, by the wall clock.
    pub since: Timestamp,
}

impl Active {
    pub(super) fn new(
        plan: ActivePlan,
        sources: Vec<Source>,
        stop: Option<Stop>,
        now: Duration,
        matched: impl Fn(&Rule) -> RequestCounts,
    ) -> Self {
        let plan = plan.stopped(stop.is_some());
        let rule_counters = plan.rules().map(|rule| RuleCounters::new(rule, plan.proxies(), now)).collect();
        let request_windows = request_windows(&plan);
        let matched =
            all_matched(&plan, |position| MatchCounters::new(&plan, position, &matched(plan.rule(position))));
        Self {
            plan,
            generation: 1,
            sources,
            stop,
            rule_counters,
            retired: Vec::new(),
            request_windows,
            matched,
        }
    }

    /// The successor of this plan. Rules keep the counters of rules of the same name.
    pub(super) fn successor(
        &self,
        plan: ActivePlan,
        sources: Vec<Source>,
        stop: Option<Stop>,
        generation: u64,
        now: Duration,
    ) -> Self {
        let plan = plan.stopped(stop.is_some());
        let closed = self
            .rule_counters
            .iter()
            .enumerate()
            .map(|(position, counters)| counters.closed(self.open_time(position, now)));
        let mut left: HashMap<RuleName, (Instant, RuleCounters)> = self
            .retired()
            .cloned()
            .chain(closed.map(|counters| (Instant::now(), counters)))
            .map(|(at, counters)| (counters.name.clone(), (at, counters)))
            .collect();
        let before: HashMap<&RuleName, usize> =
            self.plan.rules().enumerate().map(|(position, rule)| (rule.name(), position)).collect();
        let goes_on = |position: usize, rule: &Rule| {
            before.get(rule.name()).is_some_and(|old| {
                self.plan.rule(*old) == rule && self.plan.origin(*old) == plan.origin(position)
            })
        };
        let rule_counters = plan
            .rules()
            .enumerate()
            .map(|(position, rule)| match left.remove(rule.name()) {
                Some((_, counters)) => {
                    counters.continued(rule, plan.proxies(), !goes_on(position, rule), now)
                }
                None => RuleCounters::new(rule, plan.proxies(), now),
            })
            .collect();
        let mut retired: Vec<(Instant, RuleCounters)> = left.into_values().collect();
        order::sort_by_key(&mut retired, |(at, _)| *at);
        retired.drain(..retired.len().saturating_sub(MAX_RULES));
        let matched = all_matched(&plan, |position| {
            let rule = plan.rule(position);
            let before = before.get(rule.name()).filter(|_| goes_on(position, rule));
            let before = before.and_then(|before| self.matched.get(*before)?.as_ref());
            match before.filter(|before| before.is_of(&plan, position)) {
                Some(same) => Some(same.clone()),
                None => MatchCounters::new(
                    &plan,
                    position,
                    &before.map(MatchCounters::counts).unwrap_or_default(),
                ),
            }
        });
        let request_windows = request_windows(&plan);
        Self { plan, generation, sources, stop, rule_counters, retired, request_windows, matched }
    }

    /// The counters of the rule at a position.
    pub fn rule_counters(&self, position: usize) -> &RuleCounters {
        &self.rule_counters[position]
    }

    /// The counters of rules that were removed in the last ten minutes.
    pub fn retired_counters(&self) -> impl Iterator<Item = &RuleCounters> {
        self.retired().map(|(_, counters)| counters)
    }

    fn retired(&self) -> impl Iterator<Item = &(Instant, RuleCounters)> {
        self.retired.iter().filter(|(at, _)| at.elapsed() < RETIREMENT)
    }

    /// How long time windows of rules with this rule's name were open in this process.
    pub fn open_time(&self, position: usize, elapsed: Duration) -> Duration {
        let RuleCounters { open, since, .. } = &self.rule_counters[position];
        *open + self.plan.open_time(position, *since, elapsed)
    }

    /// The counts of a rule since it appeared or last changed: a line for each target, including readiness if the
    /// rule acts there as a dependency.
    pub fn tallies(&self, position: usize) -> impl Iterator<Item = Tally<'_>> {
        self.rule_counters[position].tallies()
    }

    /// The counts of all rules that ever had this rule's name, in its current mode.
    pub fn totals(&self, position: usize) -> impl Iterator<Item = Tally<'_>> {
        self.rule_counters[position].totals()
    }

    /// Counts a request that a rule's match admits, and returns its number.
    pub(super) fn count_match(&self, position: usize, target: TargetId, client: Client) -> u64 {
        let matched = self.matched.get(position).and_then(Option::as_ref);
        matched.map_or(1, |matched| matched.count(target, client))
    }

    /// The number of requests that a rule's match has admitted since its origin; `None` if it has no match.
    pub fn matched(&self, position: usize) -> Option<RequestCounts> {
        self.matched.get(position)?.as_ref().map(MatchCounters::counts)
    }

    /// Counts a connection of a TCP proxy for which a rule became eligible.
    pub fn count_connection(&self, position: usize, slot: Slot, fired: bool) {
        self.rule_counters[position].count(TargetId::Proxy(slot), fired);
    }

    /// Counts that a rule acted on a connection that was counted as eligible before.
    pub fn confirm_connection(&self, position: usize, slot: Slot) {
        self.rule_counters[position].confirm(TargetId::Proxy(slot));
    }

    /// Counts a connection that a partition acted on.
    pub fn count_cut(&self, position: usize) {
        self.rule_counters[position].count_cut();
    }

    /// Counts a window or a signal for which a process rule was eligible.
    pub fn count_process(&self, position: usize, fired: bool) {
        self.rule_counters[position].count_process(fired);
    }
}

fn all_matched(
    plan: &ActivePlan,
    of: impl FnMut(usize) -> Option<MatchCounters>,
) -> Vec<Option<MatchCounters>> {
    let has_match = plan.rules().any(|rule| rule.request_match().is_some());
    if has_match { (0..plan.len()).map(of).collect() } else { Vec::new() }
}

fn request_windows(plan: &ActivePlan) -> Vec<usize> {
    let has_window = |(_, rule): &(usize, &Rule)| {
        rule.trigger().requests.is_some() && rule.request_match().is_none() && !plan.is_stopped()
    };
    plan.rules().enumerate().filter(has_window).map(|(position, _)| position).collect()
}
