//! How often a rule fires.

use kube_probesim::fault::{ActivePlan, Seed};

use crate::decisions::draft::{failure, fires, plan, probe, s};
use crate::decisions::statistics::{MILLION, assert_share, assert_within, runs, series};

fn independent(percent: f64, seed: u64) -> ActivePlan {
    ActivePlan::new(plan([failure("rate").rate(percent)]), Seed(seed), true)
}

fn hits(plan: &ActivePlan) -> u64 {
    series(plan).filter(|hit| *hit).count() as u64
}

#[test]
fn each_rate_is_met_over_a_million_requests() {
    let edges = [1, 2, 3, 5, 7, 993, 995, 997, 998, 999];
    for permille in edges.into_iter().chain((10..=990).step_by(10)) {
        let percent = f64::from(permille) / 10.0;
        let plan = independent(percent, permille as u64);
        assert_share(&format!("{percent}%"), hits(&plan), MILLION, percent / 100.0);
    }
}

#[test]
fn zero_never_fires_and_a_hundred_always() {
    assert_eq!(hits(&independent(0.0, 1)), 0);
    assert_eq!(hits(&independent(100.0, 1)), MILLION);
    assert_eq!(hits(&ActivePlan::new(plan([failure("rate").rate(0.0).burst(5.0)]), Seed(1), true)), 0);
}

#[test]
fn without_bursts_runs_are_those_of_independent_draws() {
    for percent in [5.0, 50.0, 95.0] {
        let mean = 1.0 / (1.0 - percent / 100.0);
        let (count, seen) = runs(series(&independent(percent, 7)));
        assert_within(
            &format!("the mean run at {percent}%"),
            seen,
            mean,
            (mean * (mean - 1.0) / count as f64).sqrt(),
        );
    }
}

#[test]
fn half_way_up_the_ramp_the_rate_is_half() {
    for draft in [failure("ramp").rate(60.0), failure("ramp").rate(60.0).burst(10.0)] {
        let plan = ActivePlan::new(plan([draft.window(60, 200, 1_000).ramp(s(120))]), Seed(3), true);
        // One seed's draws are the same at each instant; each share is one of 200,000 requests of its own, taken
        // 100 apart, where bursts no longer matter.
        let share = |elapsed: u64, from: u64| {
            (0..200_000).filter(|i| fires(&plan, &probe(from + i * 100, s(elapsed)))).count() as u64
        };
        assert_eq!(share(60, 1), 0, "nothing at the opening");
        for (elapsed, expected) in [(90, 0.15), (120, 0.3), (150, 0.45), (180, 0.6), (259, 0.6), (1_120, 0.3)]
        {
            assert_share(&format!("at {elapsed} s"), share(elapsed, elapsed), 200_000, expected);
        }
    }
}

#[test]
fn the_reported_share_is_the_configured_one() {
    let ramp = failure("ramp").rate(60.0).window(60, 200, 1_000).ramp(s(120));
    let plan = ActivePlan::new(plan([ramp, failure("rate").rate(20.0)]), Seed(3), true);
    for (elapsed, expected) in [(59, None), (60, Some(0.0)), (120, Some(0.3)), (200, Some(0.6)), (260, None)]
    {
        assert_eq!(plan.share(0, s(elapsed)), expected, "at {elapsed} s");
        assert_eq!(plan.share(1, s(elapsed)), Some(0.2), "at {elapsed} s");
    }
}

#[test]
fn without_a_window_the_ramp_rises_from_the_origin() {
    let plan = ActivePlan::new(plan([failure("ramp").ramp(s(100))]), Seed(3), true);
    let hits = |elapsed| (1..=100_000).filter(|n| fires(&plan, &probe(*n, s(elapsed)))).count() as u64;
    assert_eq!(hits(0), 0);
    assert_share("at a quarter", hits(25), 100_000, 0.25);
    assert_eq!(hits(100), 100_000);
}

#[test]
fn a_request_that_fails_early_on_the_ramp_also_fails_later() {
    let plan = ActivePlan::new(plan([failure("ramp").rate(80.0).burst(20.0).ramp(s(100))]), Seed(3), true);
    for number in 1..2_000 {
        let first = (0..=100).find(|t| fires(&plan, &probe(number, s(*t)))).unwrap_or(101);
        assert!((first..=100).all(|t| fires(&plan, &probe(number, s(t)))), "request {number}");
    }
}
