//! Runs of injections.

use kube_probesim::fault::{ActivePlan, Seed};

use crate::decisions::draft::{Draft, failure, fires, plan, probe, s};
use crate::decisions::statistics::{MILLION, assert_share, assert_within, chain_deviation, runs, series};

/// Rates in percent and mean runs, the shortest (1.25, 5 and 100) and the longest that are allowed among them.
const BURSTS: [(f64, f64); 12] = [
    (0.1, 20.0),
    (0.1, 100.0),
    (1.0, 5.0),
    (5.0, 3.0),
    (20.0, 1.25),
    (20.0, 5.0),
    (50.0, 10.0),
    (50.0, 100.0),
    (80.0, 5.0),
    (80.0, 50.0),
    (95.0, 30.0),
    (99.0, 100.0),
];

fn bursts(percent: f64, mean: f64) -> Draft {
    failure("bursts").rate(percent).burst(mean)
}

#[test]
fn bursts_have_the_mean_run_asked_for_and_leave_the_rate_unchanged() {
    for (i, (percent, mean)) in BURSTS.into_iter().enumerate() {
        let plan = ActivePlan::new(plan([bursts(percent, mean)]), Seed(i as u64), true);
        let what = format!("{percent}% in bursts of {mean}");
        let hits: Vec<bool> = series(&plan).collect();

        let rate = percent / 100.0;
        let total = hits.iter().filter(|hit| **hit).count() as f64;
        let deviation = chain_deviation(rate, mean, MILLION);
        assert_within(&format!("hits at {what}"), total, MILLION as f64 * rate, deviation);

        // Lengths of runs are geometric.
        let (count, seen) = runs(hits.into_iter());
        let deviation = (mean * (mean - 1.0) / count as f64).sqrt();
        assert_within(&format!("the mean run at {what}"), seen, mean, deviation);
    }
}

#[test]
fn the_shortest_burst_equals_independent_draws() {
    // At 1/(1 − r) the chain has no memory, so the deviation is that of independent draws.
    let independent = (1e6_f64 * 0.2 * 0.8).sqrt();
    assert!((chain_deviation(0.2, 1.25, MILLION) - independent).abs() < 1e-6);
}

#[test]
fn bursts_reach_their_rate_from_the_first_request() {
    const SEEDS: u64 = 50_000;
    let plans = (0..SEEDS).map(|seed| ActivePlan::new(plan([bursts(20.0, 50.0)]), Seed(seed), true));
    let mut hits = [0; 3];
    for plan in plans {
        for (hits, number) in hits.iter_mut().zip([1, 2, 10]) {
            *hits += u64::from(fires(&plan, &probe(number, s(0))));
        }
    }
    for (hits, number) in hits.into_iter().zip([1, 2, 10]) {
        assert_share(&format!("request {number}"), hits, SEEDS, 0.2);
    }
}

#[test]
fn bursts_do_not_depend_on_earlier_requests() {
    let plan = ActivePlan::new(plan([bursts(30.0, 20.0)]), Seed(5), true);
    let forwards: Vec<bool> = (1..=10_000).map(|n| fires(&plan, &probe(n, s(0)))).collect();
    let mut backwards: Vec<bool> = (1..=10_000).rev().map(|n| fires(&plan, &probe(n, s(0)))).collect();
    backwards.reverse();
    assert!(forwards == backwards);
}

#[test]
fn a_window_in_requests_cuts_bursts_without_moving_them() {
    let whole = ActivePlan::new(plan([bursts(30.0, 20.0)]), Seed(5), true);
    let cut = ActivePlan::new(plan([bursts(30.0, 20.0).requests(100, 50, 200)]), Seed(5), true);
    for number in 1..=10_000 {
        let open = number > 100 && (number - 101) % 200 < 50;
        let attempt = probe(number, s(0));
        assert_eq!(fires(&cut, &attempt), open && fires(&whole, &attempt), "request {number}");
    }
}
