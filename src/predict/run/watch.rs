//! Derives the state of the Service, the rollout and the Job from the events of the Pods.

use std::time::Duration;

use crate::kubelet::{Hook, PodEvent, PodEventKind, Stats};
use crate::predict::fleet::{ClusterEvent, Occurrence};
use crate::predict::outcome::{JobOutcome, PodOutcome, Prediction, RolloutOutcome};
use crate::predict::reaction::{Fault, Onset, faults};
use crate::predict::replicas::{Replica, Replicas, serving};
use crate::predict::rollout::{Milestone, Progress};
use crate::predict::service::Service;
use crate::predict::watcher::{Flips, Watchers};
use crate::predict::workload::{Rollout, Workload};

/// An event that a prediction reports, in the order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// An event of a Pod.
    Pod {
        /// Its position.
        pod: usize,
        /// The event.
        event: PodEvent,
        /// For [`PodEventKind::PodReady`]: the changes that watchers of the API server see.
        flips: Flips,
    },
    /// A milestone of the rollout.
    Rollout(Milestone),
    /// An action of a controller, `kubectl` or a node.
    Cluster {
        /// When.
        at: Duration,
        /// What.
        what: ClusterEvent,
    },
}

/// The state that follows from the events: the Service, the rollout, the Job and the reactions.
pub(super) struct Watch<'a> {
    replicas: &'a Replicas,
    service: Service,
    progress: Option<Progress>,
    serving: usize,
    shutdown_delay: Option<Duration>,
    /// The duration of preStop in the serving container.
    hook: Duration,
    containers: usize,
    onsets: Vec<Onset>,
    pub(super) faults: Vec<Fault>,
    rollout: Option<Rollout>,
    /// Cluster events in the order of time, and how many of them have been reported.
    happened: Vec<Occurrence>,
    reported: usize,
    /// The Pod of the latest event, and its time.
    latest: Option<(usize, Duration)>,
    job: Option<JobOutcome>,
    drained: Option<Duration>,
    /// The position of the first Pod of the current rollout.
    first_of_rollout: usize,
    came: usize,
    /// For each Pod, whether it was deleted and so removed from the endpoints.
    deleted: Vec<bool>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(workload: &Workload, replicas: &'a Replicas, lag: Duration) -> Self {
        let pods = replicas.pods.len();
        let serving = serving(&workload.pod);
        let program = workload.pod.containers.get(serving).and_then(|container| container.program.as_ref());
        Self {
            replicas,
            service: Service::new(pods, lag),
            progress: workload.rollout.map(|rollout| Progress::new(rollout, pods)),
            serving,
            shutdown_delay: program.map(|program| program.shutdown_delay),
            hook: workload
                .pod
                .containers
                .get(serving)
                .and_then(|it| it.pre_stop)
                .map_or(Duration::ZERO, Hook::time),
            containers: workload.pod.containers.len(),
            onsets: vec![Onset::default(); pods],
            faults: faults(workload),
            rollout: workload.rollout,
            happened: Vec::new(),
            reported: 0,
            latest: None,
            job: None,
            drained: None,
            first_of_rollout: 0,
            came: pods,
            deleted: vec![false; pods],
        }
    }

    /// The cluster events that are not reported yet.
    pub(super) fn happened(&mut self) -> &mut Vec<Occurrence> {
        self.happened.drain(..self.reported);
        self.reported = 0;
        &mut self.happened
    }

    pub(super) fn see(
        &mut self,
        event: PodEvent,
        pod: usize,
        flips: Flips,
        replica: &Replica,
        observe: &mut dyn FnMut(Observation),
    ) {
        self.report_until(event.at, Some(pod), observe);
        self.latest = Some((pod, event.at));
        if event.container == self.serving {
            match event.kind {
                PodEventKind::Started { .. } => {
                    self.service.set_accepts(event.at, pod, true);
                }
                PodEventKind::Killing { grace, .. } => {
                    if let Some(delay) = self.shutdown_delay {
                        // SIGTERM comes after preStop.
                        let delay = self.hook.min(grace) + delay;
                        self.service.set_accepts(event.at.saturating_add(delay), pod, false);
                    }
                }
                PodEventKind::Exited { .. } => self.service.set_dead(event.at, pod),
                _ => {}
            }
        }
        // The container that answers calls may be in front of the serving one.
        if let PodEventKind::CallsFail(fails) = event.kind {
            self.service.set_fails(event.at, pod, fails);
        }
        self.onsets[pod].see(&event, &self.faults, &replica.pod);
        observe(Observation::Pod { pod, event, flips });
        match event.kind {
            // Endpoints and rollouts follow the status in the API server.
            PodEventKind::PodReady(ready) if flips != Flips::None && !self.deleted[pod] => {
                self.set_ready(event.at, pod, ready, observe);
            }
            _ => {}
        }
    }

    fn set_ready(&mut self, at: Duration, pod: usize, ready: bool, observe: &mut dyn FnMut(Observation)) {
        self.service.set_ready(at, pod, ready);
        if let (Some(progress), Some(number)) = (&mut self.progress, pod.checked_sub(self.first_of_rollout)) {
            progress.set_ready(at, number, ready, &mut |what| observe(Observation::Rollout(what)));
        }
    }

    /// Reports the remaining cluster events and milestones.
    pub(super) fn end(&mut self, to: Duration, observe: &mut dyn FnMut(Observation)) {
        self.report_until(to, None, observe);
    }

    /// Reports cluster events and milestones before the next event, that of a Pod at `to`.
    fn report_until(&mut self, to: Duration, next: Option<usize>, observe: &mut dyn FnMut(Observation)) {
        while let Some(Occurrence { at, what, cause }) = self.happened.get(self.reported) {
            let is_early = next.is_some_and(|next| {
                // At the same instant, the events of its cause come first.
                let causes =
                    *cause == Some(next) || cause.is_some_and(|cause| self.latest != Some((cause, to)));
                what.is_a_consequence() || causes
            });
            if *at > to || (*at == to && is_early) {
                break;
            }
            let (at, what) = (*at, what.clone());
            self.reported += 1;
            self.progress_to(at, observe);
            self.report(at, what, observe);
        }
        self.progress_to(to, observe);
    }

    fn progress_to(&mut self, to: Duration, observe: &mut dyn FnMut(Observation)) {
        if let Some(progress) = &mut self.progress {
            progress.advance(to, &mut |what| observe(Observation::Rollout(what)));
        }
    }

    fn report(&mut self, at: Duration, what: ClusterEvent, observe: &mut dyn FnMut(Observation)) {
        match &what {
            ClusterEvent::Created { pod, .. } => {
                self.came = self.came.max(pod + 1);
                self.onsets.resize(self.came, Onset::default());
                self.deleted.resize(self.came, false);
                self.service.grow(self.came);
                if let Some(progress) = &mut self.progress {
                    progress.grow(self.came - self.first_of_rollout);
                }
            }
            ClusterEvent::Deleted { pod, .. } => {
                // Its deletion removes it from the endpoints, independently of its probes.
                self.set_ready(at, *pod, false, observe);
                self.deleted[*pod] = true;
            }
            ClusterEvent::RolloutBegins => {
                self.first_of_rollout = self.came;
                self.progress =
                    self.rollout.map(|rollout| Progress::since(at, rollout, self.replicas.pods.len()));
            }
            ClusterEvent::DrainComplete => self.drained = Some(at),
            ClusterEvent::JobComplete => self.job = Some(JobOutcome { at, failure: None }),
            ClusterEvent::JobFailed(why) => self.job = Some(JobOutcome { at, failure: Some(*why) }),
            ClusterEvent::KubeletRestart => {}
        }
        observe(Observation::Cluster { at, what });
    }

    pub(super) fn finish(
        mut self,
        stats: Vec<(Duration, Stats)>,
        later: &[Replica],
        watchers: &Watchers,
        end: Duration,
    ) -> Prediction {
        let count = stats.len().max(self.replicas.pods.len());
        // Pods that were never created were never Ready.
        let absent = (Duration::ZERO, Stats::absent(end, self.containers));
        let stats = stats.into_iter().chain(std::iter::repeat(absent)).take(count);
        let mut names = self.replicas.pods.iter().chain(later).map(|replica| replica.name.clone());
        let pods = stats.enumerate().map(|(position, (added, stats))| PodOutcome {
            added,
            name: names.next().unwrap_or_default(),
            watchers: watchers.finish(position, added, added + stats.elapsed),
            stats,
            reaction: self.onsets.get(position).and_then(|onset| onset.reaction),
        });
        Prediction {
            pods: pods.collect(),
            service: self.service.finish(end),
            rollout: self.progress.map(|progress| RolloutOutcome {
                stalled: progress.stalled(),
                complete: progress.complete(),
            }),
            job: self.job,
            drained: self.drained,
        }
    }
}
