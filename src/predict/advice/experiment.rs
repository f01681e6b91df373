//! Small simulations that show the consequence of a field.

use std::time::Duration;

use crate::fault::{
    Action, ActivePlan, Burst, Client, ClientFilter, Draws, Mode, Plan, Rate, Rule, RuleName, Seed, Target,
    TimeWindow, Trigger,
};
use crate::kubelet::{
    ContainerRole, ContainerSpec, DurationRange, Pod, PodEvent, PodEventKind, PodSpec, ProbeEndpoint,
    ProbeHandler, ProbeKind, ProbeSpec, Program, Timing,
};

/// The number of Pods that are run; their probes tick at different times.
pub(super) const PODS: u64 = 100;

/// When a failure begins: after all Pods are Ready.
pub(super) const FROM: Duration = Duration::from_secs(300);

/// The mean length of a burst of slow answers.
const SPELL: Duration = Duration::from_secs(30);

/// How long Pods with occasional late answers run, and how many of them.
const DAY: Duration = Duration::from_secs(86_400);
const PODS_OF_A_DAY: u64 = 10;

/// A Pod with this container alone, under these rules. Each probe asks the target of its own kind. The hooks of the container
/// and its reaction to SIGTERM stay.
pub(super) fn alone(container: &ContainerSpec, rules: Vec<Rule>, grace: u32) -> Option<PodSpec> {
    let plan = Plan::new(rules).ok()?;
    let mut alone = ContainerSpec {
        role: ContainerRole::Main,
        program: Some(Program::new(ActivePlan::new(plan, Seed(0), false))),
        ends: None,
        ..container.clone()
    };
    for kind in ProbeKind::ALL {
        let probe = match kind {
            ProbeKind::Startup => &mut alone.startup,
            ProbeKind::Liveness => &mut alone.liveness,
            ProbeKind::Readiness => &mut alone.readiness,
        };
        if let Some(probe) = probe {
            probe.handler = ProbeHandler::Http {
                server: 0,
                endpoint: ProbeEndpoint::Target(kind.target()),
                client: Client::Kubelet,
            };
        }
    }
    Some(PodSpec { grace, ..PodSpec::new(vec![alone]) })
}

/// A rule that makes requests to some targets fail.
pub(super) fn failing(targets: &[Target], mode: Mode, trigger: Trigger) -> Option<Rule> {
    let action =
        Action::Requests { targets: targets.iter().copied().collect(), delay: None, mode: Some(mode) };
    Rule::new(RuleName::new("shown").ok()?, ClientFilter::Any, trigger, action).ok()
}

/// A window that opens at `after` and lasts for `length`.
pub(super) fn window(after: Duration, length: Option<Duration>) -> Option<Trigger> {
    Some(Trigger { time: Some(TimeWindow::new(after, length, None).ok()?), ..Trigger::ALWAYS })
}

/// The events of `count` Pods until `end`. Their probes tick at different times.
pub(super) fn runs(pod: &PodSpec, count: u64, end: Duration) -> Vec<Vec<PodEvent>> {
    (0..count).map(|number| run(pod, number, end)).collect()
}

/// The events of the Pod with this number.
pub(super) fn run(pod: &PodSpec, number: u64, end: Duration) -> Vec<PodEvent> {
    let longest = pod.containers.iter().flat_map(|container| {
        ProbeKind::ALL.into_iter().filter_map(|kind| container.probe(kind).map(|probe| probe.period))
    });
    let most = Duration::from_secs(u64::from(longest.max().unwrap_or(1).min(600)) + 1);
    let first_start = DurationRange { least: pod.timing.first_start.least, most };
    let timing = Timing { first_start, late_listener: 0.0, ..pod.timing.clone() };
    let mut spec = PodSpec { timing, ..pod.clone() };
    for program in spec.containers.iter_mut().filter_map(|container| container.program.as_mut()) {
        program.plan.reseed(Seed(number));
        program.reseeds = Some(Draws::of(Seed(number), "restarts"));
    }
    let mut seen = Vec::new();
    Pod::new(spec, Draws::of(Seed(number), "shown")).run(end, &mut |event| seen.push(event));
    seen
}

/// The time of the first matching event from `from` on.
pub(super) fn first(
    events: &[PodEvent],
    from: Duration,
    is: impl Fn(&PodEventKind) -> bool,
) -> Option<Duration> {
    events.iter().find(|event| event.at >= from && is(&event.kind)).map(|event| event.at)
}

/// The consequence if this share of the answers to a probe is late: with independent draws, and in bursts.
pub(super) fn restarts_of_slow(
    container: &ContainerSpec,
    kind: ProbeKind,
    probe: &ProbeSpec,
    share: f64,
) -> String {
    let follows = |burst: Option<Burst>| -> Option<usize> {
        let rate = Rate::from_percent((100.0 * share).clamp(0.0, 100.0)).ok()?;
        let rule = failing(&[kind.target()], Mode::Hang, Trigger { rate, burst, ..Trigger::ALWAYS })?;
        let pod = alone(container, vec![rule], 30)?;
        let counts = |event: &&PodEvent| match kind {
            ProbeKind::Readiness => event.kind == PodEventKind::PodReady(false),
            _ => matches!(event.kind, PodEventKind::Killing { .. }),
        };
        Some(runs(&pod, PODS_OF_A_DAY, DAY).iter().map(|events| events.iter().filter(counts).count()).sum())
    };
    let rate = Rate::from_percent((100.0 * share).clamp(0.0, 100.0)).ok();
    let attempts = SPELL.as_secs_f64() / f64::from(probe.period.max(1));
    let burst = rate.and_then(|rate| Burst::new(attempts.max(1.0), rate).ok());
    let what = if kind == ProbeKind::Readiness { "times not Ready" } else { "restarts" };
    let Some(independent) = follows(None) else { return String::new() };
    let bursts = match burst.filter(|burst| burst.mean() > 1.0).and_then(|burst| follows(Some(burst))) {
        Some(count) => format!(", and {count} if late answers come in bursts of {} s", SPELL.as_secs()),
        None => String::new(),
    };
    format!(
        "Shown over {PODS_OF_A_DAY} Pods and 24h with {:.2}% late answers: {independent} {what} if each is drawn independently{bursts}.",
        100.0 * share
    )
}
