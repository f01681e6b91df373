//! A rule in force, with its origin and precomputed state.

use std::sync::Arc;
use std::time::Duration;

use super::{Origin, RequestCounts, RequestInfo};
use crate::fault::draw::{Draws, Lane, Purpose, Seed};
use crate::fault::link::ListenerId;
use crate::fault::proxies::Proxies;
use crate::fault::replica::Replica;
use crate::fault::rule::{ListenerName, Rule};
use crate::fault::target::{Client, ClientFilter, Target, TargetId, TargetSet};

#[derive(Clone, Debug)]
pub(super) struct ActiveRule {
    /// Shared with copies of the plan: a prediction has one for each Pod.
    pub(super) rule: Arc<Rule>,
    pub(super) origin: Origin,
    pub(super) key: u64,
    pub(super) span: FixedConditions,
    /// Its targets, by client class.
    targets: [TargetSet; Client::COUNT],
    pub(super) has_match: bool,
    /// The listener that it cuts.
    pub(super) listener: Option<ListenerId>,
}

/// The conditions of a rule that are constant in a process: whether it applies to this replica, and its lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FixedConditions {
    is_here: bool,
    /// How long before the process its conditions started.
    lead: Duration,
    /// Start of its conditions on the process clock.
    begin: Duration,
    /// Time on that clock before which it is closed, regardless of its window. Only process rules have one: their windows
    /// are relative to the start of the process, not to `start`.
    opens: Duration,
    /// Time on that clock at which it ends.
    end: Option<Duration>,
}

impl FixedConditions {
    pub(super) fn new(rule: &Rule, origin: &Origin, replica: &Replica, is_stopped: bool) -> Self {
        let trigger = rule.trigger();
        // Split into the part on the process clock and the part before it.
        let clock = |instant: crate::fault::Timestamp| {
            (instant.0.saturating_sub(replica.epoch.0), replica.epoch.0.saturating_sub(instant.0))
        };
        let is_process = rule.process().is_some();
        let (begin, lead) = match trigger.start {
            _ if is_process => (origin.elapsed.max(replica.resumed), Duration::ZERO),
            None => (origin.elapsed, Duration::ZERO),
            Some(start) => clock(start),
        };
        let starts = replica.starts.saturating_sub(origin.starts);
        Self {
            is_here: !is_stopped
                && trigger.pods.as_ref().is_none_or(|pods| replica.is_one_of(pods))
                && trigger.starts.is_none_or(|window| window.is_open(starts)),
            lead,
            begin: begin.saturating_add(trigger.stagger.map_or(Duration::ZERO, |most| replica.stagger(most))),
            opens: trigger.start.filter(|_| is_process).map_or(Duration::ZERO, |start| clock(start).0),
            end: trigger.until.map(|until| clock(until).0),
        }
    }
}

impl ActiveRule {
    pub(super) fn new(
        rule: Arc<Rule>,
        origin: Origin,
        seed: Seed,
        replica: &Replica,
        proxies: &Proxies,
        has_upstream: bool,
        is_stopped: bool,
    ) -> Self {
        let key = seed.for_start(replica.starts).rule_key(rule.name().as_str());
        let has_match = rule.request_match().is_some();
        let span = FixedConditions::new(&rule, &origin, replica, is_stopped);
        let mut entry =
            Self { span, key, origin, targets: Default::default(), has_match, listener: None, rule };
        entry.find_targets(proxies, has_upstream);
        entry
    }

    /// Resolves the slots of the proxies that the rule names, and its clients if it does not name them: all, except
    /// the kubelet if there is an upstream.
    pub(super) fn find_targets(&mut self, proxies: &Proxies, has_upstream: bool) {
        let (all, filter) = (proxies.set(self.rule.targets()), self.rule.client());
        let is_spared = |target| match target {
            TargetId::Class(class) => class == Target::Traffic && has_upstream,
            TargetId::Proxy(_) => true,
        };
        self.targets = Client::ALL.map(|client| match (filter, client) {
            (ClientFilter::Unset, Client::Kubelet) => {
                all.iter().filter(|target| !is_spared(*target)).fold(TargetSet::default(), TargetSet::with)
            }
            _ if filter.admits(client) => all,
            _ => TargetSet::default(),
        });
        self.listener = self.rule.listener().and_then(|listener| match listener {
            ListenerName::Probe => Some(ListenerId::Probe),
            ListenerName::Proxy(name) => proxies.slot(name).map(ListenerId::Proxy),
        });
    }

    /// Whether the rule acts on requests of `client` to `target`.
    #[inline]
    pub(super) fn acts_on(&self, target: TargetId, client: Client) -> bool {
        self.targets[client.index()].contains(target)
    }

    /// Its targets, for any client.
    pub(super) fn targets(&self) -> impl Iterator<Item = TargetId> {
        self.targets.iter().fold(TargetSet::default(), |all, of_client| all.union(*of_client)).iter()
    }

    /// Time since the conditions started; `None` outside the rule's lifetime.
    #[inline]
    fn since(&self, elapsed: Duration) -> Option<Duration> {
        let FixedConditions { is_here, lead, begin, opens, end } = self.span;
        if !is_here || elapsed < opens || end.is_some_and(|end| elapsed >= end) {
            return None;
        }
        (elapsed + lead).checked_sub(begin)
    }

    #[inline]
    pub(super) fn open_for(&self, elapsed: Duration) -> Option<Duration> {
        let open_for = self.rule.trigger().open_for(self.since(elapsed)?)?;
        Some(open_for.min(elapsed.saturating_sub(self.span.opens)))
    }

    /// Whether the rule fires in start `start` of the container; drawn once per start.
    pub(super) fn fires_in(&self, start: u64) -> bool {
        Draws::of_starts(self.key).share(start) < self.rule.trigger().rate.share()
    }

    /// Whether the next request to `target`, of one of `clients` that the rule acts on, is in the window. For a rule with a match,
    /// `counts` are the requests that it admits.
    pub(super) fn is_open_for(
        &self,
        target: TargetId,
        clients: &[Client],
        elapsed: Duration,
        counts: &RequestCounts,
    ) -> bool {
        let Some(since) = self.since(elapsed) else { return false };
        // A readiness check evaluates its dependency's rules with its own numbers.
        let checks = target == TargetId::Class(Target::Readiness);
        let asks = |client| {
            self.acts_on(target, client) || (checks && self.acts_on(Target::Dependency.into(), client))
        };
        clients.iter().copied().filter(|client| asks(*client)).any(|client| {
            let count = counts.get(target, client);
            let origin = if self.has_match { 0 } else { self.origin.counts.get(target, client) };
            self.rule.trigger().is_open(since, count.saturating_sub(origin) + 1)
        })
    }

    /// Whether the rule fires for a request, drawn from `lane`; `None` outside its window. For a rule with a match,
    /// `matched` is the request's number among those that it admits.
    #[inline]
    pub(super) fn fires(&self, attempt: &RequestInfo, lane: Lane, matched: Option<u64>) -> Option<bool> {
        let trigger = self.rule.trigger();
        let open_for = self.open_for(attempt.elapsed)?;
        if let Some(window) = trigger.requests {
            let count = matched.unwrap_or_else(|| {
                attempt.number.saturating_sub(self.origin.counts.get(attempt.target, attempt.client))
            });
            if !window.is_open(count) {
                return None;
            }
        }
        let draws = Draws::of_rule(self.key, lane, attempt.client, Purpose::Fire);
        Some(trigger.hits(open_for, &draws, matched.unwrap_or(attempt.number)))
    }

    pub(super) fn next_change(&self, elapsed: Duration) -> Option<Duration> {
        let FixedConditions { is_here, lead, begin, opens, end } = self.span;
        if !is_here || end.is_some_and(|end| elapsed >= end) {
            return None;
        }
        if elapsed < opens {
            let next = if self.open_for(opens).is_some() { Some(opens) } else { self.next_change(opens) };
            return next.filter(|next| end.is_none_or(|end| *next < end));
        }
        let window = self.rule.trigger().time;
        let next = match (elapsed + lead).checked_sub(begin) {
            // The conditions have not started yet.
            None => Some(window.map_or(Duration::ZERO, |window| window.after())),
            Some(since) => window.and_then(|window| window.next_change(since)),
        };
        let next = next.and_then(|next| begin.checked_add(next)).map(|next| next.saturating_sub(lead));
        match (next, end) {
            (Some(next), Some(end)) if next >= end => self.open_for(elapsed).map(|_| end),
            (None, Some(end)) => self.open_for(elapsed).map(|_| end),
            (next, _) => next,
        }
    }

    /// How long the time window was open up to `elapsed`.
    pub(super) fn open_time(&self, elapsed: Duration) -> Duration {
        let FixedConditions { is_here, lead, begin, opens, end } = self.span;
        let until = end.map_or(elapsed, |end| end.min(elapsed));
        if !is_here || until < opens {
            return Duration::ZERO;
        }
        let up_to = |instant: Duration| {
            let Some(since) = (instant + lead).checked_sub(begin) else { return Duration::ZERO };
            self.rule.trigger().time.map_or(since, |time| time.open_time(since))
        };
        up_to(until).saturating_sub(if opens.is_zero() { Duration::ZERO } else { up_to(opens) })
    }
}
