//! The progress of predictions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The simulated virtual time, over all Pods and runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// The time that is simulated, in seconds of one Pod.
    done: AtomicU64,
    /// The time to simulate, in the same unit.
    total: AtomicU64,
}

impl Progress {
    /// Adds the time of a number of Pods to the total.
    pub fn expect(&self, pods: usize, time: Duration) {
        self.total.fetch_add(pods as u64 * time.as_secs(), Ordering::Relaxed);
    }

    /// Marks the time of a number of Pods as done.
    pub(crate) fn advance(&self, pods: usize, time: Duration) {
        self.done.fetch_add(pods as u64 * time.as_secs(), Ordering::Relaxed);
    }

    /// The share that is done, in percent.
    pub fn percent(&self) -> u64 {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        (100 * done).checked_div(total).unwrap_or_default().min(100)
    }
}

/// Options are equal whatever their progress.
impl PartialEq for Progress {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Progress {}
