//! Bounds for counts of random events. The seeds are fixed, so a test that passes once always does.

use kube_probesim::fault::ActivePlan;

use crate::decisions::draft::{fires, probe, s};

/// Decisions in a series.
pub(crate) const MILLION: u64 = 1_000_000;

/// How many standard deviations are allowed.
const SIGMAS: f64 = 4.0;

/// Which of the first million probes, a minute after the start, the plan's first rule hits.
pub(crate) fn series(plan: &ActivePlan) -> impl Iterator<Item = bool> {
    (1..=MILLION).map(|number| fires(plan, &probe(number, s(60))))
}

#[track_caller]
pub(crate) fn assert_within(what: &str, seen: f64, expected: f64, deviation: f64) {
    let off = (seen - expected) / deviation;
    assert!(off.abs() <= SIGMAS, "{what}: {seen} instead of {expected}, {off:.1} standard deviations off");
}

/// Asserts that of `count` independent events a share of `expected` was seen.
#[track_caller]
pub(crate) fn assert_share(what: &str, seen: u64, count: u64, expected: f64) {
    let count = count as f64;
    assert_within(what, seen as f64, count * expected, (count * expected * (1.0 - expected)).sqrt());
}

/// The standard deviation of the hits among `count` requests of a stationary two-state chain with rate *r* and mean
/// run *b*.
///
/// The chain's states at a distance *k* are correlated by λᵏ, where λ is its second eigenvalue,
/// 1 − P(begins) − P(ends) = 1 − 1/(*b* (1 − *r*)). With σ² = *r* (1 − *r*) the variance of the sum is
/// σ² Σᵢ Σⱼ λ^|i−j| = σ² (*n* (1 + λ)/(1 − λ) − 2 λ (1 − λⁿ)/(1 − λ)²).
pub(crate) fn chain_deviation(rate: f64, mean_run: f64, count: u64) -> f64 {
    let n = count as f64;
    let lambda = 1.0 - 1.0 / (mean_run * (1.0 - rate));
    let gap = 1.0 - lambda;
    let ends = 2.0 * lambda * (1.0 - lambda.powf(n)) / (gap * gap);
    (rate * (1.0 - rate) * (n * (1.0 + lambda) / gap - ends)).sqrt()
}

/// The correlation of two series of events (the φ coefficient), and how many pairs there were.
pub(crate) fn correlation(pairs: impl Iterator<Item = (bool, bool)>) -> (f64, u64) {
    let mut counts = [[0_u64; 2]; 2];
    for (a, b) in pairs {
        counts[usize::from(a)][usize::from(b)] += 1;
    }
    let [[n00, n01], [n10, n11]] = counts.map(|row| row.map(|count| count as f64));
    let margins = (n10 + n11) * (n00 + n01) * (n01 + n11) * (n00 + n10);
    assert!(margins > 0.0, "an event that always or never happens has no correlation: {counts:?}");
    ((n11 * n00 - n10 * n01) / margins.sqrt(), counts.iter().flatten().sum())
}

/// Asserts that two series are independent: φ of independent series has a standard deviation of 1/√n.
#[track_caller]
pub(crate) fn assert_independent(what: &str, pairs: impl Iterator<Item = (bool, bool)>) {
    let (phi, count) = correlation(pairs);
    assert_within(what, phi, 0.0, 1.0 / (count as f64).sqrt());
}

/// The number of complete runs of hits in a series, and their mean length.
pub(crate) fn runs(series: impl Iterator<Item = bool>) -> (u64, f64) {
    // Hits before the first miss may belong to a run that began before the series.
    let (mut count, mut total, mut current) = (0_u64, 0_u64, 0_u64);
    for hit in series.skip_while(|hit| *hit) {
        if hit {
            current += 1;
        } else if current > 0 {
            count += 1;
            total += current;
            current = 0;
        }
    }
    (count, total as f64 / count as f64)
}
