//! The options of a prediction.

use std::time::Duration;

use crate::fault::Timestamp;

/// The most Pods that are run: each takes a few kilobytes.
pub const MAX_PODS: u32 = 100_000;

/// How to run a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How much virtual time to run.
    pub horizon: Duration,
    /// How many Pods; absent: as many as the workload asks for; at most [`MAX_PODS`].
    pub pods: Option<u32>,
    /// Where names, the node's chances, and seeds that are not given are drawn from; absent: from the workload's seed.
    pub seed: Option<u64>,
    /// How long an endpoint goes on to get calls after its Pod is no longer Ready.
    pub endpoint_lag: Duration,
    /// How long a caller of the Service waits for an answer.
    pub call_timeout: Duration,
    /// How long a container that does not run this program takes to end after SIGTERM; absent: it ignores SIGTERM and
    /// takes the whole grace period.
    pub stops_after: Option<Duration>,
    /// Whether a workload of which nothing is known is taken to be healthy; otherwise it is not run.
    pub assume_healthy: bool,
    /// In how many runs figures are taken; 0: only in the one that is shown.
    pub runs: u32,
    /// The names of advice that is not given.
    pub no_advice: Vec<&'static str>,
    /// The instant at which the prediction begins, for rules with `start` or `until`.
    pub at: Timestamp,
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
            no_advice: Vec::new(),
            at: Timestamp::default(),
        }
    }
}
