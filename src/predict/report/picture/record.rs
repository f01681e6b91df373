//! What a picture shows, as it is seen.

use std::time::Duration;

use crate::fault::ActivePlan;
use crate::kubelet::{PodEvent, PodEventKind, ProbeKind};
use crate::predict::run::Replicas;
use crate::predict::workload::Workload;

/// The most Pods with a lane of their own.
pub(super) const MAX_PODS: usize = 20;

/// The most bands of a rule.
const MAX_BANDS: usize = 500;

/// The most changes of a lane that are kept; a picture has fewer pixels.
const MAX_CHANGES: usize = 5_000;

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Running,
    Stopping,
    BackOff,
}

/// A value from an instant on.
pub(super) type Change<T> = (Duration, T);

/// All of it.
pub(super) struct Record {
    shown: usize,
    /// By container of the shown Pod.
    pub(super) containers: Vec<Vec<Change<State>>>,
    /// By container and kind of probe: when attempts failed.
    pub(super) failures: Vec<[Vec<Duration>; ProbeKind::COUNT]>,
    /// By Pod, the first ones.
    pub(super) ready: Vec<Vec<Change<bool>>>,
    /// The number of Pods that are Ready.
    pub(super) endpoints: Vec<Change<usize>>,
    /// By rule: its name, and from when to when its window is open in the shown Pod.
    pub(super) bands: Vec<(String, Vec<(Duration, Duration)>)>,
    plans: Vec<(usize, ActivePlan)>,
    began: Vec<Option<Duration>>,
    is_ready: Vec<bool>,
    count: usize,
}

impl Record {
    pub(super) fn new(workload: &Workload, replicas: &Replicas, shown: usize) -> Self {
        let count = workload.pod.containers.len();
        let plans: Vec<(usize, ActivePlan)> = replicas.pods.get(shown).map_or_else(Vec::new, |pod| {
            let of = pod.pod.containers.iter().enumerate();
            of.filter_map(|(at, it)| Some((at, it.program.as_ref()?.plan.clone()))).collect()
        });
        let bands = plans
            .iter()
            .flat_map(|(_, plan)| plan.rules().map(|rule| (rule.name().to_string(), Vec::new())))
            .collect();
        Self {
            shown,
            containers: vec![vec![(Duration::ZERO, State::Waiting)]; count],
            failures: vec![Default::default(); count],
            ready: vec![vec![(Duration::ZERO, false)]; replicas.pods.len().min(MAX_PODS)],
            endpoints: vec![(Duration::ZERO, 0)],
            bands,
            plans,
            began: vec![None; count],
            is_ready: vec![false; replicas.pods.len()],
            count: 0,
        }
    }

    pub(super) fn see(&mut self, pod: usize, event: &PodEvent) {
        if let PodEventKind::PodReady(ready) = event.kind {
            if self.is_ready[pod] != ready {
                self.is_ready[pod] = ready;
                self.count = if ready { self.count + 1 } else { self.count - 1 };
                let count = self.count;
                push(&mut self.endpoints, event.at, count);
            }
            if let Some(lane) = self.ready.get_mut(pod) {
                push(lane, event.at, ready);
            }
        }
        if pod != self.shown {
            return;
        }
        let container = event.container;
        let state = match event.kind {
            PodEventKind::Started { .. } => {
                self.began[container] = Some(event.at);
                State::Running
            }
            PodEventKind::Killing { .. } => State::Stopping,
            PodEventKind::Exited { .. } => {
                self.close(container, event.at);
                State::Waiting
            }
            PodEventKind::BackOff { .. } => State::BackOff,
            PodEventKind::Unhealthy { probe, .. } => {
                let failures = &mut self.failures[container][probe as usize];
                if failures.len() < MAX_CHANGES {
                    failures.push(event.at);
                }
                return;
            }
            _ => return,
        };
        push(&mut self.containers[container], event.at, state);
    }

    /// The end of the time.
    pub(super) fn finish(&mut self, end: Duration) {
        for container in 0..self.began.len() {
            self.close(container, end);
        }
        self.bands.retain(|(_, bands)| !bands.is_empty());
    }

    /// The end of a process: the windows of its rules are known.
    fn close(&mut self, container: usize, at: Duration) {
        let Some(began) = self.began[container].take() else { return };
        let mut first = 0;
        for (of, plan) in &self.plans {
            let rules = plan.len();
            if *of == container {
                for position in 0..rules {
                    let bands = &mut self.bands[first + position].1;
                    windows(plan, position, began, at, bands);
                }
            }
            first += rules;
        }
    }
}

/// The open times of a rule in a process that ran from `began` until `end`.
fn windows(
    plan: &ActivePlan,
    position: usize,
    began: Duration,
    end: Duration,
    bands: &mut Vec<(Duration, Duration)>,
) {
    if !plan.is_selected(position) {
        return;
    }
    let mut elapsed = Duration::ZERO;
    while began + elapsed < end && bands.len() < MAX_BANDS {
        let next = plan.next_change_of(position, elapsed);
        let until = next.map_or(end, |next| (began + next).min(end));
        if plan.is_in_time(position, elapsed) {
            bands.push((began + elapsed, until));
        }
        match next {
            Some(next) if next > elapsed => elapsed = next,
            _ => return,
        }
    }
}

fn push<T: PartialEq>(lane: &mut Vec<Change<T>>, at: Duration, value: T) {
    if lane.last().is_some_and(|(_, last)| *last == value) || lane.len() >= MAX_CHANGES {
        return;
    }
    lane.push((at, value));
}
