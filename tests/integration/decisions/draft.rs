//! Short notations for rules and attempts.

use std::time::Duration;

use kube_probesim::fault::{
    Action, ActivePlan, Burst, Client, ClientFilter, Cut, Decision, Delay, ListenerName, Mode, Networks,
    Origin, Plan, Rate, RequestInfo, RequestWindow, Rule, RuleHit, RuleName, Seed, Target, Targets,
    TimeWindow, Trigger,
};

pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn fixed(millis: u64) -> Delay {
    Delay::fixed(ms(millis)).unwrap()
}

/// A rule under construction; by default it always acts on liveness.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    name: String,
    client: ClientFilter,
    trigger: Trigger,
    targets: Targets,
    delay: Option<Delay>,
    mode: Option<Mode>,
    listener: Option<(Cut, Networks)>,
}

/// A rule with a mode.
pub(crate) fn fault(name: &str, mode: Mode) -> Draft {
    Draft {
        name: name.into(),
        client: ClientFilter::Any,
        trigger: Trigger::ALWAYS,
        targets: Targets::NONE.with(Target::Liveness),
        delay: None,
        mode: Some(mode),
        listener: None,
    }
}

/// A rule that answers 500.
pub(crate) fn failure(name: &str) -> Draft {
    fault(name, Mode::Status(500))
}

/// A rule with a delay alone.
pub(crate) fn wait(name: &str, delay: Delay) -> Draft {
    Draft { mode: None, ..failure(name) }.delay(delay)
}

/// A partition of everybody.
pub(crate) fn partition(name: &str, cut: Cut) -> Draft {
    Draft { listener: Some((cut, Networks::default())), ..failure(name) }
}

impl Draft {
    pub(crate) fn on(mut self, targets: &[Target]) -> Self {
        self.targets = targets.iter().copied().collect();
        self
    }

    pub(crate) fn client(mut self, client: Client) -> Self {
        self.client = ClientFilter::Only(client);
        self
    }

    pub(crate) fn from(mut self, networks: &[&str]) -> Self {
        if let Some((_, from)) = &mut self.listener {
            from.within = networks.iter().map(|network| network.parse().unwrap()).collect();
        }
        self
    }

    pub(crate) fn delay(mut self, delay: Delay) -> Self {
        self.delay = Some(delay);
        self
    }

    pub(crate) fn rate(mut self, percent: f64) -> Self {
        self.trigger.rate = Rate::from_percent(percent).unwrap();
        self
    }

    /// Call it after the rate.
    pub(crate) fn burst(mut self, mean: f64) -> Self {
        self.trigger.burst = Some(Burst::new(mean, self.trigger.rate).unwrap());
        self
    }

    pub(crate) fn ramp(mut self, ramp: Duration) -> Self {
        self.trigger.ramp = Some(ramp);
        self
    }

    /// A window in seconds; 0 leaves `length` or `period` out.
    pub(crate) fn window(mut self, after: u64, length: u64, period: u64) -> Self {
        let given = |seconds| (seconds > 0).then_some(s(seconds));
        self.trigger.time = Some(TimeWindow::new(s(after), given(length), given(period)).unwrap());
        self
    }

    /// A window in requests; 0 leaves `length` or `period` out.
    pub(crate) fn requests(mut self, after: u64, length: u64, period: u64) -> Self {
        let given = |count| (count > 0).then_some(count);
        self.trigger.requests = Some(RequestWindow::new(after, given(length), given(period)).unwrap());
        self
    }

    /// Changes conditions that have no method of their own.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Trigger)) -> Self {
        change(&mut self.trigger);
        self
    }

    pub(crate) fn rule(self) -> Rule {
        let Self { name, client, trigger, targets, delay, mode, listener } = self;
        let action = match listener {
            Some((cut, from)) => Action::Listener { listener: ListenerName::Probe, cut, from },
            None => Action::Requests { targets, delay, mode },
        };
        Rule::new(RuleName::new(&name).unwrap(), client, trigger, action).unwrap()
    }
}

pub(crate) fn plan(drafts: impl IntoIterator<Item = Draft>) -> Plan {
    Plan::new(drafts.into_iter().map(Draft::rule).collect()).unwrap()
}

/// A plan in force from the start, with seed 42; readiness checks its dependency.
pub(crate) fn active(drafts: impl IntoIterator<Item = Draft>) -> ActivePlan {
    ActivePlan::new(plan(drafts), Seed(42), true)
}

/// The plan that follows `before` at `elapsed`, with `counts` requests of the kubelet to each target before.
pub(crate) fn followed(
    before: &ActivePlan,
    drafts: impl IntoIterator<Item = Draft>,
    elapsed: Duration,
    counts: u64,
) -> ActivePlan {
    let mut now = Origin { elapsed, ..Origin::default() };
    for target in Target::ALL {
        now.counts.set(target, Client::Kubelet, counts);
    }
    before.successor(plan(drafts), before.seed(), &now)
}

/// The kubelet's request `number` to liveness, at `elapsed`.
pub(crate) fn probe(number: u64, elapsed: Duration) -> RequestInfo {
    RequestInfo { target: Target::Liveness.into(), client: Client::Kubelet, elapsed, number }
}

/// The decision for an attempt, and for each eligible rule its position and whether it fired.
pub(crate) fn explain(plan: &ActivePlan, attempt: &RequestInfo) -> (Decision, Vec<(usize, bool)>) {
    let mut causes = Vec::new();
    let decision = plan.decide(attempt, |RuleHit { rule, fired, .. }| causes.push((rule, fired)));
    (decision, causes)
}

/// Whether the first rule fires for an attempt.
pub(crate) fn fires(plan: &ActivePlan, attempt: &RequestInfo) -> bool {
    let mut first = false;
    plan.decide(attempt, |cause| first |= cause.rule == 0 && cause.fired);
    first
}

/// The seconds below `end` at which a plan announces a change.
pub(crate) fn changes(plan: &ActivePlan, end: u64) -> Vec<u64> {
    let next_after = |now: &Duration| {
        let next = plan.next_change(*now).filter(|next| *next < s(end))?;
        assert!(next > *now);
        Some(next)
    };
    let first = next_after(&s(0));
    std::iter::successors(first, next_after).map(|change| change.as_secs()).collect()
}
