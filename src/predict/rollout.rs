//! The progress of a Deployment's rollout.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::workload::Rollout;

/// A milestone of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// Every Pod is available.
    Complete {
        /// When.
        at: Duration,
    },
    /// The progress deadline was exceeded.
    Stalled {
        /// When it was exceeded.
        at: Duration,
        /// How many Pods were available.
        available: usize,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Replica {
    ready: bool,
    available: bool,
    version: u64,
}

/// The progress of a rollout whose Pods are all created at once. As for the controller, progress means one more Ready or
/// available Pod. A complete rollout cannot stall.
#[derive(Debug)]
pub struct Progress {
    rollout: Rollout,
    replicas: Vec<Replica>,
    pending: BinaryHeap<Reverse<(Duration, usize, u64)>>,
    available: usize,
    /// The number of Pods that must be available.
    wanted: usize,
    progressed: Duration,
    stalled: Option<Duration>,
    complete: Option<Duration>,
}

impl Progress {
    /// A rollout of some Pods.
    pub fn new(rollout: Rollout, pods: usize) -> Self {
        Self {
            rollout,
            replicas: vec![Replica::default(); pods],
            pending: BinaryHeap::new(),
            available: 0,
            wanted: pods,
            progressed: Duration::ZERO,
            stalled: None,
            complete: None,
        }
    }

    /// A rollout that begins at this time.
    pub fn since(at: Duration, rollout: Rollout, pods: usize) -> Self {
        Self { progressed: at, wanted: pods, ..Self::new(rollout, pods) }
    }

    /// Adds Pods, up to `pods` in total.
    pub fn grow(&mut self, pods: usize) {
        self.replicas.resize(pods.max(self.replicas.len()), Replica::default());
    }

    /// Sets the readiness of a Pod. Calls must be in the order of `at`; `observe` is called in that order.
    pub fn set_ready(&mut self, at: Duration, pod: usize, ready: bool, observe: &mut dyn FnMut(Milestone)) {
        self.advance(at, observe);
        let replica = &mut self.replicas[pod];
        if replica.ready == ready {
            return;
        }
        replica.ready = ready;
        replica.version += 1;
        if ready {
            let due = at.saturating_add(self.rollout.min_ready);
            self.pending.push(Reverse((due, pod, replica.version)));
            self.progressed = at;
        } else if std::mem::take(&mut replica.available) {
            self.available -= 1;
        }
        // With `minReadySeconds: 0`, the Pod is available at once.
        self.advance(at, observe);
    }

    /// Advances the clock.
    pub fn advance(&mut self, to: Duration, observe: &mut dyn FnMut(Milestone)) {
        while let Some(Reverse((at, pod, version))) = self.pending.peek().copied() {
            if at > to {
                break;
            }
            self.pending.pop();
            let replica = &mut self.replicas[pod];
            if replica.version != version {
                continue;
            }
            replica.available = true;
            self.check(at, observe);
            self.available += 1;
            self.progressed = at;
            if self.available == self.wanted && self.complete.is_none() {
                self.complete = Some(at);
                observe(Milestone::Complete { at });
            }
        }
        self.check(to, observe);
    }

    /// When the first deadline passed without progress.
    pub fn stalled(&self) -> Option<Duration> {
        self.stalled
    }

    /// When all Pods were available.
    pub fn complete(&self) -> Option<Duration> {
        self.complete
    }

    /// Reports the first stall.
    fn check(&mut self, now: Duration, observe: &mut dyn FnMut(Milestone)) {
        let deadline = self.progressed.saturating_add(self.rollout.progress_deadline);
        if self.complete.is_none() && self.stalled.is_none() && now > deadline {
            self.stalled = Some(deadline);
            observe(Milestone::Stalled { at: deadline, available: self.available });
        }
    }
}
