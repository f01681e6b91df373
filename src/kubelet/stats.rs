//! Counts and times kept while a Pod runs.

use std::time::Duration;

use super::clock::{Nanos, duration};
use super::spec::ProbeKind;

/// Results of one probe, as `prober_probe_total` counts them and what it does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeStats {
    /// `result="successful"`, warnings included.
    pub successful: u64,
    /// `result="failed"`.
    pub failed: u64,
    /// Warnings among the successful.
    pub warnings: u64,
    /// Errors: tried three times, then thrown away and not counted by the kubelet.
    pub errors: u64,
}

/// One container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerStats {
    /// Starts after the first.
    pub restarts: u64,
    /// Kills after a probe's failure.
    pub kills: u64,
    /// Time between an exit and the start after it where the kubelet put that off.
    pub back_off: Duration,
    /// Time not Ready.
    pub unready: Duration,
    /// By [`ProbeKind`], see [`probe`](Self::probe).
    pub probes: [ProbeStats; ProbeKind::COUNT],
}

impl ContainerStats {
    /// The results of one probe.
    pub const fn probe(&self, kind: ProbeKind) -> &ProbeStats {
        &self.probes[kind as usize]
    }
}

/// One Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The time that was run.
    pub elapsed: Duration,
    /// When the Pod was Ready for the first time.
    pub first_ready: Option<Duration>,
    /// Time not Ready, the time before it was Ready for the first time included.
    pub unready: Duration,
    /// How often a Ready Pod became not Ready.
    pub outages: u64,
    /// The longest time it was not Ready after it had been.
    pub longest_outage: Duration,
    /// By container.
    pub containers: Vec<ContainerStats>,
}

/// Adds up the time something is not Ready.
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
    /// Whether `ready` is news.
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
