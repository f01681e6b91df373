//! A workload: the part of a manifest that a prediction needs.

use std::fmt;
use std::time::Duration;

use crate::env::Config;
use crate::fault::Plan;
use crate::kubelet::{PodSpec, RestartRule};
use crate::plan::Errors;
use crate::predict::profile::{Profile, ProfileSource};
use crate::sources::{Layers, Merged};

/// The kind of the object that creates the Pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A single Pod.
    Pod,
    /// Its Pods have random names.
    Deployment,
    /// Its Pods are numbered from 0.
    StatefulSet,
    /// It creates a Pod with a random name on each node.
    DaemonSet,
    /// Its Pods run to completion.
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

    /// An example of a Pod's name, for values that all Pods share.
    pub fn example_pod_name(&self, name: &str) -> String {
        match self {
            Self::Pod => name.to_owned(),
            Self::StatefulSet => format!("{name}-0"),
            _ => format!("{name}-bcdfg"),
        }
    }

    /// Whether its Pods have random names, and so random seeds: then the prediction is a sample.
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

/// How new Pods replace old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// A limited number at a time: at most `surge` more Pods than desired, and `unavailable` fewer.
    Rolling {
        /// `maxSurge`, in Pods.
        surge: u32,
        /// `maxUnavailable`, in Pods.
        unavailable: u32,
    },
    /// All old Pods are deleted first.
    Recreate,
    /// Only when somebody deletes the old Pod.
    OnDelete,
}

/// The action of a rule of a Job's `podFailurePolicy` for a failed Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureAction {
    /// The Job fails.
    FailJob,
    /// The failure does not count against `backoffLimit`.
    Ignore,
    /// The failure counts.
    Count,
}

/// A rule of a Job's `podFailurePolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureRule {
    /// The action.
    pub action: FailureAction,
    /// `onExitCodes`: the position of the container (absent: any), and the codes.
    pub codes: Option<(Option<usize>, RestartRule)>,
    /// Whether it matches Pods that were evicted (`onPodConditions` of type `DisruptionTarget`).
    pub on_disruption: bool,
}

/// The fields of a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// `parallelism`.
    pub parallelism: u32,
    /// `completions`; absent: one success is enough when no Pod runs any more.
    pub completions: Option<u32>,
    /// `backoffLimit`.
    pub backoff_limit: u32,
    /// `activeDeadlineSeconds`.
    pub deadline: Option<Duration>,
    /// `podFailurePolicy`.
    pub failure_rules: Vec<FailureRule>,
    /// Whether a deleted Pod is replaced only after it has ended (`podReplacementPolicy: Failed`).
    pub replaces_failed_only: bool,
}

/// A `PodDisruptionBudget` that selects a workload's Pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disruption {
    /// Its name.
    pub name: String,
    /// Its field and value, such as `minAvailable 50%`.
    pub field: String,
    /// How many Pods may be evicted while all are Ready.
    pub allowed: u32,
    /// If it allows no eviction: the least number of replicas with which it allows one; absent: no number does.
    pub enough_replicas: Option<u32>,
    /// Whether Pods that are not Ready may always be evicted (`unhealthyPodEvictionPolicy: AlwaysAllow`).
    pub lets_unready_go: bool,
}

/// Further fields of a container, which the kubelet model does not need.
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
    /// Its emptyDir volumes on disk with a `sizeLimit`: mount path and limit in bytes.
    pub volume_limits: Vec<(String, u64)>,
}

/// A container of the Pod that runs this program.
#[derive(Clone, Debug)]
pub struct ProbesimContainer {
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
    /// Whether clock, counters and starts outlive the container, because `STATE_DIR` is on a volume.
    pub keeps_state: bool,
}

impl ProbesimContainer {
    /// A container with the plans of its environment and files, or all errors of these.
    pub fn new(position: usize, config: Config, pod_name: PodName, layers: &Layers) -> Result<Self, Errors> {
        let merged = layers.merged();
        // A stop disables all rules.
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

/// A container with a profile.
#[derive(Clone, Debug)]
pub struct Profiled {
    /// Its position in [`PodSpec::containers`].
    pub position: usize,
    /// The profile.
    pub profile: Profile,
    /// The source of the profile.
    pub source: ProfileSource,
    /// The rules of the profile.
    pub plan: Plan,
}

/// An object of the input that creates Pods.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its file and document, such as `deployment.yaml, document 2`.
    pub place: String,
    /// The kind of the object.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The desired number of Pods; 0 if it is suspended.
    pub replicas: u32,
    /// Whether it is a paused Deployment or a suspended Job, which creates no Pods.
    pub suspended: bool,
    /// The Pod with all containers. The plans of [`probesim`](Self::probesim) in it have seed 0 until a Pod gets its name.
    pub pod: PodSpec,
    /// The containers that run this program.
    pub probesim: Vec<ProbesimContainer>,
    /// The containers with a profile.
    pub profiled: Vec<Profiled>,
    /// The text of the annotation `probesim.io/profile` of its Pods.
    pub profile_annotation: Option<String>,
    /// Further fields of each container of the Pod, in the same order.
    pub facts: Vec<ContainerFacts>,
    /// The memory limit of the whole Pod, in bytes (`resources.limits.memory` of the Pod).
    pub pod_memory_limit: Option<u64>,
    /// The labels of its Pods.
    pub labels: Vec<(String, String)>,
    /// The fields of a Job; absent: another kind.
    pub job: Option<Job>,
    /// Whether a `CronJob` creates the Job.
    pub is_scheduled: bool,
    /// The rollout timing of a Deployment; absent: another kind.
    pub rollout: Option<Rollout>,
    /// How its Pods are replaced; absent: nothing replaces them.
    pub update: Option<Update>,
    /// The Pods of a StatefulSet with a lower ordinal keep their revision (`partition`).
    pub partition: u32,
    /// Whether its Pods are created in the order of their ordinals (`podManagementPolicy: OrderedReady`).
    pub ordered: bool,
    /// How long a Pod must be Ready to count as available (`minReadySeconds`).
    pub min_ready: Duration,
    /// The `PodDisruptionBudgets` that select its Pods.
    pub disruptions: Vec<Disruption>,
    /// Assumptions and limits of the prediction, one sentence each.
    pub assumptions: Vec<String>,
    /// Probable mistakes, each with its place.
    pub warnings: Vec<String>,
}

impl Workload {
    /// A workload with a Pod and no other fields.
    pub fn new(kind: Kind, name: &str, pod: PodSpec) -> Self {
        Self {
            place: String::new(),
            kind,
            name: name.to_owned(),
            replicas: 1,
            suspended: false,
            pod,
            probesim: Vec::new(),
            profiled: Vec::new(),
            profile_annotation: None,
            facts: Vec::new(),
            pod_memory_limit: None,
            labels: Vec::new(),
            job: None,
            is_scheduled: false,
            rollout: None,
            update: None,
            partition: 0,
            ordered: false,
            min_ready: Duration::ZERO,
            disruptions: Vec::new(),
            assumptions: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The rules of the container at this position, if its behaviour is known.
    pub fn plan(&self, position: usize) -> Option<&Plan> {
        let probesim = self
            .probesim
            .iter()
            .find(|probesim| probesim.position == position)
            .map(|probesim| &probesim.plan);
        probesim.or_else(|| self.profiled.iter().find(|it| it.position == position).map(|it| &it.plan))
    }

    /// Whether the behaviour of any container is known.
    pub fn is_known(&self) -> bool {
        self.pod.containers.iter().any(|container| container.program.is_some())
    }

    /// Whether each Pod is created when those before it are Ready.
    pub fn creates_in_order(&self) -> bool {
        self.ordered
    }

    /// Why no Pod is created, if the workload is suspended.
    pub fn why_no_pods(&self) -> Option<String> {
        let state = if self.kind == Kind::Deployment { "paused" } else { "suspended" };
        self.suspended.then(|| format!("no Pod is created while the {} is {state}", self.kind))
    }
}
