//! A decision allocates nothing.
//!
//! The counting allocator counts for the whole process, so this file has one test only.

// Helpers outside the test function unwrap, too.
#![allow(clippy::unwrap_used)]

use std::alloc::System;
use std::hint::black_box;
use std::time::Duration;

use kube_probesim::fault::{
    Action, ActivePlan, Burst, Client, ClientFilter, Delay, Match, Mode, Plan, Rate, RequestInfo,
    RequestWindow, Rule, RuleName, Seed, Target, Targets, TimeWindow, Trigger,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Ten rules: every distribution of delay, then modes of every size, one of them the dependency's.
fn ten_rules(burst: Option<f64>) -> ActivePlan {
    let rate = Rate::from_percent(20.0).unwrap();
    let trigger = Trigger {
        time: Some(TimeWindow::new(ms(1), Some(ms(50)), Some(ms(60))).unwrap()),
        requests: Some(RequestWindow::new(1, Some(9), Some(10)).unwrap()),
        rate,
        burst: burst.map(|mean| Burst::new(mean, rate).unwrap()),
        ramp: Some(ms(20)),
        ..Trigger::ALWAYS
    };
    let delays = [
        Delay::fixed(ms(5)),
        Delay::uniform(ms(50), ms(60)),
        Delay::normal(ms(50), ms(60)),
        Delay::log_normal(ms(20), ms(400)),
        Delay::exponential(ms(100)),
        Delay::percentiles(vec![(0.0, ms(0)), (50.0, ms(20)), (99.0, ms(400))]),
    ];
    let modes = [
        (Target::Readiness, Mode::Redirect("http://elsewhere/".into())),
        (Target::Readiness, Mode::Status(500)),
        (Target::Dependency, Mode::Redirect("http://elsewhere/".into())),
        (Target::Dependency, Mode::Hang),
    ];
    let delays = delays.into_iter().map(|delay| (Target::Readiness, Some(delay.unwrap()), None));
    let modes = modes.into_iter().map(|(target, mode)| (target, None, Some(mode)));
    let rules = delays.chain(modes).enumerate().map(|(i, (target, delay, mode))| {
        let action = Action::Requests { targets: Targets::NONE.with(target), delay, mode };
        let name = RuleName::new(&format!("rule-{i}")).unwrap();
        Rule::new(name, ClientFilter::Any, trigger.clone(), action).unwrap()
    });
    ActivePlan::new(Plan::new(rules.collect()).unwrap(), Seed(42), true)
}

/// How often each rule fired in 10,000 decisions, and how many allocations they made.
fn count(plan: &ActivePlan, mut within: impl FnMut()) -> ([u32; 10], usize) {
    let mut fired = [0; 10];
    let region = Region::new(ALLOCATOR);
    for number in 1..=10_000 {
        let attempt = RequestInfo {
            target: Target::Readiness.into(),
            client: Client::Kubelet,
            elapsed: ms(number * 7),
            number,
        };
        black_box(plan.decide(&attempt, |cause| fired[cause.rule] += u32::from(cause.fired)));
        within();
    }
    let change = region.change();
    (fired, change.allocations + change.reallocations)
}

#[test]
fn ten_rules_decide_without_allocation() {
    // The least of ten counts, since the test harness's own thread may allocate something in between.
    for (what, burst) in [("independent", None), ("bursts", Some(5.0))] {
        let plan = ten_rules(burst);
        let least = (0..10).map(|_| count(&plan, || {})).min_by_key(|(_, allocations)| *allocations);
        let (fired, allocations) = least.unwrap();
        assert_eq!(allocations, 0, "{what}");
        // Rule 8 stands in for what the dependency answers; it is asked and told of nobody.
        for (rule, fired) in fired.iter().enumerate().filter(|(rule, _)| *rule != 8) {
            assert!(*fired > 0, "{what}: rule {rule} never fired, so nothing was shown of it");
        }
    }
    // A rule with a match costs no allocation either.
    let mut wanted = Match::default();
    wanted.set_path("/orders/*").unwrap();
    let rules =
        ten_rules(None).rules().map(|rule| rule.clone().with_match(wanted.clone()).unwrap()).collect();
    let plan = ActivePlan::new(Plan::new(rules).unwrap(), Seed(42), true);
    let mut fired = 0;
    let region = Region::new(ALLOCATOR);
    for number in 1..=10_000 {
        let (target, elapsed) = (Target::Readiness.into(), ms(number * 7));
        let attempt = RequestInfo { target, client: Client::Kubelet, elapsed, number };
        let matched = |rule: usize| (number % 3 == 0 && rule < 7).then_some(number / 3);
        black_box(plan.decide_matched(&attempt, false, matched, |hit| fired += u32::from(hit.fired)));
    }
    let change = region.change();
    assert!(change.allocations < 10 && fired > 0, "{change:?}, fired {fired} times");
    // Shows that the count notices a single box per decision.
    let (_, allocations) = count(&ten_rules(None), || drop(black_box(Box::new(1))));
    assert!(allocations >= 10_000, "{allocations}");
}
