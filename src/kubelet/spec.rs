//! The simulated Pod, as described by its manifest.

mod probe;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub use probe::{ProbeAddress, ProbeEndpoint, ProbeHandler, ProbeKind, ProbeSpec, Transport};

use crate::fault::{ActivePlan, Delay, Draws, Replica, Timestamp};

/// A lifecycle hook of a container. It is assumed to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// It takes this long.
    Takes(Duration),
    /// A command or a request of unknown duration, assumed to take no time.
    Unknown,
}

impl Hook {
    /// Its duration in the simulation.
    pub const fn time(self) -> Duration {
        match self {
            Self::Takes(time) => time,
            Self::Unknown => Duration::ZERO,
        }
    }
}

/// Whether a container that ended restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Always.
    #[default]
    Always,
    /// Unless it exited with code 0.
    OnFailure,
    /// Never.
    Never,
}

/// A `restartPolicyRules` entry of the action `Restart`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartRule {
    /// Its exit codes.
    pub codes: Vec<u8>,
    /// Whether it applies to all other codes (`NotIn`).
    pub except: bool,
}

impl RestartRule {
    /// Whether it restarts a container that ended with this code.
    pub fn matches(&self, code: u8) -> bool {
        self.codes.contains(&code) != self.except
    }
}

/// The role of a container in its Pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContainerRole {
    /// One of `containers`.
    #[default]
    Main,
    /// A native sidecar: an init container with `restartPolicy: Always`. What follows waits until it has started.
    Sidecar,
    /// An ordinary init container. What follows waits until it has succeeded.
    Init,
}

/// This program in a container.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its plan on this replica, with the effective seed of the container's first start.
    pub plan: ActivePlan,
    /// How long it continues after SIGTERM, with failing readiness, before it stops accepting.
    pub shutdown_delay: Duration,
    /// The rules (by position in the plan) whose redirect stays on the host name of the probe, and where it leads.
    /// Any other redirect is assumed to lead to another host.
    pub followed: Vec<(usize, ProbeEndpoint)>,
    /// The container's memory limit in bytes, beyond which rules for the process end in a kill by the kernel.
    pub memory_limit: Option<u64>,
    /// The container's CPU limit in cores, beyond which rules for the process are throttled and answers come late.
    pub cpu_limit: Option<f64>,
    /// The volumes of the container whose size has a limit: mount path and bytes. Beyond it the Pod is evicted.
    pub volume_limits: Vec<(String, u64)>,
    /// Time from each start of the process until it listens; absent: immediately.
    pub listens_after: Option<Box<StartTime>>,
    /// Without a configured seed, the source of the seeds of later starts; the first start uses the plan's.
    pub reseeds: Option<Draws>,
    /// Whether clock, counts and the number of starts are kept across restarts (`STATE_DIR` on a volume of the Pod).
    /// Otherwise, each start of the process counts as the first and restarts the plan.
    pub keeps_state: bool,
    /// The instant at which the virtual clock is zero.
    pub epoch: Timestamp,
    /// Calls of its Service's clients; absent: no rule acts on them.
    pub calls: Option<ServiceCalls>,
    /// The application in the Pod to which it forwards requests, if there is one.
    pub application: Option<Application>,
}

/// An application in the same Pod behind this program (`UPSTREAM`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Application {
    /// The position of its container.
    pub container: usize,
    /// Whether probes are also forwarded, not only calls.
    pub answers_probes: bool,
    /// The longest wait for its answer; absent: no limit.
    pub timeout: Option<Duration>,
}

/// The startup time of a program, drawn for each start.
#[derive(Clone, Debug)]
pub struct StartTime {
    /// Time from the start of the process until it listens.
    pub delay: Delay,
    /// Source of the draws.
    pub draws: Draws,
}

/// Calls of a Service's clients to one Pod, at regular intervals while it is Ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceCalls {
    /// Target of the calls.
    pub endpoint: ProbeEndpoint,
    /// Interval between calls, above 0.
    pub every: Duration,
    /// How long a client waits for the complete answer.
    pub timeout: Duration,
    /// The client's address, for partitions of some networks only.
    pub peer: IpAddr,
}

impl Program {
    /// A program without delays at its start and end.
    pub const fn new(plan: ActivePlan) -> Self {
        Self {
            plan,
            shutdown_delay: Duration::ZERO,
            followed: Vec::new(),
            memory_limit: None,
            cpu_limit: None,
            volume_limits: Vec::new(),
            listens_after: None,
            reseeds: None,
            keeps_state: false,
            epoch: Timestamp(Duration::ZERO),
            calls: None,
            application: None,
        }
    }

    /// The identity of the process in start `starts` of the container (from 1 on), with the plan's clock at zero at the virtual
    /// time `zero`.
    pub fn replica(&self, starts: u64, zero: Duration) -> Replica {
        Replica {
            starts: if self.keeps_state { starts } else { 1 },
            epoch: Timestamp(self.epoch.0.saturating_add(zero)),
            ..*self.plan.replica()
        }
    }
}

/// How a container exits by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerEnd {
    /// Time after its start.
    pub after: Duration,
    /// Its exit code.
    pub code: u8,
    /// Whether the kernel kills it for exceeding its memory limit.
    pub out_of_memory: bool,
}

/// A container.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// Its name.
    pub name: String,
    /// Its role in the Pod. Sidecars and init containers come before the containers that wait for them.
    pub role: ContainerRole,
    /// A `restartPolicy` of its own; absent: the Pod's, or `Always` for a sidecar.
    pub restart_policy: Option<RestartPolicy>,
    /// `restartPolicyRules`, which override its policy.
    pub restart_rules: Vec<RestartRule>,
    /// This program, if the container runs it.
    pub program: Option<Program>,
    /// The time from SIGTERM to its exit; absent: it ignores SIGTERM and takes the whole grace period.
    pub stops_after: Option<Duration>,
    /// `lifecycle.postStart`: until it ends, no probe is made and no later container starts.
    pub post_start: Option<Hook>,
    /// `lifecycle.preStop`, which runs before SIGTERM.
    pub pre_stop: Option<Hook>,
    /// How it exits by itself; absent: it keeps running.
    pub ends: Option<ContainerEnd>,
    /// `startupProbe`.
    pub startup: Option<ProbeSpec>,
    /// `livenessProbe`.
    pub liveness: Option<ProbeSpec>,
    /// `readinessProbe`.
    pub readiness: Option<ProbeSpec>,
}

impl ContainerSpec {
    /// A container without probes that runs forever and stops immediately.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            role: ContainerRole::Main,
            restart_policy: None,
            restart_rules: Vec::new(),
            program: None,
            stops_after: Some(Duration::ZERO),
            post_start: None,
            pre_stop: None,
            ends: None,
            startup: None,
            liveness: None,
            readiness: None,
        }
    }

    /// A container that runs this program, and stops when the program stops accepting: nothing is left to drain.
    pub fn probesim(name: &str, program: Program) -> Self {
        Self { stops_after: Some(program.shutdown_delay), program: Some(program), ..Self::new(name) }
    }

    /// Its restart policy in a Pod with this one.
    pub fn policy(&self, of_pod: RestartPolicy) -> RestartPolicy {
        let default = if self.role == ContainerRole::Sidecar { RestartPolicy::Always } else { of_pod };
        match (self.role, self.restart_policy.unwrap_or(default)) {
            (ContainerRole::Init, RestartPolicy::Always) => RestartPolicy::OnFailure,
            (_, policy) => policy,
        }
    }

    /// The probe of a kind.
    pub const fn probe(&self, kind: ProbeKind) -> Option<&ProbeSpec> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
        }
    }
}

/// Delays of a node. The defaults are those of an idle node that has the image.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// The time from the Pod's arrival at the kubelet to the start of its first container. Each Pod draws
    /// uniformly from this range, which was measured on a node.
    pub first_start: DurationRange,
    /// The share of starts in which the first readiness attempt comes before the program listens, as measured on a
    /// node. No other attempt follows it before the next tick.
    pub late_listener: f64,
    /// How long after such a start the program listens. An assumption.
    pub listens_after: Duration,
    /// To create and start one container. An assumption.
    pub container_start: Duration,
    /// How often the kubelet lists what runs: it notices an exit up to this much later.
    pub relist: Duration,
    /// How long after a volume exceeds its limit the Pod is evicted: volumes are measured every one to two minutes.
    pub eviction: DurationRange,
    /// When the kubelet syncs the Pod after a container's start, in ascending order, as measured on a node.
    pub syncs_after_start: [Duration; 3],
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            first_start: DurationRange {
                least: Duration::from_millis(300),
                most: Duration::from_millis(700),
            },
            late_listener: 0.05,
            listens_after: Duration::from_millis(100),
            container_start: Duration::from_millis(200),
            relist: Duration::from_secs(1),
            eviction: DurationRange { least: Duration::from_secs(1), most: Duration::from_secs(100) },
            syncs_after_start: [5, 256, 405].map(Duration::from_millis),
        }
    }
}

/// A range of durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationRange {
    /// The shortest.
    pub least: Duration,
    /// The longest.
    pub most: Duration,
}

impl DurationRange {
    /// A constant.
    pub const fn fixed(duration: Duration) -> Self {
        Self { least: duration, most: duration }
    }
}

/// A Pod.
#[derive(Clone, Debug)]
pub struct PodSpec {
    /// Its containers: init containers and sidecars first, in their order.
    pub containers: Vec<ContainerSpec>,
    /// `restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// `terminationGracePeriodSeconds`.
    pub grace: u32,
    /// `activeDeadlineSeconds`: time after which the Pod fails, unless it has ended.
    pub deadline: Option<u32>,
    /// The address that probes come from, for cuts of some networks only.
    pub node: IpAddr,
    /// Delays of its node.
    pub timing: Timing,
}

impl PodSpec {
    /// The Pod's address in messages. An example.
    pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
    /// The kubelet's end of a connection in messages. An example: its port differs each time.
    pub(super) const NODE_END: &'static str = "10.0.0.1:40000";

    /// A Pod with the defaults of the API.
    pub fn new(containers: Vec<ContainerSpec>) -> Self {
        Self {
            containers,
            restart_policy: RestartPolicy::Always,
            grace: 30,
            deadline: None,
            node: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            timing: Timing::default(),
        }
    }
}
