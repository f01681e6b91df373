//! Plans in force, and their decisions.

mod connection;
mod counts;
mod decide;
mod entry;
mod handshake;
mod partition;
mod process;
mod requested;
mod windows;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use connection::{Drawn, OpenRule};
pub use counts::RequestCounts;
use entry::{ActiveRule, FixedConditions};
pub use process::ProcessHit;
pub use requested::RequestedDecision;

use super::draw::{Draws, Purpose, Seed};
use super::plan::Plan;
use super::proxies::Proxies;
use super::replica::Replica;
use super::rule::{Rule, RuleName};
use super::target::{Client, Target, TargetId};

/// The instant and the counts at which a rule appeared. Its conditions are evaluated relative to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The process clock, which starts with the process or, if state is kept, with the container's first start.
    pub elapsed: Duration,
    /// Requests since the start of the clock.
    pub counts: RequestCounts,
    /// Starts of the container before the one in which the rule appeared.
    pub starts: u64,
}

/// The properties of a request that a decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    /// Its target.
    pub target: TargetId,
    /// Its client class.
    pub client: Client,
    /// Time on the process clock.
    pub elapsed: Duration,
    /// Its number within its target and client class, from 1.
    pub number: u64,
}

/// The decision on a request. Rules are identified by their position in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Delay before anything else: the sum over all rules that fired.
    pub delay: Duration,
    /// What follows the delay.
    pub verdict: Verdict,
}

/// The fault of a request, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The ordinary answer.
    Pass,
    /// The mode of this rule.
    Inject(usize),
    /// 500, because this rule makes the dependency of readiness fail.
    DependencyFailed(usize),
}

/// A rule that was eligible for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleHit {
    /// Position of the rule in the plan.
    pub rule: usize,
    /// Whether it fired.
    pub fired: bool,
    /// The number used for the draw: the request's, or its number among those that the rule's match admits.
    pub number: u64,
}

/// A plan in force, with its seed and the origin of each rule.
#[derive(Clone, Debug)]
pub struct ActivePlan {
    seed: Seed,
    checks_dependency: bool,
    replica: Replica,
    proxies: Proxies,
    /// Whether the probe listener has an upstream.
    has_upstream: bool,
    /// Whether all rules are stopped.
    is_stopped: bool,
    entries: Vec<ActiveRule>,
}

impl ActivePlan {
    /// A plan that starts with the process. With `checks_dependency`, readiness fails while its dependency does.
    pub fn new(plan: Plan, seed: Seed, checks_dependency: bool) -> Self {
        let (replica, proxies) = (Replica::default(), Proxies::default());
        let empty = Self {
            seed,
            checks_dependency,
            replica,
            proxies,
            has_upstream: false,
            is_stopped: false,
            entries: Vec::new(),
        };
        empty.successor(plan, seed, &Origin::default())
    }

    /// The plan that replaces this one at `now`. A rule with unchanged name and content keeps its origin.
    #[must_use]
    pub fn successor(&self, plan: Plan, seed: Seed, now: &Origin) -> Self {
        let before: HashMap<&RuleName, &ActiveRule> =
            self.entries.iter().map(|entry| (entry.rule.name(), entry)).collect();
        let entry = |rule: Rule| {
            let same = before.get(rule.name()).filter(|old| *old.rule == rule);
            let origin = same.map_or(now, |old| &old.origin).clone();
            ActiveRule::new(
                Arc::new(rule),
                origin,
                seed,
                &self.replica,
                &self.proxies,
                self.has_upstream,
                self.is_stopped,
            )
        };
        let entries = plan.into_rules().into_iter().map(entry).collect();
        Self {
            seed,
            checks_dependency: self.checks_dependency,
            replica: self.replica,
            proxies: self.proxies.clone(),
            has_upstream: self.has_upstream,
            is_stopped: self.is_stopped,
            entries,
        }
    }

    /// The same rules on another replica, or in another start of it.
    #[must_use]
    pub fn at(mut self, replica: Replica) -> Self {
        self.set_replica(replica);
        self
    }

    /// Continues on another replica, or in another start of it; origins are kept.
    pub fn set_replica(&mut self, replica: Replica) {
        self.replica = replica;
        self.update_spans();
    }

    /// The same rules, with the origins returned by `origin`.
    #[must_use]
    pub fn with_origins(mut self, origin: impl Fn(&Rule) -> Origin) -> Self {
        for entry in &mut self.entries {
            entry.origin = origin(&entry.rule);
        }
        self.update_spans();
        self
    }

    /// The same rules with these proxies. A proxy that was known before must keep its slot.
    #[must_use]
    pub fn with_proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self.find_targets();
        self
    }

    /// The same rules with or without an upstream. With one, a rule on `traffic` that does not name its clients does
    /// not apply to the kubelet.
    #[must_use]
    pub fn with_upstream(mut self, has_upstream: bool) -> Self {
        self.has_upstream = has_upstream;
        self.find_targets();
        self
    }

    fn find_targets(&mut self) {
        for entry in &mut self.entries {
            entry.find_targets(&self.proxies, self.has_upstream);
        }
    }

    /// The known proxies.
    pub fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// The same rules, stopped while `is_stopped`. Their clocks continue, so that the end of a stop resumes them
    /// where they would have been.
    #[must_use]
    pub fn stopped(mut self, is_stopped: bool) -> Self {
        self.is_stopped = is_stopped;
        self.update_spans();
        self
    }

    /// Whether all rules are stopped, including those of successor plans.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    fn update_spans(&mut self) {
        let seed = self.seed_of_start();
        for entry in &mut self.entries {
            entry.key = seed.rule_key(entry.rule.name().as_str());
            entry.span = FixedConditions::new(&entry.rule, &entry.origin, &self.replica, self.is_stopped);
        }
    }

    /// Uses another seed from now on; origins are kept.
    pub fn reseed(&mut self, seed: Seed) {
        self.seed = seed;
        self.update_spans();
    }

    /// The seed of the draws in this start of the container.
    fn seed_of_start(&self) -> Seed {
        self.seed.for_start(self.replica.starts)
    }

    /// The replica that it runs on.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Whether the rule at a position applies to this replica, ignoring time and starts.
    pub fn is_selected(&self, position: usize) -> bool {
        let pods = self.entries[position].rule.trigger().pods.as_ref();
        pods.is_none_or(|pods| self.replica.is_one_of(pods))
    }

    /// The seed of all draws, together with the number of the start: the same for all starts.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// Whether readiness fails while its dependency does.
    pub fn checks_dependency(&self) -> bool {
        self.checks_dependency
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The rule at a position.
    pub fn rule(&self, position: usize) -> &Rule {
        &self.entries[position].rule
    }

    /// Whether the rule at a position acts on requests to a target.
    pub fn acts_on(&self, position: usize, target: TargetId) -> bool {
        Client::ALL.into_iter().any(|client| self.acts_on_client(position, target, client))
    }

    /// Whether the rule at a position acts on requests of `client` to a target.
    pub fn acts_on_client(&self, position: usize, target: TargetId, client: Client) -> bool {
        self.entries[position].acts_on(target, client)
    }

    /// Whether a rule with a match acts on requests of `client` to `target`.
    pub fn matches(&self, target: Target, client: Client) -> bool {
        self.entries.iter().any(|entry| entry.has_match && entry.acts_on(target.into(), client))
    }

    /// The targets that the rule at a position acts on.
    pub fn targets(&self, position: usize) -> impl Iterator<Item = TargetId> {
        self.entries[position].targets()
    }

    /// The origin of the rule at a position.
    pub fn origin(&self, position: usize) -> &Origin {
        &self.entries[position].origin
    }

    /// All rules in their order.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.entries.iter().map(|entry| &*entry.rule)
    }

    /// Draws for the body of the answer to request `number`, for the rule at a position.
    pub fn draws_within(&self, position: usize, target: TargetId, client: Client, number: u64) -> Draws {
        let lane = self.proxies.lane(target);
        Draws::of_rule(self.entries[position].key, lane, client, Purpose::Fire).within(number)
    }
}
