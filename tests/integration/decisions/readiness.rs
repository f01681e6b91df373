//! Readiness and the dependency it checks.

use std::time::Duration;

use kube_probesim::fault::{
    ActivePlan, Client, GrpcStatus, Mode, Partial, Rate, RequestCounts, RequestInfo, Seed, Target, Verdict,
};

use crate::decisions::draft::{active, explain, failure, fault, fixed, followed, ms, plan, probe, s, wait};

const DEPENDENCY: &[Target] = &[Target::Dependency];

fn readiness(number: u64) -> RequestInfo {
    RequestInfo { target: Target::Readiness.into(), ..probe(number, s(0)) }
}

fn dependency(number: u64) -> RequestInfo {
    RequestInfo { target: Target::Dependency.into(), ..probe(number, s(0)) }
}

#[test]
fn readiness_fails_with_its_dependency_at_once() {
    let plan = active([failure("broken").on(DEPENDENCY).delay(fixed(50))]);
    let (decision, causes) = explain(&plan, &readiness(1));
    assert_eq!((decision.delay, decision.verdict), (Duration::ZERO, Verdict::DependencyFailed(0)));
    assert_eq!(causes, [(0, true)]);
    let (decision, _) = explain(&plan, &dependency(1));
    assert_eq!((decision.delay, decision.verdict), (ms(50), Verdict::Inject(0)));
}

#[test]
fn only_readiness_checks_the_dependency() {
    let plan = active([failure("broken").on(DEPENDENCY)]);
    for target in [Target::Liveness, Target::Startup, Target::Traffic] {
        let (decision, causes) = explain(&plan, &RequestInfo { target: target.into(), ..probe(1, s(0)) });
        assert!(decision.verdict == Verdict::Pass && causes.is_empty(), "{target}");
    }
}

#[test]
fn readiness_can_ignore_its_dependency() {
    let alone = ActivePlan::new(plan([failure("broken").on(DEPENDENCY)]), Seed(42), false);
    let (decision, causes) = explain(&alone, &readiness(1));
    assert!(decision.verdict == Verdict::Pass && causes.is_empty());
    assert!(!alone.is_down(Target::Readiness, s(0), &RequestCounts::default()));
    let kept = followed(&alone, [failure("broken").on(DEPENDENCY)], s(1), 0);
    assert_eq!(explain(&kept, &readiness(1)).0.verdict, Verdict::Pass);
}

#[test]
fn a_dependency_that_is_only_slow_does_not_fail_readiness() {
    let (decision, causes) = explain(&active([wait("slow", fixed(50)).on(DEPENDENCY)]), &readiness(1));
    assert!(decision.delay.is_zero() && decision.verdict == Verdict::Pass && causes.is_empty());
}

#[test]
fn every_mode_without_a_complete_successful_answer_fails_readiness() {
    let partial = |status| Partial { status: Some(status), body: 16 };
    for (mode, fails) in [
        (Mode::Status(200), false),
        (Mode::Status(302), false),
        (Mode::Status(400), true),
        (Mode::Status(599), true),
        (Mode::Redirect("http://elsewhere/".into()), false),
        (Mode::Hang, true),
        (Mode::Close, true),
        (Mode::Reset, true),
        (Mode::Garbage, true),
        (Mode::Truncate(partial(200)), true),
        (Mode::BodyHang(partial(200)), true),
        (Mode::BodyReset(partial(200)), true),
        (Mode::Malformed(partial(200)), true),
        (Mode::Drip { partial: partial(200), over: s(1) }, false),
        (Mode::Drip { partial: partial(500), over: s(1) }, true),
        (Mode::Throttle { status: None, speed: 1 }, false),
        (Mode::Throttle { status: Some(500), speed: 1 }, true),
        (Mode::Corrupt { status: None, share: Rate::ALWAYS }, false),
        (Mode::Grpc { status: GrpcStatus::UNAVAILABLE, message: String::new() }, true),
        (Mode::Grpc { status: GrpcStatus::parse("OK").unwrap(), message: String::new() }, false),
    ] {
        let (decision, causes) =
            explain(&active([fault("mode", mode.clone()).on(DEPENDENCY)]), &readiness(1));
        let expected = if fails { Verdict::DependencyFailed(0) } else { Verdict::Pass };
        assert_eq!(decision.verdict, expected, "{mode:?}");
        assert_eq!(!causes.is_empty(), fails, "{mode:?}");
    }
}

#[test]
fn a_dependency_that_answers_well_by_an_earlier_rule_does_not_fail_readiness() {
    let answers = || fault("answers", Mode::Redirect("http://elsewhere/".into())).on(DEPENDENCY);
    let plan = active([answers().rate(50.0), failure("broken").on(DEPENDENCY)]);
    let mut seen = [0; 2];
    for number in 1..=1_000 {
        // What the dependency itself would answer under that number.
        let failed = explain(&plan, &dependency(number)).0.verdict == Verdict::Inject(1);
        let (decision, causes) = explain(&plan, &readiness(number));
        let expected = if failed { Verdict::DependencyFailed(1) } else { Verdict::Pass };
        assert_eq!(decision.verdict, expected, "request {number}");
        assert_eq!(causes.len(), usize::from(failed), "request {number}");
        seen[usize::from(failed)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 400), "{seen:?}");

    let own = active([answers(), failure("own").on(&[Target::Readiness])]);
    assert_eq!(explain(&own, &readiness(1)).0.verdict, Verdict::Inject(1), "readiness's own rules go on");
}

#[test]
fn a_rule_for_both_acts_once_as_a_rule_of_readiness() {
    let both = failure("both").on(&[Target::Readiness, Target::Dependency]).rate(50.0).delay(fixed(50));
    let alone = active([both.clone().on(&[Target::Readiness])]);
    let plan = active([both]);
    for number in 1..=1_000 {
        let (decision, causes) = explain(&plan, &readiness(number));
        assert_eq!((decision, causes), explain(&alone, &readiness(number)), "request {number}");
    }
    let (decision, causes) =
        (1..=1_000).map(|n| explain(&plan, &readiness(n))).find(|(_, c)| c[0].1).unwrap();
    assert_eq!((decision.delay, decision.verdict), (ms(50), Verdict::Inject(0)));
    assert_eq!(causes.len(), 1);
}

#[test]
fn the_first_rule_decides_whether_it_is_for_readiness_or_its_dependency() {
    let own = || failure("own").on(&[Target::Readiness]).delay(fixed(50));
    let broken = || failure("broken").on(DEPENDENCY);
    let (decision, causes) = explain(&active([own(), broken()]), &readiness(1));
    assert_eq!((decision.delay, decision.verdict), (ms(50), Verdict::Inject(0)));
    assert_eq!(causes, [(0, true)]);
    let (decision, causes) = explain(&active([broken(), own()]), &readiness(1));
    assert_eq!((decision.delay, decision.verdict), (Duration::ZERO, Verdict::DependencyFailed(0)));
    assert_eq!(causes, [(0, true)]);
}

#[test]
fn own_delays_count_when_the_dependency_fails() {
    let plan = active([failure("broken").on(DEPENDENCY), wait("slow", fixed(50)).on(&[Target::Readiness])]);
    assert_eq!(explain(&plan, &readiness(1)).0.delay, ms(50));
}

#[test]
fn the_dependency_is_drawn_with_the_number_of_the_readiness_request() {
    let plan = active([failure("flaky").on(DEPENDENCY).rate(30.0).burst(5.0)]);
    for client in Client::ALL {
        for number in 1..=1_000 {
            let failed = explain(&plan, &RequestInfo { client, ..readiness(number) }).0.verdict;
            let injected = explain(&plan, &RequestInfo { client, ..dependency(number) }).0.verdict;
            assert_eq!(failed != Verdict::Pass, injected != Verdict::Pass, "request {number}");
        }
    }
}

#[test]
fn a_window_of_the_dependency_counts_readiness_requests() {
    let before = active([]);
    let plan = followed(&before, [failure("third").on(DEPENDENCY).requests(2, 1, 0)], s(0), 10);
    let failed: Vec<u64> =
        (8..20).filter(|n| explain(&plan, &readiness(*n)).0.verdict != Verdict::Pass).collect();
    assert_eq!(failed, [13]);
}

#[test]
fn the_client_class_of_the_dependency_rule_is_that_of_the_readiness_request() {
    let plan = active([failure("broken").on(DEPENDENCY).client(Client::Other)]);
    assert_eq!(explain(&plan, &readiness(1)).0.verdict, Verdict::Pass);
    let other = RequestInfo { client: Client::Other, ..readiness(1) };
    assert_eq!(explain(&plan, &other).0.verdict, Verdict::DependencyFailed(0));
}
