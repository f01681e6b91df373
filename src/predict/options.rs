//! The options of a prediction.

use std::sync::Arc;
use std::time::Duration;

use super::progress::Progress;
use crate::fault::Timestamp;

/// Limit of the Pods of a workload that are run.
pub const MAX_PODS: u32 = 100_000;

/// How to run a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The virtual time to run.
    pub horizon: Duration,
    /// The number of Pods; absent: that of the workload; at most [`MAX_PODS`].
    pub pods: Option<u32>,
    /// The seed of Pod names, of random events of the node, and of missing seeds; absent: the workload's seed.
    pub seed: Option<u64>,
    /// How long an endpoint still gets calls after its Pod is no longer Ready.
    pub endpoint_lag: Duration,
    /// How long a caller of the Service waits for an answer.
    pub call_timeout: Duration,
    /// How long a container that does not run this program takes to exit after SIGTERM; absent: it ignores SIGTERM and
    /// takes the whole grace period.
    pub stops_after: Option<Duration>,
    /// Whether a workload without any known behaviour is assumed to be healthy; otherwise it is not run.
    pub assume_healthy: bool,
    /// The number of additional runs for distributions; 0: none.
    pub runs: u32,
    /// When a rolling update starts.
    pub rollout: Option<Duration>,
    /// When the nodes of the Pods are drained, one after the other.
    pub drain: Option<Duration>,
    /// When the kubelets of all nodes restart.
    pub kubelet_restarts: Vec<Duration>,
    /// The time over which the first Pods are created.
    pub spread: Duration,
    /// The names of suppressed advice.
    pub no_advice: Vec<&'static str>,
    /// The instant at which the prediction begins, for rules with `start` or `until`.
    pub at: Timestamp,
    /// Receives the progress of the simulation.
    pub progress: Option<Arc<Progress>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            horizon: Duration::from_secs(3600),
            pods: None,
            seed: None,
            endpoint_lag: Duration::from_secs(1),
            call_timeout: Duration::from_secs(5),
            stops_after: Some(Duration::ZERO),
            assume_healthy: false,
            runs: 0,
            rollout: None,
            drain: None,
            kubelet_restarts: Vec::new(),
            spread: Duration::ZERO,
            no_advice: Vec::new(),
            at: Timestamp::default(),
            progress: None,
        }
    }
}

impl Options {
    /// Options whose time lies after the end of the prediction, with that time.
    pub fn outside(&self) -> impl Iterator<Item = (&'static str, Duration)> + '_ {
        let restarts = self.kubelet_restarts.iter().map(|at| ("--kubelet-restart", *at));
        let spread = (!self.spread.is_zero()).then_some(("--pods-over", self.spread));
        let once = self.rollout.map(|at| ("--rollout", at)).into_iter();
        let all = once.chain(self.drain.map(|at| ("--drain", at))).chain(restarts).chain(spread);
        all.filter(|(_, at)| *at >= self.horizon)
    }

    /// Whether an option acts on the Pods while they run.
    pub fn acts(&self) -> bool {
        self.rollout.is_some()
            || self.drain.is_some()
            || !self.kubelet_restarts.is_empty()
            || !self.spread.is_zero()
    }
}
