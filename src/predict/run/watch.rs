//! Follows the events of the Pods: what they mean for the Service, the rollout and the Job.

use std::time::Duration;

use crate::kubelet::{Event, Pod, PodEventKind};
use crate::predict::outcome::{PodOutcome, Prediction, RolloutOutcome};
use crate::predict::reaction::{Fault, Onset, faults};
use crate::predict::replicas::{Replicas, serving};
use crate::predict::rollout::{Milestone, Progress};
use crate::predict::service::Service;
use crate::predict::watcher::{Flips, Sight, WatcherStats};
use crate::predict::workload::{Kind, Workload};

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

/// What follows from the events: the Service, the rollout, the Job and the reactions.
pub(super) struct Watch<'a> {
    replicas: &'a Replicas,
    service: Service,
    progress: Option<Progress>,
    serving: usize,
    shutdown_delay: Option<Duration>,
    onsets: Vec<Onset>,
    pub(super) faults: Vec<Fault>,
    /// How many Pods of a Job have not Succeeded yet.
    unfinished: Option<usize>,
    job_complete: Option<Duration>,
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
            onsets: vec![Onset::default(); pods],
            faults: faults(workload),
            unfinished: (workload.kind == Kind::Job).then_some(pods),
            job_complete: None,
        }
    }

    pub(super) fn see(
        &mut self,
        event: Event,
        pod: usize,
        sight: Sight,
        observe: &mut dyn FnMut(Observation),
    ) {
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

    pub(super) fn advance(&mut self, to: Duration, observe: &mut dyn FnMut(Observation)) {
        if let Some(progress) = &mut self.progress {
            progress.advance(to, &mut |what| observe(Observation::Rollout(what)));
        }
    }

    pub(super) fn finish(mut self, pods: &[Pod], watchers: &[WatcherStats], end: Duration) -> Prediction {
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
