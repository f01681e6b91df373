//! Kills, restarts and the wait in between.

use kube_probesim::fault::{Mode, Target};
use kube_probesim::kubelet::{
    ContainerEnd, ContainerSpec, PodEventKind, PodSpec, ProbeKind, ProbeSpec, RestartPolicy,
};

use super::*;

const BROKEN: Mode = Mode::Status(500);

fn exits(events: &[PodEvent]) -> Vec<(f64, u8)> {
    events
        .iter()
        .filter_map(|event| match event.kind {
            PodEventKind::Exited { code } => Some((event.at.as_secs_f64(), code)),
            _ => None,
        })
        .collect()
}

/// Exits with code 3 after 3 s.
fn crashing() -> ContainerSpec {
    ContainerSpec {
        ends: Some(ContainerEnd { after: s(3), code: 3, out_of_memory: false }),
        ..ContainerSpec::new("app")
    }
}

/// Always 500, with a grace period of 1 s.
fn failing() -> PodSpec {
    let probe = ProbeSpec { grace: Some(1), ..probe(Target::Liveness, 2, 3) };
    let container = ContainerSpec { liveness: Some(probe), ..probesim(vec![always(BROKEN)]) };
    PodSpec::new(vec![container])
}

/// Seconds from the first start to each following start, as a log with whole seconds shows them.
fn since_first(events: &[PodEvent]) -> Vec<f64> {
    let starts = starts(events);
    starts.iter().map(|start| start - starts[0]).collect()
}

/// Whether some random choice of the node gives the observed starts, in whole seconds.
fn comes_out(pod: impl Fn() -> PodSpec, seen: &[f64]) -> bool {
    let last = seen[seen.len() - 1];
    (0..200_000).any(|seed| {
        let mut pod = kube_probesim::kubelet::Pod::new(pod(), Draws::of(Seed(seed), "kubelet"));
        let (mut starts, mut fits) = (Vec::new(), true);
        let until = |index: usize| s(seen[index] as u64 + 3);
        for index in 0..seen.len() {
            pod.run(until(index), &mut |event| {
                if matches!(event.kind, PodEventKind::Started { .. }) {
                    starts.push(event.at.as_secs_f64());
                }
            });
            fits = starts.len() == index + 1 && (starts[index] - starts[0] - seen[index]).abs() < 1.0;
            if !fits {
                break;
            }
        }
        fits && starts[starts.len() - 1] - starts[0] < last + 1.0
    })
}

#[test]
fn the_observed_starts_of_a_container_that_exits_are_reproduced() {
    assert!(comes_out(|| PodSpec::new(vec![crashing()]), &[0.0, 3.0, 18.0, 48.0, 92.0, 177.0]));
}

#[test]
fn the_observed_starts_of_a_container_that_always_fails_are_reproduced() {
    assert!(comes_out(failing, &[0.0, 6.0, 12.0, 32.0, 38.0, 101.0, 187.0]));
}

#[test]
fn each_start_of_a_container_that_exits_lies_within_the_stated_jitter() {
    for seed in 0..500 {
        let (_, events) = run_with(PodSpec::new(vec![crashing()]), seed, s(4000));
        let starts = since_first(&events);
        let waits: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0] - 3.0).collect();
        // To notice the exit and to create the container take up to 1.2 s more.
        assert!((0.0..1.3).contains(&waits[0]), "seed {seed}: the first restart is at once: {waits:?}");
        for (wait, delay) in waits[1..].iter().zip([10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]) {
            assert!((delay..=delay * 1.5 + 1.3).contains(wait), "seed {seed}: {delay} in {waits:?}");
        }
    }
}

#[test]
fn each_start_of_a_container_that_always_fails_lies_within_the_stated_jitter() {
    for seed in 0..500 {
        let (_, events) = run_with(failing(), seed, s(120));
        let starts = since_first(&events);
        assert!((5.0..6.0).contains(&starts[1]) && (11.0..12.0).contains(&starts[2]), "{starts:?}");
        // Killed 18 s after the first tick was due, then 10 to 15 s.
        assert!((27.0..33.3).contains(&starts[3]), "seed {seed}: {starts:?}");
    }
}

#[test]
fn the_wait_is_judged_from_the_latest_previously_exited_container_so_the_first_kills_restart_at_once() {
    let (_, events) = run_with(failing(), 1, s(20));
    let backoffs = times(&events, |what| matches!(what, PodEventKind::BackOff { .. }));
    assert_eq!(kills(&events).len(), 3);
    assert_eq!(backoffs, [kills(&events)[2]]);
    assert_eq!(events.iter().filter(|event| event.kind.reason() == Some("BackOff")).count(), 1);
}

#[test]
fn time_in_back_off_is_counted() {
    let (pod, events) = run(crashing(), s(1000));
    let (exits, starts) = (exits(&events), starts(&events));
    // The first restart is not delayed.
    let waits: f64 = starts[2..].iter().zip(&exits[1..]).map(|(start, exit)| start - exit.0).sum();
    let open = if exits.len() == starts.len() { 1000.0 - exits[exits.len() - 1].0 } else { 0.0 };
    assert!((pod.stats().containers[0].back_off.as_secs_f64() - waits - open).abs() < 1e-6);
}

#[test]
fn failing_readiness_does_not_restart_a_container() {
    let container = ContainerSpec { readiness: readiness(2, 1), ..probesim(vec![always(BROKEN)]) };
    let (pod, _) = run(container, s(3600));
    assert_eq!(pod.stats().containers[0].restarts, 0);
    assert_eq!(pod.stats().unready, s(3600));
}

#[test]
fn the_grace_period_is_that_of_the_probe_or_the_pod_and_at_least_2_s() {
    let ignores = |probe_grace, pod_grace| {
        let probe = ProbeSpec { grace: probe_grace, ..probe(Target::Liveness, 2, 1) };
        let container =
            ContainerSpec { liveness: Some(probe), stops_after: None, ..probesim(vec![always(BROKEN)]) };
        let (_, events) = run_with(PodSpec { grace: pod_grace, ..spec(container) }, 1, s(40));
        exits(&events)[0]
    };
    assert_eq!(ignores(None, 30), (32.0, 137));
    assert_eq!(ignores(Some(7), 30), (9.0, 137));
    assert_eq!(ignores(Some(1), 30), (4.0, 137));
    assert_eq!(ignores(None, 0), (4.0, 137));
}

#[test]
fn a_program_that_obeys_sigterm_ends_before_the_grace() {
    let program = Program { shutdown_delay: s(5), ..program(vec![always(BROKEN)]) };
    let container = ContainerSpec { liveness: liveness(2, 1), ..ContainerSpec::probesim("app", program) };
    let (_, events) = run(container, s(9));
    assert_eq!(exits(&events), [(7.0, 0)]);
    let killing = events.iter().find(|event| event.kind.reason() == Some("Killing")).unwrap();
    assert_eq!(killing.message(&probed()), "Container app failed liveness probe, will be restarted");
    assert!(matches!(killing.kind, PodEventKind::Killing { grace, restart: true, .. } if grace == s(30)));
}

fn liveness_fails_from_10_s() -> Rule {
    rule_of("liveness", Targets::NONE.with(Target::Liveness), window(s(10), None), None, Some(BROKEN))
}

#[test]
fn readiness_is_still_probed_during_the_grace_period() {
    let rules = vec![liveness_fails_from_10_s()];
    let program = Program { shutdown_delay: s(20), ..program(rules) };
    let container = ContainerSpec {
        liveness: liveness(2, 1),
        readiness: readiness(3, 2),
        ..ContainerSpec::probesim("app", program)
    };
    let (_, events) = run(container, s(30));
    assert_eq!(kills(&events), [12.0]);
    // Readiness fails from SIGTERM on: the attempts at 13.005 and 16.005.
    assert_eq!(failures(&events, ProbeKind::Readiness)[..2], [13.005, 16.005]);
    assert_eq!(pod_ready(&events), [(1.005, true), (16.005, false)]);
    let text = events.iter().find(|event| event.kind.reason() == Some("Unhealthy") && event.at > s(12));
    assert_eq!(
        text.unwrap().message(&probed()),
        "Readiness probe failed: HTTP probe failed with statuscode: 503"
    );
}

#[test]
fn policy_never_restarts_nothing_and_on_failure_only_what_failed() {
    let starts_of = |policy, container: ContainerSpec| {
        let (_, events) = run_with(PodSpec { restart_policy: policy, ..spec(container) }, 1, s(9));
        starts(&events).len()
    };
    let ends = |code| ContainerSpec {
        ends: Some(ContainerEnd { after: s(5), code, out_of_memory: false }),
        ..ContainerSpec::new("app")
    };
    let killed = || ContainerSpec { liveness: liveness(2, 3), ..probesim(vec![always(BROKEN)]) };
    assert_eq!(starts_of(RestartPolicy::Always, ends(0)), 2);
    assert_eq!(starts_of(RestartPolicy::OnFailure, ends(0)), 1);
    assert_eq!(starts_of(RestartPolicy::OnFailure, ends(3)), 2);
    assert_eq!(starts_of(RestartPolicy::OnFailure, killed()), 2);
    assert_eq!(starts_of(RestartPolicy::Never, ends(3)), 1);
    assert_eq!(starts_of(RestartPolicy::Never, killed()), 1);
    let own = ContainerSpec { restart_policy: Some(RestartPolicy::Always), ..ends(3) };
    assert_eq!(starts_of(RestartPolicy::Never, own), 2, "a container can have a policy of its own");
}

#[test]
fn under_on_failure_a_kill_that_ends_well_and_is_put_off_is_the_end() {
    let run_to_end = |stops_after| {
        let container =
            ContainerSpec { liveness: liveness(2, 3), stops_after, ..probesim(vec![always(BROKEN)]) };
        let pod = PodSpec { restart_policy: RestartPolicy::OnFailure, grace: 2, ..spec(container) };
        let (_, events) = run_with(pod, 1, s(600));
        starts(&events).len()
    };
    assert_eq!(run_to_end(Some(s(0))), 3, "it exits with code 0");
    assert!(run_to_end(None) > 3, "SIGKILL is no success");
}

#[test]
fn pod_deletion_stops_liveness_and_startup_probes_but_not_readiness() {
    let rules = vec![rule("later", window(s(60), None), None, Some(BROKEN))];
    let program = Program { shutdown_delay: s(25), ..program(rules) };
    let container = ContainerSpec {
        liveness: liveness(1, 1),
        readiness: readiness(5, 1),
        ..ContainerSpec::probesim("app", program)
    };
    let (mut pod, _) = run(container, s(58));
    let before = pod.stats().containers[0];
    let mut events = Vec::new();
    pod.delete(&mut |event| events.push(event));
    pod.run(s(600), &mut |event| events.push(event));
    let after = pod.stats().containers[0];
    assert_eq!(after.probe(ProbeKind::Liveness), before.probe(ProbeKind::Liveness));
    assert!(failures(&events, ProbeKind::Readiness).len() >= 5);
    assert_eq!(exits(&events), [(83.0, 0)]);
    assert_eq!(events[0].message(&probed()), "Stopping container app");
    assert!(starts(&events).is_empty() && !pod.is_ready());
}

#[test]
fn an_attempt_after_the_process_is_gone_is_refused() {
    // The app is healthy; its own liveness probe asks us, and we end by ourselves.
    let us = ContainerSpec {
        ends: Some(ContainerEnd { after: s(3), code: 1, out_of_memory: false }),
        ..probesim(vec![])
    };
    let app = ContainerSpec { liveness: liveness(1, 99), ..ContainerSpec::new("app") };
    let pod = PodSpec { containers: vec![us, app], ..spec(ContainerSpec::new("none")) };
    let (_, events) = run_with(pod, 1, s(12));
    let refused: Vec<f64> = failures(&events, ProbeKind::Liveness);
    assert_eq!(refused.first(), Some(&7.0), "restarted at once at 4 s, ended for good at 7 s: {refused:?}");
    let text =
        events.iter().find(|event| event.kind.reason() == Some("Unhealthy")).unwrap().message(&probed());
    assert_eq!(
        text,
        "Liveness probe failed: Get \"http://10.0.0.5:8080/healthz\": dial tcp 10.0.0.5:8080: connect: connection refused"
    );
}

#[test]
fn restarting_a_container_does_not_reset_the_clock_of_another() {
    // Fails for 10 s, once, 20 s into the life of the sidecar's process.
    let rules = vec![rule("once", window(s(20), Some(s(10))), None, Some(BROKEN))];
    let app = ContainerSpec { liveness: liveness(2, 3), ..ContainerSpec::new("app") };
    let pod = PodSpec { containers: vec![probesim(rules), app], ..spec(ContainerSpec::new("none")) };
    let (pod, events) = run_with(pod, 1, s(600));
    let restarts: Vec<u64> = pod.stats().containers.iter().map(|container| container.restarts).collect();
    assert_eq!(restarts, [0, 1]);
    assert_eq!(kills(&events), [26.0]);
}

#[test]
fn a_native_sidecar_gates_the_start_and_counts_for_ready() {
    let rules = vec![
        rule_of("starts", Targets::NONE.with(Target::Startup), window(s(0), Some(s(20))), None, Some(BROKEN)),
        rule_of(
            "drops",
            Targets::NONE.with(Target::Readiness),
            window(s(50), Some(s(20))),
            None,
            Some(BROKEN),
        ),
    ];
    let sidecar = ContainerSpec {
        role: ContainerRole::Sidecar,
        startup: startup(1, 60),
        readiness: readiness(5, 1),
        ..probesim(rules)
    };
    let pod = PodSpec {
        containers: vec![sidecar, ContainerSpec::new("app")],
        restart_policy: RestartPolicy::Never,
        ..spec(ContainerSpec::new("none"))
    };
    let (_, events) = run_with(pod, 1, s(120));
    let app = events
        .iter()
        .find(|event| event.container == 1 && matches!(event.kind, PodEventKind::Started { .. }));
    assert_eq!(app.unwrap().at, s(21));
    let flips: Vec<bool> = pod_ready(&events).iter().map(|flip| flip.1).collect();
    assert_eq!(flips, [true, false, true]);
}

#[test]
fn a_container_that_is_not_running_is_not_ready() {
    let rules = vec![liveness_fails_from_10_s()];
    let container = ContainerSpec { liveness: liveness(2, 1), readiness: readiness(5, 1), ..probesim(rules) };
    let (_, events) = run(container, s(14));
    assert_eq!(pod_ready(&events), [(1.005, true), (12.0, false), (12.005, true)]);
}

fn pair(us: ContainerSpec, app: ContainerSpec) -> PodSpec {
    PodSpec { containers: vec![us, app], ..spec(ContainerSpec::new("none")) }
}

#[test]
fn a_deleted_pods_sidecars_stop_after_the_other_containers() {
    let sidecar = ContainerSpec { role: ContainerRole::Sidecar, ..probesim(vec![]) };
    let app = ContainerSpec { stops_after: Some(s(5)), ..ContainerSpec::new("app") };
    let (mut pod, _) = run_with(pair(sidecar, app), 1, s(10));
    let mut events = Vec::new();
    pod.delete(&mut |event| events.push(event));
    pod.run(s(60), &mut |event| events.push(event));
    assert_eq!(kills(&events), [10.0, 15.0]);
    assert_eq!(exits(&events), [(15.0, 0), (15.0, 0)]);
}

#[test]
fn an_attempt_under_way_when_the_process_ends_sees_the_end_of_the_connection() {
    let us = ContainerSpec {
        ends: Some(ContainerEnd { after: s(3), code: 1, out_of_memory: false }),
        ..probesim(vec![always(Mode::Hang)])
    };
    let probe = ProbeSpec { timeout: 10, ..probe(Target::Liveness, 2, 99) };
    let app = ContainerSpec { liveness: Some(probe), ..ContainerSpec::new("app") };
    let (_, events) = run_with(pair(us, app), 1, s(5));
    let first = events.iter().find(|event| event.kind.reason() == Some("Unhealthy")).unwrap();
    assert_eq!(
        (first.at, first.message(&probed()).as_str()),
        (s(4), "Liveness probe failed: Get \"http://10.0.0.5:8080/healthz\": EOF")
    );
}

#[test]
fn a_pods_containers_are_killed_one_after_the_other() {
    let us = ContainerSpec { liveness: liveness(10, 1), ..probesim(vec![always(BROKEN)]) };
    let app =
        ContainerSpec { liveness: liveness(7, 1), stops_after: Some(s(10)), ..ContainerSpec::new("app") };
    let (_, events) = run_with(pair(us, app), 1, s(19));
    assert_eq!(failures(&events, ProbeKind::Liveness), [7.0, 10.0]);
    assert_eq!(kills(&events), [7.0, 17.0]);
}

#[test]
fn the_result_of_an_attempt_does_not_outlive_its_container() {
    // Asked at 2 s, failed at 7 s; meanwhile, at 6 s, the app has ended and started again.
    let rules = vec![rule("first", requests(0, Some(1), None), None, Some(Mode::Hang))];
    let probe = ProbeSpec { timeout: 5, ..probe(Target::Liveness, 2, 1) };
    let ends = Some(ContainerEnd { after: s(5), code: 1, out_of_memory: false });
    let app = ContainerSpec { liveness: Some(probe), ends, ..ContainerSpec::new("app") };
    let (_, events) = run_with(pair(probesim(rules), app), 1, s(10));
    assert_eq!(failures(&events, ProbeKind::Liveness), [7.0]);
    assert!(kills(&events).is_empty());
}

#[test]
fn a_program_without_a_seed_of_its_own_draws_another_at_each_start() {
    let rate = Trigger { rate: kube_probesim::fault::Rate::from_percent(30.0).unwrap(), ..Trigger::ALWAYS };
    let times = |reseeds: Option<Draws>| {
        let rules = vec![rule("rate", rate.clone(), None, Some(BROKEN))];
        let program = Program { reseeds, ..program(rules) };
        let container = ContainerSpec { liveness: liveness(2, 1), ..ContainerSpec::probesim("app", program) };
        let (_, events) = run(container, s(3600));
        let (starts, kills) = (starts(&events), kills(&events));
        starts.into_iter().zip(kills).map(|(start, kill)| (kill - start).round() as u64).collect::<Vec<_>>()
    };
    let fixed = times(None);
    assert!(fixed.len() > 5 && fixed.windows(2).all(|pair| pair[0].abs_diff(pair[1]) <= 2), "{fixed:?}");
    let drawn = times(Some(Draws::of(Seed(7), "seeds")));
    assert_eq!(drawn[0], fixed[0]);
    assert!(drawn.windows(2).any(|pair| pair[0].abs_diff(pair[1]) > 2), "{drawn:?}");
    assert_eq!(drawn, times(Some(Draws::of(Seed(7), "seeds"))));
}
