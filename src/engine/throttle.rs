//! A limit of reports per second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The low bits of the state count the reports of a second; the others hold the second.
const COUNT_BITS: u32 = 8;

/// Admits a number of reports in each second and counts the others.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// Reports a second, at most 254.
    limit: u8,
    state: AtomicU64,
    omitted: AtomicU64,
}

impl Throttle {
    pub(crate) const fn new(limit: u8) -> Self {
        Self { limit, state: AtomicU64::new(0), omitted: AtomicU64::new(0) }
    }

    /// Whether one more may be reported at `now`, on any clock that does not go back.
    pub(crate) fn admits(&self, now: Duration) -> bool {
        let second = now.as_secs() << COUNT_BITS;
        let state = self.state.load(Ordering::Relaxed);
        let next = if state >> COUNT_BITS << COUNT_BITS == second { state + 1 } else { second + 1 };
        // A report that loses a race with another one is omitted.
        let admitted = next - second <= self.limit.into()
            && self.state.compare_exchange(state, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !admitted {
            self.omitted.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// How many reports were refused since the last call.
    pub(crate) fn take_omitted(&self) -> u64 {
        self.omitted.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_admits_its_share_and_the_rest_is_counted() {
        let throttle = Throttle::new(10);
        let admitted = (0..3_000).filter(|ms| throttle.admits(Duration::from_millis(*ms))).count();
        assert_eq!((admitted, throttle.take_omitted(), throttle.take_omitted()), (30, 2_970, 0));
    }
}
