//! Runs the Pods of a workload.

mod watch;

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use crate::fault::Draws;
use crate::kubelet::{Pod, PodEvent, PodEventKind};

use super::fleet::Fleet;
use super::reaction::Fault;
use super::watcher::Watchers;
use super::workload::Workload;

pub use super::options::{MAX_PODS, Options};
pub use super::outcome::{PodOutcome, Prediction, RolloutOutcome};
pub use super::replicas::{CALLER, Replica, Replicas, answering, called, serving};
pub use watch::Observation;

use watch::Watch;

/// The step of virtual time after which the events of all Pods are sorted.
const STEP: Duration = Duration::from_secs(300);

/// The number of Pods for which an additional thread is worthwhile.
const PODS_PER_THREAD: usize = 64;

/// Which events a prediction reports. Others are dropped early, which is faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// All events.
    All,
    /// All events of the Pod at this position; attempts of others may be missing.
    Pod(usize),
    /// Only events that change the state of a Pod.
    None,
}

/// Runs the Pods and passes all events to `observe` in the order of time. Memory grows with the number of Pods, but not
/// with the time.
pub fn run(
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    observe: &mut dyn FnMut(Observation),
) -> Prediction {
    run_in(Detail::All, workload, replicas, options, observe)
}

/// Like [`run`], with fewer events.
pub fn run_in(
    detail: Detail,
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    observe: &mut dyn FnMut(Observation),
) -> Prediction {
    let mut pods = Pods::new(workload, replicas, options);
    let mut watch = Watch::new(workload, replicas, options.endpoint_lag);
    let filter = Filter { detail, attempts_matter: watch.faults.iter().any(Fault::is_by_requests) };
    let mut watchers = Watchers::new(replicas.seed);
    let mut events: Vec<(PodEvent, usize)> = Vec::new();
    let mut until = Duration::ZERO;
    while until < options.horizon {
        let before = until;
        until = until.saturating_add(STEP).min(options.horizon);
        match &mut pods {
            Pods::Independent(pods) => {
                step(pods, until, filter, &mut events);
                // The sort is stable, so that simultaneous events of a Pod keep their order.
                events.sort_by_key(|(event, pod)| (event.at, *pod));
            }
            Pods::Controlled(fleet) => {
                fleet.run(until, &mut events, watch.happened());
                events.retain(|(event, pod)| filter.keeps(*pod, event));
                // Each event stays behind its cause at the same instant.
                events.sort_by_key(|(event, _)| event.at);
            }
        }
        let last = until == options.horizon;
        let replica = |pod: usize| match &pods {
            Pods::Independent(_) => &replicas.pods[pod],
            Pods::Controlled(fleet) => fleet.replica(pod),
        };
        watchers.take(&mut events, until, last, &replica, &mut |event, pod, flips| {
            watch.see(event, pod, flips, replica(pod), observe);
        });
        if let Some(progress) = &options.progress {
            progress.advance(replicas.pods.len(), until.saturating_sub(before));
        }
    }
    watch.end(until, observe);
    let stats = match &pods {
        Pods::Independent(pods) => pods.iter().map(|pod| (Duration::ZERO, pod.stats())).collect(),
        Pods::Controlled(fleet) => fleet.stats(),
    };
    let later = match pods {
        Pods::Independent(_) => Vec::new(),
        Pods::Controlled(fleet) => fleet.into_later(),
    };
    watch.finish(stats, &later, &watchers, options.horizon)
}

/// The Pods.
enum Pods<'a> {
    /// Independent Pods.
    Independent(Vec<Pod>),
    /// Pods with a controller, or with options that act on them.
    Controlled(Box<Fleet<'a>>),
}

impl<'a> Pods<'a> {
    fn new(workload: &'a Workload, replicas: &'a Replicas, options: &'a Options) -> Self {
        if let Some(fleet) = Fleet::new(workload, replicas, options) {
            return Self::Controlled(Box::new(fleet));
        }
        let pod = |replica: &Replica| {
            let node = Draws::of(replicas.seed.for_pod(&replica.name), "node");
            Pod::new(replica.pod.clone(), node)
        };
        Self::Independent(replicas.pods.iter().map(pod).collect())
    }
}

/// Which events are kept.
#[derive(Clone, Copy)]
struct Filter {
    detail: Detail,
    /// Whether the times of failed attempts are needed.
    attempts_matter: bool,
}

impl Filter {
    fn keeps(self, pod: usize, event: &PodEvent) -> bool {
        match event.kind {
            PodEventKind::Unhealthy { .. } => self.attempts_matter || self.shows(pod),
            PodEventKind::Warning { .. } | PodEventKind::Result { .. } | PodEventKind::BackOff { .. } => {
                self.shows(pod)
            }
            _ => true,
        }
    }

    fn shows(self, pod: usize) -> bool {
        self.detail == Detail::All || self.detail == Detail::Pod(pod)
    }
}

/// Runs all Pods until `until` on all cores. Their events do not depend on the number of threads.
fn step(pods: &mut [Pod], until: Duration, filter: Filter, events: &mut Vec<(PodEvent, usize)>) {
    let run = |first: usize, pods: &mut [Pod]| {
        let mut events = Vec::new();
        for (number, pod) in pods.iter_mut().enumerate() {
            let position = first + number;
            pod.run(until, &mut |event| {
                if filter.keeps(position, &event) {
                    events.push((event, position));
                }
            });
        }
        events
    };
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = cores.min(pods.len() / PODS_PER_THREAD).max(1);
    if threads == 1 {
        events.append(&mut run(0, pods));
        return;
    }
    let share = pods.len().div_ceil(threads);
    thread::scope(|scope| {
        let run = &run;
        let spawn = |(number, pods)| scope.spawn(move || run(number * share, pods));
        let running: Vec<_> = pods.chunks_mut(share).enumerate().map(spawn).collect();
        for thread in running {
            match thread.join() {
                Ok(mut of_thread) => events.append(&mut of_thread),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
}
