//! The plan at work: counts requests, asks [`fault`](crate::fault) for decisions and keeps score of them.

mod active;
mod counters;
pub mod events;
mod throttle;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

pub use active::{Active, Stop};
pub use counters::{RuleCounters, Tally};

use crate::engine::events::{EventKind, Events};
use crate::fault::{ActivePlan, Client, Counts, Decision, Origin, Replica, RequestInfo, Rule, Target};
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
    numbers: [[AtomicU64; Client::COUNT]; Target::COUNT],
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
        let numbers =
            Target::ALL.map(|target| Client::ALL.map(|client| AtomicU64::new(counts.get(target, client))));
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
        let generation = active.generation + 1;
        self.replace(active.followed(plan, sources, stop, generation, elapsed));
        generation
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
        for target in Target::ALL {
            for client in Client::ALL {
                let number = &self.0.numbers[target.index()][client.index()];
                *counts.get_mut(target, client) = number.load(Ordering::Relaxed);
            }
        }
        Snapshot { active: self.active(), elapsed: self.elapsed(), counts }
    }

    /// Gives a request its number and decides what it gets.
    pub fn decide(&self, target: Target, client: Client) -> Injection {
        let number = 1 + self.0.numbers[target.index()][client.index()].fetch_add(1, Ordering::Relaxed);
        let active = self.active();
        let attempt = RequestInfo { target, client, elapsed: self.elapsed(), number };
        let mut first = None;
        let decision = active.plan.decide(&attempt, |cause| {
            active.ledgers[cause.rule].score(target.index(), cause.fired);
            if cause.fired {
                first = first.or(Some(cause.rule));
            }
        });
        if active.has_request_windows {
            report_request_windows(&self.0.events, &active.plan, &attempt);
        }
        Injection { decision, active, first, number }
    }
}

fn report_request_windows(events: &Events, plan: &ActivePlan, attempt: &RequestInfo) {
    for (position, rule) in plan.rules().enumerate() {
        let Some(window) = window_of(rule, attempt) else { continue };
        let count =
            attempt.number.saturating_sub(plan.origin(position).counts.get(attempt.target, attempt.client));
        match (window.is_open(count.saturating_sub(1)), window.is_open(count)) {
            (false, true) => report_window(events, rule, attempt, true),
            (true, false) => report_window(events, rule, attempt, false),
            _ => {}
        }
    }
}

fn window_of<'a>(rule: &'a Rule, attempt: &RequestInfo) -> Option<&'a crate::fault::RequestWindow> {
    let acts = rule.targets().contains(attempt.target) && rule.client().admits(attempt.client);
    rule.trigger().requests.as_ref().filter(|_| acts)
}

fn report_window(events: &Events, rule: &Rule, attempt: &RequestInfo, open: bool) {
    let event = || EventKind::Window { fault: rule.name().to_string(), open, mode: rule.effect() };
    if !events.push_change(attempt.elapsed, event) {
        return;
    }
    let change = if open { "opened" } else { "closed" };
    info!(
        fault = %rule.name(),
        target = attempt.target.name(),
        client = attempt.client.name(),
        number = attempt.number,
        "window in requests {change}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Action, ClientFilter, Mode, Plan, Seed, Trigger, Verdict};
    use crate::fault::{RuleName, Targets, Timestamp};

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
        let tallies: Vec<Tally> = engine.active().tallies(0).collect();
        assert_eq!(
            tallies,
            [
                Tally { subject: "readiness", eligible: 1, injected: 1 },
                Tally { subject: "dependency", eligible: 0, injected: 0 },
            ]
        );
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
