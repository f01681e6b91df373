//! Runs the Pods of a workload.

use std::fmt;
use std::time::Duration;

use crate::fault::{ActivePlan, Draws, Seed, Timestamp};
use crate::kubelet::{Event, Happening, Pod, PodSpec, Stats};
use crate::sources::Instance;

use super::name::names;
use super::reaction::{Fault, Onset, faults};
use super::rollout::{Milestone, Progress};
use super::service::{Availability, Service};
use super::workload::{PodName, Workload};

/// All Pods run this much of the virtual time before any goes further: what they tell is put in order and let go.
const STEP: Duration = Duration::from_secs(300);

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
            .map(|(number, name)| replica(workload, name, number as u64, seed, options.at))
            .collect();
        let seeds_drawn = workload.ours.iter().any(|ours| ours.merged.seed.is_none());
        Self { pods, seed, sample: workload.kind.draws_names() || seeds_drawn, seeds_drawn }
    }
}

fn replica(workload: &Workload, name: String, number: u64, seed: Seed, at: Timestamp) -> Replica {
    let mut pod = workload.pod.clone();
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
        }
        seeds.push(effective);
    }
    Replica { name, seeds, pod }
}

/// What became of one Pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// Counts and times.
    pub stats: Stats,
    /// From the opening of a failing rule's first window to the first kill or the first time it was no longer Ready.
    pub reaction: Option<Duration>,
}

impl Outcome {
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

/// What a prediction tells while it runs, in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Something happened in a Pod.
    Pod {
        /// Its position.
        pod: usize,
        /// What.
        event: Event,
    },
    /// Something became of the rollout.
    Rollout(Milestone),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// By Pod.
    pub pods: Vec<Outcome>,
    /// What callers of a Service over all of them saw.
    pub service: Availability,
    /// When the rollout stalled, and when it was complete; of a Deployment.
    pub rollout: Option<RolloutOutcome>,
}

/// What became of a rollout.
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

/// Runs Pods, and tells `observe` of all that happens, in the order of time. Memory grows with the number of Pods, not
/// with the time.
pub fn run(
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
    let mut events: Vec<(Event, usize)> = Vec::new();
    let mut until = Duration::ZERO;
    while until < options.horizon {
        until = until.saturating_add(STEP).min(options.horizon);
        for (position, pod) in pods.iter_mut().enumerate() {
            pod.run(until, &mut |event| events.push((event, position)));
        }
        // Stable, so that what happens to a Pod at one instant stays in its order.
        events.sort_by_key(|(event, pod)| (event.at, *pod));
        for (event, pod) in events.drain(..) {
            watch.see(event, pod, observe);
        }
        watch.advance(until, observe);
    }
    watch.finish(&pods, options.horizon)
}

/// What is made of the events.
struct Watch<'a> {
    replicas: &'a Replicas,
    service: Service,
    progress: Option<Progress>,
    serving: usize,
    shutdown_delay: Option<Duration>,
    onsets: Vec<Onset>,
    faults: Vec<Fault>,
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
        }
    }

    fn see(&mut self, event: Event, pod: usize, observe: &mut dyn FnMut(Observation)) {
        if let Happening::PodReady(ready) = event.what {
            self.service.set_ready(event.at, pod, ready);
            if let Some(progress) = &mut self.progress {
                progress.set_ready(event.at, pod, ready, &mut |what| observe(Observation::Rollout(what)));
            }
        } else {
            self.advance(event.at, observe);
        }
        if event.container == self.serving {
            match event.what {
                Happening::Started { .. } => {
                    self.service.set_accepts(event.at, pod, true);
                }
                Happening::Killing { .. } => {
                    if let Some(delay) = self.shutdown_delay {
                        self.service.set_accepts(event.at.saturating_add(delay), pod, false);
                    }
                }
                Happening::Exited { .. } => self.service.set_dead(event.at, pod),
                _ => {}
            }
        }
        self.onsets[pod].see(&event, &self.faults, &self.replicas.pods[pod].pod);
        observe(Observation::Pod { pod, event });
    }

    fn advance(&mut self, to: Duration, observe: &mut dyn FnMut(Observation)) {
        if let Some(progress) = &mut self.progress {
            progress.advance(to, &mut |what| observe(Observation::Rollout(what)));
        }
    }

    fn finish(mut self, pods: &[Pod], end: Duration) -> Prediction {
        let outcome = |((pod, replica), onset): ((&Pod, &Replica), &Onset)| Outcome {
            name: replica.name.clone(),
            stats: pod.stats(),
            reaction: onset.reaction,
        };
        Prediction {
            pods: pods.iter().zip(&self.replicas.pods).zip(&self.onsets).map(outcome).collect(),
            service: self.service.finish(end),
            rollout: self.progress.map(|progress| RolloutOutcome {
                stalled: progress.stalled(),
                complete: progress.complete(),
            }),
        }
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pods.len(), if self.pods.len() == 1 { "Pod" } else { "Pods" })
    }
}
