//! What happens in a simulated Pod.

use std::time::Duration;

use super::attempt::Symptom;
use super::clock::{Nanos, SECOND};
use super::spec::ProbeKind;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time since the Pod was added to the kubelet.
    pub at: Duration,
    /// The position of the container; of the one that tipped the scales, where the Pod is meant.
    pub container: usize,
    /// What.
    pub what: Happening,
    /// Whether the cluster shows it as an event: after 25 of a Pod, the kubelet lets one pass per 5 minutes.
    pub recorded: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
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
    /// The Pod became Ready, or not Ready.
    PodReady(bool),
}

impl Happening {
    /// The reason of the event that the kubelet leaves, if it leaves one.
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Started { .. } => Some("Started"),
            Self::Unhealthy { .. } => Some("Unhealthy"),
            Self::Warning { .. } => Some("ProbeWarning"),
            Self::Killing { .. } => Some("Killing"),
            Self::BackOff { .. } => Some("BackOff"),
            Self::Result { .. } | Self::Exited { .. } | Self::Ready(_) | Self::PodReady(_) => None,
        }
    }

    /// How many of the kubelet's events it stands for: a start is preceded by `Pulled` and `Created`.
    const fn events(&self) -> u64 {
        match self {
            Self::Started { .. } => 3,
            _ => self.reason().is_some() as u64,
        }
    }
}

impl Event {
    /// What happened, in the kubelet's words where it has any. `container` is the name of the container.
    pub fn message(&self, container: &str) -> String {
        match self.what {
            Happening::Started { .. } => format!("Started container {container}"),
            Happening::Unhealthy { probe, symptom, error: false } => {
                format!("{} probe failed: {symptom}", probe.name())
            }
            Happening::Unhealthy { probe, symptom, error: true } => {
                format!("{} probe errored and resulted in failure state: {symptom}", probe.name())
            }
            Happening::Warning { probe, symptom } => format!("{} probe warning: {symptom}", probe.name()),
            Happening::Result { probe, success } => {
                format!("{} probe {}", probe.name(), if success { "succeeded" } else { "failed" })
            }
            Happening::Killing { probe: Some(probe), restart, .. } => {
                let end = if restart { ", will be restarted" } else { "" };
                let probe = probe.name().to_ascii_lowercase();
                format!("Container {container} failed {probe} probe{end}")
            }
            Happening::Killing { probe: None, .. } => format!("Stopping container {container}"),
            Happening::Exited { code } => format!("Container {container} exited with code {code}"),
            Happening::BackOff { .. } => format!("Back-off restarting failed container {container}"),
            Happening::Ready(ready) => {
                format!("Container {container} is {}", if ready { "ready" } else { "not ready" })
            }
            Happening::PodReady(ready) => format!("Pod is {}", if ready { "ready" } else { "not ready" }),
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

    /// Whether all the events a happening stands for pass at `now`; each takes its token by itself.
    pub(super) fn passes(&mut self, now: Nanos, what: &Happening) -> bool {
        let mut passes = what.reason().is_some();
        for _ in 0..what.events() {
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
        let what =
            Happening::Unhealthy { probe: ProbeKind::Liveness, symptom: Symptom::Refused, error: false };
        let passed: Vec<u64> = (0..900).filter(|second| filter.passes(second * SECOND, &what)).collect();
        let expected: Vec<u64> = (0..25).chain([300, 600]).collect();
        assert_eq!(passed, expected);
    }
}
