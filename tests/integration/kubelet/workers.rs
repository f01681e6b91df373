//! When a worker probes, and the effect of consecutive results.

use kube_probesim::fault::{Mode, Target, Trigger};
use kube_probesim::kubelet::{
    ContainerSpec, Pod, PodEventKind, PodSpec, ProbeHandler, ProbeKind, ProbeSpec, Timing,
};

use super::*;

const BROKEN: Mode = Mode::Status(500);

#[test]
fn the_defaults_are_those_of_the_api() {
    let probe = ProbeSpec::new(ProbeHandler::Healthy);
    let ProbeSpec { initial_delay, timeout, period, success_threshold, failure_threshold, grace, .. } = probe;
    assert_eq!((initial_delay, timeout, period), (0, 1, 10));
    assert_eq!((success_threshold, failure_threshold, grace), (1, 3, None));
}

#[test]
fn the_starting_results_are_readiness_failure_liveness_success_and_startup_unknown() {
    // No attempt has been made yet: not Ready, not killed, not started.
    let late = |probe: Option<ProbeSpec>| probe.map(|probe| ProbeSpec { initial_delay: 100, ..probe });
    let not_probed = |container| {
        let (pod, events) = run(container, s(50));
        (pod.is_ready(), kills(&events).len())
    };
    assert_eq!(
        not_probed(ContainerSpec { readiness: late(readiness(1, 1)), ..probesim(vec![]) }),
        (false, 0)
    );
    assert_eq!(not_probed(ContainerSpec { liveness: late(liveness(1, 1)), ..probesim(vec![]) }), (true, 0));
    assert_eq!(not_probed(ContainerSpec { startup: late(startup(1, 1)), ..probesim(vec![]) }), (false, 0));
}

#[test]
fn ticks_count_from_when_the_pod_was_added_and_not_from_a_start() {
    for (pod_start, expected) in [(1_000, [4.0, 8.0]), (2_500, [4.0, 8.0]), (4_500, [8.0, 12.0])] {
        let timing = Timing { first_start: DurationRange::fixed(ms(pod_start)), ..exact() };
        let container = ContainerSpec { liveness: liveness(4, 9), ..probesim(vec![always(BROKEN)]) };
        let (_, events) = run_with(PodSpec { timing, ..spec(container) }, 1, s(13));
        assert_eq!(failures(&events, ProbeKind::Liveness)[..2], expected, "started after {pod_start} ms");
    }
}

#[test]
fn a_slow_attempt_may_be_followed_by_the_next_at_once() {
    // Attempts of 5 s at a period of 2 s: one tick is held, the others are lost.
    let rules = vec![always(Mode::Hang)];
    let probe = ProbeSpec { timeout: 5, ..probe(Target::Liveness, 2, 99) };
    let (_, events) = run(ContainerSpec { liveness: Some(probe), ..probesim(rules) }, s(21));
    assert_eq!(failures(&events, ProbeKind::Liveness), [7.0, 12.0, 17.0]);
    // Once alone: the tick at 4 s is held, the one at 6 s is lost.
    let rules = vec![rule("first", requests(0, Some(1), None), None, Some(Mode::Hang)), always(BROKEN)];
    let probe = ProbeSpec { timeout: 5, ..super::probe(Target::Liveness, 2, 99) };
    let (_, events) = run(ContainerSpec { liveness: Some(probe), ..probesim(rules) }, s(11));
    assert_eq!(failures(&events, ProbeKind::Liveness), [7.0, 7.0, 8.0, 10.0]);
    // 2 s into the period of 4 s the next tick comes in its time.
    let rules = vec![rule("slow", Trigger::ALWAYS, Some(s(2)), Some(BROKEN))];
    let probe = ProbeSpec { timeout: 5, ..super::probe(Target::Liveness, 4, 99) };
    let (_, events) = run(ContainerSpec { liveness: Some(probe), ..probesim(rules) }, s(15));
    assert_eq!(failures(&events, ProbeKind::Liveness), [6.0, 10.0, 14.0]);
}

#[test]
fn the_initial_delay_is_in_whole_seconds_since_the_start_of_each_container() {
    for seed in 0..50 {
        let probe = ProbeSpec { initial_delay: 5, ..probe(Target::Liveness, 1, 2) };
        let container = ContainerSpec { liveness: Some(probe), ..probesim(vec![always(BROKEN)]) };
        let (_, events) = run_with(spec(container), seed, s(30));
        let (starts, failures) = (starts(&events), failures(&events, ProbeKind::Liveness));
        for start in &starts {
            let Some(first) = failures.iter().find(|at| *at > start) else { continue };
            // The start is kept in whole seconds of the wall clock, so up to a second too early.
            assert!((4.0..=5.0).contains(&(first - start)), "seed {seed}: {first} after {start}");
        }
        assert!(starts.len() > 1);
    }
}

#[test]
fn until_the_startup_probe_has_succeeded_the_others_are_not_run() {
    let rules = vec![rule_of(
        "slow-start",
        Targets::NONE.with(Target::Startup),
        window(s(0), Some(s(30))),
        None,
        Some(BROKEN),
    )];
    let container = ContainerSpec {
        startup: startup(5, 20),
        liveness: liveness(1, 1),
        readiness: readiness(10, 1),
        ..probesim(rules)
    };
    let (pod, events) = run(container, s(34));
    let probes = pod.stats().containers[0].probes;
    assert_eq!([probes[1].successful, probes[2].successful], [0, 0]);
    assert!(!pod.is_ready());
    assert_eq!(failures(&events, ProbeKind::Startup), [5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
    let mut pod = pod;
    let mut events = Vec::new();
    pod.run(s(36), &mut |event| events.push(event));
    // The result syncs the Pod, and that asks for readiness at once.
    assert_eq!(pod_ready(&events), [(35.0, true)]);
}

#[test]
fn a_startup_probe_at_its_threshold_is_on_hold_until_a_new_container() {
    let container = ContainerSpec { startup: startup(1, 3), ..probesim(vec![]) };
    let (pod, _) = run(container, s(100));
    assert_eq!(pod.stats().containers[0].probe(ProbeKind::Startup).successful, 1);
    let program = Program { shutdown_delay: s(10), ..program(vec![always(BROKEN)]) };
    let container = ContainerSpec { startup: startup(1, 3), ..ContainerSpec::probesim("app", program) };
    let (pod, events) = run(container, s(12));
    assert_eq!(pod.stats().containers[0].probe(ProbeKind::Startup).failed, 3);
    assert_eq!(kills(&events), [3.0]);
}

#[test]
fn below_the_threshold_a_result_changes_nothing() {
    // Two of every three fail.
    let rules = vec![rule("flaps", requests(0, Some(2), Some(3)), None, Some(BROKEN))];
    let container = ContainerSpec { liveness: liveness(1, 3), readiness: readiness(1, 3), ..probesim(rules) };
    let (pod, events) = run(container, s(600));
    assert_eq!(kills(&events), Vec::<f64>::new());
    assert_eq!(pod.stats().outages, 0);
    assert!(failures(&events, ProbeKind::Liveness).len() > 300);
}

#[test]
fn at_the_threshold_the_state_flips_both_ways() {
    let rules = vec![rule("window", window(s(19), Some(s(20))), None, Some(BROKEN))];
    let probe = ProbeSpec { success_threshold: 2, ..probe(Target::Readiness, 5, 3) };
    let timing = Timing { syncs_after_start: [ms(5), ms(6), ms(7)], ..exact() };
    let container = ContainerSpec { readiness: Some(probe), ..probesim(rules) };
    let (_, events) = run_with(PodSpec { timing, ..spec(container) }, 1, s(60));
    let flips: Vec<(f64, bool)> = pod_ready(&events);
    // Attempts at 1.005 and 1.006 s, then every 5 s. Failures at 21.006, 26.006, 31.006, and an extra one when that flips.
    assert_eq!(flips.len(), 3, "{flips:?}");
    assert_eq!(flips[0], (1.006, true));
    assert_eq!(flips[1], (31.006, false));
    assert_eq!(flips[2], (46.006, true), "the first success is at 41.006");
}

#[test]
fn each_failure_leaves_an_unhealthy_event_of_which_25_are_shown_and_then_one_per_5_minutes() {
    let container = ContainerSpec { readiness: readiness(2, 3), ..probesim(vec![always(BROKEN)]) };
    let (_, events) = run(container, s(1800));
    let unhealthy: Vec<_> = events.iter().filter(|event| event.kind.reason() == Some("Unhealthy")).collect();
    assert!(unhealthy.len() > 800);
    let shown: Vec<u64> =
        unhealthy.iter().filter(|event| event.recorded).map(|event| event.at.as_secs()).collect();
    // Three of the 25 went to the start of the container.
    assert!(shown[..22].iter().all(|at| *at < 50), "{shown:?}");
    assert_eq!(shown.len(), 22 + 5, "one more per 5 minutes: {shown:?}");
}

#[test]
fn after_a_liveness_failure_the_worker_is_on_hold_until_a_new_container() {
    let program = Program { shutdown_delay: s(20), ..program(vec![always(BROKEN)]) };
    let container = ContainerSpec { liveness: liveness(2, 3), ..ContainerSpec::probesim("app", program) };
    let (_, events) = run(container, s(34));
    assert_eq!(failures(&events, ProbeKind::Liveness), [2.0, 4.0, 6.0, 26.0, 28.0, 30.0]);
    assert_eq!(kills(&events), [6.0, 30.0]);
}

#[test]
fn a_started_container_that_is_not_ready_is_asked_at_every_sync_which_restarts_the_period() {
    let container = ContainerSpec { readiness: readiness(10, 99), ..probesim(vec![always(BROKEN)]) };
    let (_, events) = run(container, s(45));
    assert_eq!(
        failures(&events, ProbeKind::Readiness),
        [1.005, 1.256, 1.405, 11.405, 21.405, 31.405, 41.405],
        "5 ms, 256 ms and 405 ms after the start, then by the period"
    );
    let (_, events) = run(ContainerSpec { readiness: readiness(10, 3), ..probesim(vec![]) }, s(5));
    assert_eq!(pod_ready(&events), [(1.005, true)]);
}

#[test]
fn a_pod_is_synced_every_60_to_90_s() {
    let container = ContainerSpec { readiness: readiness(600, 99), ..probesim(vec![always(BROKEN)]) };
    let (_, events) = run(container, s(590));
    let attempts = failures(&events, ProbeKind::Readiness);
    assert!(attempts.len() >= 3 + 6, "{attempts:?}");
    for pair in attempts[2..].windows(2) {
        assert!((60.0..=90.0).contains(&(pair[1] - pair[0])), "{attempts:?}");
    }
}

#[test]
fn losing_readiness_asks_again_at_once() {
    let rules = vec![rule("two", requests(1, Some(2), None), None, Some(BROKEN))];
    let (_, events) = run(ContainerSpec { readiness: readiness(10, 2), ..probesim(rules) }, s(50));
    // Ready at 1.005; the two failures come with the ticks at 11.005 and 21.005, and the sync after the second mends it.
    let flips = pod_ready(&events);
    assert_eq!(flips, [(1.005, true), (21.005, false), (21.005, true)]);
}

#[test]
fn a_run_of_results_is_not_reset_by_a_new_container() {
    // The container ends by itself after two of the three failures; the third comes after its restart.
    let ends = Some(kube_probesim::kubelet::ContainerEnd { after: s(5), code: 1, out_of_memory: false });
    let container = ContainerSpec { ends, liveness: liveness(2, 3), ..probesim(vec![always(BROKEN)]) };
    let (_, events) = run(container, s(9));
    assert_eq!(starts(&events), [1.0, 6.0]);
    assert_eq!(failures(&events, ProbeKind::Liveness), [2.0, 4.0, 6.0]);
    assert_eq!(kills(&events), [6.0]);
}

#[test]
fn after_a_hold_consecutive_results_count_from_zero() {
    let container = ContainerSpec { liveness: liveness(2, 3), ..probesim(vec![always(BROKEN)]) };
    let (_, events) = run(container, s(13));
    assert_eq!(kills(&events), [6.0, 12.0], "never fewer than three failures for a kill");
}

#[test]
fn requests_count_from_one_after_a_restart() {
    // Each process fails from its fourth request on.
    let rules = vec![rule("wears-out", requests(3, None, None), None, Some(BROKEN))];
    let container = ContainerSpec { liveness: liveness(2, 1), ..probesim(rules) };
    let (_, events) = run(container, s(20));
    assert_eq!(kills(&events), [8.0, 16.0]);
}

#[test]
fn a_simulation_repeats_with_its_seed_and_differs_with_another() {
    let rules = || vec![always(BROKEN)];
    let pod = || PodSpec::new(vec![ContainerSpec { liveness: liveness(2, 3), ..probesim(rules()) }]);
    let (_, first) = run_with(pod(), 7, s(3600));
    assert_eq!(first, run_with(pod(), 7, s(3600)).1);
    assert_ne!(first, run_with(pod(), 8, s(3600)).1);
}

#[test]
fn a_simulation_in_steps_equals_one_without_steps() {
    let pod = || spec(ContainerSpec { liveness: liveness(2, 3), ..probesim(vec![always(BROKEN)]) });
    let (whole, expected) = run_with(pod(), 3, s(600));
    let mut stepped = Pod::new(pod(), Draws::of(Seed(3), "kubelet"));
    let mut events = Vec::new();
    for second in 1..=600 {
        stepped.run(s(second), &mut |event| events.push(event));
    }
    assert_eq!(events, expected);
    assert_eq!(stepped.stats(), whole.stats());
}

#[test]
fn probes_of_other_programs_are_assumed_to_succeed() {
    let probe = Some(ProbeSpec::new(ProbeHandler::Healthy));
    let container =
        ContainerSpec { liveness: probe.clone(), readiness: probe, ..ContainerSpec::new("other") };
    let (pod, events) = run(container, s(100));
    assert!(pod.is_ready() && kills(&events).is_empty());
    assert!(times(&events, |what| matches!(what, PodEventKind::Unhealthy { .. })).is_empty());
}
