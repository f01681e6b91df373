//! Runs the Pods of a workload.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZero;
use std::thread;
use std::time::Duration;

use crate::fault::{ActivePlan, Client, ClientFilter, Draws, Seed, Target, Timestamp};
use crate::kubelet::{Calls, Endpoint, Event, Pod, PodEventKind, PodSpec, Stats};
use crate::sources::Instance;

use super::name::names;
use super::reaction::{Fault, Onset, faults};
use super::rollout::{Milestone, Progress};
use super::service::{Availability, Service};
use super::watcher::{Flips, Sight, WatcherStats, Watchers};
use super::workload::{Kind, OurContainer, PodName, Workload};

/// All Pods run for this much of the virtual time, then their events are put in order.
const STEP: Duration = Duration::from_secs(300);

/// From how many Pods on another thread pays.
const PODS_PER_THREAD: usize = 64;

/// How often a caller calls each Pod.
const CALL_EVERY: Duration = Duration::from_secs(1);

/// The address of callers, for partitions of some networks only.
pub const CALLER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

/// The most Pods that are run: each takes a few kilobytes.
pub const MAX_PODS: u32 = 100_000;

/// How to run a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How much virtual time to run.
    pub horizon: Duration,
    /// How many Pods; absent: as many as the workload asks for; at most [`MAX_PODS`].
    pub pods: Option<u32>,
    /// Where names, the node's chances, and seeds that are not given are drawn from; absent: from the workload's seed.
    pub seed: Option<u64>,
    /// How long an endpoint goes on to get calls after its Pod is no longer Ready.
    pub endpoint_lag: Duration,
    /// How long a caller of the Service waits for an answer.
    pub call_timeout: Duration,
    /// How long a container that does not run this program takes to end after SIGTERM; absent: it ignores SIGTERM and
    /// takes the whole grace period.
    pub stops_after: Option<Duration>,
    /// The instant at which the prediction begins, for rules with `start` or `until`.
    pub at: Timestamp,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            horizon: Duration::from_secs(3600),
            pods: None,
            seed: None,
            endpoint_lag: Duration::from_secs(1),
            call_timeout: Duration::from_secs(5),
            stops_after: Some(Duration::ZERO),
            at: Timestamp::default(),
        }
    }
}

/// One Pod before it runs.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its name.
    pub name: String,
    /// The effective seed of each of our containers, in the order of [`Workload::ours`].
    pub seeds: Vec<Seed>,
    /// What it is made of, its plans with those seeds.
    pub pod: PodSpec,
}

/// Pods of a workload, named and seeded as in the cluster.
#[derive(Clone, Debug)]
pub struct Replicas {
    /// The Pods.
    pub pods: Vec<Replica>,
    /// What was drawn was drawn from here.
    pub seed: Seed,
    /// Whether another draw of names or seeds would give another prediction.
    pub sample: bool,
    /// Whether a container has no seed of its own: the service would draw one.
    pub seeds_drawn: bool,
}

impl Replicas {
    /// The Pods of a workload.
    pub fn new(workload: &Workload, options: &Options) -> Self {
        let given = workload.ours.iter().find_map(|ours| ours.merged.seed.map(|(seed, _)| seed));
        let seed = Seed(options.seed.or(given).unwrap_or_default());
        let count = options.pods.unwrap_or(workload.replicas).min(MAX_PODS);
        let pods = names(workload, count, seed)
            .into_iter()
            .enumerate()
            .map(|(number, name)| replica(workload, name, number as u64, seed, options))
            .collect();
        let seeds_drawn = workload.ours.iter().any(|ours| ours.merged.seed.is_none());
        Self { pods, seed, sample: workload.kind.draws_names() || seeds_drawn, seeds_drawn }
    }
}

fn replica(workload: &Workload, name: String, number: u64, seed: Seed, options: &Options) -> Replica {
    let at = options.at;
    let mut pod = workload.pod.clone();
    for container in pod.containers.iter_mut().filter(|container| container.program.is_none()) {
        container.stops_after = options.stops_after;
    }
    let serving = serving(&workload.pod);
    let mut seeds = Vec::new();
    for ours in &workload.ours {
        let own_name = match &ours.pod_name {
            PodName::Unset => None,
            PodName::OfPod => Some(name.as_str()),
            PodName::Fixed(text) => Some(text.as_str()),
        };
        let draws = Draws::of(seed, &format!("seed-{}-{number}", ours.position));
        let instance = Instance {
            pod: own_name.map(str::to_owned),
            scope: ours.config.seed.scope,
            drawn_seed: draws.at(1),
            starts: 1,
        };
        let (effective, place) = instance.seed_and_replica(&ours.merged, at);
        let container = pod.containers.get_mut(ours.position);
        if let Some(program) = container.and_then(|container| container.program.as_mut()) {
            let checks_dependency = ours.config.readiness_checks_dependency;
            program.plan = ActivePlan::new(ours.plan.clone(), effective, checks_dependency).at(place);
            program.reseeds = ours.merged.seed.is_none().then_some(draws);
            program.keeps_state = ours.keeps_state;
            program.epoch = at;
            program.calls = called(ours).filter(|_| ours.position == serving).map(|endpoint| Calls {
                endpoint,
                every: CALL_EVERY,
                timeout: options.call_timeout,
                peer: IpAddr::V4(CALLER),
            });
        }
        seeds.push(effective);
    }
    Replica { name, seeds, pod }
}

/// What callers of the Service ask of a container, if any of its rules acts on them: its traffic. If it has no paths for
/// that, the first target of a rule for `client: other`, else the index.
pub fn called(ours: &OurContainer) -> Option<Endpoint> {
    let rules = || ours.plan.rules().iter().filter(|rule| rule.client().admits(Client::Other));
    let has_traffic = ours.config.paths.iter().any(|(_, target)| *target == Target::Traffic);
    let asked = if has_traffic {
        Some(Target::Traffic)
    } else {
        rules()
            .filter(|rule| rule.client() == ClientFilter::Only(Client::Other))
            .flat_map(|rule| rule.targets().iter())
            .find(|target| *target != Target::Traffic)
    };
    let acts = |target| rules().any(|rule| rule.targets().contains(target));
    match asked {
        Some(target) if acts(target) || rules().any(crate::fault::Rule::is_partition) => {
            Some(Endpoint::Target(target))
        }
        None if rules().any(crate::fault::Rule::is_partition) => Some(Endpoint::Status(200)),
        _ => None,
    }
}

/// The result of one Pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodOutcome {
    /// Its name.
    pub name: String,
    /// Counts and times, as the kubelet sees them.
    pub stats: Stats,
    /// Readiness as watchers of the API server see it.
    pub watchers: WatcherStats,
    /// From the opening of a failing rule's first window to the first kill or the first time it was no longer Ready.
    pub reaction: Option<Duration>,
}

impl PodOutcome {
    /// Restarts of all containers.
    pub fn restarts(&self) -> u64 {
        self.stats.containers.iter().map(|container| container.restarts).sum()
    }

    /// Time in back-off, of all containers.
    pub fn back_off(&self) -> Duration {
        self.stats.containers.iter().map(|container| container.back_off).sum()
    }

    /// The longest time it was not Ready after it had been; all the time, if it never was.
    pub fn longest_outage(&self) -> Duration {
        self.stats.first_ready.map_or(self.stats.elapsed, |_| self.stats.longest_outage)
    }

    /// Share of the time, from the first time it was Ready on, in which it was: 0 to 1, 0 if it never was.
    pub fn availability(&self) -> f64 {
        let Some(first) = self.stats.first_ready else { return 0.0 };
        let span = self.stats.elapsed.saturating_sub(first);
        let down = self.stats.unready.saturating_sub(first);
        if span.is_zero() { 1.0 } else { 1.0 - down.as_secs_f64() / span.as_secs_f64() }
    }
}

/// What a prediction reports while it runs, in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Something happened in a Pod.
    Pod {
        /// Its position.
        pod: usize,
        /// What happened.
        event: Event,
        /// For [`PodEventKind::PodReady`]: what watchers of the API server see of it.
        sight: Sight,
    },
    /// The state of the rollout changed.
    Rollout(Milestone),
    /// All Pods of a Job have Succeeded.
    JobComplete {
        /// When.
        at: Duration,
    },
}

/// Which events a prediction reports. The others are left out early, which is faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// All events.
    All,
    /// All events of the Pod at this position; attempts of others may be left out.
    Pod(usize),
}

/// The result of a prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// By Pod.
    pub pods: Vec<PodOutcome>,
    /// The availability of a Service over all of them.
    pub service: Availability,
    /// When the rollout stalled, and when it was complete; of a Deployment.
    pub rollout: Option<RolloutOutcome>,
    /// When all Pods had Succeeded; of a Job.
    pub job_complete: Option<Duration>,
}

/// The result of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolloutOutcome {
    /// When it first had made no progress for as long as the deadline.
    pub stalled: Option<Duration>,
    /// When all Pods were available.
    pub complete: Option<Duration>,
}

/// The container that takes a Service's calls: the first that is no sidecar, before it one with a readiness probe.
pub fn serving(pod: &PodSpec) -> usize {
    let mains = || pod.containers.iter().enumerate().filter(|(_, container)| !container.sidecar);
    mains()
        .find(|(_, container)| container.readiness.is_some())
        .or_else(|| mains().next())
        .map_or(0, |(at, _)| at)
}

/// Runs the Pods, and passes all events to `observe`, in the order of time. Memory grows with the number of Pods, not
/// with the time.
pub fn run(
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    observe: &mut dyn FnMut(Observation),
) -> Prediction {
    run_in(Detail::All, workload, replicas, options, observe)
}

/// Like [`run`], with some of the events left out.
pub fn run_in(
    detail: Detail,
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    observe: &mut dyn FnMut(Observation),
) -> Prediction {
    let mut pods: Vec<Pod> = replicas
        .pods
        .iter()
        .map(|replica| {
            let node = Draws::of(replicas.seed.for_pod(&replica.name), "node");
            Pod::new(replica.pod.clone(), node)
        })
        .collect();
    let mut watch = Watch::new(workload, replicas, options.endpoint_lag);
    let filter = Filter { detail, attempts_matter: watch.faults.iter().any(Fault::is_by_requests) };
    let mut watchers = Watchers::new(replicas);
    let mut events: Vec<(Event, usize)> = Vec::new();
    let mut until = Duration::ZERO;
    while until < options.horizon {
        until = until.saturating_add(STEP).min(options.horizon);
        step(&mut pods, until, filter, &mut events);
        // Stable, so that events of a Pod at one instant stay in their order.
        events.sort_by_key(|(event, pod)| (event.at, *pod));
        let last = until == options.horizon;
        watchers.take(&mut events, until, last, &mut |event, pod, sight| {
            watch.see(event, pod, sight, observe);
        });
    }
    watch.advance(until, observe);
    watch.finish(&pods, &watchers.finish(options.horizon), options.horizon)
}

/// Which events are kept.
#[derive(Clone, Copy)]
struct Filter {
    detail: Detail,
    /// Whether the time of the first failed attempt is needed.
    attempts_matter: bool,
}

impl Filter {
    fn keeps(self, pod: usize, event: &Event) -> bool {
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

/// Runs all Pods until `until` on the cores that there are. Their events are independent of the number of threads.
fn step(pods: &mut [Pod], until: Duration, filter: Filter, events: &mut Vec<(Event, usize)>) {
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

/// What follows from the events: the Service, the rollout, the Job and the reactions.
struct Watch<'a> {
    replicas: &'a Replicas,
    service: Service,
    progress: Option<Progress>,
    serving: usize,
    shutdown_delay: Option<Duration>,
    onsets: Vec<Onset>,
    faults: Vec<Fault>,
    /// How many Pods of a Job have not Succeeded yet.
    unfinished: Option<usize>,
    job_complete: Option<Duration>,
}

impl<'a> Watch<'a> {
    fn new(workload: &Workload, replicas: &'a Replicas, lag: Duration) -> Self {
        let pods = replicas.pods.len();
        let serving = serving(&workload.pod);
        let program = workload.pod.containers.get(serving).and_then(|container| container.program.as_ref());
        Self {
            replicas,
            service: Service::new(pods, lag),
            progress: workload.rollout.map(|rollout| Progress::new(rollout, pods)),
            serving,
            shutdown_delay: program.map(|program| program.shutdown_delay),
            onsets: vec![Onset::default(); pods],
            faults: faults(workload),
            unfinished: (workload.kind == Kind::Job).then_some(pods),
            job_complete: None,
        }
    }

    fn see(&mut self, event: Event, pod: usize, sight: Sight, observe: &mut dyn FnMut(Observation)) {
        self.advance(event.at, observe);
        if event.container == self.serving {
            match event.kind {
                PodEventKind::Started { .. } => {
                    self.service.set_accepts(event.at, pod, true);
                }
                PodEventKind::Killing { .. } => {
                    if let Some(delay) = self.shutdown_delay {
                        self.service.set_accepts(event.at.saturating_add(delay), pod, false);
                    }
                }
                PodEventKind::Exited { .. } => self.service.set_dead(event.at, pod),
                PodEventKind::CallsFail(fails) => self.service.set_fails(event.at, pod, fails),
                _ => {}
            }
        }
        self.onsets[pod].see(&event, &self.faults, &self.replicas.pods[pod].pod);
        observe(Observation::Pod { pod, event, sight });
        match event.kind {
            // Endpoints and rollouts follow the API server, too.
            PodEventKind::PodReady(ready) if sight.flips != Flips::None => {
                self.service.set_ready(event.at, pod, ready);
                if let Some(progress) = &mut self.progress {
                    progress.set_ready(event.at, pod, ready, &mut |what| observe(Observation::Rollout(what)));
                }
            }
            PodEventKind::PodFinished { succeeded: true } => {
                if let Some(unfinished) = &mut self.unfinished {
                    *unfinished -= 1;
                    if *unfinished == 0 {
                        self.job_complete = Some(event.at);
                        observe(Observation::JobComplete { at: event.at });
                    }
                }
            }
            _ => {}
        }
    }

    fn advance(&mut self, to: Duration, observe: &mut dyn FnMut(Observation)) {
        if let Some(progress) = &mut self.progress {
            progress.advance(to, &mut |what| observe(Observation::Rollout(what)));
        }
    }

    fn finish(mut self, pods: &[Pod], watchers: &[WatcherStats], end: Duration) -> Prediction {
        let outcome = |(position, pod): (usize, &Pod)| PodOutcome {
            name: self.replicas.pods[position].name.clone(),
            stats: pod.stats(),
            watchers: watchers[position],
            reaction: self.onsets[position].reaction,
        };
        Prediction {
            pods: pods.iter().enumerate().map(outcome).collect(),
            service: self.service.finish(end),
            rollout: self.progress.map(|progress| RolloutOutcome {
                stalled: progress.stalled(),
                complete: progress.complete(),
            }),
            job_complete: self.job_complete,
        }
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pods.len(), if self.pods.len() == 1 { "Pod" } else { "Pods" })
    }
}
