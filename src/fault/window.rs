//! Time windows and request windows.

use std::time::Duration;

use super::error::TriggerError;
use super::limits::MIN_WINDOW;

/// A time window relative to the rule's origin: opens after `after`, stays open for `length`, repeats every `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindow {
    after: Duration,
    length: Option<Duration>,
    period: Option<Duration>,
}

impl TimeWindow {
    /// A window; without a `length` it stays open, without a `period` it opens once. Both are at least [`MIN_WINDOW`].
    pub fn new(
        after: Duration,
        length: Option<Duration>,
        period: Option<Duration>,
    ) -> Result<Self, TriggerError> {
        check_window(length, period, Duration::ZERO, |value| format!("{value:?}"))?;
        for (field, value) in [("for", length), ("every", period)] {
            if let Some(value) = value.filter(|value| *value < MIN_WINDOW) {
                return Err(TriggerError::TooShort { field, value });
            }
        }
        Ok(Self { after, length, period })
    }

    /// Time from the origin to the first window.
    pub fn after(&self) -> Duration {
        self.after
    }

    /// Length of each window; absent: unlimited.
    pub fn length(&self) -> Option<Duration> {
        self.length
    }

    /// Time between the openings of two windows; absent: a single window.
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

    /// Total open time between the origin and `since`.
    pub fn open_time(&self, since: Duration) -> Duration {
        let Some(running) = since.checked_sub(self.after) else { return Duration::ZERO };
        let Some(length) = self.length else { return running };
        let Some(period) = self.period else { return running.min(length) };
        let (running, length, period) = (nanos(running), nanos(length), nanos(period));
        Duration::from_nanos(running / period * length + (running % period).min(length))
    }

    /// The time since the last opening, even if that window has closed.
    fn position(&self, since: Duration) -> Option<Duration> {
        let running = since.checked_sub(self.after)?;
        Some(match self.period {
            Some(period) => Duration::from_nanos(nanos(running) % nanos(period)),
            None => running,
        })
    }
}

/// Nanoseconds in 64 bits, enough for 584 years: a 128-bit division is four times as slow.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A request window relative to the rule's origin: skips `after` requests, contains the next `length`, and repeats
/// every `period`.
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

    /// Number of requests before the first window.
    pub fn after(&self) -> u64 {
        self.after
    }

    /// Number of requests in each window; absent: all later ones.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Number of requests between the starts of two windows; absent: a single window.
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
        assert_eq!(error(Some(s(0)), None), "`for` must be more than 0; omit it to disable it");
        assert_eq!(RequestWindow::new(0, Some(1), Some(0)), Err(TriggerError::Zero("every")));
    }

    #[test]
    fn a_window_below_ten_milliseconds_is_refused() {
        let ns = Duration::from_nanos;
        let error = |length, period| TimeWindow::new(s(0), length, period).unwrap_err();
        assert_eq!(error(Some(ns(1)), Some(ns(2))).to_string(), "`for` (1ns) must be at least 10ms");
        assert_eq!(
            error(Some(ns(9_999_999)), None),
            TriggerError::TooShort { field: "for", value: ns(9_999_999) }
        );
        assert!(TimeWindow::new(s(0), Some(ns(10_000_000)), Some(ns(10_000_001))).is_ok());
        assert!(TimeWindow::new(ns(1), None, None).is_ok(), "`after` is no period");
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
