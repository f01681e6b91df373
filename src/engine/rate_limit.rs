//! A limit of reports per second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The low bits hold the number of reports in the current second, the others the second.
const COUNT_BITS: u32 = 8;

/// Admits a number of reports per second and counts the rest.
#[derive(Debug)]
pub(crate) struct RateLimit {
    /// Reports per second, at most 254.
    limit: u8,
    state: AtomicU64,
    omitted: AtomicU64,
}

impl RateLimit {
    pub(crate) const fn new(limit: u8) -> Self {
        Self { limit, state: AtomicU64::new(0), omitted: AtomicU64::new(0) }
    }

    /// Whether another report may be made at `now`, on any monotonic clock.
    pub(crate) fn admits(&self, now: Duration) -> bool {
        let second = now.as_secs() << COUNT_BITS;
        let state = self.state.load(Ordering::Relaxed);
        let next = if state >> COUNT_BITS << COUNT_BITS == second { state + 1 } else { second + 1 };
        // A report that loses a race is omitted.
        let admitted = next - second <= self.limit.into()
            && self.state.compare_exchange(state, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !admitted {
            self.omitted.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// Number of reports rejected since the last call.
    pub(crate) fn take_omitted(&self) -> u64 {
        self.omitted.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_admits_up_to_the_limit_and_counts_the_rest() {
        let rate_limit = RateLimit::new(10);
        let admitted = (0..3_000).filter(|ms| rate_limit.admits(Duration::from_millis(*ms))).count();
        assert_eq!((admitted, rate_limit.take_omitted(), rate_limit.take_omitted()), (30, 2_970, 0));
    }
}
