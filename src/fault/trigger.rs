//! When a rule fires.

use std::fmt;
use std::time::Duration;

use super::draw::Draws;

/// The longest mean run of a [`Burst`]; it bounds how far a decision reads back.
pub const MAX_BURST: f64 = 100.0;

/// By how much a burst may lie below its minimum, so that one can be written down: 1/(1−0.9) is a little above 10 in
/// binary.
const TOLERANCE: f64 = 1e-9;

/// What is wrong with a condition. The text says what would be right.
#[derive(Clone, Debug, PartialEq)]
pub enum TriggerError {
    /// `every` without `for`.
    EveryWithoutFor,
    /// `for` is not below `every`.
    ForNotBelowEvery {
        /// The length of the window.
        length: String,
        /// The period.
        period: String,
    },
    /// A `for` or `every` of zero.
    Zero(&'static str),
    /// A share outside 0 % to 100 %.
    Rate(f64),
    /// A burst shorter than its rate allows.
    BurstTooShort {
        /// The mean run asked for.
        burst: f64,
        /// The rate, in percent.
        percent: f64,
        /// The shortest mean run at that rate.
        minimum: f64,
    },
    /// A burst above [`MAX_BURST`], or not a number.
    BurstOutOfRange(f64),
    /// A burst at a rate, in percent, whose runs are longer than [`MAX_BURST`] anyway.
    BurstAtHighRate(f64),
}

impl fmt::Display for TriggerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EveryWithoutFor => f.write_str("`every` needs a `for`, the length of each window"),
            Self::ForNotBelowEvery { length, period } => {
                write!(f, "`for` ({length}) must be shorter than `every` ({period})")
            }
            Self::Zero(field) => write!(f, "`{field}` must be more than 0; leave it out for none"),
            Self::Rate(percent) => write!(f, "a rate of {percent}% is not between 0% and 100%"),
            Self::BurstTooShort { burst, percent, minimum } => {
                // Rounded up, so that what the message names is accepted.
                let minimum = ((minimum - TOLERANCE) * 1e3).ceil() / 1e3;
                write!(
                    f,
                    "a burst of {burst} is too short for a rate of {percent}%: {minimum} is the least, where draws are independent"
                )
            }
            Self::BurstOutOfRange(burst) => write!(f, "a burst of {burst} is not between 1 and {MAX_BURST}"),
            Self::BurstAtHighRate(percent) => {
                write!(f, "a burst needs a rate of at most {}%, not {percent}%", 100.0 - 100.0 / MAX_BURST)
            }
        }
    }
}

/// A window in time, measured from the rule's origin: open from `after` on, for `length`, again each `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindow {
    after: Duration,
    length: Option<Duration>,
    period: Option<Duration>,
}

impl TimeWindow {
    /// A window; without a `length` it stays open, without a `period` it opens once.
    pub fn new(
        after: Duration,
        length: Option<Duration>,
        period: Option<Duration>,
    ) -> Result<Self, TriggerError> {
        check_window(length, period, Duration::ZERO, |value| format!("{value:?}"))?;
        Ok(Self { after, length, period })
    }

    /// How long after the origin the first window opens.
    pub fn after(&self) -> Duration {
        self.after
    }

    /// How long each window is open; absent: for ever.
    pub fn length(&self) -> Option<Duration> {
        self.length
    }

    /// The distance between the openings of two windows; absent: there is one.
    pub fn period(&self) -> Option<Duration> {
        self.period
    }

    /// How long the window has been open at `since` (the time from the origin), if it is open.
    pub fn open_for(&self, since: Duration) -> Option<Duration> {
        let position = self.position(since)?;
        self.length.is_none_or(|length| position < length).then_some(position)
    }

    /// The next instant after `since` at which the window opens or closes.
    pub fn next_change(&self, since: Duration) -> Option<Duration> {
        let Some(position) = self.position(since) else { return Some(self.after) };
        let length = self.length?;
        let left = match length.checked_sub(position).filter(|left| !left.is_zero()) {
            Some(open) => open,
            None => self.period?.checked_sub(position)?,
        };
        since.checked_add(left)
    }

    /// How much of the time from the origin to `since` the window was open.
    pub fn open_time(&self, since: Duration) -> Duration {
        let Some(running) = since.checked_sub(self.after) else { return Duration::ZERO };
        let Some(length) = self.length else { return running };
        let Some(period) = self.period else { return running.min(length) };
        let (running, length, period) = (nanos(running), nanos(length), nanos(period));
        Duration::from_nanos(running / period * length + (running % period).min(length))
    }

    /// The time since the last opening, windows that have closed again included.
    fn position(&self, since: Duration) -> Option<Duration> {
        let running = since.checked_sub(self.after)?;
        Some(match self.period {
            Some(period) => Duration::from_nanos(nanos(running) % nanos(period)),
            None => running,
        })
    }
}

/// Nanoseconds in 64 bits last for 584 years; a division by 128 bits is four times as slow.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A window in requests, measured from the rule's origin: the first `after` pass, the next `length` are in the window,
/// again each `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestWindow {
    after: u64,
    length: Option<u64>,
    period: Option<u64>,
}

impl RequestWindow {
    /// A window; without a `length` it stays open, without a `period` it opens once.
    pub fn new(after: u64, length: Option<u64>, period: Option<u64>) -> Result<Self, TriggerError> {
        check_window(length, period, 0, |value| value.to_string())?;
        Ok(Self { after, length, period })
    }

    /// How many requests pass before the first window.
    pub fn after(&self) -> u64 {
        self.after
    }

    /// How many requests each window holds; absent: all that follow.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The distance between the first requests of two windows; absent: there is one.
    pub fn period(&self) -> Option<u64> {
        self.period
    }

    /// Whether the `count`-th request since the origin, from 1 on, is in the window.
    pub fn is_open(&self, count: u64) -> bool {
        let Some(position) = count.checked_sub(1).and_then(|before| before.checked_sub(self.after)) else {
            return false;
        };
        let position = self.period.map_or(position, |period| position % period);
        self.length.is_none_or(|length| position < length)
    }
}

fn check_window<T: PartialOrd + Copy>(
    length: Option<T>,
    period: Option<T>,
    zero: T,
    show: impl Fn(T) -> String,
) -> Result<(), TriggerError> {
    for (field, value) in [("for", length), ("every", period)] {
        if value.is_some_and(|value| value <= zero) {
            return Err(TriggerError::Zero(field));
        }
    }
    match (length, period) {
        (None, Some(_)) => Err(TriggerError::EveryWithoutFor),
        (Some(length), Some(period)) if length >= period => {
            Err(TriggerError::ForNotBelowEvery { length: show(length), period: show(period) })
        }
        _ => Ok(()),
    }
}

/// The share of the eligible requests that a rule hits, kept in percent as it was written.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// Every request.
    pub const ALWAYS: Self = Self(100.0);

    /// A rate from a percentage between 0 and 100.
    pub fn from_percent(percent: f64) -> Result<Self, TriggerError> {
        // The comparison is false for NaN, too.
        if (0.0..=100.0).contains(&percent) { Ok(Self(percent)) } else { Err(TriggerError::Rate(percent)) }
    }

    /// The rate in percent.
    pub fn percent(self) -> f64 {
        self.0
    }

    /// Whether every eligible request is hit.
    pub fn is_always(self) -> bool {
        self.0 >= 100.0
    }

    fn share(self) -> f64 {
        self.0 / 100.0
    }
}

/// The mean number of consecutive requests that a rule hits.
///
/// Hits follow a two-state chain (Gilbert 1960, Elliott 1963) over the request numbers. With a rate *r* and a mean run
/// *b*, a run ends with probability 1/*b* and begins with *r*/((1−*r*) *b*). Each draw either forces a hit, forces
/// none, or keeps what was; so the state at *n* is that of the last forcing draw, found by reading the draws
/// backwards, (1−*r*) *b* of them on average. Number 0 is drawn by the rate alone: the chain is stationary from the
/// start.
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
            return Err(TriggerError::BurstTooShort { burst: mean, percent: rate.percent(), minimum });
        }
        Ok(Self(mean))
    }

    /// The mean run, in requests.
    pub fn mean(self) -> f64 {
        self.0
    }

    fn hits(self, rate: f64, draws: &Draws, number: u64) -> bool {
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

/// All conditions of a rule; each that is given must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// The window in time.
    pub time: Option<TimeWindow>,
    /// The window in requests.
    pub requests: Option<RequestWindow>,
    /// The share of the requests in the window.
    pub rate: Rate,
    /// The mean run of hits; absent: each draw stands alone. It fits the rate, as [`Burst::new`] has it.
    pub burst: Option<Burst>,
    /// How long the rate rises from 0 after the window in time opens; more than 0.
    pub ramp: Option<Duration>,
}

impl Trigger {
    /// Fires for every request, at any time.
    pub const ALWAYS: Self = Self { time: None, requests: None, rate: Rate::ALWAYS, burst: None, ramp: None };

    /// Whether burst and rate fit, and the ramp takes time.
    pub(super) fn check(&self) -> Result<(), TriggerError> {
        if let Some(burst) = self.burst {
            Burst::new(burst.mean(), self.rate)?;
        }
        if self.ramp.is_some_and(|ramp| ramp.is_zero()) {
            return Err(TriggerError::Zero("ramp"));
        }
        Ok(())
    }

    /// How long the window in time has been open at `since`, the time from the origin; `None` while it is closed.
    pub fn open_for(&self, since: Duration) -> Option<Duration> {
        self.time.map_or(Some(since), |time| time.open_for(since))
    }

    /// Whether a request is eligible: the `count`-th since the origin, at `since` from the origin.
    pub fn is_open(&self, since: Duration, count: u64) -> bool {
        self.open_for(since).is_some() && self.requests.is_none_or(|window| window.is_open(count))
    }

    /// Whether every request in the window is hit.
    pub fn is_certain(&self) -> bool {
        self.rate.is_always() && self.ramp.is_none()
    }

    /// Whether the eligible request `number`, at `open_for` since the window opened, is hit.
    pub(super) fn hits(&self, open_for: Duration, draws: &Draws, number: u64) -> bool {
        let rate = match self.ramp {
            Some(ramp) if open_for < ramp => {
                self.rate.share() * (open_for.as_secs_f64() / ramp.as_secs_f64())
            }
            _ => self.rate.share(),
        };
        match self.burst {
            Some(burst) => burst.hits(rate, draws, number),
            // A share is at least 0 and below 1, so that 0 % never hits and 100 % always does.
            None => draws.share(number) < rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_window_in_time_opens_closes_and_repeats() {
        let window = TimeWindow::new(s(60), Some(s(20)), Some(s(300))).unwrap();
        let open: Vec<u64> = (0..700).filter(|t| window.open_for(s(*t)).is_some()).collect();
        let expected: Vec<u64> = (60..80).chain(360..380).chain(660..680).collect();
        assert_eq!(open, expected);
    }

    #[test]
    fn a_window_in_requests_lets_the_first_pass_and_repeats() {
        let window = RequestWindow::new(10, Some(3), Some(20)).unwrap();
        let open: Vec<u64> = (0..56).filter(|n| window.is_open(*n)).collect();
        assert_eq!(open, [11, 12, 13, 31, 32, 33, 51, 52, 53]);
    }

    #[test]
    fn windows_that_cannot_be_are_refused_with_the_reason() {
        let error = |length, period| TimeWindow::new(s(0), length, period).unwrap_err().to_string();
        assert_eq!(error(None, Some(s(5))), "`every` needs a `for`, the length of each window");
        assert_eq!(error(Some(s(5)), Some(s(5))), "`for` (5s) must be shorter than `every` (5s)");
        assert_eq!(error(Some(s(0)), None), "`for` must be more than 0; leave it out for none");
        assert_eq!(RequestWindow::new(0, Some(1), Some(0)), Err(TriggerError::Zero("every")));
    }

    #[test]
    fn a_burst_below_its_minimum_names_the_minimum() {
        let half = Rate::from_percent(50.0).unwrap();
        assert!(Burst::new(2.0, half).is_ok());
        assert_eq!(
            Burst::new(1.5, half).unwrap_err().to_string(),
            "a burst of 1.5 is too short for a rate of 50%: 2 is the least, where draws are independent"
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
            let named = error.split_once("%: ").unwrap().1.split_once(" is the least").unwrap().0;
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

    prop_compose! {
        fn windows()(after in 0..50_u64, length in 1..20_u64, more in 1..20_u64, kind in 0..3) -> TimeWindow {
            let length = (kind > 0).then_some(s(length));
            TimeWindow::new(s(after), length, length.filter(|_| kind > 1).map(|length| length + s(more))).unwrap()
        }
    }

    proptest! {
        #[test]
        fn the_open_time_is_the_sum_of_the_open_seconds(window in windows(), end in 0..300_u64) {
            let counted = (0..end).filter(|t| window.open_for(s(*t)).is_some()).count() as u64;
            prop_assert_eq!(window.open_time(s(end)), s(counted));
        }

        #[test]
        fn the_next_change_is_the_first_second_that_differs(window in windows(), now in 0..200_u64) {
            let open = |t: u64| window.open_for(s(t)).is_some();
            let changed = (now + 1..now + 300).find(|t| open(*t) != open(now));
            prop_assert_eq!(window.next_change(s(now)), changed.map(s));
        }
    }
}
