//! The replica that plans run in.

use std::time::Duration;

use super::merge::Merged;
use crate::clock::wall_clock;
use crate::env::{SeedChoice, SeedScope, effective_seed};
use crate::fault::{Replica, Seed, Timestamp};

/// What the effective seed and the selection of replicas depend on, in addition to the plan.
#[derive(Clone, Debug)]
pub struct Instance {
    /// `POD_NAME`.
    pub pod: Option<String>,
    /// Whether the Pod's name is part of the seed.
    pub scope: SeedScope,
    /// The seed to use if no source sets one.
    pub drawn_seed: u64,
    /// Number of this start of the container, from 1.
    pub starts: u64,
    /// The engine's clock at this start.
    pub resumed: Duration,
}

impl Instance {
    /// The effective seed and the replica for a plan. `epoch` is the instant at which the engine's clock was zero.
    pub fn seed_and_replica(&self, merged: &Merged, epoch: Timestamp) -> (Seed, Replica) {
        let given = merged.seed.map(|(seed, _)| seed);
        let choice = SeedChoice { seed: given, scope: self.scope };
        let seed = effective_seed(choice, self.pod.as_deref(), || self.drawn_seed);
        // Selection depends on the effective seed, so that setting this seed for the fleet selects the same replicas.
        let selecting = given.map(|_| seed.0);
        let replica = Replica {
            starts: self.starts,
            epoch,
            resumed: self.resumed,
            ..Replica::named(selecting, self.pod.as_deref())
        };
        (seed, replica)
    }
}

/// The wall-clock time at which a clock that now shows `elapsed` was zero.
pub fn epoch(elapsed: Duration) -> Timestamp {
    Timestamp(wall_clock().0.saturating_sub(elapsed))
}
