//! The plan at work: counts requests, asks [`fault`](crate::fault) for decisions and keeps score of them.

pub mod events;
mod throttle;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use crate::engine::events::{EventKind, Events};
use crate::fault::{
    ActivePlan, Client, Counts, Decision, MAX_RULES, Origin, Replica, RequestInfo, Rule, RuleName, Target,
    Targets, Timestamp,
};
use crate::plan::Source;

/// What is counted of a rule: requests of each target, and connections.
const SUBJECTS: usize = Target::COUNT + 1;

/// The subject that stands for the listener.
const LISTENER: usize = Target::COUNT;

/// How long the counts of a rule that is gone are told: longer than anybody scrapes apart.
const RETIREMENT: Duration = Duration::from_secs(600);

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

/// A plan with the score of its rules, and of those before it.
#[derive(Debug)]
pub struct Active {
    /// The plan.
    pub plan: ActivePlan,
    /// Which plan of the process this is, from 1 on.
    pub generation: u64,
    /// Where each rule comes from, in the order of the plan.
    pub sources: Vec<Source>,
    /// The stop that puts all rules out of force, if there is one.
    pub stop: Option<Stop>,
    /// In the order of the plan.
    ledgers: Vec<RuleCounters>,
    /// Of rules that are gone, the last one last.
    retired: Vec<(Instant, RuleCounters)>,
    has_request_windows: bool,
}

/// That all rules of all sources are out of force, and who made it so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Where the stop came from.
    pub source: Source,
    /// Who made it: a peer of the API, or the path of a file.
    pub by: String,
    /// When, by the wall clock.
    pub since: Timestamp,
}

/// Counts by subject.
type Tallies = Arc<[AtomicU64; SUBJECTS]>;

/// What was counted when a rule appeared: eligible and injected, by subject.
type Baseline = [(u64, u64); SUBJECTS];

/// The score of all rules that had a name. Counters never go back, whatever becomes of the rule.
#[derive(Clone, Debug)]
pub struct RuleCounters {
    name: RuleName,
    targets: Targets,
    is_partition: bool,
    eligible: Tallies,
    /// By mode, the present one first.
    injected: Vec<(&'static str, Tallies)>,
    /// What people read begins here, while metrics go on.
    baseline: Baseline,
    /// For how long windows in time were open until `since`, on the engine's clock.
    open: Duration,
    since: Duration,
}

/// One line of a rule's score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// `listener`, or the name of the target that was asked for.
    pub subject: &'static str,
    /// Requests, or connections, for which the rule was in its window and not passed over.
    pub eligible: u64,
    /// Those it acted on, in its present mode.
    pub injected: u64,
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

impl RuleCounters {
    fn new(rule: &Rule, now: Duration) -> Self {
        Self {
            name: rule.name().clone(),
            targets: rule.targets(),
            is_partition: rule.is_partition(),
            eligible: Tallies::default(),
            injected: vec![(rule.effect(), Tallies::default())],
            baseline: Baseline::default(),
            open: Duration::ZERO,
            since: now,
        }
    }

    /// Goes on for a rule of the same name; with `anew`, one that is not the rule that was counted before.
    fn continued(mut self, rule: &Rule, anew: bool, now: Duration) -> Self {
        let mode = rule.effect();
        match self.injected.iter().position(|(known, _)| *known == mode) {
            Some(position) => self.injected.swap(0, position),
            None => self.injected.insert(0, (mode, Tallies::default())),
        }
        if anew {
            self.baseline = std::array::from_fn(|subject| {
                let load = |tallies: &Tallies| tallies[subject].load(Ordering::Relaxed);
                (load(&self.eligible), load(&self.injected[0].1))
            });
        }
        Self { targets: rule.targets(), is_partition: rule.is_partition(), since: now, ..self }
    }

    /// The rules' name.
    pub fn name(&self) -> &RuleName {
        &self.name
    }

    /// By subject: a line for each target, readiness included where it was asked for its dependency.
    pub fn eligible(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.lines(&self.eligible)
    }

    /// By mode and subject.
    pub fn injected(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.injected
            .iter()
            .flat_map(|(mode, tallies)| self.lines(tallies).map(|(subject, count)| (*mode, subject, count)))
    }

    /// For how long windows in time had been open when the rule went.
    pub fn open(&self) -> Duration {
        self.open
    }

    fn lines(&self, tallies: &Tallies) -> impl Iterator<Item = (&'static str, u64)> {
        (0..SUBJECTS)
            .filter(|subject| self.is_own(*subject) || self.eligible[*subject].load(Ordering::Relaxed) > 0)
            .map(|subject| (subject_name(subject), tallies[subject].load(Ordering::Relaxed)))
    }

    fn tallies(&self, since: &Baseline) -> impl Iterator<Item = Tally> {
        (0..SUBJECTS).filter_map(|subject| {
            let (eligible, injected) = since[subject];
            // A request that the plan before decided may be counted a moment later.
            let tally = Tally {
                subject: subject_name(subject),
                eligible: self.eligible[subject].load(Ordering::Relaxed).saturating_sub(eligible),
                injected: self.injected[0].1[subject].load(Ordering::Relaxed).saturating_sub(injected),
            };
            (self.is_own(subject) || tally.eligible > 0).then_some(tally)
        })
    }

    /// Whether the present rule names the subject.
    fn is_own(&self, subject: usize) -> bool {
        Target::ALL.get(subject).map_or(self.is_partition, |target| self.targets.contains(*target))
    }

    fn score(&self, subject: usize, fired: bool) {
        self.eligible[subject].fetch_add(1, Ordering::Relaxed);
        if fired {
            self.injected[0].1[subject].fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Active {
    fn new(plan: ActivePlan, sources: Vec<Source>, stop: Option<Stop>, now: Duration) -> Self {
        let plan = plan.stopped(stop.is_some());
        let ledgers = plan.rules().map(|rule| RuleCounters::new(rule, now)).collect();
        let has_request_windows = has_request_windows(&plan);
        Self { plan, generation: 1, sources, stop, ledgers, retired: Vec::new(), has_request_windows }
    }

    /// The plan that follows, with what was counted for rules of the same names.
    fn followed(
        &self,
        plan: ActivePlan,
        sources: Vec<Source>,
        stop: Option<Stop>,
        generation: u64,
        now: Duration,
    ) -> Self {
        let plan = plan.stopped(stop.is_some());
        let closed = self
            .ledgers
            .iter()
            .enumerate()
            .map(|(position, ledger)| RuleCounters { open: self.open_time(position, now), ..ledger.clone() });
        let mut left: HashMap<RuleName, (Instant, RuleCounters)> = self
            .retired()
            .cloned()
            .chain(closed.map(|ledger| (Instant::now(), ledger)))
            .map(|(at, ledger)| (ledger.name.clone(), (at, ledger)))
            .collect();
        let before: HashMap<&RuleName, usize> =
            self.plan.rules().enumerate().map(|(position, rule)| (rule.name(), position)).collect();
        let goes_on = |position: usize, rule: &Rule| {
            before.get(rule.name()).is_some_and(|old| {
                self.plan.rule(*old) == rule && self.plan.origin(*old) == plan.origin(position)
            })
        };
        let ledgers = plan
            .rules()
            .enumerate()
            .map(|(position, rule)| match left.remove(rule.name()) {
                Some((_, ledger)) => ledger.continued(rule, !goes_on(position, rule), now),
                None => RuleCounters::new(rule, now),
            })
            .collect();
        let mut retired: Vec<(Instant, RuleCounters)> = left.into_values().collect();
        retired.sort_by_key(|(at, _)| *at);
        retired.drain(..retired.len().saturating_sub(MAX_RULES));
        let has_request_windows = has_request_windows(&plan);
        Self { plan, generation, sources, stop, ledgers, retired, has_request_windows }
    }

    /// The score of the rule at a position.
    pub fn ledger(&self, position: usize) -> &RuleCounters {
        &self.ledgers[position]
    }

    /// The scores of rules that are gone, for ten minutes.
    pub fn retired_ledgers(&self) -> impl Iterator<Item = &RuleCounters> {
        self.retired().map(|(_, ledger)| ledger)
    }

    fn retired(&self) -> impl Iterator<Item = &(Instant, RuleCounters)> {
        self.retired.iter().filter(|(at, _)| at.elapsed() < RETIREMENT)
    }

    /// For how long windows in time of rules of this one's name were open in this process.
    pub fn open_time(&self, position: usize, elapsed: Duration) -> Duration {
        let RuleCounters { open, since, .. } = &self.ledgers[position];
        *open + self.plan.open_time(position, *since, elapsed)
    }

    /// The counts of a rule since it appeared or last changed: a line for each of its targets, readiness included where
    /// it acts there for its dependency.
    pub fn tallies(&self, position: usize) -> impl Iterator<Item = Tally> {
        self.ledgers[position].tallies(&self.ledgers[position].baseline)
    }

    /// The counts of all rules that had the name of this one, in its present mode.
    pub fn totals(&self, position: usize) -> impl Iterator<Item = Tally> {
        self.ledgers[position].tallies(&[(0, 0); SUBJECTS])
    }

    /// Counts a connection that a partition acted on.
    pub fn score_cut(&self, position: usize) {
        self.ledgers[position].score(LISTENER, true);
    }
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

fn subject_name(subject: usize) -> &'static str {
    Target::ALL.get(subject).map_or("listener", |target| target.name())
}

fn has_request_windows(plan: &ActivePlan) -> bool {
    !plan.is_stopped() && plan.rules().any(|rule| rule.trigger().requests.is_some())
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
