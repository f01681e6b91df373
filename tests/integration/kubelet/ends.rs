//! Init containers, and how a Pod ends.

use kube_probesim::fault::ProcessMode;
use kube_probesim::kubelet::{ContainerEnd, ContainerRole, PodFailure, RestartPolicy, RestartRule};

use super::*;

fn process(mode: ProcessMode, trigger: Trigger) -> Rule {
    let action = Action::Process { mode, allow_node_pressure: false };
    Rule::new(RuleName::new("process").unwrap(), ClientFilter::Any, trigger, action).unwrap()
}

fn ends(after: u64, code: u8) -> Option<ContainerEnd> {
    Some(ContainerEnd { after: s(after), code, out_of_memory: false })
}

fn init(after: u64, code: u8) -> ContainerSpec {
    ContainerSpec { role: ContainerRole::Init, ends: ends(after, code), ..ContainerSpec::new("init") }
}

fn with(first: ContainerSpec, policy: RestartPolicy) -> PodSpec {
    PodSpec {
        containers: vec![first, ContainerSpec::new("app")],
        restart_policy: policy,
        ..spec(ContainerSpec::new("none"))
    }
}

fn starts_of(events: &[PodEvent], container: usize) -> Vec<f64> {
    let of: Vec<PodEvent> = events.iter().copied().filter(|event| event.container == container).collect();
    starts(&of)
}

fn finished(events: &[PodEvent]) -> Vec<(f64, bool)> {
    let told = |event: &PodEvent| match event.kind {
        PodEventKind::PodFinished { succeeded } => Some((event.at.as_secs_f64(), succeeded)),
        _ => None,
    };
    events.iter().filter_map(told).collect()
}

#[test]
fn later_containers_start_once_an_init_container_has_succeeded() {
    let (pod, events) = run_with(with(init(7, 0), RestartPolicy::Always), 1, s(60));
    assert_eq!((starts_of(&events, 0), starts_of(&events, 1)), (vec![1.0], vec![8.0]));
    assert!(pod.is_ready(), "an init container that is done does not count");
    assert_eq!(pod.stats().containers[0].restarts, 0);
}

#[test]
fn a_failing_init_container_is_restarted_with_back_off_and_blocks_the_pod() {
    for policy in [RestartPolicy::Always, RestartPolicy::OnFailure] {
        let (pod, events) = run_with(with(init(3, 1), policy), 1, s(100));
        let starts = starts_of(&events, 0);
        assert_eq!(starts[..2], [1.0, 4.0], "the first time at once");
        assert!((17.0..=22.0).contains(&starts[2]), "then after 10 to 15 s: {starts:?}");
        assert_eq!(starts_of(&events, 1), [] as [f64; 0]);
        assert!(!pod.is_ready() && finished(&events).is_empty());
    }
}

#[test]
fn an_init_container_that_is_not_restarted_fails_the_pod() {
    let sidecar =
        ContainerSpec { role: ContainerRole::Sidecar, stops_after: Some(s(2)), ..ContainerSpec::new("side") };
    let pod = PodSpec {
        containers: vec![sidecar, init(3, 1), ContainerSpec::new("app")],
        ..with(init(3, 1), RestartPolicy::Never)
    };
    let (_, events) = run_with(pod, 1, s(60));
    assert!(events.iter().any(|event| event.kind == PodEventKind::PodFails(PodFailure::Init)));
    assert_eq!(finished(&events), [(6.005, false)], "once its sidecar has stopped");
    assert_eq!(starts_of(&events, 2), [] as [f64; 0]);
}

#[test]
fn rules_for_restarts_come_before_the_policy() {
    let container = |code, except| ContainerSpec {
        ends: ends(3, 42),
        restart_policy: Some(RestartPolicy::Never),
        restart_rules: vec![RestartRule { codes: vec![code], except }],
        ..ContainerSpec::new("app")
    };
    let restarts = |container: ContainerSpec| run(container, s(60)).0.stats().containers[0].restarts;
    assert!(restarts(container(42, false)) >= 2, "In 42");
    assert_eq!(restarts(container(42, true)), 0, "NotIn 42");
    assert_eq!(restarts(container(1, false)), 0, "In 1");
    assert!(restarts(container(1, true)) >= 2, "NotIn 1");
}

#[test]
fn a_pod_beyond_its_deadline_fails() {
    let app = ContainerSpec { stops_after: Some(s(4)), ..ContainerSpec::new("app") };
    let (_, events) = run_with(PodSpec { deadline: Some(20), ..spec(app) }, 1, s(60));
    assert_eq!(times(&events, |what| *what == PodEventKind::PodFails(PodFailure::DeadlineExceeded)), [20.0]);
    assert_eq!(finished(&events), [(24.0, false)]);
    let done = ContainerSpec { ends: ends(5, 0), ..ContainerSpec::new("app") };
    let pod = PodSpec { deadline: Some(20), restart_policy: RestartPolicy::Never, ..spec(done) };
    assert_eq!(finished(&run_with(pod, 1, s(60)).1), [(6.0, true)]);
}

#[test]
fn a_volume_beyond_its_limit_ends_in_an_eviction() {
    let full = |size| {
        let disk = ProcessMode::Disk { path: "/scratch".to_owned(), size };
        let program = Program {
            volume_limits: vec![("/scratch/".to_owned(), 64)],
            ..program(vec![process(disk, window(s(30), None))])
        };
        let timing = Timing { eviction: DurationRange::fixed(s(50)), ..exact() };
        run_with(PodSpec { timing, ..spec(ContainerSpec::probesim("app", program)) }, 1, s(200)).1
    };
    let events = full(65);
    assert_eq!(times(&events, |what| *what == PodEventKind::PodFails(PodFailure::Evicted)), [81.0]);
    assert_eq!(finished(&events), [(81.0, false)]);
    assert!(finished(&full(64)).is_empty(), "it fits");
}

/// The first failed attempt's message, of a liveness and a readiness probe.
fn with_descriptors_gone(length: Option<Duration>) -> (Pod, Vec<PodEvent>) {
    let rules = vec![process(ProcessMode::Fds, window(s(20), length))];
    let container = ContainerSpec { liveness: liveness(5, 3), readiness: readiness(5, 2), ..probesim(rules) };
    run(container, s(120))
}

#[test]
fn without_descriptors_connections_are_accepted_by_the_kernel_alone() {
    let (pod, events) = with_descriptors_gone(None);
    let first = events.iter().find(|event| event.kind.reason() == Some("Unhealthy")).unwrap();
    assert!(first.message(&probed()).ends_with("(Client.Timeout exceeded while awaiting headers)"));
    assert!(pod.stats().containers[0].restarts >= 2);
    let (pod, events) = with_descriptors_gone(Some(ms(500)));
    assert_eq!(pod.stats().containers[0].restarts, 0, "{events:?}");
}

#[test]
fn an_answer_waits_for_the_next_period_of_a_throttled_container() {
    // Burns four times its limit: it runs in the first 25 ms of each 100.
    let timeouts = |limit: f64| {
        let program = Program {
            cpu_limit: Some(limit),
            ..program(vec![process(ProcessMode::Cpu(2.0), Trigger::ALWAYS)])
        };
        let container = ContainerSpec { liveness: liveness(1, 3), ..ContainerSpec::probesim("app", program) };
        run(container, s(60)).0.stats().containers[0]
    };
    assert_eq!(timeouts(0.5).probe(ProbeKind::Liveness).failed, 0, "late by less than 100 ms");
    assert_eq!(timeouts(2.0).restarts, 0);
    // A thousandth of a core for two: 0.05 ms of each period, so an answer takes two seconds.
    assert!(timeouts(0.001).restarts >= 2);
}

#[test]
fn a_restart_of_the_kubelet_resets_runs_and_back_off_but_not_ready() {
    // Fails twice of three times around the restart.
    let rules = vec![rule_of(
        "twice",
        Targets::NONE.with(Target::Liveness),
        window(s(21), Some(s(19))),
        None,
        Some(Mode::Status(500)),
    )];
    let container =
        ContainerSpec { liveness: liveness(10, 2), readiness: readiness(10, 3), ..probesim(rules) };
    let after = |restarts_at: Option<u64>| {
        let (mut pod, mut events) = run_with(spec(container.clone()), 1, s(restarts_at.unwrap_or(35)));
        if restarts_at.is_some() {
            pod.restart_kubelet();
        }
        pod.run(s(60), &mut |event| events.push(event));
        (pod, events)
    };
    let (pod, _) = after(None);
    assert_eq!(pod.stats().containers[0].kills, 1);
    let (pod, events) = after(Some(32));
    assert_eq!(pod.stats().containers[0].kills, 0, "the run of two is cut in two: {events:?}");
    assert_eq!(pod_ready(&events).len(), 1, "it stays Ready");
    // Back-off is forgotten, too.
    let crash = ContainerSpec { ends: ends(3, 1), ..ContainerSpec::new("app") };
    let (mut pod, mut events) = run_with(spec(crash), 1, s(30));
    let before = starts(&events).len();
    pod.restart_kubelet();
    pod.run(s(32), &mut |event| events.push(event));
    assert_eq!(starts(&events).len(), before + 1, "{events:?}");
}
