//! The plan at work: counts requests, asks [`fault`](crate::fault) for decisions and keeps score of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use crate::fault::{ActivePlan, Attempt, Client, Counts, Decision, Rule, Target};

/// What a score counts: requests of each target, and connections.
const SUBJECTS: usize = Target::COUNT + 1;

/// The subject that stands for the listener.
const LISTENER: usize = Target::COUNT;

/// A cheap-clone handle on the active plan and the counts of requests.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started: Instant,
    active: watch::Sender<Arc<Active>>,
    numbers: [[AtomicU64; Client::COUNT]; Target::COUNT],
}

/// A plan with the scores of its rules.
#[derive(Debug)]
pub struct Active {
    /// The plan.
    pub plan: ActivePlan,
    /// Which plan of the process this is, from 1 on.
    pub generation: u64,
    scores: Vec<Score>,
    has_request_windows: bool,
}

/// How often a rule was asked and fired, by subject.
#[derive(Debug, Default)]
struct Score {
    eligible: [AtomicU64; SUBJECTS],
    injected: [AtomicU64; SUBJECTS],
}

/// One line of a rule's score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// `listener`, or the name of the target that was asked for.
    pub subject: &'static str,
    /// Requests, or connections, for which the rule was in its window and not passed over.
    pub eligible: u64,
    /// Those it acted on.
    pub injected: u64,
}

/// The engine at one instant.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The plan.
    pub active: Arc<Active>,
    /// Time since the start of the process.
    pub elapsed: Duration,
    /// Requests since then.
    pub counts: Counts,
}

/// What the engine says of a request.
#[derive(Debug)]
pub struct Ruling {
    /// What the request gets.
    pub decision: Decision,
    /// The plan that decided.
    pub active: Arc<Active>,
    /// The first rule that fired, whether with a mode or with a delay alone.
    pub first: Option<usize>,
    /// The request's number among those of its target and client class.
    pub number: u64,
}

impl Active {
    fn new(plan: ActivePlan, generation: u64) -> Arc<Self> {
        let scores = plan.rules().map(|_| Score::default()).collect();
        let has_request_windows = plan.rules().any(|rule| rule.trigger().requests.is_some());
        Arc::new(Self { plan, generation, scores, has_request_windows })
    }

    /// The score of a rule: a line for each of its targets, readiness included where it acts there for its dependency.
    pub fn tallies(&self, position: usize) -> impl Iterator<Item = Tally> {
        let score = &self.scores[position];
        let targets = self.plan.rule(position).targets();
        (0..SUBJECTS).filter_map(move |subject| {
            let eligible = score.eligible[subject].load(Ordering::Relaxed);
            let target = Target::ALL.get(subject);
            let own = target.map_or(targets.is_empty(), |target| targets.contains(*target));
            (own || eligible > 0).then(|| Tally {
                subject: target.map_or("listener", |target| target.name()),
                eligible,
                injected: score.injected[subject].load(Ordering::Relaxed),
            })
        })
    }

    fn score(&self, position: usize, subject: usize, fired: bool) {
        let score = &self.scores[position];
        score.eligible[subject].fetch_add(1, Ordering::Relaxed);
        if fired {
            score.injected[subject].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a connection that a partition acted on.
    pub fn score_cut(&self, position: usize) {
        self.score(position, LISTENER, true);
    }
}

impl Engine {
    /// An engine that begins now.
    pub fn new(plan: ActivePlan) -> Self {
        Self(Arc::new(Shared {
            started: Instant::now(),
            active: watch::Sender::new(Active::new(plan, 1)),
            numbers: Default::default(),
        }))
    }

    /// The plan in force.
    pub fn active(&self) -> Arc<Active> {
        self.0.active.borrow().clone()
    }

    /// Tells of each change of plan.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Active>> {
        self.0.active.subscribe()
    }

    /// Time since the start of the process.
    pub fn elapsed(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// The instant that lies `elapsed` after the start of the process.
    pub fn instant(&self, elapsed: Duration) -> Instant {
        self.0.started + elapsed
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
    pub fn decide(&self, target: Target, client: Client) -> Ruling {
        let number = 1 + self.0.numbers[target.index()][client.index()].fetch_add(1, Ordering::Relaxed);
        let active = self.active();
        let attempt = Attempt { target, client, elapsed: self.elapsed(), number };
        let mut first = None;
        let decision = active.plan.decide(&attempt, |cause| {
            active.score(cause.rule, target.index(), cause.fired);
            if cause.fired {
                first = first.or(Some(cause.rule));
            }
        });
        if active.has_request_windows {
            log_request_windows(&active.plan, &attempt);
        }
        Ruling { decision, active, first, number }
    }
}

fn log_request_windows(plan: &ActivePlan, attempt: &Attempt) {
    for (position, rule) in plan.rules().enumerate() {
        let Some(window) = window_of(rule, attempt) else { continue };
        let count =
            attempt.number.saturating_sub(plan.origin(position).counts.get(attempt.target, attempt.client));
        match (window.is_open(count.saturating_sub(1)), window.is_open(count)) {
            (false, true) => log_window(rule, attempt, "opened"),
            (true, false) => log_window(rule, attempt, "closed"),
            _ => {}
        }
    }
}

fn window_of<'a>(rule: &'a Rule, attempt: &Attempt) -> Option<&'a crate::fault::RequestWindow> {
    let acts = rule.targets().contains(attempt.target) && rule.client().admits(attempt.client);
    rule.trigger().requests.as_ref().filter(|_| acts)
}

fn log_window(rule: &Rule, attempt: &Attempt, change: &str) {
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
    use crate::fault::{Action, ClientFilter, Mode, Plan, RuleName, Seed, Targets, Trigger, Verdict};

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
}
