//! Process rules.

use kube_probesim::predict::ContainerFacts;

use super::*;

fn with(plan: &str) -> Workload {
    workload(Kind::StatefulSet, 1, &[("FAULTS", plan), ("POD_NAME", "app-0"), ("SEED", "1")])
}

/// The events of the Pod as text, with their times.
fn told(workload: &Workload, horizon: u64) -> Vec<(Duration, String)> {
    let (_, seen) = observed(workload, &for_time(s(horizon)));
    let told = |it: Observation| match it {
        Observation::Pod { event, .. } => {
            Some((event.at, event.message(&workload.pod.containers[event.container])))
        }
        _ => None,
    };
    seen.into_iter().filter_map(told).collect()
}

fn at(told: &[(Duration, String)], part: &str) -> u64 {
    told.iter()
        .find(|(_, text)| text.contains(part))
        .unwrap_or_else(|| panic!("no {part}: {told:#?}"))
        .0
        .as_secs()
}

fn restarts(workload: &Workload) -> u64 {
    predicted(workload, &for_time(s(600))).pods[0].restarts()
}

#[test]
fn a_rule_ends_the_process_with_its_code_and_back_off_follows() {
    let messages_of =
        told(&with("faults: [{name: crash, target: process, mode: exit, code: 3, when: {after: 10s}}]"), 120);
    assert_eq!(at(&messages_of, "exited with code 3"), 10);
    assert!(messages_of.iter().any(|(_, text)| text.contains("Back-off restarting")));
    let abort = told(&with("faults: [{name: crash, target: process, mode: abort, when: {after: 10s}}]"), 30);
    assert_eq!(at(&abort, "exited with code 134"), 10);
}

#[test]
fn memory_is_killed_where_it_exceeds_the_limit_within_its_ramp() {
    let rule = |size: &str| {
        format!(
            "faults: [{{name: leak, target: process, mode: memory, size: {size}, ramp: 100s, when: {{after: 20s}}}}]"
        )
    };
    let limited = |size: &str| {
        let mut workload = with(&rule(size));
        workload.facts = vec![ContainerFacts { memory_limit: Some(100 << 20), ..ContainerFacts::default() }];
        workload
    };
    let messages_of = told(&limited("200MiB"), 120);
    assert_eq!((at(&messages_of, "OOMKilled"), at(&messages_of, "exited with code 137")), (70, 70));
    assert_eq!(restarts(&limited("90%")), 0, "it fits");
    assert_eq!(restarts(&with(&rule("200MiB"))), 0, "no limit of its own");
}

#[test]
fn sigterm_is_ignored_until_sigkill_or_put_off() {
    let fault = "{name: dead, target: liveness, mode: status, when: {after: 60s}}";
    let took = |rule: &str| {
        let told = told(&with(&format!("faults: [{fault}, {rule}]")), 300);
        (at(&told, "exited with code") - at(&told, "failed liveness probe"), told)
    };
    let (slow, messages_of) = took("{name: term, target: process, mode: slow-term, delay: 12s}");
    assert_eq!(slow, 12);
    assert!(messages_of.iter().any(|(_, text)| text.ends_with("exited with code 0")));
    let (deaf, messages_of) = took("{name: term, target: process, mode: ignore-term}");
    assert_eq!(deaf, 30);
    assert!(messages_of.iter().any(|(_, text)| text.ends_with("exited with code 137")));
    let (window, _) = took("{name: term, target: process, mode: ignore-term, when: {for: 95s}}");
    assert!((1..30).contains(&window), "it ends with the window: {window}");
}
