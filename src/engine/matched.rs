//! Numbers of requests that the matches of rules have admitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fault::{ActivePlan, Client, RequestCounts, TargetId};

/// Counts since the rule's origin, for each target and client class.
#[derive(Clone, Debug)]
pub(super) struct MatchCounters(Arc<[(TargetId, [AtomicU64; Client::COUNT])]>);

impl MatchCounters {
    /// Counters of the rule at a position, starting from `counts`; `None` if it has no match.
    pub(super) fn new(plan: &ActivePlan, position: usize, counts: &RequestCounts) -> Option<Self> {
        plan.rule(position).request_match()?;
        let of = |target| (target, Client::ALL.map(|client| AtomicU64::new(counts.get(target, client))));
        Some(Self(plan.targets(position).map(of).collect()))
    }

    /// Whether these counters cover each target of the rule at a position.
    pub(super) fn is_of(&self, plan: &ActivePlan, position: usize) -> bool {
        plan.targets(position).eq(self.0.iter().map(|(target, _)| *target))
    }

    /// Counts a request and returns its number.
    pub(super) fn count(&self, target: TargetId, client: Client) -> u64 {
        let counters = self.0.iter().find(|(known, _)| *known == target);
        counters.map_or(1, |(_, counters)| counters[client.index()].fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The current counts.
    pub(super) fn counts(&self) -> RequestCounts {
        let mut counts = RequestCounts::default();
        for (target, counters) in self.0.iter() {
            for client in Client::ALL {
                counts.set(*target, client, counters[client.index()].load(Ordering::Relaxed));
            }
        }
        counts
    }
}
