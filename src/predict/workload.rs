//! A workload: the part of a manifest that a prediction needs.

use std::fmt;
use std::time::Duration;

use crate::env::Config;
use crate::fault::Plan;
use crate::kubelet::{PodSpec, RestartRule};
use crate::plan::Errors;
use crate::predict::profile::{Profile, ProfileSource};
use crate::sources::{Layers, Merged};

/// The kind of object that makes the Pods.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Any other kind with a Pod template, such as `ReplicaSet` or a `Rollout` of Argo, by its name.
    Other(Box<str>),
}

impl Kind {
    /// The kind in a manifest.
    pub fn name(&self) -> &str {
        match self {
            Self::Pod => "Pod",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
            Self::Other(name) => name,
        }
    }

    /// A name that one of its Pods may have, for values that are the same in all of them.
    pub fn example_pod_name(&self, name: &str) -> String {
        match self {
            Self::Pod => name.to_owned(),
            Self::StatefulSet => format!("{name}-0"),
            _ => format!("{name}-bcdfg"),
        }
    }

    /// Whether the names of its Pods, and so their seeds, are drawn: then the prediction is a sample.
    pub const fn draws_names(&self) -> bool {
        !matches!(self, Self::Pod | Self::StatefulSet)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The `POD_NAME` of a container, which is mixed into its seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodName {
    /// Not set.
    Unset,
    /// The Pod's name, by the downward API.
    OfPod,
    /// The same text in every Pod.
    Fixed(String),
}

/// The timing of a Deployment's rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// How long a Pod must be Ready to count as available (`minReadySeconds`).
    pub min_ready: Duration,
    /// The time without progress after which the rollout counts as stalled (`progressDeadlineSeconds`).
    pub progress_deadline: Duration,
}

/// How Pods replace those before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Some at a time: `surge` more than asked for, and `unavailable` fewer.
    Rolling {
        /// `maxSurge`, in Pods.
        surge: u32,
        /// `maxUnavailable`, in Pods.
        unavailable: u32,
    },
    /// All old ones first.
    Recreate,
    /// One after the other in the order of their numbers, each once that before it is Ready.
    Ordered,
    /// When somebody deletes the old one.
    OnDelete,
}

/// What a rule of a Job's `podFailurePolicy` does about a failed Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureAction {
    /// The Job fails.
    FailJob,
    /// It does not count against `backoffLimit`.
    Ignore,
    /// It counts.
    Count,
}

/// A rule of a Job's `podFailurePolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureRule {
    /// What it does.
    pub action: FailureAction,
    /// `onExitCodes`: the position of the container it is about (absent: any), and the codes.
    pub codes: Option<(Option<usize>, RestartRule)>,
    /// Whether it is about Pods that an eviction disrupted (`onPodConditions` of type `DisruptionTarget`).
    pub on_disruption: bool,
}

/// What a Job asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// `parallelism`.
    pub parallelism: u32,
    /// `completions`; absent: any success is enough, once no Pod runs.
    pub completions: Option<u32>,
    /// `backoffLimit`.
    pub backoff_limit: u32,
    /// `activeDeadlineSeconds`.
    pub deadline: Option<Duration>,
    /// `podFailurePolicy`.
    pub failure_rules: Vec<FailureRule>,
    /// Whether a Pod that is deleted is replaced only once it has ended (`podReplacementPolicy: Failed`).
    pub replaces_failed_only: bool,
}

/// A `PodDisruptionBudget` that selects a workload's Pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disruption {
    /// Its name.
    pub name: String,
    /// Its field and value, such as `minAvailable 50%`.
    pub field: String,
    /// How many Pods it lets be evicted while all are Ready.
    pub allowed: u32,
    /// Whether it lets Pods go that are not Ready (`unhealthyPodEvictionPolicy: AlwaysAllow`).
    pub lets_unready_go: bool,
}

/// What a manifest says of a container beside what the kubelet's model needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFacts {
    /// `image`.
    pub image: String,
    /// The ports that it declares.
    pub ports: Vec<u16>,
    /// `resources.limits.memory`, in bytes.
    pub memory_limit: Option<u64>,
    /// `resources.limits.cpu`, in thousandths of a core.
    pub cpu_limit: Option<u64>,
    /// Its emptyDir volumes on disk with a `sizeLimit`: mount path and bytes.
    pub volume_limits: Vec<(String, u64)>,
}

/// A container of the Pod that runs this program.
#[derive(Clone, Debug)]
pub struct OurContainer {
    /// Its position in [`PodSpec::containers`].
    pub position: usize,
    /// Its configuration, from the environment.
    pub config: Config,
    /// Its `POD_NAME`.
    pub pod_name: PodName,
    /// The merged plans of environment, file and annotation, as in the service.
    pub merged: Merged,
    /// The rules of the merged plans.
    pub plan: Plan,
    /// Whether clock, counts and the number of starts outlive the container, since `STATE_DIR` is on a volume that does.
    pub keeps_state: bool,
}

impl OurContainer {
    /// A container with the plans of its environment and files, or the errors of all of them together.
    pub fn new(position: usize, config: Config, pod_name: PodName, layers: &Layers) -> Result<Self, Errors> {
        let merged = layers.merged();
        // A stop leaves no rule in force.
        let plan = if merged.stop.is_some() { Plan::default() } else { merged.plan()?.0 };
        Ok(Self { position, config, pod_name, merged, plan, keeps_state: false })
    }

    /// Whether a rule depends on the wall clock.
    pub fn follows_calendar(&self) -> bool {
        let calendar =
            |rule: &crate::fault::Rule| rule.trigger().start.is_some() || rule.trigger().until.is_some();
        self.plan.rules().iter().any(calendar)
    }
}

/// A container whose behaviour a profile gives.
#[derive(Clone, Debug)]
pub struct Profiled {
    /// Its position in [`PodSpec::containers`].
    pub position: usize,
    /// The profile.
    pub profile: Profile,
    /// Where the profile comes from.
    pub source: ProfileSource,
    /// The rules of the profile.
    pub plan: Plan,
}

/// An object of the input that makes Pods.
#[derive(Clone, Debug)]
pub struct Workload {
    /// File and document it stands in, such as `deployment.yaml, document 2`.
    pub place: String,
    /// The kind of the object.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// How many Pods it asks for; 0 if it is suspended.
    pub replicas: u32,
    /// Whether it creates no Pods until somebody resumes it: a paused Deployment or a suspended Job.
    pub suspended: bool,
    /// The Pod, with every container. The plans of [`ours`](Self::ours) in it have seed 0 until a Pod gets its name.
    pub pod: PodSpec,
    /// The containers that run this program.
    pub ours: Vec<OurContainer>,
    /// The containers whose behaviour a profile gives.
    pub profiled: Vec<Profiled>,
    /// The text of the annotation `probesim.io/profile` of its Pods.
    pub profile_annotation: Option<String>,
    /// What else is known of each container of the Pod, in the same order.
    pub facts: Vec<ContainerFacts>,
    /// The memory limit of the whole Pod, in bytes (`resources.limits.memory` of the Pod).
    pub pod_memory_limit: Option<u64>,
    /// The labels of its Pods.
    pub labels: Vec<(String, String)>,
    /// Of a Job.
    pub job: Option<Job>,
    /// Of a Deployment.
    pub rollout: Option<Rollout>,
    /// How its Pods replace those before them; absent where nothing replaces them.
    pub update: Option<Update>,
    /// Whether its Pods come in the order of their numbers (`podManagementPolicy: OrderedReady`).
    pub ordered: bool,
    /// How long a Pod must be Ready to count as available (`minReadySeconds`).
    pub min_ready: Duration,
    /// The budgets that select its Pods.
    pub disruptions: Vec<Disruption>,
    /// What the prediction assumes or leaves out, each a sentence.
    pub assumptions: Vec<String>,
    /// Probable mistakes, each with its place.
    pub warnings: Vec<String>,
}

impl Workload {
    /// A workload without anything but a Pod.
    pub fn new(kind: Kind, name: &str, pod: PodSpec) -> Self {
        Self {
            place: String::new(),
            kind,
            name: name.to_owned(),
            replicas: 1,
            suspended: false,
            pod,
            ours: Vec::new(),
            profiled: Vec::new(),
            profile_annotation: None,
            facts: Vec::new(),
            pod_memory_limit: None,
            labels: Vec::new(),
            job: None,
            rollout: None,
            update: None,
            ordered: false,
            min_ready: Duration::ZERO,
            disruptions: Vec::new(),
            assumptions: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The rules of the container at this position, if anything is known of it.
    pub fn plan(&self, position: usize) -> Option<&Plan> {
        let ours = self.ours.iter().find(|ours| ours.position == position).map(|ours| &ours.plan);
        ours.or_else(|| self.profiled.iter().find(|it| it.position == position).map(|it| &it.plan))
    }

    /// Whether anything is known of how its containers behave.
    pub fn is_known(&self) -> bool {
        self.pod.containers.iter().any(|container| container.program.is_some())
    }

    /// Whether each Pod comes once those before it are Ready.
    pub fn creates_in_order(&self) -> bool {
        self.ordered
    }

    /// Why no Pod is created, if the workload is suspended.
    pub fn why_no_pods(&self) -> Option<String> {
        let state = if self.kind == Kind::Deployment { "paused" } else { "suspended" };
        self.suspended.then(|| format!("no Pod is created while the {} is {state}", self.kind))
    }
}
