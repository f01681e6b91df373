//! Counters of requested faults.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Limit of distinct pairs of target and mode. Only proxies that come and go can reach it.
const MAX_ENTRIES: usize = 2_000;

/// The name under which requested faults appear in metrics and answers.
pub const REQUESTED_RULE: &str = "request";

/// Counts by target, and by target and mode.
#[derive(Debug, Default)]
pub(super) struct RequestedCounters(Mutex<Counts>);

#[derive(Clone, Debug, Default)]
struct Counts {
    eligible: BTreeMap<String, u64>,
    injected: BTreeMap<(String, &'static str), u64>,
}

impl RequestedCounters {
    fn with<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn count_eligible(&self, target: &str) {
        self.with(|counts| {
            let is_full = counts.eligible.len() >= MAX_ENTRIES;
            match counts.eligible.get_mut(target) {
                Some(count) => *count += 1,
                None if !is_full => {
                    counts.eligible.insert(target.to_owned(), 1);
                }
                None => {}
            }
        });
    }

    pub(super) fn count_injected(&self, target: &str, mode: &'static str) {
        self.with(|counts| {
            let is_full = counts.injected.len() >= MAX_ENTRIES;
            let key = (target.to_owned(), mode);
            match counts.injected.get_mut(&key) {
                Some(count) => *count += 1,
                None if !is_full => {
                    counts.injected.insert(key, 1);
                }
                None => {}
            }
        });
    }

    pub(super) fn eligible(&self) -> Vec<(String, u64)> {
        self.with(|counts| counts.eligible.clone()).into_iter().collect()
    }

    pub(super) fn injected(&self) -> Vec<(String, &'static str, u64)> {
        let injected = self.with(|counts| counts.injected.clone());
        injected.into_iter().map(|((target, mode), count)| (target, mode, count)).collect()
    }
}
