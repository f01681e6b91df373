//! Spare header maps, which keep memory with the allocator between requests.

use std::sync::OnceLock;

use hyper::HeaderMap;

use crate::listener::budget::{BudgetShare, MemoryBudget, Reservation};
use crate::listener::handler::map_memory;

/// Maps that are allocated one after the other.
const ALLOCATED: usize = 48;

/// One in this many of them is kept; the others leave their memory to the maps of requests.
const ALLOCATED_PER_SPARE: usize = 3;

/// The largest capacity of a kept map, in fields.
const MAX_FIELDS: usize = 32;

/// Keeps a few empty header maps like that of the first HTTP/2 request.
///
/// h2 decodes all requests that have arrived before the first is answered, and their header maps are freed together. If
/// nothing else on their pages is in use, the allocator returns the pages to the kernel and maps them again for the next
/// read: a seventh of the CPU time of small requests. The spare maps keep the pages in use.
#[derive(Debug, Default)]
pub struct SpareMaps(OnceLock<(Vec<HeaderMap>, Option<Reservation>)>);

impl SpareMaps {
    /// Keeps maps of the capacity of this one, unless it did so before, or has no memory for them.
    pub(super) fn keep_like(&self, fields: &HeaderMap, budget: &MemoryBudget) {
        if fields.capacity() > MAX_FIELDS {
            return;
        }
        self.0.get_or_init(|| {
            let kept = ALLOCATED / ALLOCATED_PER_SPARE * map_memory(fields);
            let Some(reservation) = budget.try_reserve(kept, BudgetShare::Ordinary) else {
                return (Vec::new(), None);
            };
            let maps: Vec<HeaderMap> =
                (0..ALLOCATED).map(|_| HeaderMap::with_capacity(fields.capacity())).collect();
            (maps.into_iter().step_by(ALLOCATED_PER_SPARE).collect(), Some(reservation))
        });
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
    fn maps_like_that_of_the_first_small_request_are_kept_and_counted() {
        let engine = Engine::new(ActivePlan::new(Plan::new(Vec::new()).unwrap(), Seed(1), true));
        let budget = MemoryBudget::of_container(None, 0, Arc::new(Metrics::new(engine).unwrap()));
        let (small, large) = (HeaderMap::with_capacity(6), HeaderMap::with_capacity(MAX_FIELDS + 1));
        let spare = SpareMaps::default();
        for fields in [&large, &small, &small] {
            spare.keep_like(fields, &budget);
        }
        let (kept, _) = spare.0.get().unwrap();
        assert_eq!(kept.len(), ALLOCATED / ALLOCATED_PER_SPARE);
        assert!(kept.iter().all(|map| map.capacity() == small.capacity()));
        assert_eq!(budget.used(), kept.len() * map_memory(&small));
    }
}
