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
    /// When it was added to its node.
    pub added: Duration,
    /// Figures since then, as the kubelet sees them.
    pub stats: Stats,
    /// Readiness as watchers of the API server see it.
    pub watchers: WatcherStats,
    /// The time from the start of the first failing rule to the first kill or the first loss of Ready.
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

    /// The longest time not Ready after its first Ready; the whole time if it was never Ready.
    pub fn longest_outage(&self) -> Duration {
        self.stats.first_ready.map_or(self.stats.elapsed, |_| self.stats.longest_outage)
    }

    /// The share of the time since its first Ready in which it was Ready, 0 to 1; 0 if it never was.
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
    /// The result of each Pod.
    pub pods: Vec<PodOutcome>,
    /// The availability of a Service over all Pods.
    pub service: Availability,
    /// The rollout of a Deployment.
    pub rollout: Option<RolloutOutcome>,
    /// The end of a Job, if it ended.
    pub job: Option<JobOutcome>,
    /// When all nodes were drained, if a drain was requested and ended.
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
    /// When the progress deadline was first exceeded.
    pub stalled: Option<Duration>,
    /// When all Pods were available.
    pub complete: Option<Duration>,
}
