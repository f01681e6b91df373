//! What happens in a simulated Pod.

use std::time::Duration;

use super::attempt::Symptom;
use super::clock::{Nanos, SECOND};
use super::spec::{ContainerSpec, ProbeKind, Role};

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time since the Pod was added to the kubelet.
    pub at: Duration,
    /// The position of the container; for an event of the whole Pod, of the container that caused it.
    pub container: usize,
    /// What happened.
    pub kind: PodEventKind,
    /// Whether the cluster shows it as an event: after 25 of a Pod, the kubelet sends one per 5 minutes.
    pub recorded: bool,
}

/// Why a Pod fails before its containers have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodFailure {
    /// Its `activeDeadlineSeconds` are over.
    DeadlineExceeded,
    /// A volume is beyond its `sizeLimit`.
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

/// What happened in a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodEventKind {
    /// The container started.
    Started {
        /// How often it had been started before.
        restarts: u64,
    },
    /// An attempt failed, or three in a row were errors and thrown away.
    Unhealthy {
        /// Of which probe.
        probe: ProbeKind,
        /// What was seen.
        symptom: Symptom,
        /// Whether it was an error, which counts for nothing.
        error: bool,
    },
    /// An attempt that counts as success came to a redirect that is not followed.
    Warning {
        /// Of which probe.
        probe: ProbeKind,
        /// What was seen.
        symptom: Symptom,
    },
    /// A probe reached its threshold and its state changed.
    Result {
        /// Of which probe.
        probe: ProbeKind,
        /// Its new state.
        success: bool,
    },
    /// SIGTERM was sent.
    Killing {
        /// Whose failure; `None`: the Pod is deleted.
        probe: Option<ProbeKind>,
        /// How long until SIGKILL.
        grace: Duration,
        /// Whether it will be restarted.
        restart: bool,
    },
    /// The kernel kills the container for its memory limit; its exit follows.
    OutOfMemory,
    /// The container ended.
    Exited {
        /// The exit code: 137 after SIGKILL.
        code: u8,
    },
    /// Its restart is put off.
    BackOff {
        /// The length of the back-off, counted from the exit.
        delay: Duration,
    },
    /// The container became Ready, or not Ready.
    Ready(bool),
    /// The Pod became Ready, or not Ready, as the kubelet sees it.
    PodReady(bool),
    /// The Pod fails; what runs in it is ended.
    PodFails(PodFailure),
    /// A Pod that was deleted is gone: all its containers have ended.
    PodGone,
    /// All containers ended and none starts again.
    PodFinished {
        /// Whether the phase is Succeeded, not Failed.
        succeeded: bool,
    },
    /// Calls of the Service's clients to this Pod begin to fail, or to succeed again.
    CallsFail(bool),
}

impl PodEventKind {
    /// The reason of the event that the kubelet leaves, if it leaves one.
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

    /// Whether the message is the same each time, so that the API server counts repetitions in one event.
    pub const fn repeats(&self) -> bool {
        match self {
            Self::Unhealthy { symptom, .. } | Self::Warning { symptom, .. } => symptom.repeats(),
            _ => true,
        }
    }

    /// The number of events that the kubelet sends for it: a start is preceded by `Pulled` and `Created`.
    const fn events(&self) -> u64 {
        match self {
            Self::Started { .. } => 3,
            _ => self.reason().is_some() as u64,
        }
    }
}

impl Event {
    /// The message of the kubelet's event, or a description where the kubelet records none. `container` is the one
    /// that [`container`](Self::container) names.
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
                let what = if container.role == Role::Main { "Container" } else { "Init container" };
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
                format!("Pod fails with init container {name}, which is not restarted")
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

/// The kubelet's limit on events of one Pod: a token bucket.
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

    /// Whether all of its events pass at `now`; each takes a token of its own.
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
