//! The result of a prediction.

use std::time::Duration;

use crate::kubelet::Stats;
use crate::predict::fleet::JobFailure;
use crate::predict::service::Availability;
use crate::predict::watcher::WatcherStats;

/// The result of one Pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodOutcome {
    /// Its name.
    pub name: String,
    /// When it came to its node.
    pub added: Duration,
    /// Counts and times since then, as the kubelet sees them.
    pub stats: Stats,
    /// Readiness as watchers of the API server see it.
    pub watchers: WatcherStats,
    /// From the opening of a failing rule's first window to the first kill or the first time it was no longer Ready.
    pub reaction: Option<Duration>,
}

impl PodOutcome {
    /// Restarts of all containers.
    pub fn restarts(&self) -> u64 {
        self.stats.containers.iter().map(|container| container.restarts).sum()
    }

    /// Time in back-off, of all containers.
    pub fn back_off(&self) -> Duration {
        self.stats.containers.iter().map(|container| container.back_off).sum()
    }

    /// The longest time it was not Ready after it had been; all the time, if it never was.
    pub fn longest_outage(&self) -> Duration {
        self.stats.first_ready.map_or(self.stats.elapsed, |_| self.stats.longest_outage)
    }

    /// Share of the time, from the first time it was Ready on, in which it was: 0 to 1, 0 if it never was.
    pub fn availability(&self) -> f64 {
        let Some(first) = self.stats.first_ready else { return 0.0 };
        let span = self.stats.elapsed.saturating_sub(first);
        let down = self.stats.unready.saturating_sub(first);
        if span.is_zero() { 1.0 } else { 1.0 - down.as_secs_f64() / span.as_secs_f64() }
    }
}

/// The result of a prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// By Pod.
    pub pods: Vec<PodOutcome>,
    /// The availability of a Service over all of them.
    pub service: Availability,
    /// When the rollout stalled, and when it was complete; of a Deployment.
    pub rollout: Option<RolloutOutcome>,
    /// The end of a Job, if it came.
    pub job: Option<JobOutcome>,
    /// When all nodes were drained, if that was asked for and it ended.
    pub drained: Option<Duration>,
}

/// The end of a Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobOutcome {
    /// When.
    pub at: Duration,
    /// Why it failed; absent: it is complete.
    pub failure: Option<JobFailure>,
}

/// The result of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolloutOutcome {
    /// When it first had made no progress for as long as the deadline.
    pub stalled: Option<Duration>,
    /// When all Pods were available.
    pub complete: Option<Duration>,
}
