//! How far predictions are, for whoever watches them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Virtual time that has been simulated, over all Pods and runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// In seconds of one Pod.
    done: AtomicU64,
    /// All that there is to do, in the same unit.
    total: AtomicU64,
}

impl Progress {
    /// Adds the time of so many Pods to what there is to do.
    pub fn expect(&self, pods: usize, time: Duration) {
        self.total.fetch_add(pods as u64 * time.as_secs(), Ordering::Relaxed);
    }

    /// The time of so many Pods is done.
    pub(super) fn advance(&self, pods: usize, time: Duration) {
        self.done.fetch_add(pods as u64 * time.as_secs(), Ordering::Relaxed);
    }

    /// The share that is done, in per cent.
    pub fn percent(&self) -> u64 {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        (100 * done).checked_div(total).unwrap_or_default().min(100)
    }
}

/// What watches is no part of the options that it is given with.
impl PartialEq for Progress {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Progress {}
