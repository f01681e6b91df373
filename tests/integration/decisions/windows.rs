//! When rules act: windows, origins, and announced changes.

use kube_probesim::fault::{ActivePlan, Client, Cut, Mode, RequestCounts, RequestInfo, Target};

use crate::decisions::draft::{
    Draft, active, explain, failure, fault, fires, fixed, followed, ms, partition, probe, s, wait,
};

/// The seconds below `end` at which the first rule fires.
fn seconds(plan: &ActivePlan, end: u64) -> Vec<u64> {
    (0..end).filter(|t| fires(plan, &probe(1, s(*t)))).collect()
}

/// The kubelet's requests to liveness up to `end` for which the first rule fires.
fn numbers(plan: &ActivePlan, end: u64) -> Vec<u64> {
    (1..=end).filter(|number| fires(plan, &probe(*number, s(0)))).collect()
}

fn counts(target: Target, client: Client, count: u64) -> RequestCounts {
    let mut counts = RequestCounts::default();
    counts.set(target, client, count);
    counts
}

#[test]
fn a_rule_fires_in_its_window_in_time_and_is_not_eligible_outside() {
    let plan = active([failure("window").window(60, 20, 300)]);
    let expected: Vec<u64> = (60..80).chain(360..380).chain(660..680).collect();
    assert_eq!(seconds(&plan, 700), expected);
    for instant in [ms(59_999), s(80)] {
        assert!(explain(&plan, &probe(1, instant)).1.is_empty(), "{instant:?}");
    }
    assert_eq!(explain(&plan, &probe(1, ms(79_999))).1, [(0, true)]);
}

#[test]
fn both_windows_must_be_open() {
    let plan = active([failure("both").window(60, 20, 0).requests(10, 3, 0)]);
    for (number, elapsed, open) in
        [(11, 60, true), (13, 79, true), (10, 60, false), (14, 60, false), (11, 80, false)]
    {
        assert_eq!(!explain(&plan, &probe(number, s(elapsed))).1.is_empty(), open, "{number} at {elapsed} s");
    }
}

#[test]
fn requests_are_counted_by_target_and_class_from_the_origin_on() {
    let rule = || failure("window").on(&Target::ALL).requests(10, 3, 20);
    assert_eq!(numbers(&active([rule()]), 40), [11, 12, 13, 31, 32, 33]);

    // The kubelet had 5 requests to each target before, others none.
    let later = followed(&active([]), [rule()], s(0), 5);
    assert_eq!(numbers(&later, 40), [16, 17, 18, 36, 37, 38]);
    let other = |number| RequestInfo { client: Client::Other, ..probe(number, s(0)) };
    let numbers: Vec<u64> = (1..=40).filter(|number| fires(&later, &other(*number))).collect();
    assert_eq!(numbers, [11, 12, 13, 31, 32, 33]);
}

#[test]
fn unchanged_rules_keep_their_origin_and_others_restart() {
    let kept = || failure("kept").window(60, 20, 0);
    let changed = |length| failure("changed").window(60, length, 0);
    let before = active([kept(), changed(20), failure("renamed").window(60, 20, 0)]);
    let names = [wait("new", fixed(1)), failure("moved").window(60, 20, 0), changed(30), kept()];
    let after = followed(&before, names, s(40), 7);
    let origins: Vec<u64> = (0..4).map(|rule| after.origin(rule).elapsed.as_secs()).collect();
    assert_eq!(origins, [40, 40, 40, 0]);
    assert_eq!(after.origin(3).counts.get(Target::Liveness, Client::Kubelet), 0);
    assert_eq!(after.origin(2).counts.get(Target::Liveness, Client::Kubelet), 7);
    assert_eq!(seconds(&followed(&after, [kept()], s(70), 9), 200), (60..80).collect::<Vec<_>>());
    assert_eq!(seconds(&followed(&after, [changed(30)], s(70), 9), 200), (100..130).collect::<Vec<_>>());

    let gone = followed(&after, [], s(50), 8);
    assert!(gone.is_empty());
    assert_eq!(followed(&gone, [kept()], s(60), 8).origin(0).elapsed, s(60), "removed and added again: new");
}

#[test]
fn an_unchanged_rule_keeps_its_draws() {
    let flaky = || failure("flaky").rate(30.0).burst(5.0);
    let before = active([flaky()]);
    let after = followed(&before, [flaky(), failure("later")], s(60), 100);
    assert!((1..=1_000).all(|n| fires(&before, &probe(n, s(60))) == fires(&after, &probe(n, s(60)))));
}

#[test]
fn the_next_change_is_that_of_the_earliest_window_of_any_rule() {
    let plan = active([
        failure("always"),
        failure("once").window(30, 10, 0),
        failure("for-ever").window(50, 0, 0),
        partition("cut", Cut::Drop).window(10, 5, 100),
    ]);
    let mut changes = Vec::new();
    let mut now = s(0);
    while let Some(next) = plan.next_change(now).filter(|next| *next < s(220)) {
        assert!(next > now, "{next:?} after {now:?}");
        changes.push(next.as_secs());
        now = next;
    }
    assert_eq!(changes, [10, 15, 30, 40, 50, 110, 115, 210, 215]);
    assert_eq!(active([failure("always")]).next_change(s(0)), None);
    assert_eq!(
        followed(&active([]), [failure("late").window(5, 1, 0)], s(100), 0).next_change(s(100)),
        Some(s(105))
    );
}

#[test]
fn the_open_time_adds_up_windows_since_the_origin() {
    let rules = || [failure("window").window(10, 5, 20), failure("always"), failure("once").window(10, 5, 0)];
    let open = |plan: &ActivePlan, elapsed| {
        [0, 1, 2].map(|rule| plan.open_time(rule, std::time::Duration::ZERO, s(elapsed)).as_secs())
    };
    let plan = active(rules());
    for (elapsed, expected) in [(0, [0, 0, 0]), (12, [2, 12, 2]), (30, [5, 30, 5]), (32, [7, 32, 5])] {
        assert_eq!(open(&plan, elapsed), expected, "at {elapsed} s");
    }
    assert_eq!(open(&followed(&active([]), rules(), s(100), 0), 112), [2, 12, 2]);
    assert_eq!(open(&followed(&active([]), rules(), s(100), 0), 50), [0, 0, 0], "before the origin");
}

#[test]
fn a_rule_is_active_in_its_windows() {
    let plan = active([
        failure("time").window(10, 5, 0),
        failure("requests").client(Client::Kubelet).requests(3, 2, 0),
    ]);
    assert!(
        plan.is_active(0, s(10), &RequestCounts::default())
            && !plan.is_active(0, s(15), &RequestCounts::default())
    );
    assert!(plan.is_in_time(0, s(14)) && !plan.is_in_time(0, s(9)));
    // With three requests before, the next one is the first of the window.
    for (before, open) in [(2, false), (3, true), (4, true), (5, false)] {
        let kubelet = counts(Target::Liveness, Client::Kubelet, before);
        assert_eq!(plan.is_active(1, s(0), &kubelet), open, "{before} before");
        assert!(!plan.is_active(1, s(0), &counts(Target::Liveness, Client::Other, before)));
        assert!(!plan.is_active(1, s(0), &counts(Target::Startup, Client::Kubelet, before)));
    }
}

#[test]
fn a_target_is_down_while_a_rule_fails_each_of_its_requests() {
    let down = |draft: Draft, elapsed| {
        active([draft]).is_down(Target::Liveness, s(elapsed), &RequestCounts::default())
    };
    assert!(down(failure("down"), 0));
    let window = || failure("window").window(10, 5, 0);
    assert!(!down(window(), 9) && down(window(), 10) && !down(window(), 15));
    assert!(!down(failure("flaky").rate(99.9), 0), "some requests pass");
    assert!(!down(failure("ramp").ramp(s(1)), 0), "some requests pass");
    assert!(!down(fault("moved", Mode::Redirect("/".into())), 0), "a redirect does not fail");
    assert!(!down(wait("slow", fixed(50)), 0), "a delay does not fail");
    assert!(!down(failure("else").on(&[Target::Startup]), 0));
    assert!(down(partition("cut", Cut::Drop), 0));
    assert!(!down(partition("cut", Cut::Drop).from(&["10.0.0.0/8"]), 0), "some are not cut");
}

#[test]
fn readiness_is_down_with_its_dependency() {
    let plan = active([failure("broken").on(&[Target::Dependency]).requests(3, 2, 0)]);
    for (before, down) in [(2, false), (3, true), (5, false)] {
        let readiness = counts(Target::Readiness, Client::Kubelet, before);
        assert_eq!(plan.is_down(Target::Readiness, s(0), &readiness), down, "{before} before");
        assert!(!plan.is_down(Target::Dependency, s(0), &readiness), "counted apart");
        assert!(!plan.is_down(Target::Liveness, s(0), &readiness));
    }
}
