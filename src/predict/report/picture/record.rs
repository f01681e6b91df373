//! Records the events for a picture.

use std::time::Duration;

use crate::fault::{ActivePlan, Rule};
use crate::kubelet::{PodEvent, PodEventKind, ProbeKind};
use crate::predict::fleet::ClusterEvent;
use crate::predict::run::Replicas;
use crate::predict::workload::Workload;

/// Limit of the Pods with a lane.
pub(super) const MAX_PODS: usize = 20;

/// Limit of the bands of a rule.
const MAX_BANDS: usize = 500;

/// Limit of the changes of a lane; a picture has fewer pixels.
const MAX_CHANGES: usize = 5_000;

/// The state of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Running,
    Stopping,
    BackOff,
}

/// A time and the value that begins then.
pub(super) type Change<T> = (Duration, T);

/// The windows of a rule.
pub(super) struct Band {
    /// The name of the rule.
    pub(super) name: String,
    /// Whether the rule has no windows in time, and so is always in force.
    pub(super) is_always: bool,
    /// Beginning and end of each window.
    pub(super) windows: Vec<(Duration, Duration)>,
}

impl Band {
    fn of(rule: &Rule) -> Self {
        let trigger = rule.trigger();
        let is_always = trigger.time.is_none() && trigger.start.is_none() && trigger.until.is_none();
        Self { name: rule.name().to_string(), is_always, windows: Vec::new() }
    }
}

/// The data of a picture.
pub(super) struct Record {
    shown: usize,
    /// The states of each container of the shown Pod.
    pub(super) containers: Vec<Vec<Change<State>>>,
    /// The times of failed attempts, by container and kind of probe.
    pub(super) failures: Vec<[Vec<Duration>; ProbeKind::COUNT]>,
    /// The name and readiness of the first Pods; no readiness: the Pod does not exist.
    pub(super) ready: Vec<(String, Vec<Change<Option<bool>>>)>,
    /// The number of Pods that are Ready.
    pub(super) endpoints: Vec<Change<usize>>,
    /// The windows of each rule in the shown Pod.
    pub(super) bands: Vec<Band>,
    plans: Vec<(usize, ActivePlan)>,
    began: Vec<Option<Duration>>,
    /// Whether each Pod is an endpoint; absent: the Pod was deleted.
    is_ready: Vec<Option<bool>>,
    count: usize,
}

impl Record {
    pub(super) fn new(workload: &Workload, replicas: &Replicas, shown: usize) -> Self {
        let count = workload.pod.containers.len();
        let plans: Vec<(usize, ActivePlan)> = replicas.pods.get(shown).map_or_else(Vec::new, |pod| {
            let of = pod.pod.containers.iter().enumerate();
            of.filter_map(|(at, it)| Some((at, it.program.as_ref()?.plan.clone()))).collect()
        });
        let bands = plans.iter().flat_map(|(_, plan)| plan.rules().map(Band::of)).collect();
        Self {
            shown,
            containers: vec![vec![(Duration::ZERO, State::Waiting)]; count],
            failures: vec![Default::default(); count],
            ready: replicas.pods.iter().take(MAX_PODS).map(|pod| lane(&pod.name, Duration::ZERO)).collect(),
            endpoints: vec![(Duration::ZERO, 0)],
            bands,
            plans,
            began: vec![None; count],
            is_ready: vec![Some(false); replicas.pods.len()],
            count: 0,
        }
    }

    pub(super) fn see(&mut self, pod: usize, event: &PodEvent) {
        match event.kind {
            PodEventKind::PodReady(ready) => self.set_ready(pod, event.at, ready),
            PodEventKind::PodGone => {
                if let Some((_, lane)) = self.ready.get_mut(pod) {
                    push(lane, event.at, None);
                }
            }
            _ => {}
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

    /// Follows the creation and deletion of Pods.
    pub(super) fn cluster_event(&mut self, at: Duration, what: &ClusterEvent) {
        match what {
            ClusterEvent::Created { pod, name } => {
                if *pod >= self.is_ready.len() {
                    self.is_ready.resize(pod + 1, Some(false));
                }
                if *pod == self.ready.len() && *pod < MAX_PODS {
                    self.ready.push(lane(name, at));
                }
            }
            ClusterEvent::Deleted { pod, .. } => {
                self.set_ready(*pod, at, false);
                self.is_ready[*pod] = None;
            }
            _ => {}
        }
    }

    /// The number of Pods so far.
    pub(super) fn pods(&self) -> usize {
        self.is_ready.len()
    }

    fn set_ready(&mut self, pod: usize, at: Duration, ready: bool) {
        let Some(is_ready) = &mut self.is_ready[pod] else { return };
        if *is_ready != ready {
            *is_ready = ready;
            self.count = if ready { self.count + 1 } else { self.count - 1 };
            // A controller deletes a Pod at the instant at which its successor is Ready: that is no change.
            self.endpoints.pop_if(|(last, _)| *last == at);
            push(&mut self.endpoints, at, self.count);
        }
        if let Some((_, lane)) = self.ready.get_mut(pod) {
            push(lane, at, Some(ready));
        }
    }

    /// Ends the recording.
    pub(super) fn finish(&mut self, end: Duration) {
        for container in 0..self.began.len() {
            self.close(container, end);
        }
        self.bands.retain(|band| !band.windows.is_empty());
    }

    /// Records the windows of the rules in a process that has ended.
    fn close(&mut self, container: usize, at: Duration) {
        let Some(began) = self.began[container].take() else { return };
        let mut first = 0;
        for (of, plan) in &self.plans {
            let rules = plan.len();
            if *of == container {
                for position in 0..rules {
                    windows(plan, position, began, at, &mut self.bands[first + position].windows);
                }
            }
            first += rules;
        }
    }
}

/// The windows of a rule in a process that ran from `began` until `end`.
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

/// The lane of a Pod that exists since `at`.
fn lane(name: &str, at: Duration) -> (String, Vec<Change<Option<bool>>>) {
    (name.to_owned(), vec![(at, Some(false))])
}

fn push<T: PartialEq>(lane: &mut Vec<Change<T>>, at: Duration, value: T) {
    if lane.last().is_some_and(|(_, last)| *last == value) || lane.len() >= MAX_CHANGES {
        return;
    }
    lane.push((at, value));
}
