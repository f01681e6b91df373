//! When advice is given, and when not.

use kube_probesim::predict::advice::advice;

use super::*;

fn codes(workload: &Workload) -> Vec<&'static str> {
    advice(workload, None, s(1)).into_iter().map(|advice| advice.code).collect()
}

/// The only text with this code.
fn text(workload: &Workload, code: &str) -> String {
    let mut found: Vec<String> = advice(workload, None, s(1))
        .into_iter()
        .filter(|advice| advice.code == code)
        .map(|advice| advice.text)
        .collect();
    assert_eq!(found.len(), 1, "{code}: {:?}", codes(workload));
    found.remove(0)
}

/// A Pod whose probes give no reason for advice: liveness is slower than readiness.
fn sound(env: &[(&str, &str)]) -> Workload {
    let mut workload = workload(Kind::Pod, 1, env);
    liveness(&mut workload).failure_threshold = 6;
    workload
}

#[test]
fn a_sound_manifest_gets_no_advice() {
    assert_eq!(codes(&sound(&[])), [""; 0]);
    assert_eq!(codes(&sound(&[("FAILURE_RATE", "20")])), [""; 0]);
}

#[test]
fn advice_on_a_short_timeout_names_timeout_and_latency() {
    let slow = sound(&[
        ("READINESS_LATENCY_P50", "100"),
        ("READINESS_LATENCY_P90", "300"),
        ("READINESS_LATENCY_P99", "2500"),
    ]);
    let told = text(&slow, "timeout-below-p99");
    for part in ["readiness probe", "2.5s", "3 or more", "at least one of 100"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let always = sound(&[("READINESS_LATENCY", "1500")]);
    assert!(text(&always, "timeout-below-p99").contains("nearly every"));
    assert_eq!(codes(&sound(&[("LATENCY", "900")])), [""; 0]);
}

#[test]
fn latencies_of_several_rules_add_up_and_rare_ones_do_not_count() {
    let two =
        "faults: [{name: a, target: [liveness], delay: 600ms}, {name: b, target: [liveness], delay: 500ms}]";
    assert_eq!(codes(&sound(&[("FAULTS", two)])), ["timeout-below-p99"]);
    let rare = "faults: [{name: a, target: [liveness], rate: 0.5%, delay: 5s}]";
    assert_eq!(codes(&sound(&[("FAULTS", rare)])), [""; 0]);
    let others = "faults: [{name: a, target: [liveness], client: other, delay: 5s}]";
    assert_eq!(codes(&sound(&[("FAULTS", others)])), [""; 0]);
}

#[test]
fn advice_on_liveness_that_is_faster_than_readiness_names_both_times() {
    let mut hasty = sound(&[]);
    *liveness(&mut hasty) = probe(Target::Liveness, 2, 3);
    let text = text(&hasty, "liveness-not-slower-than-readiness");
    assert!(text.contains("within 7s") && text.contains("within 31s"), "{text}");
}

#[test]
fn equal_liveness_and_readiness_probes_get_advice() {
    let mut same = sound(&[]);
    *liveness(&mut same) = probe(Target::Readiness, 10, 3);
    assert!(text(&same, "liveness-not-slower-than-readiness").contains("31s"));
    liveness(&mut same).failure_threshold = 4;
    assert_eq!(codes(&same), [""; 0], "liveness is the slower one");
}

#[test]
fn advice_on_a_slow_start_names_the_startup_probe_that_suffices() {
    for env in [[("STARTUP_DELAY", "80")], [("LISTEN_DELAY", "80")]] {
        let mut slow = sound(&env);
        let told = text(&slow, "no-startup-probe-for-slow-start");
        assert!(told.contains("1m20s") && told.contains("50s") && told.contains("again and again"), "{told}");
        assert!(told.contains("failureThreshold 9"), "{told}");
        // Following the advice removes it, and the prediction confirms it.
        assert!(predicted(&slow, &for_time(s(600))).pods[0].restarts() > 0);
        slow.pod.containers[0].startup = Some(probe(Target::Startup, 10, 9));
        assert_eq!(codes(&slow), [""; 0]);
        assert_eq!(predicted(&slow, &for_time(s(600))).pods[0].restarts(), 0);
        slow.pod.containers[0].startup = Some(probe(Target::Startup, 10, 3));
        assert!(text(&slow, "startup-probe-too-short").contains("startup probe kills the container"));
    }
    for (delay, initial_delay, is_slow) in
        [("50", 0, false), ("51", 0, true), ("79", 30, false), ("80", 30, true)]
    {
        let mut starts = sound(&[("STARTUP_DELAY", delay)]);
        liveness(&mut starts).initial_delay = initial_delay;
        let expected = ["no-startup-probe-for-slow-start"];
        assert_eq!(codes(&starts), expected[..usize::from(is_slow)], "{delay} {initial_delay}");
    }
}

#[test]
fn a_fault_that_the_kubelet_discards_gets_advice() {
    for mode in ["truncate", "body-hang", "body-reset", "malformed"] {
        let rule =
            |body: &str| format!("faults: [{{name: cut, target: [liveness], mode: {mode}, body: {body}}}]");
        let short = sound(&[("FAULTS", &rule("9KiB"))]);
        let told = text(&short, "fault-thrown-away");
        assert!(
            told.contains("cut") && told.contains("never restart") && told.contains("9216 bytes"),
            "{told}"
        );
        assert_eq!(predicted(&short, &for_time(s(600))).pods[0].restarts(), 0);
        // An invalid chunk is read ahead of the limit.
        let enough = if mode == "malformed" { "10241" } else { "10KiB" };
        let long = sound(&[("FAULTS", &rule(enough))]);
        assert_eq!(codes(&long), [""; 0], "{mode}");
    }
    let drip = "faults: [{name: slow, target: [liveness], mode: drip, drip: 5s}]";
    assert!(text(&sound(&[("FAULTS", drip)]), "fault-thrown-away").contains("5s"));
}

#[test]
fn a_partition_longer_than_liveness_tolerates_gets_advice() {
    let partition = |more: &str| format!("faults: [{{name: cut, target: listener, mode: drop, {more}}}]");
    let of = |more: &str| sound(&[("FAULTS", &partition(more))]);
    let told = text(&of("when: {after: 5m, for: 2m}"), "partition-restarts");
    assert!(told.contains("lasts 2m") && told.contains("after 1m ") && told.contains("5m after"), "{told}");
    assert_eq!(codes(&of("when: {after: 5m, for: 50s}")), [""; 0], "it heals before");
    assert_eq!(codes(&of("client: other, when: {after: 5m, for: 2m}")), [""; 0], "the kubelet is spared");
    assert_eq!(codes(&of("from: [192.0.2.0/24], when: {after: 5m}")), [""; 0], "another network");
}
