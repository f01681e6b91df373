//! Each number of a budget, compared with the simulation: up to the first, nothing happens in any phase of the ticks;
//! beyond the second, it happens in every phase.

use kube_probesim::fault::{Action, ClientFilter, Draws, Mode, Rule, RuleName, TimeWindow, Trigger};
use kube_probesim::kubelet::{
    ContainerRole, DurationRange, Hook, Pod, PodEvent, PodEventKind, RestartPolicy, RestartRule, Timing,
};
use kube_probesim::predict::budget::{Amount, budgets, find};
use kube_probesim::predict::{Disruption, Update};
use proptest::prelude::*;

use super::*;

const STEP: Duration = Duration::from_millis(1);
/// When the program fails in tests of pauses.
const FROM: Duration = Duration::from_secs(100);

/// A rule that fails a target from `after` on for `length`.
fn failing(target: Target, mode: Mode, after: Duration, length: Option<Duration>) -> Rule {
    let action = Action::Requests { targets: [target].into_iter().collect(), delay: None, mode: Some(mode) };
    let trigger = Trigger { time: Some(TimeWindow::new(after, length, None).unwrap()), ..Trigger::ALWAYS };
    Rule::new(RuleName::new("down").unwrap(), ClientFilter::Any, trigger, action).unwrap()
}

/// A Pod of one container with a probe of this target and others that are none.
fn pod(target: Target, probe: &ProbeSpec, rule: Option<Rule>) -> PodSpec {
    let plan = ActivePlan::new(Plan::new(rule.into_iter().collect()).unwrap(), Seed(0), true);
    let mut container = ContainerSpec::probesim("app", Program::new(plan));
    let handler =
        ProbeHandler::Http { server: 0, endpoint: ProbeEndpoint::Target(target), client: Client::Kubelet };
    let probe = Some(ProbeSpec { handler, ..probe.clone() });
    match target {
        Target::Startup => container.startup = probe,
        Target::Readiness => container.readiness = probe,
        _ => container.liveness = probe,
    }
    PodSpec::new(vec![container])
}

/// The events of a Pod until `end`, with a random phase of the ticks.
fn events(mut spec: PodSpec, phase: u64, end: Duration) -> Vec<PodEvent> {
    let period = spec.containers[0].liveness.as_ref().or(spec.containers[0].startup.as_ref());
    let period = period.or(spec.containers[0].readiness.as_ref()).map_or(10, |probe| probe.period);
    let most = s(u64::from(period)) + ms(1200);
    spec.timing = Timing {
        first_start: DurationRange { least: ms(200), most },
        late_listener: 0.0,
        ..Timing::default()
    };
    let mut seen = Vec::new();
    Pod::new(spec, Draws::of(Seed(phase), "node")).run(end, &mut |event| seen.push(event));
    seen
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn kills(events: &[PodEvent]) -> bool {
    events.iter().any(|event| matches!(event.kind, PodEventKind::Killing { .. }))
}

fn unready(events: &[PodEvent]) -> bool {
    events.iter().any(|event| event.kind == PodEventKind::PodReady(false))
}

/// Both numbers of a budget.
fn numbers(spec: &PodSpec, name: &str) -> (Duration, Duration) {
    let workload = Workload::new(Kind::Deployment, "app", spec.clone());
    let all = budgets(&workload, Duration::ZERO);
    let budget = find(&all, 0, name).unwrap_or_else(|| panic!("no {name}: {all:#?}"));
    (budget.least.time().unwrap(), budget.most.time().unwrap())
}

/// A probe with drawn fields. The timeout may be longer than the period.
fn any_probe() -> impl Strategy<Value = ProbeSpec> {
    (1_u32..8, 1_u32..5, 1_u32..10, 0_u32..6).prop_map(
        |(period, failure_threshold, timeout, initial_delay)| ProbeSpec {
            period,
            failure_threshold,
            timeout,
            initial_delay,
            ..ProbeSpec::new(ProbeHandler::Healthy)
        },
    )
}

/// A pause of this length. Attempts in its last `timeout` are answered at its end, in time.
fn pause(target: Target, probe: &ProbeSpec, length: Duration, phase: u64) -> Vec<PodEvent> {
    let hangs = length.saturating_sub(s(u64::from(probe.timeout)));
    let rule = (hangs >= ms(10)).then(|| failing(target, Mode::Hang, FROM, Some(hangs)));
    events(pod(target, probe, rule), phase, FROM + s(200))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_safe_pause_never_restarts_and_one_beyond_always_does(probe in any_probe(), phase in any::<u64>()) {
        let (safe, certain) = numbers(&pod(Target::Liveness, &probe, None), "liveness-pause");
        prop_assert!(!kills(&pause(Target::Liveness, &probe, safe.saturating_sub(STEP), phase)));
        prop_assert!(kills(&pause(Target::Liveness, &probe, certain + STEP, phase)));
    }

    #[test]
    fn a_safe_pause_never_leaves_the_endpoints_and_one_beyond_always_does(
        probe in any_probe(), phase in any::<u64>()
    ) {
        let (safe, certain) = numbers(&pod(Target::Readiness, &probe, None), "readiness-pause");
        prop_assert!(!unready(&pause(Target::Readiness, &probe, safe.saturating_sub(STEP), phase)));
        prop_assert!(unready(&pause(Target::Readiness, &probe, certain + STEP, phase)));
    }

    #[test]
    fn a_safe_start_is_never_killed_and_one_beyond_always_is(
        probe in any_probe(), phase in any::<u64>(), is_startup in any::<bool>()
    ) {
        let target = if is_startup { Target::Startup } else { Target::Liveness };
        let (safe, certain) = numbers(&pod(target, &probe, None), "start");
        let started_in = |length: Duration| {
            let rule = (length >= ms(10)).then(|| failing(target, Mode::Close, s(0), Some(length)));
            events(pod(target, &probe, rule), phase, s(100))
        };
        if safe > STEP {
            prop_assert!(!kills(&started_in(safe.saturating_sub(STEP))));
        }
        prop_assert!(kills(&started_in(certain + STEP)));
    }

    #[test]
    fn a_failure_leads_to_sigterm_and_out_of_the_endpoints_within_its_two_times(
        probe in any_probe(), phase in any::<u64>(), hangs in any::<bool>()
    ) {
        let mode = || if hangs { Mode::Hang } else { Mode::Close };
        for (target, name) in
            [(Target::Liveness, "failure-to-sigterm"), (Target::Readiness, "failure-to-unready")]
        {
            let (least, most) = numbers(&pod(target, &probe, None), name);
            let seen = events(pod(target, &probe, Some(failing(target, mode(), FROM, None))), phase, s(300));
            let started = seen[0].at;
            let is_wanted = |event: &&PodEvent| match target {
                Target::Liveness => matches!(event.kind, PodEventKind::Killing { .. }),
                _ => event.kind == PodEventKind::PodReady(false),
            };
            let took = seen.iter().find(is_wanted).unwrap().at.saturating_sub(started + FROM);
            prop_assert!(least <= took && took <= most, "{name}: {least:?} {took:?} {most:?}");
        }
    }

    #[test]
    fn a_container_is_back_to_ready_within_its_two_times(
        probe in any_probe(), success_threshold in 1_u32..4, phase in any::<u64>()
    ) {
        let probe = ProbeSpec { success_threshold, ..probe };
        let (least, most) = numbers(&pod(Target::Readiness, &probe, None), "back-to-ready");
        let length = s(60);
        let rule = failing(Target::Readiness, Mode::Close, FROM, Some(length));
        let seen = events(pod(Target::Readiness, &probe, Some(rule)), phase, s(300));
        let again = FROM + length + seen[0].at;
        let ready = seen.iter().find(|it| it.at >= again && it.kind == PodEventKind::PodReady(true)).unwrap();
        let took = ready.at.saturating_sub(again);
        prop_assert!(least <= took && took <= most, "{took:?} {most:?}");
    }
}

#[test]
fn the_numbers_are_those_of_the_design() {
    let probe = ProbeSpec::new(ProbeHandler::Healthy);
    let pod = pod(Target::Liveness, &probe, None);
    assert_eq!(numbers(&pod, "liveness-pause"), (s(21), s(31)));
    assert_eq!(numbers(&pod, "start"), (s(20), s(30)));
    assert_eq!(numbers(&pod, "failure-to-sigterm"), (s(20), s(31)));
    assert_eq!(numbers(&pod, "failure-to-restart"), (s(20), s(61)));
    let workload = Workload::new(Kind::Deployment, "app", pod);
    let all = budgets(&workload, s(0));
    assert_eq!(
        find(&all, 0, "liveness-pause").unwrap().formulas,
        [
            "(failureThreshold 3 - 1) x periodSeconds 10 + timeoutSeconds 1",
            "failureThreshold 3 x periodSeconds 10 + timeoutSeconds 1"
        ]
    );
}

#[test]
fn between_the_two_numbers_it_depends_on_the_ticks() {
    let probe = ProbeSpec::new(ProbeHandler::Healthy);
    let restarted =
        |length| (0..200).filter(|phase| kills(&pause(Target::Liveness, &probe, length, *phase))).count();
    let (few, many) = (restarted(ms(22_000)), restarted(ms(30_000)));
    assert!(few > 0 && few < 60, "{few}");
    assert!(many > 140 && many < 200, "{many}");
}

#[test]
fn a_tcp_probe_tolerates_every_pause_because_the_kernel_accepts() {
    let probe = ProbeSpec::new(ProbeHandler::Tcp { server: 0 });
    let container = ContainerSpec { liveness: Some(probe), ..ContainerSpec::new("db") };
    let all = budgets(&Workload::new(Kind::Pod, "db", PodSpec::new(vec![container])), s(0));
    assert_eq!(find(&all, 0, "liveness-pause").unwrap().most, Amount::NoLimit);
}

/// The amounts of a workload's own budget.
fn of_workload(workload: &Workload, name: &str) -> Vec<(Amount, Amount)> {
    let all = budgets(workload, s(0));
    all.iter().filter(|it| it.container.is_none() && it.name == name).map(|it| (it.least, it.most)).collect()
}

#[test]
fn pre_stop_runs_inside_the_grace_period_and_an_overrun_leaves_two_seconds() {
    for (pre_stop, grace, shortest, longest) in [
        (None, 30, 0, 30),
        (Some(Hook::Takes(s(10))), 30, 10, 30),
        (Some(Hook::Takes(s(29))), 30, 29, 31),
        (Some(Hook::Takes(s(60))), 30, 30, 32),
        (Some(Hook::Unknown), 30, 0, 32),
        (None, 0, 0, 2),
    ] {
        let container = ContainerSpec { pre_stop, ..ContainerSpec::new("app") };
        let pod = PodSpec { grace, ..PodSpec::new(vec![container]) };
        let workload = Workload::new(Kind::Deployment, "app", pod);
        let times = (Amount::Time(s(shortest)), Amount::Time(s(longest)));
        assert_eq!(of_workload(&workload, "termination"), [times]);
        assert_eq!(of_workload(&workload, "drain"), [times]);
    }
}

#[test]
fn a_pod_ends_no_earlier_than_the_pre_stop_of_its_sidecar() {
    let role = ContainerRole::Sidecar;
    let sidecar = ContainerSpec { role, pre_stop: Some(Hook::Takes(s(20))), ..ContainerSpec::new("mesh") };
    let pod = PodSpec::new(vec![sidecar, ContainerSpec::new("app")]);
    let workload = Workload::new(Kind::Deployment, "app", pod);
    let times = (Amount::Time(s(20)), Amount::Time(s(30)));
    assert_eq!(of_workload(&workload, "termination"), [times]);
}

#[test]
fn the_longest_rollout_counts_sidecars_before_the_containers_and_has_no_limit_with_init_containers() {
    let startup = |failure_threshold| {
        let probe = ProbeSpec { period: 1, failure_threshold, ..ProbeSpec::new(ProbeHandler::Healthy) };
        Some(probe)
    };
    let sidecar =
        ContainerSpec { role: ContainerRole::Sidecar, startup: startup(60), ..ContainerSpec::new("mesh") };
    let app = ContainerSpec { startup: startup(30), ..ContainerSpec::new("app") };
    let rollout = |containers: Vec<ContainerSpec>| {
        let mut workload = Workload::new(Kind::Deployment, "app", PodSpec::new(containers));
        workload.update = Some(Update::Rolling { surge: 1, unavailable: 0 });
        of_workload(&workload, "rollout")
    };
    let both = vec![sidecar, app];
    assert_eq!(rollout(both.clone()), [(Amount::Time(s(0)), Amount::Time(s(90)))]);
    let init = ContainerSpec { role: ContainerRole::Init, ..ContainerSpec::new("wait") };
    let three = [init].into_iter().chain(both).collect();
    assert_eq!(rollout(three), [(Amount::Time(s(0)), Amount::NoLimit)]);
}

#[test]
fn a_container_that_never_restarts_has_no_time_to_a_new_container() {
    let mut pod = pod(Target::Liveness, &ProbeSpec::new(ProbeHandler::Healthy), None);
    pod.restart_policy = RestartPolicy::Never;
    let amounts = |pod: PodSpec| {
        let all = budgets(&Workload::new(Kind::Pod, "app", pod), s(0));
        let budget = find(&all, 0, "failure-to-restart").unwrap();
        (budget.least, budget.most)
    };
    assert_eq!(amounts(pod.clone()), (Amount::Never, Amount::Never));
    pod.containers[0].restart_rules = vec![RestartRule { codes: vec![0], except: true }];
    assert_eq!(amounts(pod), (Amount::Time(s(20)), Amount::Time(s(61))));
}

#[test]
fn a_disruption_budget_without_a_pod_to_spare_blocks_the_drain() {
    let spec = pod(Target::Liveness, &ProbeSpec::new(ProbeHandler::Healthy), None);
    let mut workload = Workload { replicas: 3, ..Workload::new(Kind::Deployment, "app", spec) };
    workload.update = Some(Update::Rolling { surge: 1, unavailable: 0 });
    assert_eq!(of_workload(&workload, "drain"), [(Amount::Time(s(0)), Amount::Time(s(30)))]);
    let disruption = Disruption {
        name: "all".to_owned(),
        field: "minAvailable 3".to_owned(),
        allowed: 0,
        enough_replicas: Some(4),
        lets_unready_go: false,
    };
    workload.disruptions = vec![disruption];
    assert_eq!(of_workload(&workload, "drain"), [(Amount::Never, Amount::Never)]);
    assert_eq!(of_workload(&workload, "evictions"), [(Amount::Pods(0), Amount::Pods(0))]);
    // Three waves of one Pod, each at most as long as the longest start.
    assert_eq!(of_workload(&workload, "rollout"), [(Amount::Time(s(0)), Amount::Time(s(90)))]);
}
