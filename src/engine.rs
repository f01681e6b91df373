//! The engine: counts requests, gets decisions from [`fault`](crate::fault) and counts their results.

mod active;
mod counters;
pub mod events;
mod injection;
mod matched;
pub(crate) mod rate_limit;
mod requested;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

pub use active::{Active, Stop};
pub use counters::{RuleCounters, Tally};
pub use injection::Injection;
pub use requested::REQUESTED_RULE;

use crate::engine::events::{EventKind, Events};
use crate::fault::{
    ActivePlan, Client, MAX_PROXIES, Match, Origin, Proxies, Replica, RequestCounts, RequestInfo,
    RequestView, RequestedDecision, Rule, Slot, Target, TargetId,
};
use crate::plan::Source;
use injection::Unconfirmed;
use requested::RequestedCounters;

/// A cheap-to-clone handle on the active plan and the request counts.
#[derive(Clone, Debug)]
pub struct Engine(Arc<EngineShared>);

#[derive(Debug)]
struct EngineShared {
    started: Instant,
    /// Reading of the engine's clock when the process started: zero, or the value kept by the previous start of the
    /// container.
    before: Duration,
    active: watch::Sender<Arc<Active>>,
    /// Indexed by [`TargetId::index`].
    numbers: [[AtomicU64; Client::COUNT]; Target::COUNT + MAX_PROXIES],
    /// Number of TLS handshakes on the probe listener.
    handshakes: AtomicU64,
    events: Arc<Events>,
    requested: RequestedCounters,
    /// Notified of each request while a rule has a request window.
    request_windows: watch::Sender<()>,
}

/// The state of the engine at one instant.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The plan.
    pub active: Arc<Active>,
    /// The engine's clock: time since the start of the process or, if state is kept, since the first start of the
    /// container.
    pub elapsed: Duration,
    /// Requests since the start of the clock.
    pub counts: RequestCounts,
}

impl Snapshot {
    /// Whether the rule at a position is in its window: in time and, for the next request of one of its targets, in
    /// request numbers.
    pub fn is_active(&self, position: usize) -> bool {
        match self.active.matched(position) {
            Some(matched) => self.active.plan.is_active(position, self.elapsed, &matched),
            None => self.active.plan.is_active(position, self.elapsed, &self.counts),
        }
    }
}

impl Engine {
    /// Creates an engine that starts now, with rules of the environment.
    pub fn new(plan: ActivePlan) -> Self {
        let sources = vec![Source::Environment; plan.len()];
        Self::resumed(plan, sources, None, Duration::ZERO, &RequestCounts::default(), |_| {
            RequestCounts::default()
        })
    }

    /// Creates an engine that continues an earlier start of the container. `sources` has one entry for each rule;
    /// `matched` returns the number of requests that a rule's match has admitted.
    pub fn resumed(
        plan: ActivePlan,
        sources: Vec<Source>,
        stop: Option<Stop>,
        elapsed: Duration,
        counts: &RequestCounts,
        matched: impl Fn(&Rule) -> RequestCounts,
    ) -> Self {
        let numbers: [[AtomicU64; Client::COUNT]; Target::COUNT + MAX_PROXIES] =
            std::array::from_fn(|_| Default::default());
        for target in all_targets() {
            for client in Client::ALL {
                numbers[target.index()][client.index()].store(counts.get(target, client), Ordering::Relaxed);
            }
        }
        Self(Arc::new(EngineShared {
            started: Instant::now(),
            before: elapsed,
            active: watch::Sender::new(Arc::new(Active::new(plan, sources, stop, elapsed, matched))),
            numbers,
            handshakes: AtomicU64::new(0),
            events: Arc::default(),
            requested: RequestedCounters::default(),
            request_windows: watch::Sender::new(()),
        }))
    }

    /// Events of the drill.
    pub fn events(&self) -> &Arc<Events> {
        &self.0.events
    }

    /// Replaces the plan: `plan` builds the new one from the current one and the current time. The caller must
    /// prevent concurrent calls. With a `stop`, no rule acts. Returns the generation of the new plan.
    pub fn apply(
        &self,
        sources: Vec<Source>,
        stop: Option<Stop>,
        plan: impl FnOnce(&ActivePlan, Origin) -> ActivePlan,
    ) -> u64 {
        let Snapshot { active, elapsed, counts } = self.snapshot();
        let starts = active.plan.replica().starts.saturating_sub(1);
        let plan = plan(&active.plan, Origin { elapsed, counts, starts });
        self.reset_replaced(active.plan.proxies(), plan.proxies());
        let generation = active.generation + 1;
        self.replace(active.successor(plan, sources, stop, generation, elapsed));
        generation
    }

    /// Resets the numbers of proxies whose slot is taken by another proxy.
    fn reset_replaced(&self, before: &Proxies, after: &Proxies) {
        for (slot, name) in before.all() {
            if after.name(slot) != Some(name) {
                for number in &self.0.numbers[TargetId::Proxy(slot).index()] {
                    number.store(0, Ordering::Relaxed);
                }
            }
        }
    }

    /// Keeps the rules but changes the replica they run on, for example after its clock was set. The generation does
    /// not change.
    pub fn set_replica(&self, replica: Replica) {
        let active = self.active();
        let plan = active.plan.clone().at(replica);
        self.replace(active.successor(
            plan,
            active.sources.clone(),
            active.stop.clone(),
            active.generation,
            self.elapsed(),
        ));
    }

    /// Readers wait only for the exchange of the pointer, never for building the plan.
    fn replace(&self, active: Active) {
        self.0.active.send_replace(Arc::new(active));
    }

    /// The plan in force.
    pub fn active(&self) -> Arc<Active> {
        self.0.active.borrow().clone()
    }

    /// Waits until all rules are stopped by a [`Stop`].
    pub async fn stopped(&self) {
        let mut plans = self.subscribe();
        if plans.wait_for(|active| active.stop.is_some()).await.is_err() {
            // The sender is gone: the plan does not change any more.
            std::future::pending::<()>().await;
        }
    }

    /// Notifies of each change of the plan.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Active>> {
        self.0.active.subscribe()
    }

    /// Notifies of each request that may open or close a request window.
    pub fn request_windows(&self) -> watch::Receiver<()> {
        self.0.request_windows.subscribe()
    }

    /// Time on the engine's clock, as in [`Snapshot::elapsed`].
    pub fn elapsed(&self) -> Duration {
        self.0.before + self.0.started.elapsed()
    }

    /// Time since the process started.
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// The instant at which the engine's clock shows `elapsed`, never before the start of the process.
    pub fn instant(&self, elapsed: Duration) -> Instant {
        self.0.started + elapsed.saturating_sub(self.0.before)
    }

    /// A consistent snapshot.
    pub fn snapshot(&self) -> Snapshot {
        let mut counts = RequestCounts::default();
        for target in all_targets() {
            for client in Client::ALL {
                let number = &self.0.numbers[target.index()][client.index()];
                counts.set(target, client, number.load(Ordering::Relaxed));
            }
        }
        Snapshot { active: self.active(), elapsed: self.elapsed(), counts }
    }

    /// Numbers a request and decides on it, ignoring rules with a match. The service uses
    /// [`decide_for`](Self::decide_for).
    pub fn decide(&self, target: impl Into<TargetId>, client: Client) -> Injection {
        self.decide_with(self.active(), target.into(), client, &[], |_| false)
    }

    /// Numbers a request of which only target and client are known, and decides on it. `None` if the match of a rule
    /// depends on more; then it is not numbered.
    pub fn decide_unseen(&self, target: Target, client: Client) -> Option<Injection> {
        let active = self.active();
        let is_matched = active.plan.matches(target, client);
        (!is_matched).then(|| self.decide_with(active, target.into(), client, &[], |_| false))
    }

    /// Numbers a request and decides on it.
    pub fn decide_for(
        &self,
        target: impl Into<TargetId>,
        client: Client,
        request: &impl RequestView,
    ) -> Injection {
        self.decide_requested_for(target, client, request, &[])
    }

    /// Like [`decide_for`](Self::decide_for); requested rules come first.
    pub fn decide_requested_for(
        &self,
        target: impl Into<TargetId>,
        client: Client,
        request: &impl RequestView,
        requested: &[Rule],
    ) -> Injection {
        self.decide_with(self.active(), target.into(), client, requested, |wanted| wanted.admits(request))
    }

    /// Numbers a connection to a proxy.
    pub fn number_connection(&self, slot: Slot) -> u64 {
        let target = TargetId::Proxy(slot).index();
        1 + self.0.numbers[target][Client::Other.index()].fetch_add(1, Ordering::Relaxed)
    }

    fn decide_with(
        &self,
        active: Arc<Active>,
        target: TargetId,
        client: Client,
        requested: &[Rule],
        admits: impl Fn(&Match) -> bool,
    ) -> Injection {
        let number = 1 + self.0.numbers[target.index()][client.index()].fetch_add(1, Ordering::Relaxed);
        let attempt = RequestInfo { target, client, elapsed: self.elapsed(), number };
        let mut first = None;
        let matched = |position: usize| {
            let is_admitted = active.plan.rule(position).request_match().is_some_and(&admits);
            let number = is_admitted.then(|| active.count_match(position, target, client))?;
            self.report_request_window(&active.plan, position, &attempt, number);
            Some(number)
        };
        let (mut unconfirmed, mut drawn_number) = (None, number);
        let asked = self.decide_requested(&active, requested, &attempt, &mut unconfirmed);
        let is_faulted = asked.mode.is_some();
        let mut decision = active.plan.decide_matched(&attempt, is_faulted, matched, |hit| {
            // Whether the answer has a body is known only later.
            let is_confirmed = !active.plan.rule(hit.rule).mode().is_some_and(|mode| mode.info().needs_body);
            if hit.fired && !is_confirmed {
                unconfirmed = Some(Unconfirmed::Rule(hit.rule));
            }
            active.rule_counters[hit.rule].count(target, hit.fired && is_confirmed);
            if hit.fired {
                if active.plan.rule(hit.rule).mode().is_some() {
                    drawn_number = hit.number;
                }
                first = first.or(Some(hit.rule));
            }
        });
        for position in &active.request_windows {
            if active.plan.acts_on_client(*position, target, client) {
                let before = active.plan.origin(*position).counts.get(target, client);
                self.report_request_window(&active.plan, *position, &attempt, number.saturating_sub(before));
            }
        }
        if !active.request_windows.is_empty() {
            self.0.request_windows.send_replace(());
        }
        decision.delay = decision.delay.saturating_add(asked.delay);
        let requested = asked.mode.or(asked.first);
        Injection { decision, active, first, number, drawn_number, requested, target, client, unconfirmed }
    }

    /// Decides on requested rules, and counts them as one rule.
    fn decide_requested(
        &self,
        active: &Active,
        rules: &[Rule],
        attempt: &RequestInfo,
        unconfirmed: &mut Option<Unconfirmed>,
    ) -> RequestedDecision {
        if rules.is_empty() || active.plan.is_stopped() {
            return RequestedDecision::default();
        }
        let decision = active.plan.decide_requested(rules, attempt);
        let target = active.plan.proxies().target_name(attempt.target);
        self.0.requested.count_eligible(target);
        if let Some(rule) = decision.mode.or(decision.first).and_then(|position| rules.get(position)) {
            if rule.mode().is_some_and(|mode| mode.info().needs_body) {
                *unconfirmed = Some(Unconfirmed::Requested(rule.effect()));
            } else {
                self.0.requested.count_injected(target, rule.effect());
            }
        }
        decision
    }

    /// Requests that requested a fault, by target.
    pub fn requested_eligible(&self) -> Vec<(String, u64)> {
        self.0.requested.eligible()
    }

    /// Requests that got the requested fault, by target and mode.
    pub fn requested_injected(&self) -> Vec<(String, &'static str, u64)> {
        self.0.requested.injected()
    }

    /// Counts an injection that depends on the answer's body, once its fault takes effect. Call it once; it does
    /// nothing if the injection [is confirmed](Injection::is_confirmed).
    pub fn confirm(&self, injection: &Injection) {
        let Injection { active, target, .. } = injection;
        match injection.unconfirmed {
            Some(Unconfirmed::Rule(rule)) => active.rule_counters[rule].confirm(*target),
            Some(Unconfirmed::Requested(mode)) => {
                self.0.requested.count_injected(active.plan.proxies().target_name(*target), mode);
            }
            None => {}
        }
    }

    /// Reports that request `count` opens or closes the request window of the rule at `position`.
    fn report_request_window(&self, plan: &ActivePlan, position: usize, attempt: &RequestInfo, count: u64) {
        let rule = plan.rule(position);
        let Some(window) = rule.trigger().requests.filter(|_| !plan.is_stopped()) else { return };
        let (was_open, is_open) = (window.is_open(count.saturating_sub(1)), window.is_open(count));
        if was_open != is_open {
            let target = plan.proxies().target_name(attempt.target);
            report_window(&self.0.events, rule, target, attempt, is_open);
        }
    }
}

fn all_targets() -> impl Iterator<Item = TargetId> {
    Target::ALL.into_iter().map(TargetId::Class).chain(Slot::all().map(TargetId::Proxy))
}

fn report_window(events: &Events, rule: &Rule, target: &str, attempt: &RequestInfo, open: bool) {
    let event = || EventKind::Window { fault: rule.name().to_string(), open, mode: rule.effect() };
    if !events.push_change(attempt.elapsed, event) {
        return;
    }
    let change = if open { "opened" } else { "closed" };
    info!(
        fault = %rule.name(),
        target,
        client = attempt.client.name(),
        number = attempt.number,
        "request window {change}"
    );
}

#[cfg(test)]
mod tests;
