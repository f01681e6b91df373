//! Spare header maps, which keep memory with the allocator between requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use hyper::HeaderMap;

use crate::listener::budget::{BudgetShare, MemoryBudget, Reservation};
use crate::listener::handler::map_memory;

/// How many requests of a listener are sampled.
const SAMPLED_REQUESTS: usize = 48;

/// One spare map is kept per this many sampled requests.
const REQUESTS_PER_SPARE: usize = 3;

/// The largest capacity of a kept map, in fields.
const MAX_FIELDS: usize = 32;

/// Keeps a few empty header maps, allocated among those of the first HTTP/2 requests.
///
/// h2 decodes all requests that have arrived before the first is answered, and their header maps are freed together. If
/// nothing else on their pages is in use, the allocator returns the pages to the kernel and maps them again for the next
/// read: a quarter of the CPU time of small requests. The spare maps keep the pages in use.
#[derive(Debug, Default)]
pub struct SpareMaps {
    sampled: AtomicUsize,
    kept: Mutex<Vec<(HeaderMap, Reservation)>>,
}

impl SpareMaps {
    /// Perhaps keeps a map of the same capacity as that of a request.
    pub(super) fn sample(&self, fields: &HeaderMap, budget: &MemoryBudget) {
        // A load first: this runs for each request.
        if self.sampled.load(Ordering::Relaxed) >= SAMPLED_REQUESTS || fields.capacity() > MAX_FIELDS {
            return;
        }
        let number = self.sampled.fetch_add(1, Ordering::Relaxed);
        if number >= SAMPLED_REQUESTS || !number.is_multiple_of(REQUESTS_PER_SPARE) {
            return;
        }
        let spare = HeaderMap::with_capacity(fields.capacity());
        if let Some(reservation) = budget.try_reserve(map_memory(&spare), BudgetShare::Ordinary) {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).push((spare, reservation));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::Engine;
    use crate::fault::{ActivePlan, Plan, Seed};
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn a_third_of_the_first_requests_leave_a_map_that_is_counted_unless_theirs_is_large() {
        let engine = Engine::new(ActivePlan::new(Plan::new(Vec::new()).unwrap(), Seed(1), true));
        let budget = MemoryBudget::of_container(None, 0, Arc::new(Metrics::new(engine).unwrap()));
        let (small, large) = (HeaderMap::with_capacity(6), HeaderMap::with_capacity(MAX_FIELDS + 1));
        let spare = SpareMaps::default();
        for _ in 0..2 * SAMPLED_REQUESTS {
            spare.sample(&large, &budget);
            spare.sample(&small, &budget);
        }
        let kept = spare.kept.lock().unwrap();
        assert_eq!(kept.len(), SAMPLED_REQUESTS / REQUESTS_PER_SPARE);
        assert!(kept.iter().all(|(map, _)| map.capacity() == small.capacity()));
        assert_eq!(budget.used(), kept.len() * map_memory(&small));
    }
}
