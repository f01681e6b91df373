//! The windows of rules at an instant.

use std::time::Duration;

use super::entry::ActiveRule;
use super::{ActivePlan, RequestCounts};
use crate::fault::link::ListenerId;
use crate::fault::target::{Client, Target, TargetId};

impl ActivePlan {
    /// The next instant at which a time window opens or closes.
    pub fn next_change(&self, elapsed: Duration) -> Option<Duration> {
        self.entries.iter().filter_map(|entry| entry.next_change(elapsed)).min()
    }

    /// The next instant at which the time window of the rule at a position opens or closes.
    pub fn next_change_of(&self, position: usize, elapsed: Duration) -> Option<Duration> {
        self.entries[position].next_change(elapsed)
    }

    /// The next instant at which the time window of a rule on a proxy opens or closes.
    pub fn next_change_of_proxies(&self, elapsed: Duration) -> Option<Duration> {
        let of_proxies = |entry: &&ActiveRule| entry.rule.proxies().next().is_some();
        self.entries.iter().filter(of_proxies).filter_map(|entry| entry.next_change(elapsed)).min()
    }

    /// Whether a rule is in its time window.
    pub fn is_in_time(&self, position: usize, elapsed: Duration) -> bool {
        self.entries[position].open_for(elapsed).is_some()
    }

    /// Whether a rule is in its window: in time and, for at least one of its targets and clients, in request numbers
    /// after `counts` requests. For a rule with a match, `counts` are the requests that it admits.
    pub fn is_active(&self, position: usize, elapsed: Duration, counts: &RequestCounts) -> bool {
        let entry = &self.entries[position];
        if entry.rule.trigger().requests.is_none() {
            return entry.open_for(elapsed).is_some();
        }
        entry.targets().any(|target| entry.is_open_for(target, &Client::ALL, elapsed, counts))
    }

    /// The share of eligible requests that a rule acts on, 0 to 1; `None` outside its time window.
    pub fn share(&self, position: usize, elapsed: Duration) -> Option<f64> {
        let entry = &self.entries[position];
        Some(entry.rule.trigger().share_at(entry.open_for(elapsed)?))
    }

    /// Whether a rule that fails every request of `target` is in its window: a rule on the target, on its dependency
    /// if that is checked, or a cut of the listener.
    pub fn is_down(&self, target: impl Into<TargetId>, elapsed: Duration, counts: &RequestCounts) -> bool {
        self.is_down_for(target, &Client::ALL, elapsed, counts)
    }

    /// The same for requests of one of `clients`.
    pub fn is_down_for(
        &self,
        target: impl Into<TargetId>,
        clients: &[Client],
        elapsed: Duration,
        counts: &RequestCounts,
    ) -> bool {
        let target = target.into();
        let listener = match target {
            TargetId::Class(_) => ListenerId::Probe,
            TargetId::Proxy(slot) => ListenerId::Proxy(slot),
        };
        let checked = target == TargetId::Class(Target::Readiness) && self.checks_dependency;
        self.link(listener, elapsed).whole.is_some()
            || self.entries.iter().any(|entry| {
                let acts_on = |target| clients.iter().any(|client| entry.acts_on(target, *client));
                let acts = acts_on(target) || (checked && acts_on(Target::Dependency.into()));
                acts && entry.rule.fails_all() && entry.is_open_for(target, clients, elapsed, counts)
            })
    }

    /// How long the time window of a rule was open between `from` and `elapsed`, excluding the time before it
    /// appeared.
    pub fn open_time(&self, position: usize, from: Duration, elapsed: Duration) -> Duration {
        let entry = &self.entries[position];
        let from = from.max(entry.origin.elapsed);
        entry.open_time(elapsed).saturating_sub(entry.open_time(from))
    }
}
