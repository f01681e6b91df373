//! Readiness as watchers of the API server see it.
//!
//! The kubelet reports the status of a Pod to the API server with a delay, which coalesces short changes: nobody sees a
//! Pod that is not Ready for less than about a second, as in most immediate restarts. If the container has a
//! startup probe, however, watchers see the restart, often as two changes in a row.

use std::time::Duration;

use super::replicas::Replica;
use crate::fault::{Draws, Seed};
use crate::kubelet::{PodEvent, PodEventKind};

/// Watchers do not see changes that last less (measured on a cluster).
pub const COALESCED: Duration = Duration::from_secs(1);

/// The longest time not Ready for which the restart of a container with a startup probe counts as immediate.
const IMMEDIATE: Duration = Duration::from_secs(2);

/// The share of immediate restarts with a startup probe in which watchers see two changes. This is an assumption: two
/// changes were seen often on a cluster.
const TWICE: f64 = 0.5;

/// The changes that watchers see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flips {
    /// None: the change is too short, or the event is not a change of readiness.
    #[default]
    None,
    /// This change.
    Once,
    /// This change, its opposite, and this change again.
    Twice,
}

impl Flips {
    /// The values that watchers see when the readiness of a Pod becomes `ready`.
    pub fn values(self, ready: bool) -> &'static [bool] {
        match (self, ready) {
            (Flips::None, _) => &[],
            (Flips::Once, true) => &[true],
            (Flips::Once, false) => &[false],
            (Flips::Twice, true) => &[true, false, true],
            (Flips::Twice, false) => &[false, true, false],
        }
    }
}

/// The figures of one Pod as watchers see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatcherStats {
    /// The number of changes of its readiness, including the first.
    pub flips: u64,
    /// The time not Ready, including the time before its first Ready.
    pub unready: Duration,
}

/// A Pod as watchers see it.
#[derive(Debug)]
struct Watched {
    draws: Draws,
    drawn: u64,
    /// The latest change, if it may still be coalesced: its position in the queue, and its time.
    pending: Option<(usize, Duration)>,
    /// When the kubelet last saw it become not Ready.
    unready_at: Option<Duration>,
    /// Whether a container with a startup probe restarted since then.
    starts_up: bool,
    ready: bool,
    since: Duration,
    stats: WatcherStats,
}

/// Decides which changes of readiness watchers see. Events are queued until the decision.
#[derive(Debug)]
pub(super) struct Watchers {
    seed: Seed,
    pods: Vec<Watched>,
    /// The queued events, in the order of time.
    waiting: Vec<(PodEvent, usize, Flips)>,
}

impl Watchers {
    pub(super) const fn new(seed: Seed) -> Self {
        Self { seed, pods: Vec::new(), waiting: Vec::new() }
    }

    /// Adds Pods up to this position.
    fn meet<'a>(&mut self, pod: usize, replica: &impl Fn(usize) -> &'a Replica) {
        while self.pods.len() <= pod {
            self.pods.push(Watched {
                draws: Draws::of(self.seed.for_pod(&replica(self.pods.len()).name), "watchers"),
                drawn: 0,
                pending: None,
                unready_at: None,
                starts_up: false,
                ready: false,
                since: Duration::ZERO,
                stats: WatcherStats::default(),
            });
        }
    }

    /// Queues the events until `until`, in the order of time, and passes on those that are decided: with `last`, all
    /// events.
    pub(super) fn take<'a>(
        &mut self,
        events: &mut Vec<(PodEvent, usize)>,
        until: Duration,
        last: bool,
        replica: &impl Fn(usize) -> &'a Replica,
        settled: &mut dyn FnMut(PodEvent, usize, Flips),
    ) {
        for (event, pod) in events.drain(..) {
            self.meet(pod, replica);
            let position = self.waiting.len();
            self.waiting.push((event, pod, Flips::None));
            match event.kind {
                PodEventKind::PodReady(ready) => self.flip(position, event.at, pod, ready),
                PodEventKind::Started { restarts } if restarts > 0 => {
                    let container = &replica(pod).pod.containers[event.container];
                    self.pods[pod].starts_up |= container.startup.is_some();
                }
                _ => {}
            }
        }
        let limit = until.saturating_sub(COALESCED);
        let count = if last {
            self.waiting.len()
        } else {
            self.waiting.partition_point(|(event, ..)| event.at <= limit)
        };
        for (event, pod, flips) in self.waiting.drain(..count) {
            if let PodEventKind::PodReady(ready) = event.kind {
                self.pods[pod].count(event.at, ready, flips);
            }
            settled(event, pod, flips);
        }
        for pod in &mut self.pods {
            pod.pending = pod.pending.and_then(|(at, time)| Some((at.checked_sub(count)?, time)));
        }
    }

    fn flip(&mut self, position: usize, at: Duration, pod: usize, ready: bool) {
        let watched = &mut self.pods[pod];
        self.waiting[position].2 = Flips::Once;
        let immediate =
            ready && watched.starts_up && watched.unready_at.is_some_and(|since| at < since + IMMEDIATE);
        if immediate {
            watched.drawn += 1;
            if watched.draws.share(watched.drawn) < TWICE {
                self.waiting[position].2 = Flips::Twice;
            }
            watched.pending = None;
        } else if let Some((before, since)) = watched.pending.filter(|(_, since)| at < *since + COALESCED) {
            debug_assert!(since <= at, "events come in the order of time");
            self.waiting[before].2 = Flips::None;
            self.waiting[position].2 = Flips::None;
            watched.pending = None;
        } else {
            watched.pending = Some((position, at));
        }
        watched.starts_up = false;
        watched.unready_at = (!ready).then_some(at);
    }

    /// The figures of a Pod that was added at `added`, until `end`.
    pub(super) fn finish(&self, pod: usize, added: Duration, end: Duration) -> WatcherStats {
        let Some(watched) = self.pods.get(pod) else {
            return WatcherStats { flips: 0, unready: end.saturating_sub(added) };
        };
        let open = if watched.ready { Duration::ZERO } else { end.saturating_sub(watched.since) };
        let unready = (watched.stats.unready + open).saturating_sub(added);
        WatcherStats { unready, ..watched.stats }
    }
}

impl Watched {
    fn count(&mut self, at: Duration, ready: bool, flips: Flips) {
        self.stats.flips += flips.values(ready).len() as u64;
        if flips == Flips::None || self.ready == ready {
            return;
        }
        if ready {
            self.stats.unready += at.saturating_sub(self.since);
        }
        self.ready = ready;
        self.since = at;
    }
}
