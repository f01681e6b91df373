//! How many requests the match of a rule has admitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fault::{ActivePlan, Client, Counts, TargetId};

/// Counts since the rule's origin, for each of its targets and each client class.
#[derive(Clone, Debug)]
pub(super) struct Matched(Arc<[(TargetId, [AtomicU64; Client::COUNT])]>);

impl Matched {
    /// The counters of the rule at a position, which go on from `counts`; `None` if it has no match.
    pub(super) fn new(plan: &ActivePlan, position: usize, counts: &Counts) -> Option<Self> {
        plan.rule(position).request_match()?;
        let of = |target| (target, Client::ALL.map(|client| AtomicU64::new(counts.get(target, client))));
        Some(Self(plan.targets(position).map(of).collect()))
    }

    /// Whether these counters have a place for each target of the rule at a position.
    pub(super) fn is_of(&self, plan: &ActivePlan, position: usize) -> bool {
        plan.targets(position).eq(self.0.iter().map(|(target, _)| *target))
    }

    /// Counts a request and gives its number.
    pub(super) fn count(&self, target: TargetId, client: Client) -> u64 {
        let counters = self.0.iter().find(|(known, _)| *known == target);
        counters.map_or(1, |(_, counters)| counters[client.index()].fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The counts as of now.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (target, counters) in self.0.iter() {
            for client in Client::ALL {
                counts.set(*target, client, counters[client.index()].load(Ordering::Relaxed));
            }
        }
        counts
    }
}
