//! The rate of a rule and the length of its runs.

use super::draw::Draws;
use super::error::TriggerError;
use super::limits::MAX_BURST;

/// Tolerance below the minimum of a burst: 1/(1−0.9) is slightly above 10 in binary, and 10 must be accepted.
const TOLERANCE: f64 = 1e-9;

/// The share of eligible requests that a rule acts on, in percent as written.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// Every request.
    pub const ALWAYS: Self = Self(100.0);

    /// A rate from a percentage between 0 and 100.
    pub fn from_percent(percent: f64) -> Result<Self, TriggerError> {
        // The comparison is also false for NaN.
        if (0.0..=100.0).contains(&percent) { Ok(Self(percent)) } else { Err(TriggerError::Rate(percent)) }
    }

    /// The rate in percent.
    pub fn percent(self) -> f64 {
        self.0
    }

    /// Whether it acts on every eligible request.
    pub fn is_always(self) -> bool {
        self.0 >= 100.0
    }

    pub(super) fn share(self) -> f64 {
        self.0 / 100.0
    }
}

/// The mean number of consecutive requests that a rule acts on.
///
/// Hits follow a two-state Markov chain (Gilbert 1960, Elliott 1963) over the request numbers. With rate *r* and mean
/// run *b*, a run ends with probability 1/*b* and starts with probability *r*/((1−*r*) *b*). Each draw either forces
/// a hit, forces a miss, or keeps the state; so the state at *n* is that of the last forcing draw, found by reading
/// draws backwards, (1−*r*) *b* of them on average. Number 0 is drawn by the rate alone, which makes the chain
/// stationary from the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst(f64);

impl Burst {
    /// A mean run for `rate`: at least 1/(1−rate), at most [`MAX_BURST`].
    pub fn new(mean: f64, rate: Rate) -> Result<Self, TriggerError> {
        if !(1.0..=MAX_BURST).contains(&mean) {
            return Err(TriggerError::BurstOutOfRange(mean));
        }
        let minimum = 1.0 / (1.0 - rate.share());
        if minimum - TOLERANCE > MAX_BURST {
            return Err(TriggerError::BurstAtHighRate(rate.percent()));
        }
        if mean < minimum - TOLERANCE {
            // Rounded up, so that the value in the message is accepted.
            let minimum = ((minimum - TOLERANCE) * 1e3).ceil() / 1e3;
            return Err(TriggerError::BurstTooShort { burst: mean, percent: rate.percent(), minimum });
        }
        Ok(Self(mean))
    }

    /// The mean run in requests.
    pub fn mean(self) -> f64 {
        self.0
    }

    /// Whether request `number` is a hit at `rate`, which must not exceed the rate that the burst was checked
    /// against.
    pub(super) fn hits(self, rate: f64, draws: &Draws, number: u64) -> bool {
        let ends = 1.0 / self.0;
        let begins = ends * rate / (1.0 - rate);
        let mut number = number;
        while number > 0 {
            let draw = draws.share(number);
            if draw < begins {
                return true;
            }
            if draw >= 1.0 - ends {
                return false;
            }
            number -= 1;
        }
        draws.share(0) < rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_below_its_minimum_names_the_minimum() {
        let half = Rate::from_percent(50.0).unwrap();
        assert!(Burst::new(2.0, half).is_ok());
        assert_eq!(
            Burst::new(1.5, half).unwrap_err().to_string(),
            "a burst of 1.5 is too short for a rate of 50%: 2 is the minimum, with independent draws"
        );
        assert!(Burst::new(10.0, Rate::from_percent(90.0).unwrap()).is_ok());
        assert_eq!(Burst::new(101.0, half), Err(TriggerError::BurstOutOfRange(101.0)));
        assert!(matches!(Burst::new(f64::NAN, half), Err(TriggerError::BurstOutOfRange(_))));
    }

    #[test]
    fn the_minimum_that_is_named_is_accepted() {
        for percent in [1.0, 7.0, 25.0, 29.0, 33.3, 80.0, 90.0, 98.7, 99.0] {
            let rate = Rate::from_percent(percent).unwrap();
            let error = Burst::new(1.0, rate).unwrap_err().to_string();
            let named = error.split_once("%: ").unwrap().1.split_once(" is the minimum").unwrap().0;
            assert!(Burst::new(named.parse().unwrap(), rate).is_ok(), "{error}");
            assert!(error.contains(&format!("for a rate of {percent}%")), "{error}");
        }
    }

    #[test]
    fn a_burst_where_the_rate_alone_makes_longer_runs_names_the_highest_rate() {
        for percent in [99.1, 100.0] {
            assert_eq!(
                Burst::new(100.0, Rate::from_percent(percent).unwrap()).unwrap_err().to_string(),
                format!("a burst needs a rate of at most 99%, not {percent}%")
            );
        }
        assert!(Burst::new(100.0, Rate::from_percent(99.0).unwrap()).is_ok());
    }

    #[test]
    fn a_rate_is_a_percentage() {
        for wrong in [-1.0, 100.1, f64::NAN, f64::INFINITY] {
            assert!(Rate::from_percent(wrong).is_err(), "{wrong}");
        }
    }
}
