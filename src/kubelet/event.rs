//! Events of a simulated Pod.

use std::time::Duration;

use super::attempt::Symptom;
use super::clock::{Nanos, SECOND};
use super::spec::{ContainerRole, ContainerSpec, ProbeKind};

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodEvent {
    /// Time since the Pod was added to the kubelet.
    pub at: Duration,
    /// Position of the container; for Pod events, the container that caused it.
    pub container: usize,
    /// What happened.
    pub kind: PodEventKind,
    /// Whether the cluster records it: after 25 events of a Pod, the kubelet sends one per 5 minutes.
    pub recorded: bool,
}

/// Why a Pod fails before its containers have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodFailure {
    /// Its `activeDeadlineSeconds` are over.
    DeadlineExceeded,
    /// A volume exceeded its `sizeLimit`.
    Evicted,
    /// An init container failed and is not restarted.
    Init,
}

impl PodFailure {
    /// The reason in the Pod's status.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Evicted => "Evicted",
            Self::Init => "Error",
        }
    }
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodEventKind {
    /// The container started.
    Started {
        /// Number of earlier starts.
        restarts: u64,
    },
    /// An attempt failed, or three consecutive attempts were errors and discarded.
    Unhealthy {
        /// Kind of the probe.
        probe: ProbeKind,
        /// Cause.
        symptom: Symptom,
        /// Whether it was an error, which is not counted.
        error: bool,
    },
    /// An attempt met a redirect that is not followed, which counts as success.
    Warning {
        /// Kind of the probe.
        probe: ProbeKind,
        /// Cause.
        symptom: Symptom,
    },
    /// A probe reached its threshold and changed its state.
    Result {
        /// Kind of the probe.
        probe: ProbeKind,
        /// New state.
        success: bool,
    },
    /// SIGTERM was sent.
    Killing {
        /// The probe that failed; `None` if the Pod is deleted.
        probe: Option<ProbeKind>,
        /// Time until SIGKILL.
        grace: Duration,
        /// Whether the container will be restarted.
        restart: bool,
    },
    /// The kernel kills the container for exceeding its memory limit; its exit follows.
    OutOfMemory,
    /// The container exited.
    Exited {
        /// Exit code: 137 after SIGKILL.
        code: u8,
    },
    /// The restart is delayed.
    BackOff {
        /// Length of the back-off, counted from the exit.
        delay: Duration,
    },
    /// The container became ready or not ready.
    Ready(bool),
    /// The Pod became ready or not ready, as the kubelet sees it.
    PodReady(bool),
    /// The Pod fails; its containers are stopped.
    PodFails(PodFailure),
    /// A Pod that was deleted is gone: all its containers have ended.
    PodGone,
    /// All containers have ended, and none restarts.
    PodFinished {
        /// Whether the phase is Succeeded instead of Failed.
        succeeded: bool,
    },
    /// Calls of the Service's clients to this Pod start to fail, or succeed again.
    CallsFail(bool),
}

impl PodEventKind {
    /// The reason of the kubelet's event, if there is one.
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Started { .. } => Some("Started"),
            Self::Unhealthy { .. } => Some("Unhealthy"),
            Self::Warning { .. } => Some("ProbeWarning"),
            Self::Killing { .. } => Some("Killing"),
            Self::BackOff { .. } => Some("BackOff"),
            Self::PodFails(PodFailure::Evicted) => Some("Evicted"),
            Self::PodFails(PodFailure::DeadlineExceeded) => Some("DeadlineExceeded"),
            Self::Result { .. }
            | Self::OutOfMemory
            | Self::Exited { .. }
            | Self::Ready(_)
            | Self::PodReady(_)
            | Self::PodFails(PodFailure::Init)
            | Self::PodGone
            | Self::PodFinished { .. }
            | Self::CallsFail(_) => None,
        }
    }

    /// Whether the message is always the same, so that the API server counts repetitions in one event.
    pub const fn repeats(&self) -> bool {
        match self {
            Self::Unhealthy { symptom, .. } | Self::Warning { symptom, .. } => symptom.repeats(),
            _ => true,
        }
    }

    /// Number of events that the kubelet sends for it: `Pulled` and `Created` precede a start.
    const fn events(&self) -> u64 {
        match self {
            Self::Started { .. } => 3,
            _ => self.reason().is_some() as u64,
        }
    }
}

impl PodEvent {
    /// The message of the kubelet's event, or a description if the kubelet records none. `container` is the one named
    /// by [`container`](Self::container).
    pub fn message(&self, container: &ContainerSpec) -> String {
        let name = &container.name;
        let symptom_of = |kind, symptom: Symptom| {
            container.probe(kind).map_or_else(String::new, |it| symptom.message(it.handler, &it.address))
        };
        match self.kind {
            PodEventKind::Started { .. } => "Container started".to_owned(),
            PodEventKind::Unhealthy { probe, symptom, error: false } => {
                format!("{} probe failed: {}", probe.name(), symptom_of(probe, symptom))
            }
            PodEventKind::Unhealthy { probe, symptom, error: true } => {
                let symptom = symptom_of(probe, symptom);
                format!("{} probe errored and resulted in failure state: {symptom}", probe.name())
            }
            PodEventKind::Warning { probe, symptom } => {
                format!("{} probe warning: {}", probe.name(), symptom_of(probe, symptom))
            }
            PodEventKind::Result { probe, success } => {
                format!("{} probe {}", probe.name(), if success { "succeeded" } else { "failed" })
            }
            PodEventKind::Killing { probe: Some(probe), restart, .. } => {
                let end = if restart { ", will be restarted" } else { "" };
                let probe = probe.name().to_ascii_lowercase();
                let what = if container.role == ContainerRole::Main { "Container" } else { "Init container" };
                format!("{what} {name} failed {probe} probe{end}")
            }
            PodEventKind::Killing { probe: None, .. } => format!("Stopping container {name}"),
            PodEventKind::OutOfMemory => format!("Container {name} exceeded its memory limit: OOMKilled"),
            PodEventKind::Exited { code } => format!("Container {name} exited with code {code}"),
            PodEventKind::BackOff { .. } => format!("Back-off restarting failed container {name}"),
            PodEventKind::Ready(ready) => {
                format!("Container {name} is {}", if ready { "ready" } else { "not ready" })
            }
            PodEventKind::PodReady(ready) => format!("Pod is {}", if ready { "ready" } else { "not ready" }),
            PodEventKind::PodFails(PodFailure::DeadlineExceeded) => {
                "Pod was active on the node longer than the specified deadline".to_owned()
            }
            PodEventKind::PodFails(PodFailure::Evicted) => {
                "Pod is evicted: usage of an EmptyDir volume exceeds its sizeLimit".to_owned()
            }
            PodEventKind::PodFails(PodFailure::Init) => {
                format!("Pod fails: init container {name} failed and is not restarted")
            }
            PodEventKind::PodGone => "Pod is gone".to_owned(),
            PodEventKind::PodFinished { succeeded } => {
                format!("Pod has {}", if succeeded { "Succeeded" } else { "Failed" })
            }
            PodEventKind::CallsFail(fail) => {
                format!("Calls of the Service's clients {}", if fail { "fail" } else { "succeed" })
            }
        }
    }
}

/// The kubelet's limit on events of a Pod: a token bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpamFilter {
    /// When the bucket is full again, as in the generic cell rate algorithm.
    full_at: Nanos,
}

impl SpamFilter {
    const BURST: u64 = 25;
    const REFILL: Nanos = 300 * SECOND;

    pub(super) const fn new() -> Self {
        Self { full_at: 0 }
    }

    /// Whether all of its events pass at `now`; each takes one token.
    pub(super) fn passes(&mut self, now: Nanos, kind: &PodEventKind) -> bool {
        let mut passes = kind.reason().is_some();
        for _ in 0..kind.events() {
            let full_at = self.full_at.max(now) + Self::REFILL;
            if full_at <= now + Self::BURST * Self::REFILL {
                self.full_at = full_at;
            } else {
                passes = false;
            }
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_25_events_one_passes_per_5_minutes() {
        let mut filter = SpamFilter::new();
        let kind =
            PodEventKind::Unhealthy { probe: ProbeKind::Liveness, symptom: Symptom::Refused, error: false };
        let passed: Vec<u64> = (0..900).filter(|second| filter.passes(second * SECOND, &kind)).collect();
        let expected: Vec<u64> = (0..25).chain([300, 600]).collect();
        assert_eq!(passed, expected);
    }
}
