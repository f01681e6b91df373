//! Events outside of Pods: of controllers, `kubectl` and nodes.

use std::time::Duration;

/// A cluster event that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// When.
    pub at: Duration,
    /// What.
    pub what: ClusterEvent,
    /// The Pod with an event at the same instant that caused it; absent: only the time did.
    pub cause: Option<usize>,
}

/// An action of a controller, `kubectl` or a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterEvent {
    /// A Pod is created after the first ones.
    Created {
        /// Its position.
        pod: usize,
        /// Its name.
        name: String,
    },
    /// A Pod is deleted, or evicted by the API.
    Deleted {
        /// Its position.
        pod: usize,
        /// Its name.
        name: String,
        /// Whether the drain of its node evicts it.
        evicted: bool,
    },
    /// The kubelet of every node restarts.
    KubeletRestart,
    /// A rolling update begins.
    RolloutBegins,
    /// All nodes are drained.
    DrainComplete,
    /// A Job is complete.
    JobComplete,
    /// A Job has failed.
    JobFailed(JobFailure),
}

impl ClusterEvent {
    /// The event as a line of text.
    pub fn message(&self) -> String {
        match self {
            Self::Created { name, .. } => format!("Pod {name} is created"),
            Self::Deleted { name, evicted: false, .. } => format!("Pod {name} is deleted"),
            Self::Deleted { name, evicted: true, .. } => {
                format!("Pod {name} is evicted: its node is drained")
            }
            Self::KubeletRestart => "The kubelet restarts".to_owned(),
            Self::RolloutBegins => "A rolling update begins".to_owned(),
            Self::DrainComplete => "Drain complete: all nodes".to_owned(),
            Self::JobComplete => "Job complete".to_owned(),
            Self::JobFailed(why) => format!("Job failed: {}", why.reason()),
        }
    }

    /// Its name in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "PodCreated",
            Self::Deleted { .. } => "PodDeleted",
            Self::KubeletRestart => "KubeletRestart",
            Self::RolloutBegins => "RolloutBegins",
            Self::DrainComplete => "DrainComplete",
            Self::JobComplete => "JobComplete",
            Self::JobFailed(_) => "JobFailed",
        }
    }

    /// Position and name of its Pod.
    pub fn pod(&self) -> Option<(usize, &str)> {
        match self {
            Self::Created { pod, name } | Self::Deleted { pod, name, .. } => Some((*pod, name)),
            _ => None,
        }
    }

    /// Whether it is caused by an event of a Pod at the same instant.
    pub(in crate::predict) const fn is_a_consequence(&self) -> bool {
        matches!(self, Self::JobComplete | Self::JobFailed(_) | Self::DrainComplete)
    }
}

/// Why a Job failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobFailure {
    /// More attempts failed than `backoffLimit` allows.
    BackoffLimitExceeded,
    /// It ran longer than `activeDeadlineSeconds`.
    DeadlineExceeded,
    /// A rule of its `podFailurePolicy` fails it.
    PodFailurePolicy,
}

impl JobFailure {
    /// The reason in the Job's status.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::BackoffLimitExceeded => "BackoffLimitExceeded",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::PodFailurePolicy => "PodFailurePolicy",
        }
    }
}
