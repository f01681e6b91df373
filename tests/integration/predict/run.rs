//! Names, seeds, and the fate of Pods.

use std::collections::HashSet;

use kube_probesim::env::effective_seed;
use kube_probesim::kubelet::PodEventKind;
use kube_probesim::predict::fail_on::Condition;
use kube_probesim::predict::rollout::{Milestone, Progress};
use kube_probesim::predict::run::MAX_PODS;
use kube_probesim::predict::service::Service;
use kube_probesim::predict::summary::Spread;
use proptest::prelude::*;

use super::*;

fn names(workload: &Workload, options: &Options) -> Vec<String> {
    Replicas::new(workload, options).pods.into_iter().map(|pod| pod.name).collect()
}

#[test]
fn pods_have_the_names_that_their_controllers_give() {
    let options = Options::default();
    let of = |kind| names(&workload(kind, 3, &[]), &options);
    assert_eq!(of(Kind::StatefulSet), ["app-0", "app-1", "app-2"]);
    assert_eq!(names(&workload(Kind::Pod, 1, &[]), &options), ["app"]);
    let alphabet = |text: &str| text.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c));
    for kind in [Kind::DaemonSet, Kind::Job] {
        for name in of(kind) {
            let drawn = name.strip_prefix("app-").unwrap();
            assert!(drawn.len() == 5 && alphabet(drawn), "{name}");
        }
    }
    let deployment = of(Kind::Deployment);
    let hashes: HashSet<&str> = deployment.iter().map(|name| name.split('-').nth(1).unwrap()).collect();
    assert_eq!(hashes.len(), 1, "the Pods share a template: {deployment:?}");
    for name in &deployment {
        let parts: Vec<&str> = name.split('-').collect();
        assert!(parts.len() == 3 && parts[1..].iter().all(|part| alphabet(part)), "{name}");
        assert!((1..=10).contains(&parts[1].len()) && parts[2].len() == 5, "{name}");
    }
}

#[test]
fn drawn_names_differ_repeat_by_seed_and_stay_within_63_characters() {
    let mut large = workload(Kind::Deployment, 1_000, &[]);
    let (one, two) =
        (Options { seed: Some(1), ..Options::default() }, Options { seed: Some(2), ..Options::default() });
    let first = names(&large, &one);
    assert_eq!(first, names(&large, &one));
    assert_ne!(first, names(&large, &two));
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), 1_000);
    large.replicas = u32::MAX;
    assert_eq!(Replicas::new(&large, &one).pods.len(), MAX_PODS as usize);
    large.replicas = 1_000;
    large.name = "a".repeat(60);
    let long = names(&large, &one);
    assert!(long.iter().all(|name| name.len() == 63));
    assert_eq!(long.iter().collect::<HashSet<_>>().len(), 1_000);
}

#[test]
fn seeds_are_those_of_the_service() {
    let options = Options::default();
    let mut set = workload(Kind::StatefulSet, 2, &[("SEED", "42")]);
    let seeds = |workload: &Workload, options: &Options| -> Vec<Seed> {
        Replicas::new(workload, options).pods.iter().map(|pod| pod.seeds[0]).collect()
    };
    assert_eq!(seeds(&set, &options), ["app-0", "app-1"].map(|name| Seed(42).for_pod(name)));
    let replicas = Replicas::new(&set, &options);
    assert!(!replicas.sample);
    let program = replicas.pods[1].pod.containers[0].program.as_ref().unwrap();
    assert_eq!(program.plan.seed(), Seed(42).for_pod("app-1"), "the plan has it");

    set.probesim[0].pod_name = PodName::Unset;
    assert_eq!(seeds(&set, &options), [Seed(42), Seed(42)]);
    set.probesim[0].pod_name = PodName::Fixed("twin".into());
    assert_eq!(seeds(&set, &options), [Seed(42).for_pod("twin"); 2]);
    let fleet = workload(Kind::StatefulSet, 2, &[("SEED", "42"), ("SEED_SCOPE", "fleet")]);
    assert_eq!(seeds(&fleet, &options), [Seed(42), Seed(42)]);

    let mut drawn = workload(Kind::StatefulSet, 2, &[("SEED", "")]);
    assert_eq!(drawn.probesim[0].config.seed.seed, None);
    drawn.probesim[0].pod_name = PodName::Unset;
    let replicas = Replicas::new(&drawn, &options);
    assert!(replicas.sample && replicas.seeds_drawn);
    assert_ne!(replicas.pods[0].seeds, replicas.pods[1].seeds);
    assert_eq!(seeds(&drawn, &options), seeds(&drawn, &options));
    assert_ne!(seeds(&drawn, &options), seeds(&drawn, &Options { seed: Some(9), ..options.clone() }));
    let choice = drawn.probesim[0].config.seed;
    assert_eq!(effective_seed(choice, None, || 7), Seed(7), "nothing is mixed in");
}

#[test]
fn a_deployment_and_a_bare_draw_are_samples() {
    let sample = |kind| Replicas::new(&workload(kind, 1, &[("SEED", "1")]), &Options::default()).sample;
    assert!(sample(Kind::Deployment) && sample(Kind::DaemonSet) && sample(Kind::Job));
    assert!(!sample(Kind::StatefulSet) && !sample(Kind::Pod));
}

#[test]
fn a_prediction_repeats_and_its_first_hours_do_not_depend_on_the_next() {
    let flaky = workload(Kind::Deployment, 5, &[("FAILURE_RATE", "40")]);
    let (first, events) = observed(&flaky, &for_time(s(3600)));
    assert!(events.len() > 100);
    assert_eq!((first, events.clone()), observed(&flaky, &for_time(s(3600))));
    let (_, longer) = observed(&flaky, &for_time(s(5000)));
    assert_eq!(longer[..events.len()], events);
}

#[test]
fn events_of_all_pods_come_in_the_order_of_time() {
    let (_, events) =
        observed(&workload(Kind::StatefulSet, 4, &[("FAILURE_RATE", "50")]), &for_time(s(2000)));
    let times: Vec<Duration> = events
        .iter()
        .filter_map(|seen| match seen {
            Observation::Pod { event, .. } => Some(event.at),
            _ => None,
        })
        .collect();
    assert!(times.len() > 50 && times.is_sorted());
}

#[test]
fn a_pod_that_always_fails_liveness_gives_the_trace_seen_on_a_cluster() {
    let mut failing = workload(Kind::Pod, 1, &[("LIVENESS_FAILURE_RATE", "100")]);
    *liveness(&mut failing) = ProbeSpec { grace: Some(1), ..probe(Target::Liveness, 2, 3) };
    let starts = |events: &[Observation]| -> Vec<f64> {
        let start = |seen: &Observation| match seen {
            Observation::Pod { event, .. } if matches!(event.kind, PodEventKind::Started { .. }) => {
                Some(event.at.as_secs_f64())
            }
            _ => None,
        };
        events.iter().filter_map(start).collect()
    };
    // Some random choice of the node gives the trace, in whole seconds.
    let seen = [0.0, 6.0, 12.0, 32.0, 38.0, 101.0, 187.0];
    let comes_out = |seed: &u64| {
        let starts = starts(&observed(&failing, &Options { seed: Some(*seed), ..for_time(s(189)) }).1);
        starts.len() >= seen.len()
            && starts.iter().zip(seen).all(|(at, seen)| (at - starts[0] - seen).abs() < 1.0)
    };
    let found = (0..20_000).find(comes_out);
    assert!(found.is_some(), "no seed gives the trace");
    let (prediction, events) = observed(&failing, &Options { seed: found, ..for_time(s(200)) });
    let starts = starts(&events);
    let pod = &prediction.pods[0];
    assert_eq!(pod.restarts(), starts.len() as u64 - 1);
    assert!(pod.back_off() > s(30), "{:?}", pod.back_off());
    let reaction = pod.reaction.unwrap();
    assert!(reaction > s(3) && reaction <= s(7), "{reaction:?}");
}

#[test]
fn the_reaction_is_measured_from_the_opening_of_the_window() {
    let failing = workload(Kind::StatefulSet, 20, &[("READINESS_FAIL_AFTER_TIME", "300")]);
    for pod in predicted(&failing, &for_time(s(600))).pods {
        // Threshold 3, period 10.
        let reaction = pod.reaction.unwrap();
        assert!(reaction > s(19) && reaction <= s(31), "{reaction:?}");
    }
    let healthy = predicted(&workload(Kind::Pod, 1, &[]), &for_time(s(600)));
    assert_eq!(healthy.pods[0].reaction, None);
    assert!(healthy.pods[0].availability() >= 1.0);
}

#[test]
fn calls_fail_without_endpoints_and_at_dead_ones_within_the_lag() {
    let up = |service: &mut Service, at, pod| {
        service.set_accepts(at, pod, true);
        service.set_ready(at, pod, true);
    };
    // Both ready from 10 on; pod 0 dies at 20 and is back at 40; pod 1 is not Ready from 30 to 50, but accepts.
    let mut service = Service::new(2, s(4));
    up(&mut service, s(10), 0);
    up(&mut service, s(10), 1);
    service.set_dead(s(20), 0);
    service.set_ready(s(20), 0, false);
    service.set_ready(s(30), 1, false);
    up(&mut service, s(40), 0);
    service.set_ready(s(50), 1, true);
    let seen = service.finish(s(110));
    assert_eq!(seen.since, Some(s(10)));
    assert!((seen.no_endpoint - 10.0 / 100.0).abs() < 1e-12, "30 to 40: {seen:?}");
    // 4 s in which half of the calls go to pod 0, then 6 s from 34 to 40 without any listed.
    assert!((seen.failed_calls - (4.0 * 0.5 + 6.0) / 100.0).abs() < 1e-12, "{seen:?}");
}

#[test]
fn a_flip_within_the_lag_leaves_the_endpoint_listed_and_a_process_that_ended_takes_its_plans_along() {
    let mut service = Service::new(1, s(10));
    service.set_accepts(s(0), 0, true);
    service.set_ready(s(0), 0, true);
    service.set_ready(s(5), 0, false);
    service.set_ready(s(8), 0, true);
    // It would accept from 30 on, but is gone before.
    service.set_dead(s(20), 0);
    service.set_accepts(s(30), 0, true);
    service.set_dead(s(25), 0);
    let seen = service.finish(s(40));
    assert!((seen.no_endpoint - 3.0 / 40.0).abs() < 1e-12, "{seen:?}");
    assert!((seen.failed_calls - 20.0 / 40.0).abs() < 1e-12, "{seen:?}");
}

#[test]
fn without_any_endpoint_all_calls_fail() {
    let seen = Service::new(3, s(1)).finish(s(10));
    assert_eq!((seen.since, seen.no_endpoint, seen.failed_calls), (None, 1.0, 1.0));
}

proptest! {
    #[test]
    fn the_time_without_endpoints_is_the_sum_of_the_seconds_without(flips in prop::collection::vec((0..3_usize, 1..5_u64), 1..60)) {
        let mut service = Service::new(3, s(0));
        for pod in 0..3 {
            service.set_accepts(s(0), pod, true);
        }
        service.set_ready(s(0), 0, true);
        let mut ready = [true, false, false];
        let (mut now, mut none) = (0, 0);
        for (pod, wait) in flips {
            if !ready.contains(&true) {
                none += wait;
            }
            now += wait;
            ready[pod] = !ready[pod];
            service.set_ready(s(now), pod, ready[pod]);
        }
        let seen = service.finish(s(now));
        let expected = none as f64 / now as f64;
        prop_assert!((seen.no_endpoint - expected).abs() < 1e-9);
        // Without a lag and with processes that live, nothing else makes a call fail.
        prop_assert!((seen.failed_calls - expected).abs() < 1e-9);
    }
}

#[test]
fn a_pod_is_available_only_after_it_was_ready_for_min_ready_seconds() {
    let rollout = Rollout { min_ready: s(30), progress_deadline: s(100) };
    let mut progress = Progress::new(rollout, 2);
    let mut seen = Vec::new();
    progress.set_ready(s(10), 0, true, &mut |what| seen.push(what));
    progress.set_ready(s(20), 1, true, &mut |what| seen.push(what));
    progress.set_ready(s(45), 1, false, &mut |what| seen.push(what));
    progress.set_ready(s(60), 1, true, &mut |what| seen.push(what));
    progress.advance(s(500), &mut |what| seen.push(what));
    assert_eq!(seen, [Milestone::Complete { at: s(90) }]);
}

#[test]
fn a_rollout_stalls_when_nothing_progresses_for_the_deadline() {
    let rollout = Rollout { min_ready: s(0), progress_deadline: s(100) };
    let mut progress = Progress::new(rollout, 2);
    let mut seen = Vec::new();
    progress.set_ready(s(90), 0, true, &mut |what| seen.push(what));
    progress.advance(s(190), &mut |what| seen.push(what));
    assert_eq!(seen, [], "the first Pod was progress");
    progress.advance(s(191), &mut |what| seen.push(what));
    progress.set_ready(s(300), 1, true, &mut |what| seen.push(what));
    let stalled = Milestone::Stalled { at: s(190), available: 1 };
    assert_eq!(seen, [stalled, Milestone::Complete { at: s(300) }]);
}

#[test]
fn a_deployment_that_is_never_ready_stalls() {
    let never = workload(Kind::Deployment, 2, &[("READINESS_FAILURE_RATE", "100")]);
    let (prediction, events) = observed(&never, &for_time(s(3600)));
    assert_eq!(prediction.rollout.unwrap().stalled, Some(s(600)));
    let stalls = events.iter().filter(|seen| matches!(seen, Observation::Rollout(_))).count();
    assert_eq!(stalls, 1);
    assert_eq!(prediction.service.since, None);
    let healthy = predicted(&workload(Kind::Deployment, 2, &[]), &for_time(s(3600))).rollout.unwrap();
    assert!(healthy.stalled.is_none() && healthy.complete.unwrap() < s(20));
}

#[test]
fn a_pod_that_is_never_ready_is_an_outage_from_end_to_end() {
    let never = workload(Kind::Pod, 1, &[("READINESS_FAILURE_RATE", "100")]);
    let pods = predicted(&never, &for_time(s(600))).pods;
    assert_eq!((pods[0].longest_outage(), pods[0].availability()), (s(600), 0.0));
    for text in ["outage > 1m", "availability < 0.1%", "unready >= 10m"] {
        assert!(text.parse::<Condition>().unwrap().check(&pods, &[]).is_some(), "{text}");
    }
}

#[test]
fn percentiles_are_of_the_nearest_rank() {
    let spread = Spread::of((1..=100).rev().collect()).unwrap();
    assert_eq!((spread.p50, spread.p95, spread.worst), (50, 95, 100));
    assert_eq!(Spread::of(vec![7]), Some(Spread { p50: 7, p95: 7, worst: 7 }));
    assert_eq!(Spread::<u64>::of(Vec::new()), None);
}

#[test]
fn conditions_take_each_figure_with_its_unit_and_say_what_is_wrong() {
    for text in [
        "restarts > 0",
        "unready>=30s",
        " outage < 1m30s ",
        "backoff <= 5m",
        "availability < 99.9%",
        "unready > 30",
        "availability < 99.9",
    ] {
        assert!(text.parse::<Condition>().is_ok(), "{text}");
    }
    for (text, part) in [
        ("restarts", "such as 'restarts > 0'"),
        ("crashes > 0", "is not one of restarts, unready"),
        ("restarts > some", "not a whole number"),
        ("restarts > -1", "not a whole number"),
        ("unready > 30x", "a bare number is in s"),
        ("availability < 0.9", "write 0.9% or 90%"),
        ("availability < 101%", "between 0% and 100%"),
        ("restarts == 0", "such as 'restarts > 0'"),
    ] {
        let error = text.parse::<Condition>().unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_condition_holds_if_it_does_for_one_pod_and_names_the_worst() {
    // Some are removed, depending on their draws.
    let flaky = workload(Kind::StatefulSet, 40, &[("READINESS_FAILURE_RATE", "20")]);
    let pods = predicted(&flaky, &for_time(s(600))).pods;
    let worst = pods.iter().max_by_key(|pod| pod.stats.longest_outage).unwrap();
    assert!(worst.stats.outages > 0 && pods.iter().any(|pod| pod.stats.outages == 0), "the test has both");
    let check = |text: &str| text.parse::<Condition>().unwrap().check(&pods, &[]);
    let reason = check("outage > 0s").unwrap();
    assert!(reason.contains(&worst.name), "{reason}");
    assert!(reason.contains("of 40 Pods"), "{reason}");
    assert!(check("availability < 99.9%").is_some());
    assert_eq!(check("outage > 10m"), None);
    assert_eq!(check("restarts > 0"), None);
    assert!(check("restarts <= 0").is_some(), "the other way round");
    assert_eq!(check("availability < 0%"), None);
}
