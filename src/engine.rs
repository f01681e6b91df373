//! The plan at work: counts requests, asks [`fault`](crate::fault) for decisions and keeps score of them.

mod active;
mod counters;
pub mod events;
pub(crate) mod throttle;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

pub use active::{Active, Stop};
pub use counters::{RuleCounters, Tally};

use crate::engine::events::{EventKind, Events};
use crate::fault::{
    ActivePlan, Client, Counts, Decision, MAX_PROXIES, Origin, Proxies, Replica, RequestInfo, Rule, Slot,
    Target, TargetId,
};
use crate::plan::Source;

/// A cheap-clone handle on the active plan and the counts of requests.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started: Instant,
    /// Where the clock stood when the process started: at zero, or where an earlier start of the container left it.
    before: Duration,
    active: watch::Sender<Arc<Active>>,
    /// By [`TargetId::index`].
    numbers: [[AtomicU64; Client::COUNT]; Target::COUNT + MAX_PROXIES],
    events: Arc<Events>,
}

/// The engine at one instant.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The plan.
    pub active: Arc<Active>,
    /// The engine's clock: time since the start of the process, or since the container's first start where a state is
    /// kept.
    pub elapsed: Duration,
    /// Requests since then.
    pub counts: Counts,
}

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
    /// A rule and a target whose injection is not counted yet.
    unconfirmed: Option<(usize, TargetId)>,
}

impl Engine {
    /// An engine that begins now, with rules of the environment.
    pub fn new(plan: ActivePlan) -> Self {
        let sources = vec![Source::Environment; plan.len()];
        Self::resumed(plan, sources, None, Duration::ZERO, &Counts::default())
    }

    /// An engine that goes on where an earlier start of the container left off. `sources` has one entry for each rule.
    pub fn resumed(
        plan: ActivePlan,
        sources: Vec<Source>,
        stop: Option<Stop>,
        elapsed: Duration,
        counts: &Counts,
    ) -> Self {
        let numbers: [[AtomicU64; Client::COUNT]; _] = std::array::from_fn(|_| Default::default());
        for target in all_targets() {
            for client in Client::ALL {
                numbers[target.index()][client.index()].store(counts.get(target, client), Ordering::Relaxed);
            }
        }
        Self(Arc::new(Shared {
            started: Instant::now(),
            before: elapsed,
            active: watch::Sender::new(Arc::new(Active::new(plan, sources, stop, elapsed))),
            numbers,
            events: Arc::default(),
        }))
    }

    /// What happens, for those who watch.
    pub fn events(&self) -> &Arc<Events> {
        &self.0.events
    }

    /// Puts another plan in force: what `plan` makes of the present one and of now. Whoever calls this sees to it that
    /// nobody else does at the same time. With a `stop`, none of its rules acts. Gives the plan's generation.
    pub fn apply(
        &self,
        sources: Vec<Source>,
        stop: Option<Stop>,
        plan: impl FnOnce(&ActivePlan, Origin) -> ActivePlan,
    ) -> u64 {
        let Snapshot { active, elapsed, counts } = self.snapshot();
        let starts = active.plan.replica().starts.saturating_sub(1);
        let plan = plan(&active.plan, Origin { elapsed, counts, starts });
        self.forget_replaced(active.plan.proxies(), plan.proxies());
        let generation = active.generation + 1;
        self.replace(active.followed(plan, sources, stop, generation, elapsed));
        generation
    }

    /// Numbers of a proxy whose slot another one takes begin anew.
    fn forget_replaced(&self, before: &Proxies, after: &Proxies) {
        for (slot, name) in before.all() {
            if after.name(slot) != Some(name) {
                for number in &self.0.numbers[TargetId::Proxy(slot).index()] {
                    number.store(0, Ordering::Relaxed);
                }
            }
        }
    }

    /// Puts the same rules in force elsewhere, such as on a clock that was set; the generation stays.
    pub fn relocate(&self, replica: Replica) {
        let active = self.active();
        let plan = active.plan.clone().at(replica);
        self.replace(active.followed(
            plan,
            active.sources.clone(),
            active.stop.clone(),
            active.generation,
            self.elapsed(),
        ));
    }

    /// Those who decide wait for the exchange alone: what is exchanged has been made before.
    fn replace(&self, active: Active) {
        self.0.active.send_replace(Arc::new(active));
    }

    /// The plan in force.
    pub fn active(&self) -> Arc<Active> {
        self.0.active.borrow().clone()
    }

    /// Waits until all rules are out of force by a [`Stop`].
    pub async fn stopped(&self) {
        let mut plans = self.subscribe();
        if plans.wait_for(|active| active.stop.is_some()).await.is_err() {
            // There are no more changes.
            std::future::pending::<()>().await;
        }
    }

    /// Tells of each change of plan.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Active>> {
        self.0.active.subscribe()
    }

    /// Time on the engine's clock, as in [`Snapshot::elapsed`].
    pub fn elapsed(&self) -> Duration {
        self.0.before + self.0.started.elapsed()
    }

    /// How long the process has been up.
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// The instant at which the engine's clock shows `elapsed`, at the earliest that of the start.
    pub fn instant(&self, elapsed: Duration) -> Instant {
        self.0.started + elapsed.saturating_sub(self.0.before)
    }

    /// Everything at once.
    pub fn snapshot(&self) -> Snapshot {
        let mut counts = Counts::default();
        for target in all_targets() {
            for client in Client::ALL {
                let number = &self.0.numbers[target.index()][client.index()];
                counts.set(target, client, number.load(Ordering::Relaxed));
            }
        }
        Snapshot { active: self.active(), elapsed: self.elapsed(), counts }
    }

    /// Gives a request its number and decides what it gets.
    pub fn decide(&self, target: impl Into<TargetId>, client: Client) -> Injection {
        let target = target.into();
        let number = 1 + self.0.numbers[target.index()][client.index()].fetch_add(1, Ordering::Relaxed);
        let active = self.active();
        let attempt = RequestInfo { target, client, elapsed: self.elapsed(), number };
        let mut first = None;
        let mut unconfirmed = None;
        let decision = active.plan.decide(&attempt, |hit| {
            // Whether there is a body to strike shows later.
            let is_sure = !active.plan.rule(hit.rule).mode().is_some_and(|mode| mode.info().needs_body);
            if hit.fired && !is_sure {
                unconfirmed = Some(hit.rule);
            }
            active.rule_counters[hit.rule].count(target, hit.fired && is_sure);
            if hit.fired {
                first = first.or(Some(hit.rule));
            }
        });
        for position in &active.request_windows {
            report_request_window(&self.0.events, &active.plan, *position, &attempt);
        }
        Injection { decision, active, first, number, unconfirmed: unconfirmed.map(|rule| (rule, target)) }
    }
}

impl Injection {
    /// Counts an injection that was in doubt: the answer has a body, and the fault shows in it. There is none where the
    /// mode does not act on a body.
    pub fn confirm(&mut self) {
        if let Some((rule, target)) = self.unconfirmed.take() {
            self.active.rule_counters[rule].confirm(target);
        }
    }
}

fn all_targets() -> impl Iterator<Item = TargetId> {
    Target::ALL.into_iter().map(TargetId::Class).chain(Slot::all().map(TargetId::Proxy))
}

/// Reports that the window in requests of the rule at `position` opens or closes with this request.
fn report_request_window(events: &Events, plan: &ActivePlan, position: usize, attempt: &RequestInfo) {
    let rule = plan.rule(position);
    let Some(window) = rule.trigger().requests else { return };
    if !plan.acts_on(position, attempt.target) || !rule.client().admits(attempt.client) {
        return;
    }
    let before = plan.origin(position).counts.get(attempt.target, attempt.client);
    let count = attempt.number.saturating_sub(before);
    let (was_open, is_open) = (window.is_open(count.saturating_sub(1)), window.is_open(count));
    if was_open != is_open {
        report_window(events, rule, plan.proxies().target_name(attempt.target), attempt, is_open);
    }
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
        "window in requests {change}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Action, ClientFilter, Mode, Plan, Seed, Trigger, Verdict};
    use crate::fault::{ProxyName, RuleName, Targets, Timestamp};

    fn engine() -> Engine {
        let action = Action::Requests {
            targets: Targets::NONE.with(Target::Dependency),
            delay: None,
            mode: Some(Mode::Status(500)),
        };
        let name = RuleName::new("down").unwrap();
        let rule = Rule::new(name, ClientFilter::Any, Trigger::ALWAYS, action).unwrap();
        Engine::new(ActivePlan::new(Plan::new(vec![rule]).unwrap(), Seed(1), true))
    }

    #[tokio::test]
    async fn each_target_and_client_class_counts_for_itself() {
        let engine = engine();
        for _ in 0..3 {
            engine.decide(Target::Liveness, Client::Kubelet);
        }
        assert_eq!(engine.decide(Target::Liveness, Client::Other).number, 1);
        assert_eq!(engine.decide(Target::Liveness, Client::Kubelet).number, 4);
        assert_eq!(engine.snapshot().counts.get(Target::Liveness, Client::Kubelet), 4);
    }

    #[tokio::test]
    async fn a_failure_of_the_dependency_is_scored_where_it_was_asked_for() {
        let engine = engine();
        let ruling = engine.decide(Target::Readiness, Client::Kubelet);
        assert_eq!(ruling.decision.verdict, Verdict::DependencyFailed(0));
        let active = engine.active();
        let tallies: Vec<Tally> = active.tallies(0).collect();
        assert_eq!(
            tallies,
            [
                Tally { subject: "readiness", eligible: 1, injected: 1 },
                Tally { subject: "dependency", eligible: 0, injected: 0 },
            ]
        );
    }

    fn proxies(names: &[&str]) -> Vec<ProxyName> {
        names.iter().map(|name| ProxyName::new(name).unwrap()).collect()
    }

    /// An engine whose rule `broken` fails every request to the proxy `stock`, and those to `names` that it knows.
    fn proxied(names: &[&str]) -> Engine {
        let targets = Targets::NONE.with_proxy(ProxyName::new("stock").unwrap());
        let action = Action::Requests { targets, delay: None, mode: Some(Mode::Status(500)) };
        let rule = Rule::new(RuleName::new("broken").unwrap(), ClientFilter::Any, Trigger::ALWAYS, action);
        let known = Proxies::default().with(&proxies(names)).unwrap();
        let plan = Plan::new(vec![rule.unwrap()]).unwrap();
        Engine::new(ActivePlan::new(plan, Seed(1), true).with_proxies(known))
    }

    fn slot(engine: &Engine, name: &str) -> TargetId {
        let name = ProxyName::new(name).unwrap();
        TargetId::Proxy(engine.active().plan.proxies().slot(&name).unwrap())
    }

    fn know(engine: &Engine, names: &[&str]) {
        let active = engine.active();
        let known = active.plan.proxies().with(&proxies(names)).unwrap();
        engine.apply(active.sources.clone(), None, |plan, _| plan.clone().with_proxies(known));
    }

    #[tokio::test]
    async fn a_rule_on_a_proxy_acts_on_its_requests_alone_and_is_counted_under_its_name() {
        let engine = proxied(&["db", "stock"]);
        let verdict = |target| engine.decide(target, Client::Other).decision.verdict;
        assert_eq!(verdict(slot(&engine, "stock")), Verdict::Inject(0));
        assert_eq!(verdict(slot(&engine, "db")), Verdict::Pass);
        assert_eq!(verdict(Target::Traffic.into()), Verdict::Pass);
        let active = engine.active();
        let tallies: Vec<Tally> = active.tallies(0).collect();
        assert_eq!(tallies, [Tally { subject: "stock", eligible: 1, injected: 1 }]);
        let Snapshot { counts, elapsed, .. } = engine.snapshot();
        assert!(active.plan.is_down(slot(&engine, "stock"), elapsed, &counts));
        assert!(!active.plan.is_down(slot(&engine, "db"), elapsed, &counts));
    }

    #[tokio::test]
    async fn the_counts_of_a_proxy_go_on_when_it_comes_back_under_its_name() {
        let engine = proxied(&["stock"]);
        let stock = slot(&engine, "stock");
        for _ in 0..3 {
            engine.decide(stock, Client::Other);
        }
        know(&engine, &["db"]);
        assert_eq!(engine.decide(stock, Client::Other).decision.verdict, Verdict::Pass, "it is gone");
        know(&engine, &["db", "stock"]);
        assert_eq!(slot(&engine, "stock"), stock);
        let injection = engine.decide(stock, Client::Other);
        assert_eq!((injection.number, injection.decision.verdict), (5, Verdict::Inject(0)));
        let active = engine.active();
        let injected: Vec<_> = active.rule_counters(0).injected().collect();
        assert_eq!(injected, [("status", "stock", 4)]);
    }

    #[tokio::test]
    async fn the_numbers_of_a_proxy_that_takes_the_slot_of_another_begin_anew() {
        let engine = proxied(&["stock"]);
        engine.decide(slot(&engine, "stock"), Client::Other);
        let others: Vec<String> = (0..MAX_PROXIES).map(|i| format!("p{i}")).collect();
        know(&engine, &others.iter().map(String::as_str).collect::<Vec<_>>());
        let taken = others.iter().map(|name| slot(&engine, name)).find(|slot| slot.index() == Target::COUNT);
        assert_eq!(engine.decide(taken.unwrap(), Client::Other).number, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_is_set_moves_rules_of_the_calendar_and_no_counter_goes_back() {
        let at = |seconds: u64| Timestamp(Duration::from_secs(1_800_000_000 + seconds));
        let targets = Targets::NONE.with(Target::Liveness);
        let action = Action::Requests { targets, delay: None, mode: Some(Mode::Status(500)) };
        let trigger = Trigger { start: Some(at(60)), ..Trigger::ALWAYS };
        let rule = Rule::new(RuleName::new("dated").unwrap(), ClientFilter::Any, trigger, action).unwrap();
        let replica = Replica { began: at(0), ..Replica::default() };
        let plan = ActivePlan::new(Plan::new(vec![rule]).unwrap(), Seed(1), true).at(replica);
        let engine = Engine::new(plan);
        let fails = || engine.decide(Target::Liveness, Client::Other).decision.verdict == Verdict::Inject(0);
        let open = || engine.active().open_time(0, engine.elapsed());
        tokio::time::advance(Duration::from_secs(70)).await;
        assert!(fails());
        assert_eq!(open(), Duration::from_secs(10));
        // The clock was 30 s ahead: the start lies in the future again.
        engine.relocate(Replica { began: Timestamp(Duration::from_secs(1_799_999_970)), ..replica });
        assert!(!fails());
        assert_eq!(open(), Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(25)).await;
        assert!(fails());
        assert_eq!((open(), engine.active().generation), (Duration::from_secs(15), 1));
    }
}
