//! The model of the kubelet, point by point.
#![allow(clippy::unwrap_used, reason = "in helpers of tests, a panic is the failure")]
#![allow(clippy::unnecessary_wraps, reason = "a probe is an optional field")]

mod attempts;
mod ends;
mod partitions;
mod restarts;
mod simulation;
mod workers;

use std::time::Duration;

use kube_probesim::fault::{
    Action, ActivePlan, Client, ClientFilter, Cut, Delay, Draws, ListenerName, Mode, Networks, Plan,
    RequestWindow, Rule, RuleName, Seed, Target, Targets, TimeWindow, Trigger,
};
use kube_probesim::kubelet::{
    ContainerRole, ContainerSpec, DurationRange, Pod, PodEvent, PodEventKind, PodSpec, ProbeEndpoint,
    ProbeHandler, ProbeKind, ProbeSpec, Program, Timing,
};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A rule for all probe targets.
fn rule(name: &str, trigger: Trigger, delay: Option<Duration>, mode: Option<Mode>) -> Rule {
    let targets = [Target::Liveness, Target::Readiness, Target::Startup].into_iter().collect();
    let delay = delay.map(|delay| Delay::fixed(delay).unwrap());
    rule_of(name, targets, trigger, delay, mode)
}

fn rule_of(name: &str, targets: Targets, trigger: Trigger, delay: Option<Delay>, mode: Option<Mode>) -> Rule {
    let action = Action::Requests { targets, delay, mode };
    Rule::new(RuleName::new(name).unwrap(), ClientFilter::Any, trigger, action).unwrap()
}

fn cut(cut: Cut, trigger: Trigger) -> Rule {
    let action = Action::Listener { listener: ListenerName::Probe, cut, from: Networks::default() };
    Rule::new(RuleName::new("cut").unwrap(), ClientFilter::Any, trigger, action).unwrap()
}

fn always(mode: Mode) -> Rule {
    rule("always", Trigger::ALWAYS, None, Some(mode))
}

/// From `after` on, for `length`.
fn window(after: Duration, length: Option<Duration>) -> Trigger {
    Trigger { time: Some(TimeWindow::new(after, length, None).unwrap()), ..Trigger::ALWAYS }
}

/// The requests after the first `after`, `length` of them, again each `every`.
fn requests(after: u64, length: Option<u64>, every: Option<u64>) -> Trigger {
    Trigger { requests: Some(RequestWindow::new(after, length, every).unwrap()), ..Trigger::ALWAYS }
}

fn active(rules: Vec<Rule>) -> ActivePlan {
    ActivePlan::new(Plan::new(rules).unwrap(), Seed(42), true)
}

fn program(rules: Vec<Rule>) -> Program {
    Program::new(active(rules))
}

fn http(target: Target) -> ProbeHandler {
    ProbeHandler::Http { server: 0, endpoint: ProbeEndpoint::Target(target), client: Client::Kubelet }
}

/// A probe of our port, with period, timeout and failure threshold.
fn probe(target: Target, period: u32, failure_threshold: u32) -> ProbeSpec {
    ProbeSpec { period, failure_threshold, ..ProbeSpec::new(http(target)) }
}

fn liveness(period: u32, failure_threshold: u32) -> Option<ProbeSpec> {
    Some(probe(Target::Liveness, period, failure_threshold))
}

fn readiness(period: u32, failure_threshold: u32) -> Option<ProbeSpec> {
    Some(probe(Target::Readiness, period, failure_threshold))
}

fn startup(period: u32, failure_threshold: u32) -> Option<ProbeSpec> {
    Some(probe(Target::Startup, period, failure_threshold))
}

fn probesim(rules: Vec<Rule>) -> ContainerSpec {
    ContainerSpec::probesim("app", program(rules))
}

/// A node that takes no time, so that a container starts 1 s after its Pod came, and again at once.
fn exact() -> Timing {
    Timing {
        first_start: DurationRange::fixed(s(1)),
        late_listener: 0.0,
        container_start: Duration::ZERO,
        relist: Duration::ZERO,
        ..Timing::default()
    }
}

fn spec(container: ContainerSpec) -> PodSpec {
    PodSpec { timing: exact(), ..PodSpec::new(vec![container]) }
}

fn run_with(pod: PodSpec, seed: u64, until: Duration) -> (Pod, Vec<PodEvent>) {
    let mut pod = Pod::new(pod, Draws::of(Seed(seed), "kubelet"));
    let mut events = Vec::new();
    pod.run(until, &mut |event| events.push(event));
    (pod, events)
}

fn run(container: ContainerSpec, until: Duration) -> (Pod, Vec<PodEvent>) {
    run_with(spec(container), 1, until)
}

/// The name of the container in messages.
fn probed() -> ContainerSpec {
    ContainerSpec {
        startup: startup(1, 3),
        liveness: liveness(1, 3),
        readiness: readiness(1, 3),
        ..probesim(vec![])
    }
}

/// When events of a kind were, in seconds.
fn times(events: &[PodEvent], sort: impl Fn(&PodEventKind) -> bool) -> Vec<f64> {
    events.iter().filter(|event| sort(&event.kind)).map(|event| event.at.as_secs_f64()).collect()
}

fn starts(events: &[PodEvent]) -> Vec<f64> {
    times(events, |what| matches!(what, PodEventKind::Started { .. }))
}

fn kills(events: &[PodEvent]) -> Vec<f64> {
    times(events, |what| matches!(what, PodEventKind::Killing { .. }))
}

fn failures(events: &[PodEvent], kind: ProbeKind) -> Vec<f64> {
    times(
        events,
        |what| matches!(what, PodEventKind::Unhealthy { probe, error: false, .. } if *probe == kind),
    )
}

fn pod_ready(events: &[PodEvent]) -> Vec<(f64, bool)> {
    events
        .iter()
        .filter_map(|event| match event.kind {
            PodEventKind::PodReady(ready) => Some((event.at.as_secs_f64(), ready)),
            _ => None,
        })
        .collect()
}
