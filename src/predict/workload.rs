//! What a prediction needs to know of a manifest.

use std::fmt;
use std::time::Duration;

use crate::env::Config;
use crate::fault::Plan;
use crate::kubelet::PodSpec;
use crate::plan::Errors;
use crate::sources::{Layers, Merged};

/// The kind of object that makes the Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Pod by itself.
    Pod,
    /// Its Pods have drawn names.
    Deployment,
    /// Its Pods are numbered from 0.
    StatefulSet,
    /// Its Pods have drawn names, one a node.
    DaemonSet,
    /// Its Pods run to an end.
    Job,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Pod, Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::Job];

    /// The kind in a manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
        }
    }

    /// A name that a Pod of it may have, for what is the same in all of them.
    pub fn some_pod(self, name: &str) -> String {
        match self {
            Self::Pod => name.to_owned(),
            Self::StatefulSet => format!("{name}-0"),
            Self::Deployment | Self::DaemonSet | Self::Job => format!("{name}-bcdfg"),
        }
    }

    /// Whether the names of its Pods, and so their seeds, are drawn: then the prediction is a sample.
    pub const fn draws_names(self) -> bool {
        matches!(self, Self::Deployment | Self::DaemonSet | Self::Job)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a container's `POD_NAME` says; it is mixed into the seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodName {
    /// Not set.
    Unset,
    /// The Pod's name, by the downward API.
    OfPod,
    /// The same text in every Pod.
    Fixed(String),
}

/// How a Deployment replaces its Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// How long a Pod must be Ready to count as available (`minReadySeconds`).
    pub min_ready: Duration,
    /// How long without progress until the rollout counts as stalled (`progressDeadlineSeconds`).
    pub progress_deadline: Duration,
}

/// A container of the Pod that runs this program.
#[derive(Clone, Debug)]
pub struct OurContainer {
    /// Its position in [`PodSpec::containers`].
    pub position: usize,
    /// What its environment says.
    pub config: Config,
    /// What its `POD_NAME` says.
    pub pod_name: PodName,
    /// What follows from the environment, the file and the annotation, as in the service.
    pub merged: Merged,
    /// The rules of that.
    pub plan: Plan,
    /// Whether clock, counts and the number of starts outlive the container: `STATE_DIR` is on a volume that does.
    pub keeps_state: bool,
}

impl OurContainer {
    /// A container whose `layers` hold what its files say; otherwise what is wrong with all of them together.
    pub fn new(position: usize, config: Config, pod_name: PodName, layers: &Layers) -> Result<Self, Errors> {
        let merged = layers.merged();
        // A stop leaves no rule in force.
        let plan = if merged.stop.is_some() { Plan::default() } else { merged.plan()?.0 };
        Ok(Self { position, config, pod_name, merged, plan, keeps_state: false })
    }

    /// Whether an instant of the calendar decides about a rule.
    pub fn follows_calendar(&self) -> bool {
        let calendar =
            |rule: &crate::fault::Rule| rule.trigger().start.is_some() || rule.trigger().until.is_some();
        self.plan.rules().iter().any(calendar)
    }
}

/// One object of the input whose Pods run this program, or are probed through it.
#[derive(Clone, Debug)]
pub struct Workload {
    /// File and document it stands in, such as `deployment.yaml, document 2`.
    pub place: String,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// How many Pods it asks for.
    pub replicas: u32,
    /// The Pod, with every container. The plans of [`ours`](Self::ours) in it have seed 0 until a Pod gets its name.
    pub pod: PodSpec,
    /// The containers that run this program; at least one.
    pub ours: Vec<OurContainer>,
    /// Of a Deployment.
    pub rollout: Option<Rollout>,
    /// What the prediction takes for granted or leaves out, each a sentence.
    pub assumptions: Vec<String>,
    /// What is probably not meant so, each with its place.
    pub warnings: Vec<String>,
}
