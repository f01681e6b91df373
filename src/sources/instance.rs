//! The container that plans run in.

use std::time::Duration;

use super::merge::Merged;
use crate::clock::wall_clock;
use crate::env::{SeedChoice, SeedScope, effective_seed};
use crate::fault::{Replica, Seed, Timestamp};

/// What the effective seed and the selection of replicas depend on besides the plan.
#[derive(Clone, Debug)]
pub struct Instance {
    /// `POD_NAME`.
    pub pod: Option<String>,
    /// Whether the Pod's name is mixed into the seed.
    pub scope: SeedScope,
    /// The seed where no source gives one.
    pub drawn_seed: u64,
    /// Which start of the container this is, from 1 on.
    pub starts: u64,
    /// Where the engine's clock stood at this start.
    pub resumed: Duration,
}

impl Instance {
    /// The effective seed and the replica for a plan. `epoch` is the instant at which the engine's clock stood at zero.
    pub fn seed_and_replica(&self, merged: &Merged, epoch: Timestamp) -> (Seed, Replica) {
        let given = merged.seed.map(|(seed, _)| seed);
        let choice = SeedChoice { seed: given, scope: self.scope };
        let seed = effective_seed(choice, self.pod.as_deref(), || self.drawn_seed);
        // The selection follows from the effective seed, so that this seed, given to the fleet, selects alike.
        let selecting = given.map(|_| seed.0);
        let replica = Replica {
            starts: self.starts,
            began: epoch,
            resumed: self.resumed,
            ..Replica::named(selecting, self.pod.as_deref())
        };
        (seed, replica)
    }
}

/// The instant at which a clock that shows `elapsed` now stood at zero, by the wall clock.
pub fn epoch(elapsed: Duration) -> Timestamp {
    Timestamp(wall_clock().0.saturating_sub(elapsed))
}
