//! Lifecycle hooks, whose duration comes from a manifest or a profile.

use kube_probesim::predict::budget::{Amount, budgets, find};
use kube_probesim::predict::manifest::{Input, read};
use kube_probesim::predict::profile::ProfileSet;
use kube_probesim::predict::report::{Output, View, predict};

use super::*;

const LIFECYCLE: &str =
    "lifecycle: {postStart: {exec: {command: [migrate]}}, preStop: {httpGet: {path: /drain, port: 80}}}";

/// A Pod of another image with this lifecycle, and a profile for it.
fn with(lifecycle: &str, profile: &str) -> Workload {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  containers:\n  - name: web\n    image: example/web:1\n    \
         {lifecycle}\n    livenessProbe: {{httpGet: {{path: /, port: 80}}, failureThreshold: 2}}\n    \
         readinessProbe: {{httpGet: {{path: /, port: 80}}}}\n  - {{name: side, image: 'example/side:1'}}\n"
    );
    let mut workload = read(&[Input { name: "web.yaml".to_owned(), text }])
        .unwrap_or_else(|errors| panic!("{errors}"))
        .workloads
        .remove(0);
    let mut set = ProfileSet::default();
    set.add("web", profile).unwrap_or_else(|errors| panic!("{errors:?}"));
    set.apply(&mut workload).unwrap();
    workload
}

/// The events of the Pod as text with the container's name, with their times.
fn told(workload: &Workload) -> Vec<(Duration, String)> {
    let (_, seen) = observed(workload, &for_time(s(120)));
    let told = |it: Observation| match it {
        Observation::Pod { event, .. } => {
            let container = &workload.pod.containers[event.container];
            Some((event.at, format!("{}: {}", container.name, event.message(container))))
        }
        _ => None,
    };
    seen.into_iter().filter_map(told).collect()
}

fn at(told: &[(Duration, String)], part: &str) -> Duration {
    told.iter().find(|(_, text)| text.contains(part)).unwrap_or_else(|| panic!("no {part}: {told:#?}")).0
}

#[test]
fn probes_and_the_next_container_wait_for_post_start() {
    let without = told(&with("", "{}"));
    assert!(at(&without, "Pod is ready") < s(2), "{without:#?}");
    assert!(at(&without, "side: Container started") < s(2), "{without:#?}");
    let told = told(&with(LIFECYCLE, "{post_start: 25s}"));
    let start = at(&told, "web: Container started");
    for later in ["side: Container started", "Pod is ready"] {
        let waited = at(&told, later).saturating_sub(start);
        assert!(waited >= s(25) && waited < s(27), "{later} after {waited:?}");
    }
}

#[test]
fn a_container_without_probes_is_ready_once_its_post_start_has_ended() {
    let mut workload = with("lifecycle: {postStart: {sleep: {seconds: 7}}}", "{}");
    (workload.pod.containers[0].liveness, workload.pod.containers[0].readiness) = (None, None);
    let told = told(&workload);
    let waited = at(&told, "Pod is ready").saturating_sub(at(&told, "web: Container started"));
    assert!(waited >= s(7) && waited < s(8), "{waited:?}");
}

#[test]
fn the_start_that_liveness_allows_grows_by_a_post_start_longer_than_the_initial_delay() {
    let start = |lifecycle: &str, profile: &str| {
        let budget = budgets(&with(lifecycle, profile), s(0));
        let budget = find(&budget, 0, "start").unwrap();
        (budget.least, budget.most)
    };
    assert_eq!(start("", "{}"), (Amount::Time(s(10)), Amount::Time(s(20))));
    assert_eq!(start(LIFECYCLE, "{post_start: 25s}"), (Amount::Time(s(35)), Amount::Time(s(45))));
    let restarts = |ready_after: u64| {
        let workload = with(LIFECYCLE, &format!("{{post_start: 25s, ready_after: {ready_after}s}}"));
        predicted(&workload, &for_time(s(600))).pods[0].restarts()
    };
    assert_eq!(restarts(34), 0);
    assert!(restarts(46) > 2);
}

#[test]
fn a_profile_says_how_long_pre_stop_takes() {
    let failing = |more: &str| {
        with(
            LIFECYCLE,
            &format!("{{{more} faults: [{{target: liveness, mode: status, when: {{after: 30s}}}}]}}"),
        )
    };
    let took = |workload: &Workload| {
        let told = told(workload);
        at(&told, "web: Container web exited").saturating_sub(at(&told, "will be restarted"))
    };
    assert_eq!(took(&failing("")), s(0));
    assert_eq!(took(&failing("pre_stop: 6s,")), s(6));
}

#[test]
fn hooks_of_unknown_time_are_named() {
    let report = |profile: &str| {
        let workload = with(LIFECYCLE, profile);
        let options = for_time(s(60));
        let mut out = Vec::new();
        let view = View { output: Output::Text, ..View::default() };
        predict(&workload, &Replicas::new(&workload, &options), &options, &view, &mut out).unwrap();
        String::from_utf8(out).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let unknown = report("{}");
    assert!(unknown.contains("Container web: postStart is assumed to succeed at once"), "{unknown}");
    assert!(unknown.contains("Container web: preStop is assumed to succeed at once"), "{unknown}");
    let known = report("{post_start: 1s, pre_stop: 2s}");
    assert!(!known.contains("is assumed to succeed at once"), "{known}");
}
