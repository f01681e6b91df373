//! The simulation of one Pod.

mod container;
mod end;
mod probing;
mod restart;
mod sync;

use std::net::IpAddr;
use std::time::Duration;

use super::clock::{NEVER, Nanos, SECOND, duration, nanos};
use super::event::{PodEvent, PodEventKind, PodFailure, SpamFilter};
use super::spec::{ContainerRole, DurationRange, PodSpec, ProbeKind, ServiceCalls, Timing};
use super::stats::{ContainerStats, Readiness, Stats};
use super::worker::{Worker, WorkerState};
use crate::fault::{ActivePlan, Draws};
use container::{ContainerPhase, ContainerState, LEAST_GRACE, effective_grace};

/// The slot of the Pod's next sync in the table of due times.
const SYNC: usize = 0;
/// The slot of the Pod's failure. Two slots for each container follow, then one for each worker, then one for the calls.
const FAILURE: usize = 1;

/// The calls of a Service's clients to the Pod.
#[derive(Clone, Copy, Debug)]
struct Callers {
    /// The container that answers.
    server: usize,
    calls: ServiceCalls,
    /// Whether the latest call failed.
    failing: bool,
}

/// Whether a Pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PodEnding {
    None,
    /// It was deleted.
    Deleted,
    /// Its containers completed, or it fails: it will be Succeeded or Failed.
    Completed,
    /// All its containers have ended for good.
    Over,
}

/// A Pod on a node, on a virtual clock that begins when the Pod is added to the kubelet.
#[derive(Clone, Debug)]
pub struct Pod {
    containers: Vec<ContainerState>,
    workers: Vec<Worker>,
    /// When each slot is due. A linear scan finds the next one: there are only a few.
    due: Vec<Nanos>,
    now: Nanos,
    grace: Nanos,
    node: IpAddr,
    timing: Timing,
    /// The fraction of a wall-clock second at which the virtual clock began: the API server keeps whole seconds.
    phase: Nanos,
    /// The container whose end the Pod's sync waits for; other containers wait for the sync.
    killing: Option<usize>,
    sync_wanted: bool,
    ending: PodEnding,
    /// Why it fails before its containers have ended.
    failure: Option<PodFailure>,
    deadline: Nanos,
    callers: Option<Callers>,
    draws: Draws,
    drawn: u64,
    filter: SpamFilter,
    readiness: Readiness,
}

impl Pod {
    /// A Pod that was just added to the kubelet. Random delays of the node are drawn from `jitter`.
    ///
    /// # Panics
    ///
    /// If a probe's handler names a container that does not exist.
    pub fn new(spec: PodSpec, jitter: Draws) -> Self {
        let grace = effective_grace(spec.grace);
        let mut workers = Vec::new();
        let program = |position: usize| spec.containers[position].program.as_ref();
        for (position, container) in spec.containers.iter().enumerate() {
            for kind in ProbeKind::ALL {
                let Some(probe) = container.probe(kind) else { continue };
                assert!(
                    probe.handler.server().is_none_or(|server| server < spec.containers.len()),
                    "a probe of container {} names a container that is not there",
                    container.name
                );
                let answering = probe.handler.server().and_then(program);
                let behind = answering.and_then(|it| program(it.application?.container));
                let plans = [answering, behind].map(|program| program.map(|program| &program.plan));
                workers.push(Worker::new(position, kind, probe, plans));
            }
        }
        let mut due = vec![NEVER; 2 + 2 * spec.containers.len()];
        due.extend(workers.iter().map(|worker| worker.next_tick));
        let callers = spec.containers.iter().enumerate().find_map(|(server, container)| {
            let calls = container.program.as_ref()?.calls?;
            Some(Callers { server, calls, failing: false })
        });
        due.push(callers.map_or(NEVER, |callers| nanos(callers.calls.every)));
        let containers = spec
            .containers
            .into_iter()
            .enumerate()
            .map(|(position, container)| {
                let worker = |kind| workers.iter().position(|w| w.container == position && w.kind == kind);
                ContainerState::new(container, spec.restart_policy, grace, ProbeKind::ALL.map(worker))
            })
            .collect();
        let mut pod = Self {
            containers,
            workers,
            due,
            now: 0,
            grace,
            node: spec.node,
            timing: spec.timing,
            phase: 0,
            killing: None,
            sync_wanted: false,
            ending: PodEnding::None,
            failure: None,
            deadline: spec.deadline.map_or(NEVER, |seconds| u64::from(seconds) * SECOND),
            callers,
            draws: jitter,
            drawn: 0,
            filter: SpamFilter::new(),
            readiness: Readiness::default(),
        };
        pod.phase = pod.draw(SECOND);
        let first_start = pod.draw_within(pod.timing.first_start);
        pod.due[SYNC] = first_start.saturating_sub(nanos(pod.timing.container_start));
        pod.due[FAILURE] = pod.deadline;
        pod
    }

    /// Runs until the virtual clock shows `until`, and passes each event to `observe`, in the order of time.
    pub fn run(&mut self, until: Duration, observe: &mut dyn FnMut(PodEvent)) {
        let until = nanos(until);
        loop {
            let (slot, at) = self.next();
            if at > until {
                break;
            }
            self.now = at;
            let first_worker = self.first_worker();
            if slot >= first_worker + self.workers.len() {
                self.call(observe);
            } else if slot >= first_worker {
                self.wake(slot - first_worker, observe);
            } else if slot == SYNC {
                self.sync(observe);
            } else if slot == FAILURE {
                self.fail_by_time(observe);
            } else if slot % 2 == 0 {
                self.live(slot / 2 - 1, observe);
            } else {
                self.look(slot / 2 - 1, observe);
            }
        }
        self.now = self.now.max(until);
    }

    /// The time of the next event, unless the Pod is changed from outside.
    pub fn next_due(&self) -> Option<Duration> {
        let (_, at) = self.next();
        (at != NEVER).then(|| duration(at))
    }

    /// The virtual clock.
    pub fn now(&self) -> Duration {
        duration(self.now)
    }

    /// Whether the Pod is Ready.
    pub fn is_ready(&self) -> bool {
        self.readiness.ready
    }

    /// Whether the process of a container accepts connections, ignoring partitions. A container
    /// that does not run this program accepts while it runs.
    pub fn accepts(&self, container: usize) -> bool {
        let container = &self.containers[container];
        match &container.process {
            Some(process) => process.accepts(self.now),
            None => container.runs(),
        }
    }

    /// The plan of a container, if it runs this program, and when the plan's clock stood at zero: when its process last
    /// started or, where a state is kept, first did.
    pub fn plan(&self, container: usize) -> Option<(&ActivePlan, Duration)> {
        let container = &self.containers[container];
        container.process.as_ref().map(|process| (process.plan(), duration(process.zero())))
    }

    /// Counts and times until now.
    pub fn stats(&self) -> Stats {
        let containers = self.containers.iter().map(|container| {
            let waits = container.held_since.map_or(Duration::ZERO, |since| duration(self.now - since));
            ContainerStats {
                back_off: container.stats.back_off + waits,
                unready: duration(container.readiness.unready_at(self.now)),
                ..container.stats
            }
        });
        self.readiness.stats(self.now, containers.collect())
    }

    /// Whether its containers are ending or have ended.
    fn is_ending(&self) -> bool {
        self.ending != PodEnding::None
    }

    fn next(&self) -> (usize, Nanos) {
        let mut next = (0, NEVER);
        for (slot, at) in self.due.iter().enumerate() {
            if *at < next.1 {
                next = (slot, *at);
            }
        }
        next
    }

    fn life(&mut self, container: usize) -> &mut Nanos {
        &mut self.due[2 + 2 * container]
    }

    fn next_look(&mut self, container: usize) -> &mut Nanos {
        &mut self.due[3 + 2 * container]
    }

    const fn first_worker(&self) -> usize {
        2 + 2 * self.containers.len()
    }

    fn wakes(&mut self, worker: usize) -> &mut Nanos {
        let first = self.first_worker();
        &mut self.due[first + worker]
    }

    /// A uniform draw in [0, 1).
    fn draw_share(&mut self) -> f64 {
        self.drawn += 1;
        self.draws.share(self.drawn)
    }

    /// A uniform draw below `range`.
    fn draw(&mut self, range: Nanos) -> Nanos {
        (range as f64 * self.draw_share()) as Nanos
    }

    /// A uniform draw within a range.
    fn draw_within(&mut self, span: DurationRange) -> Nanos {
        let (least, most) = (nanos(span.least), nanos(span.most));
        least + self.draw(most.saturating_sub(least))
    }

    /// Between 1 and 1.5 times `interval`.
    fn jitter(&mut self, interval: Nanos) -> Nanos {
        interval + self.draw(interval / 2)
    }

    fn emit(&mut self, container: usize, kind: PodEventKind, observe: &mut dyn FnMut(PodEvent)) {
        let recorded = self.filter.passes(self.now, &kind);
        observe(PodEvent { at: duration(self.now), container, kind, recorded });
    }

    /// Updates the readiness of a container and of the Pod.
    fn update_ready(&mut self, position: usize, observe: &mut dyn FnMut(PodEvent)) {
        let container = &self.containers[position];
        let probed = container.workers[ProbeKind::Readiness as usize]
            .is_none_or(|worker| self.workers[worker].state == WorkerState::Success);
        // An ordinary init container is not Ready while it runs.
        let ready = container.role != ContainerRole::Init
            && container.runs()
            && container.started
            && probed
            && self.now >= container.started_at;
        if self.containers[position].readiness.set(self.now, ready) {
            self.emit(position, PodEventKind::Ready(ready), observe);
        }
        let mut counting = self.containers.iter().filter(|container| container.role != ContainerRole::Init);
        let ready = counting.all(|container| container.readiness.ready);
        if self.readiness.set(self.now, ready) {
            self.emit(position, PodEventKind::PodReady(ready), observe);
        }
    }
}
