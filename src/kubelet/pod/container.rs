//! One container of a simulated Pod.

use super::super::backoff::BackOff;
use super::super::clock::{NEVER, Nanos, SECOND, nanos};
use super::super::process::ContainerProcess;
use super::super::spec::{
    ContainerEnd, ContainerRole, ContainerSpec, Hook, ProbeKind, RestartPolicy, RestartRule,
};
use super::super::stats::{ContainerStats, Readiness};

/// The phase of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContainerPhase {
    /// Not created yet.
    Gated,
    Creating,
    Running,
    /// SIGTERM was sent.
    Stopping,
    Exited,
    /// Exited, and will not start again.
    Done,
}

#[derive(Clone, Debug)]
pub(super) struct ContainerState {
    pub(super) role: ContainerRole,
    pub(super) policy: RestartPolicy,
    pub(super) rules: Vec<RestartRule>,
    pub(super) stops_after: Nanos,
    /// How long postStart takes.
    pub(super) post_start: Nanos,
    /// Duration of preStop.
    pub(super) pre_stop: Nanos,
    pub(super) ends_after: Nanos,
    /// How it exits by itself.
    pub(super) end: Option<ContainerEnd>,
    /// How the current process exits, by itself or by a rule.
    pub(super) ending: Option<ContainerEnd>,
    /// The code of the latest exit, or of the next one while it stops.
    pub(super) exit_code: u8,
    /// By kind of probe.
    pub(super) grace: [Nanos; ProbeKind::COUNT],
    pub(super) workers: [Option<usize>; ProbeKind::COUNT],
    pub(super) process: Option<ContainerProcess>,
    pub(super) phase: ContainerPhase,
    /// Whether the startup probe, if any, has succeeded.
    pub(super) started: bool,
    /// When its latest start was complete, postStart included.
    pub(super) started_at: Nanos,
    pub(super) starts: u64,
    /// The latest exit.
    pub(super) exited_at: Option<Nanos>,
    /// Whether the kubelet's list of containers shows that exit.
    pub(super) exit_known: bool,
    /// The exit whose restart is delayed.
    pub(super) held_since: Option<Nanos>,
    /// Number of scheduled syncs after its start so far.
    pub(super) syncs: usize,
    pub(super) backoff: BackOff,
    pub(super) readiness: Readiness,
    pub(super) stats: ContainerStats,
}

impl ContainerState {
    pub(super) fn new(
        spec: ContainerSpec,
        policy: RestartPolicy,
        grace: Nanos,
        workers: [Option<usize>; ProbeKind::COUNT],
    ) -> Self {
        let grace = ProbeKind::ALL
            .map(|kind| spec.probe(kind).and_then(|probe| probe.grace).map_or(grace, effective_grace));
        Self {
            role: spec.role,
            policy: spec.policy(policy),
            rules: spec.restart_rules,
            stops_after: spec.stops_after.map_or(NEVER, nanos),
            post_start: hook_time(spec.post_start),
            pre_stop: hook_time(spec.pre_stop),
            ends_after: spec.ends.map_or(NEVER, |end| nanos(end.after)),
            end: spec.ends,
            ending: None,
            exit_code: 0,
            grace,
            workers,
            process: spec.program.map(ContainerProcess::new),
            phase: ContainerPhase::Gated,
            started: false,
            started_at: 0,
            starts: 0,
            exited_at: None,
            exit_known: false,
            held_since: None,
            syncs: 0,
            backoff: BackOff::default(),
            readiness: Readiness::default(),
            stats: ContainerStats::default(),
        }
    }

    pub(super) const fn runs(&self) -> bool {
        matches!(self.phase, ContainerPhase::Running | ContainerPhase::Stopping)
    }

    /// Whether the next container in the start order may start.
    pub(super) fn lets_next_start(&self, now: Nanos) -> bool {
        match self.role {
            ContainerRole::Main => true,
            ContainerRole::Sidecar => self.started && now >= self.started_at,
            ContainerRole::Init => self.phase == ContainerPhase::Done && self.exit_code == 0,
        }
    }

    /// Whether it restarts after its end; `killed`: because of a probe.
    pub(super) fn restarts(&self, killed: bool) -> bool {
        if killed {
            return !self.rules.is_empty() || self.policy != RestartPolicy::Never;
        }
        self.rules.iter().any(|rule| rule.matches(self.exit_code))
            || match self.policy {
                RestartPolicy::Always => true,
                RestartPolicy::OnFailure => self.exit_code != 0,
                RestartPolicy::Never => false,
            }
    }
}

fn hook_time(hook: Option<Hook>) -> Nanos {
    hook.map_or(0, |hook| nanos(hook.time()))
}

/// Minimum grace period of the kubelet.
pub(super) const LEAST_GRACE: Nanos = 2 * SECOND;

pub(super) fn effective_grace(seconds: u32) -> Nanos {
    (u64::from(seconds) * SECOND).max(LEAST_GRACE)
}
