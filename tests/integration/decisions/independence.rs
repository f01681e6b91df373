//! Independence of draws.

use kube_probesim::fault::{ActivePlan, Client, RequestInfo, Seed, Target};

use crate::decisions::draft::{Draft, active, explain, failure, fires, fixed, plan, probe, s, wait};
use crate::decisions::statistics::{MILLION, assert_independent, correlation, series};

const RATES: [f64; 2] = [50.0, 5.0];

fn everywhere(percent: f64) -> Draft {
    failure("flaky").on(&Target::ALL).rate(percent)
}

fn hits(plan: &ActivePlan, target: Target, client: Client) -> impl Iterator<Item = bool> {
    (1..=MILLION)
        .map(move |number| fires(plan, &RequestInfo { target: target.into(), client, elapsed: s(0), number }))
}

#[test]
fn two_rules_are_uncorrelated() {
    for rate in RATES {
        let plan = active([wait("rule-a", fixed(1)).rate(rate), wait("rule-b", fixed(1)).rate(rate)]);
        let pairs = (1..=MILLION).map(|number| {
            let mut fired = [false; 2];
            plan.decide(&probe(number, s(0)), |cause| fired[cause.rule] = cause.fired);
            (fired[0], fired[1])
        });
        assert_independent(&format!("rules at {rate}%"), pairs);
    }
}

#[test]
fn two_targets_are_uncorrelated() {
    for rate in RATES {
        let plan = active([everywhere(rate)]);
        for (a, b) in [(Target::Liveness, Target::Readiness), (Target::Startup, Target::Traffic)] {
            let pairs = hits(&plan, a, Client::Kubelet).zip(hits(&plan, b, Client::Kubelet));
            assert_independent(&format!("{a} and {b} at {rate}%"), pairs);
        }
    }
}

#[test]
fn two_client_classes_are_uncorrelated() {
    for rate in RATES {
        let plan = active([everywhere(rate)]);
        let of = |client| hits(&plan, Target::Liveness, client);
        assert_independent(&format!("at {rate}%"), of(Client::Kubelet).zip(of(Client::Other)));
    }
}

#[test]
fn neighbouring_requests_are_uncorrelated() {
    for rate in RATES {
        let plan = active([everywhere(rate)]);
        for lag in 1..=3 {
            assert_independent(
                &format!("{lag} apart at {rate}%"),
                series(&plan).zip(series(&plan).skip(lag)),
            );
        }
    }
}

#[test]
fn neighbouring_seeds_and_replicas_are_uncorrelated() {
    let with = |seed| ActivePlan::new(plan([everywhere(50.0)]), seed, true);
    for (what, a, b) in [
        ("seeds", Seed(1), Seed(2)),
        ("replicas", Seed(1).for_pod("web-0"), Seed(1).for_pod("web-1")),
        ("a replica and the fleet", Seed(1), Seed(1).for_pod("web-0")),
    ] {
        let (a, b) = (with(a), with(b));
        assert_independent(what, series(&a).zip(series(&b)));
    }
}

#[test]
fn the_correlation_test_detects_a_correlation() {
    // One request in 200 copied from the other series is a correlation of 0.005, five standard deviations.
    let plan = active([everywhere(50.0)]);
    let copied = hits(&plan, Target::Liveness, Client::Kubelet)
        .zip(hits(&plan, Target::Readiness, Client::Kubelet))
        .enumerate()
        .map(|(i, (a, b))| (a, if i % 200 == 0 { a } else { b }));
    let (phi, _) = correlation(copied);
    assert!(phi > 0.003, "{phi}");
}

#[test]
fn other_rules_do_not_change_when_a_rule_fires() {
    let alone = active([failure("flaky").rate(30.0)]);
    let beside = active([wait("slow", fixed(10)).rate(50.0), failure("flaky").rate(30.0), failure("later")]);
    for number in 1..=10_000 {
        let attempt = probe(number, s(0));
        let (_, causes) = explain(&beside, &attempt);
        assert_eq!(causes[1], (1, fires(&alone, &attempt)), "request {number}");
    }
}
