//! Distributions of delays.

use std::fmt;
use std::time::Duration;

use super::draw::Draws;
use super::error::DelayError;
use super::limits::MAX_DELAY;
use super::normal;
use crate::order;

/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_840_8;

/// A distribution of delays.
#[derive(Clone, Debug, PartialEq)]
pub struct Delay(Distribution);

/// The shape of a [`Delay`] and its parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Constant.
    Fixed(Duration),
    /// Uniform.
    Uniform {
        /// The mean.
        mean: Duration,
        /// Half the width of the range.
        jitter: Duration,
    },
    /// Normal.
    Normal {
        /// The mean.
        mean: Duration,
        /// The standard deviation.
        deviation: Duration,
    },
    /// Log-normal.
    LogNormal {
        /// The 50th percentile.
        median: Duration,
        /// The 99th percentile.
        p99: Duration,
    },
    /// Exponential.
    Exponential {
        /// The mean.
        mean: Duration,
    },
    /// Percentiles (0 to 100) and their delays, increasing.
    Percentiles(Vec<(f64, Duration)>),
}

impl Delay {
    /// A constant delay.
    pub fn fixed(delay: Duration) -> Result<Self, DelayError> {
        check("fixed", delay)?;
        Ok(Self(Distribution::Fixed(delay)))
    }

    /// Uniform between `mean` − `jitter` and `mean` + `jitter`; negative values become 0.
    pub fn uniform(mean: Duration, jitter: Duration) -> Result<Self, DelayError> {
        check("jitter", jitter)?;
        limit(mean)?;
        Ok(Self(Distribution::Uniform { mean, jitter }))
    }

    /// Normal with the given standard deviation; negative values become 0.
    pub fn normal(mean: Duration, deviation: Duration) -> Result<Self, DelayError> {
        check("jitter", deviation)?;
        limit(mean)?;
        Ok(Self(Distribution::Normal { mean, deviation }))
    }

    /// Log-normal, defined by two percentiles.
    pub fn log_normal(median: Duration, p99: Duration) -> Result<Self, DelayError> {
        check("median", median)?;
        limit(p99)?;
        if p99 < median {
            return Err(DelayError::P99BelowMedian);
        }
        Ok(Self(Distribution::LogNormal { median, p99 }))
    }

    /// Exponential.
    pub fn exponential(mean: Duration) -> Result<Self, DelayError> {
        check("mean", mean)?;
        Ok(Self(Distribution::Exponential { mean }))
    }

    /// A table of percentiles (0 to 100) and their delays, in any order. Between two entries, the logarithm of the
    /// delay is interpolated linearly (the delay itself if the lower one is 0); outside, the delay of the nearest
    /// entry applies.
    pub fn percentiles(mut table: Vec<(f64, Duration)>) -> Result<Self, DelayError> {
        if table.is_empty() {
            return Err(DelayError::NoPercentile);
        }
        for &(percentile, delay) in &table {
            if !(0.0..=100.0).contains(&percentile) {
                return Err(DelayError::Percentile(percentile));
            }
            limit(delay)?;
        }
        order::sort_by(&mut table, |a, b| a.0.total_cmp(&b.0));
        for pair in table.windows(2) {
            let ((lower, short), (higher, long)) = (pair[0], pair[1]);
            if lower >= higher {
                return Err(DelayError::PercentileTwice(lower));
            }
            if long < short {
                return Err(DelayError::NotRising { lower, higher });
            }
        }
        Ok(Self(Distribution::Percentiles(table)))
    }

    /// The delay of request `number`. A constant delay needs no draw.
    pub(super) fn draw(&self, draws: &Draws, number: u64) -> Duration {
        match self.0 {
            Distribution::Fixed(delay) => delay,
            _ => self.quantile(draws.quantile(number)),
        }
    }

    /// The shape and parameters.
    pub fn distribution(&self) -> &Distribution {
        &self.0
    }

    /// The `p`-quantile, `p` in (0, 1). With a uniformly drawn `p`, it is a sample.
    pub fn quantile(&self, p: f64) -> Duration {
        match &self.0 {
            Distribution::Fixed(delay) => *delay,
            Distribution::Uniform { mean, jitter } => {
                from_nanos(nanos(*mean) + nanos(*jitter) * (2.0 * p - 1.0))
            }
            Distribution::Normal { mean, deviation } => {
                from_nanos(nanos(*mean) + nanos(*deviation) * normal::quantile(p))
            }
            Distribution::LogNormal { median, p99 } => {
                let sigma = libm::log(nanos(*p99) / nanos(*median)) / Z99;
                from_nanos(nanos(*median) * libm::exp(sigma * normal::quantile(p)))
            }
            Distribution::Exponential { mean } => from_nanos(-nanos(*mean) * libm::log(1.0 - p)),
            Distribution::Percentiles(table) => interpolated(table, p * 100.0),
        }
    }
}

/// Writes the delay as in a plan.
impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Distribution::Fixed(delay) => write!(f, "{delay:?}"),
            Distribution::Uniform { mean, jitter } => write!(f, "{mean:?} ± {jitter:?}"),
            Distribution::Normal { mean, deviation } => write!(f, "normal {mean:?} ± {deviation:?}"),
            Distribution::LogNormal { median, p99 } => write!(f, "lognormal median {median:?} p99 {p99:?}"),
            Distribution::Exponential { mean } => write!(f, "exponential mean {mean:?}"),
            Distribution::Percentiles(table) => {
                for (i, (percentile, delay)) in table.iter().enumerate() {
                    write!(f, "{}p{percentile} {delay:?}", if i == 0 { "" } else { " " })?;
                }
                Ok(())
            }
        }
    }
}

fn interpolated(table: &[(f64, Duration)], percentile: f64) -> Duration {
    let above = table.partition_point(|(p, _)| *p < percentile);
    if above == 0 {
        return table[0].1;
    }
    let Some(&(high, long)) = table.get(above) else { return table[above - 1].1 };
    let (low, short) = table[above - 1];
    let share = (percentile - low) / (high - low);
    if short.is_zero() {
        return from_nanos(nanos(long) * share);
    }
    let (low, high) = (libm::log(nanos(short)), libm::log(nanos(long)));
    from_nanos(libm::exp(low + (high - low) * share))
}

fn nanos(delay: Duration) -> f64 {
    delay.as_nanos() as f64
}

fn from_nanos(nanos: f64) -> Duration {
    // A cast from f64 saturates and maps NaN to 0.
    Duration::from_nanos(libm::round(nanos) as u64).min(MAX_DELAY)
}

fn check(field: &'static str, delay: Duration) -> Result<(), DelayError> {
    if delay.is_zero() {
        return Err(DelayError::Zero(field));
    }
    limit(delay)
}

fn limit(delay: Duration) -> Result<(), DelayError> {
    if delay > MAX_DELAY { Err(DelayError::TooLong(delay)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn close(delay: Duration, millis: f64) -> bool {
        (delay.as_secs_f64() * 1e3 - millis).abs() < 1e-4
    }

    #[test]
    fn each_distribution_has_the_quantiles_that_define_it() {
        let uniform = Delay::uniform(ms(50), ms(10)).unwrap();
        assert!(close(uniform.quantile(0.25), 45.0) && close(uniform.quantile(0.75), 55.0));
        let normal = Delay::normal(ms(50), ms(10)).unwrap();
        assert!(close(normal.quantile(0.5), 50.0) && close(normal.quantile(0.841_344_746_068_543), 60.0));
        let log_normal = Delay::log_normal(ms(20), ms(400)).unwrap();
        assert!(close(log_normal.quantile(0.5), 20.0) && close(log_normal.quantile(0.99), 400.0));
        let exponential = Delay::exponential(ms(100)).unwrap();
        assert!(close(exponential.quantile(1.0 - (-1.0_f64).exp()), 100.0));
        let table = Delay::percentiles(vec![(99.0, ms(400)), (50.0, ms(20)), (90.0, ms(80))]).unwrap();
        for (p, millis) in
            [(0.01, 20.0), (0.5, 20.0), (0.7, 40.0), (0.9, 80.0), (0.99, 400.0), (0.999, 400.0)]
        {
            assert!(close(table.quantile(p), millis), "p{p}: {:?}", table.quantile(p));
        }
    }

    #[test]
    fn a_negative_draw_is_zero() {
        assert_eq!(Delay::normal(ms(1), ms(10)).unwrap().quantile(0.1), Duration::ZERO);
        assert_eq!(Delay::uniform(ms(1), ms(10)).unwrap().quantile(0.1), Duration::ZERO);
    }

    #[test]
    fn draws_are_clamped_to_the_limit() {
        let wild = Delay::log_normal(Duration::from_nanos(1), MAX_DELAY).unwrap();
        assert_eq!(wild.quantile(1.0 - 1e-16), MAX_DELAY);
    }

    #[test]
    fn invalid_delays_are_rejected_with_a_reason() {
        assert_eq!(Delay::fixed(Duration::ZERO), Err(DelayError::Zero("fixed")));
        assert_eq!(Delay::fixed(Duration::MAX), Err(DelayError::TooLong(Duration::MAX)));
        assert_eq!(Delay::log_normal(ms(2), ms(1)), Err(DelayError::P99BelowMedian));
        let falling = Delay::percentiles(vec![(50.0, ms(2)), (90.0, ms(1))]).unwrap_err();
        assert_eq!(falling.to_string(), "`p90` must not be below `p50`");
        assert_eq!(
            Delay::percentiles(vec![(50.0, ms(2)), (50.0, ms(2))]),
            Err(DelayError::PercentileTwice(50.0))
        );
    }

    proptest! {
        #[test]
        fn a_higher_quantile_is_never_shorter(
            a in 1..10_000_u64, b in 1..10_000_u64, p in 0.000_1..0.999_9_f64, q in 0.000_1..0.999_9_f64
        ) {
            let (low, high) = (ms(a.min(b)), ms(a.max(b)));
            let (p, q) = (p.min(q), p.max(q));
            for delay in [
                Delay::uniform(high, low),
                Delay::normal(high, low),
                Delay::log_normal(low, high),
                Delay::exponential(high),
                Delay::percentiles(vec![(10.0, low), (95.0, high)]),
            ] {
                let delay = delay.unwrap();
                prop_assert!(delay.quantile(p) <= delay.quantile(q), "{}", delay);
            }
        }
    }
}
