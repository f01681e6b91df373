//! Several rules that act on one request.

use std::time::Duration;

use kube_probesim::fault::{ActivePlan, Client, Delay, Mode, RequestInfo, Seed, Target, Verdict};
use proptest::prelude::*;

use crate::decisions::draft::{Draft, active, explain, failure, fault, fixed, ms, plan, probe, s, wait};

#[test]
fn without_rules_a_request_passes_at_once() {
    let (decision, causes) = explain(&active([]), &probe(1, s(0)));
    assert_eq!((decision.delay, decision.verdict), (Duration::ZERO, Verdict::Pass));
    assert!(causes.is_empty());
}

#[test]
fn the_first_rule_with_a_mode_decides() {
    let (decision, causes) =
        explain(&active([fault("first", Mode::Hang), failure("second")]), &probe(1, s(0)));
    assert_eq!(decision.verdict, Verdict::Inject(0));
    assert_eq!(causes, [(0, true)], "the second was not eligible");
}

#[test]
fn the_next_rule_may_act_if_the_first_does_not_fire() {
    let plan = active([failure("never").rate(0.0).delay(fixed(10)), failure("always")]);
    let (decision, causes) = explain(&plan, &probe(1, s(0)));
    assert_eq!((decision.delay, decision.verdict), (Duration::ZERO, Verdict::Inject(1)));
    assert_eq!(causes, [(0, false), (1, true)]);
}

#[test]
fn delays_of_all_rules_that_fire_add_up_and_a_failure_is_as_slow() {
    let plan = active([
        wait("before", fixed(1)),
        failure("fails").delay(fixed(20)),
        wait("after", fixed(300)),
        wait("never", fixed(4_000)).rate(0.0),
    ]);
    let (decision, causes) = explain(&plan, &probe(1, s(0)));
    assert_eq!((decision.delay, decision.verdict), (ms(321), Verdict::Inject(1)));
    assert_eq!(causes, [(0, true), (1, true), (2, true), (3, false)]);
}

#[test]
fn a_rule_that_is_passed_over_adds_no_delay() {
    let plan = active([failure("first"), failure("passed-over").delay(fixed(20)), wait("after", fixed(1))]);
    let (decision, causes) = explain(&plan, &probe(1, s(0)));
    assert_eq!((decision.delay, decision.verdict), (ms(1), Verdict::Inject(0)));
    assert_eq!(causes, [(0, true), (2, true)]);
}

#[test]
fn delays_without_end_add_up_without_overflow() {
    let longest = Delay::fixed(kube_probesim::fault::MAX_DELAY).unwrap();
    let plan = active((0..1_000).map(|i| wait(&format!("wait-{i}"), longest.clone())));
    let (decision, _) = explain(&plan, &probe(1, s(0)));
    assert_eq!(decision.delay, kube_probesim::fault::MAX_DELAY * 1_000);
}

#[test]
fn a_rule_acts_only_on_its_targets() {
    let plan = active([failure("two").on(&[Target::Startup, Target::Traffic])]);
    for target in Target::ALL {
        let (decision, causes) = explain(&plan, &RequestInfo { target: target.into(), ..probe(1, s(0)) });
        let acts = matches!(target, Target::Startup | Target::Traffic);
        assert_eq!(decision.verdict == Verdict::Inject(0), acts, "{target}");
        assert_eq!(causes.is_empty(), !acts, "{target}");
    }
}

#[test]
fn a_rule_acts_only_on_its_client_class() {
    let kubelet = failure("kubelet").client(Client::Kubelet);
    let other = fault("other", Mode::Hang).client(Client::Other);
    let plan = active([kubelet, other]);
    for (client, position) in [(Client::Kubelet, 0), (Client::Other, 1)] {
        let (decision, causes) = explain(&plan, &RequestInfo { client, ..probe(1, s(0)) });
        assert_eq!(decision.verdict, Verdict::Inject(position));
        assert_eq!(causes, [(position, true)]);
    }
}

prop_compose! {
    fn drafts()(
        parts in prop::collection::vec((0.0..100.0_f64, 0..3_u8, any::<bool>(), 1..9_u64), 1..8)
    ) -> Vec<Draft> {
        parts.into_iter().enumerate().map(|(i, (percent, kind, bursts, millis))| {
            let name = format!("rule-{i}");
            let draft = match kind {
                0 => wait(&name, fixed(millis)),
                1 => failure(&name),
                _ => fault(&name, Mode::Hang).delay(fixed(millis)),
            };
            let draft = draft.rate(percent);
            if bursts && percent < 98.0 { draft.burst(60.0) } else { draft }
        }).collect()
    }
}

proptest! {
    #[test]
    fn a_rule_that_does_not_fire_changes_nothing(
        drafts in drafts(), seed in any::<u64>(), number in 1..u64::MAX
    ) {
        let decide = |drafts: Vec<Draft>| {
            let plan = ActivePlan::new(plan(drafts), Seed(seed), true);
            let (decision, causes) = explain(&plan, &probe(number, s(0)));
            (plan, decision, causes)
        };
        let (whole, decision, causes) = decide(drafts.clone());
        let fired: Vec<usize> = causes.iter().filter(|(_, fired)| *fired).map(|(rule, _)| *rule).collect();
        let (fewer, same, all) = decide(fired.iter().map(|rule| drafts[*rule].clone()).collect());
        prop_assert_eq!(decision.delay, same.delay);
        prop_assert!(all.len() == fired.len() && all.iter().all(|(_, fired)| *fired));
        let name = |plan: &ActivePlan, verdict| match verdict {
            Verdict::Inject(rule) => Some(plan.rule(rule).name().clone()),
            _ => None,
        };
        prop_assert_eq!(name(&whole, decision.verdict), name(&fewer, same.verdict));
        let modes = fired.iter().filter(|rule| whole.rule(**rule).mode().is_some()).count();
        prop_assert_eq!(modes, usize::from(decision.verdict != Verdict::Pass));
    }
}
