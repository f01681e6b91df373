//! Properties of every plan and Pod.

use kube_probesim::fault::{Mode, Partial, Rate, Target, Trigger};
use kube_probesim::kubelet::{ContainerSpec, PodEventKind, PodSpec, ProbeKind, ProbeSpec};
use proptest::prelude::*;

use super::*;

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        Just(Mode::Status(500)),
        Just(Mode::Status(302)),
        Just(Mode::Hang),
        Just(Mode::Close),
        Just(Mode::BodyHang(Partial { status: Some(200), body: 16 })),
        Just(Mode::Truncate(Partial { status: Some(500), body: 16 })),
        (1..3000_u64)
            .prop_map(|over| Mode::Drip { partial: Partial { status: Some(200), body: 16 }, over: ms(over) }),
    ]
}

prop_compose! {
    fn flapping()(mode in mode(), percent in 1.0..100.0_f64, after in 0..60_u64, delay in 0..2000_u64) -> Rule {
        let rate = Rate::from_percent(percent).unwrap();
        let trigger = Trigger { rate, ..window(s(after), None) };
        rule("flaps", trigger, (delay > 0).then(|| ms(delay)), Some(mode))
    }
}

prop_compose! {
    fn probes()(period in 1..12_u32, timeout in 1..4_u32, failures in 1..5_u32, initial in 0..8_u32) -> ProbeSpec {
        ProbeSpec { timeout, initial_delay: initial, ..probe(Target::Liveness, period, failures) }
    }
}

prop_compose! {
    fn pods()(
        rule in flapping(), liveness in probes(), readiness in probes(), successes in 1..4_u32,
        startup in proptest::option::of(probes()), stops in proptest::option::of(0..40_u64), seed: u64
    ) -> (PodSpec, u64) {
        let aim = |probe: ProbeSpec, target| ProbeSpec { handler: http(target), ..probe };
        let container = ContainerSpec {
            stops_after: stops.map(s),
            liveness: Some(liveness),
            readiness: Some(ProbeSpec { success_threshold: successes, ..aim(readiness, Target::Readiness) }),
            startup: startup.map(|probe| aim(probe, Target::Startup)),
            ..probesim(vec![rule])
        };
        (PodSpec::new(vec![container]), seed)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_kill_follows_as_many_consecutive_failures_as_its_threshold((pod, seed) in pods()) {
        let threshold = |kind| pod.containers[0].probe(kind).map_or(0, |probe| probe.failure_threshold);
        let thresholds = ProbeKind::ALL.map(threshold);
        let (_, events) = run_with(pod, seed, s(1200));
        let mut failed = [0; ProbeKind::COUNT];
        for event in events {
            match event.kind {
                PodEventKind::Unhealthy { probe, error: false, .. } => failed[probe as usize] += 1,
                PodEventKind::Killing { probe: Some(probe), .. } => {
                    prop_assert!(probe != ProbeKind::Readiness);
                    prop_assert!(failed[probe as usize] >= thresholds[probe as usize], "{:?}", event);
                    failed[probe as usize] = 0;
                }
                _ => {}
            }
        }
    }

    #[test]
    fn time_never_runs_backwards_and_flips_alternate((pod, seed) in pods()) {
        let (pod, events) = run_with(pod, seed, s(1200));
        prop_assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at));
        let flips: Vec<bool> = pod_ready(&events).iter().map(|flip| flip.1).collect();
        prop_assert!(flips.iter().enumerate().all(|(i, ready)| *ready == (i % 2 == 0)), "{:?}", flips);
        prop_assert_eq!(pod.now(), s(1200));
    }

    #[test]
    fn the_statistics_are_the_sums_of_the_events((pod, seed) in pods()) {
        let (pod, events) = run_with(pod, seed, s(1200));
        let stats = pod.stats();
        let container = &stats.containers[0];
        prop_assert_eq!(container.restarts as usize + 1, starts(&events).len());
        prop_assert_eq!(container.kills as usize, kills(&events).len());
        for kind in ProbeKind::ALL {
            prop_assert_eq!(container.probe(kind).failed as usize, failures(&events, kind).len());
        }
        let (mut unready, mut longest, mut since, mut was_ready) = (0.0, 0.0_f64, 0.0, false);
        for (at, ready) in pod_ready(&events).into_iter().chain([(1200.0, !pod.is_ready())]) {
            if ready {
                unready += at - since;
                longest = longest.max(if was_ready { at - since } else { 0.0 });
            }
            since = at;
            was_ready |= ready;
        }
        prop_assert!((stats.unready.as_secs_f64() - unready).abs() < 1e-3, "{} {}", stats.unready.as_secs_f64(), unready);
        prop_assert!((stats.longest_outage.as_secs_f64() - longest).abs() < 1e-3);
    }
}
