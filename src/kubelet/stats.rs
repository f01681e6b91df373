//! Counts and times of a running Pod.

use std::time::Duration;

use super::clock::{Nanos, duration};
use super::spec::ProbeKind;

/// The results of one probe: those that `prober_probe_total` counts, and errors, which it does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeStats {
    /// `result="successful"`, including warnings.
    pub successful: u64,
    /// `result="failed"`.
    pub failed: u64,
    /// Warnings, which are also counted as successful.
    pub warnings: u64,
    /// Errors: the kubelet tries three times, then drops the result.
    pub errors: u64,
}

/// Counts and times of one container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerStats {
    /// Starts after the first.
    pub restarts: u64,
    /// Kills because a probe failed.
    pub kills: u64,
    /// The time from exits to the next starts that the kubelet delayed.
    pub back_off: Duration,
    /// The time in which it was not Ready.
    pub unready: Duration,
    /// The results by [`ProbeKind`]; see [`probe`](Self::probe).
    pub probes: [ProbeStats; ProbeKind::COUNT],
}

impl ContainerStats {
    /// The results of one probe.
    pub const fn probe(&self, kind: ProbeKind) -> &ProbeStats {
        &self.probes[kind as usize]
    }
}

/// Counts and times of one Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The simulated time.
    pub elapsed: Duration,
    /// When the Pod first was Ready.
    pub first_ready: Option<Duration>,
    /// The time in which it was not Ready, including the time before the first Ready.
    pub unready: Duration,
    /// How often it became unready.
    pub outages: u64,
    /// The longest time in which it was not Ready after its first Ready.
    pub longest_outage: Duration,
    /// By container.
    pub containers: Vec<ContainerStats>,
}

impl Stats {
    /// The statistics of a Pod that never started in the simulated time.
    pub fn absent(elapsed: Duration, containers: usize) -> Self {
        let unready = ContainerStats { unready: elapsed, ..ContainerStats::default() };
        Self {
            elapsed,
            first_ready: None,
            unready: elapsed,
            outages: 0,
            longest_outage: Duration::ZERO,
            containers: vec![unready; containers],
        }
    }
}

/// Sums the time in which a container or Pod is not Ready.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    since: Nanos,
    first: Option<Nanos>,
    unready: Nanos,
    outages: u64,
    longest: Nanos,
}

impl Readiness {
    /// Sets the readiness. Returns whether it changed.
    pub(super) fn set(&mut self, now: Nanos, ready: bool) -> bool {
        if self.ready == ready {
            return false;
        }
        if ready {
            self.longest = self.longest_at(now);
            self.unready = self.unready_at(now);
            self.first.get_or_insert(now);
        } else {
            self.outages += 1;
        }
        self.ready = ready;
        self.since = now;
        true
    }

    pub(super) fn unready_at(&self, now: Nanos) -> Nanos {
        if self.ready { self.unready } else { self.unready + (now - self.since) }
    }

    fn longest_at(&self, now: Nanos) -> Nanos {
        if self.ready || self.first.is_none() { self.longest } else { self.longest.max(now - self.since) }
    }

    pub(super) fn stats(&self, now: Nanos, containers: Vec<ContainerStats>) -> Stats {
        Stats {
            elapsed: duration(now),
            first_ready: self.first.map(duration),
            unready: duration(self.unready_at(now)),
            outages: self.outages,
            longest_outage: duration(self.longest_at(now)),
            containers,
        }
    }
}
