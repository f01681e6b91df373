//! How long the delays are.

use std::time::Duration;

use kube_probesim::fault::Delay;

use crate::decisions::draft::{active, fixed, ms, probe, s, wait};
use crate::decisions::statistics::{MILLION, assert_share};

/// Shares, and how many standard deviations above the mean of a normal distribution they lie (tables; 1/2 by symmetry).
const SHARES: [(f64, f64); 9] = [
    (0.001, -3.090_232_306_167_813),
    (0.01, -2.326_347_874_040_841),
    (0.1, -1.281_551_565_544_600_4),
    (0.25, -0.674_489_750_196_081_7),
    (0.5, 0.0),
    (0.75, 0.674_489_750_196_081_7),
    (0.9, 1.281_551_565_544_600_4),
    (0.99, 2.326_347_874_040_841),
    (0.999, 3.090_232_306_167_813),
];

fn draws(delay: Delay, rate: f64) -> Vec<Duration> {
    let plan = active([wait("wait", delay).rate(rate)]);
    let mut fired = false;
    (1..=MILLION)
        .filter_map(|number| {
            let decision = plan.decide(&probe(number, s(0)), |cause| fired = cause.fired);
            fired.then_some(decision.delay)
        })
        .collect()
}

/// Asserts that a share of `expected` of the draws is at most `millis`. For a million draws this bounds the share by
/// four standard deviations: ±0.2 points at the median, ±0.04 at p1 and p99.
#[track_caller]
fn assert_at_most(draws: &[Duration], millis: f64, expected: f64) {
    let limit = Duration::from_secs_f64(millis / 1e3);
    let below = draws.iter().filter(|delay| **delay <= limit).count() as u64;
    assert_share(&format!("draws of at most {millis} ms"), below, draws.len() as u64, expected);
}

#[test]
fn a_fixed_delay_is_always_the_same() {
    assert!(draws(fixed(50), 100.0).iter().all(|delay| *delay == ms(50)));
}

#[test]
fn uniform_delays_match_their_quantiles() {
    let draws = draws(Delay::uniform(ms(50), ms(10)).unwrap(), 100.0);
    for (share, _) in SHARES {
        assert_at_most(&draws, 40.0 + 20.0 * share, share);
    }
    assert!(draws.iter().all(|delay| (ms(40)..=ms(60)).contains(delay)));
}

#[test]
fn normal_delays_match_their_quantiles() {
    let draws = draws(Delay::normal(ms(50), ms(10)).unwrap(), 100.0);
    for (share, z) in SHARES {
        assert_at_most(&draws, 50.0 + 10.0 * z, share);
    }
}

#[test]
fn negative_normal_draws_are_no_delay() {
    let draws = draws(Delay::normal(ms(10), ms(10)).unwrap(), 100.0);
    // The share of a normal distribution more than one deviation below its mean.
    let none = draws.iter().filter(|delay| delay.is_zero()).count() as u64;
    assert_share("no delay", none, MILLION, 0.158_655_253_931_457);
    assert_at_most(&draws, 10.0, 0.5);
}

#[test]
fn lognormal_delays_match_their_quantiles() {
    let draws = draws(Delay::log_normal(ms(20), ms(400)).unwrap(), 100.0);
    for (share, z) in SHARES {
        assert_at_most(&draws, 20.0 * 20.0_f64.powf(z / 2.326_347_874_040_841), share);
    }
}

#[test]
fn exponential_delays_match_their_quantiles() {
    let draws = draws(Delay::exponential(ms(100)).unwrap(), 100.0);
    for (share, _) in SHARES {
        assert_at_most(&draws, -100.0 * f64::ln_1p(-share), share);
    }
}

#[test]
fn delays_by_percentiles_match_the_table_and_are_log_linear_between() {
    let table = vec![(50.0, ms(20)), (90.0, ms(80)), (99.0, ms(400))];
    let draws = draws(Delay::percentiles(table).unwrap(), 100.0);
    for (millis, share) in [(20.0, 0.5), (40.0, 0.7), (80.0, 0.9), (80.0 * 5.0_f64.sqrt(), 0.945)] {
        assert_at_most(&draws, millis, share);
    }
    let longest = draws.iter().filter(|delay| **delay == ms(400)).count() as u64;
    assert_share("the longest", longest, MILLION, 0.01);
    assert!(draws.iter().all(|delay| (ms(20)..=ms(400)).contains(delay)));
}

#[test]
fn a_rule_that_seldom_fires_draws_from_its_whole_distribution() {
    // With one draw for both, the tenth that fires would have the shortest tenth of the delays.
    let draws = draws(Delay::uniform(ms(50), ms(50)).unwrap(), 10.0);
    assert_share("hits", draws.len() as u64, MILLION, 0.1);
    for (share, _) in SHARES {
        assert_at_most(&draws, 100.0 * share, share);
    }
}
