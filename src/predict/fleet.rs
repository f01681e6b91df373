//! The Pods of a workload over time: created later, replaced, deleted or evicted.
//!
//! If a controller reacts to events of Pods, controller and Pods run together, event by event. Otherwise, the Pods are
//! independent of each other, and each runs alone.

mod drain;
mod event;
mod job;
mod roster;
mod set;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::fault::Draws;
use crate::kubelet::{Pod, PodEvent, PodEventKind, RestartPolicy, Stats};

use super::options::Options;
use super::replicas::{Replica, Replicas, late_replica};
use super::workload::{Kind, Workload};
use drain::Drain;
use job::JobController;
use roster::{Entry, Roster};
use set::SetController;

use crate::order;
pub use event::{ClusterEvent, JobFailure, Occurrence};

/// The most Pods that a prediction creates after the first ones.
const MAX_LATER: usize = 10_000;

/// What a controller does.
#[derive(Debug)]
enum Action {
    /// Creates a Pod with this ordinal and revision.
    Create { ordinal: u32, revision: u32 },
    /// Deletes or evicts a Pod.
    Delete { pod: usize, evicted: bool },
    /// Reports an event.
    Report(ClusterEvent),
}

enum Controller {
    Job(JobController),
    Set(SetController),
}

/// The Pods of a workload over time.
pub(super) struct Fleet<'a> {
    workload: &'a Workload,
    options: &'a Options,
    replicas: &'a Replicas,
    /// The Pods that were created after the first ones.
    later: Vec<Replica>,
    members: Vec<Member>,
    due: BinaryHeap<Reverse<(Duration, usize)>>,
    roster: Roster,
    controller: Controller,
    drain: Option<Drain>,
    kubelet_restarts: Vec<Duration>,
    /// The Pod with an event to which the controllers react at present.
    cause: Option<usize>,
}

struct Member {
    pod: Pod,
    added: Duration,
    due: Option<Duration>,
    /// Its figures when it was deleted or had ended; later unreadiness is not counted as an outage.
    settled: Option<Stats>,
}

impl<'a> Fleet<'a> {
    /// The Pods of a workload, if something outside acts on them; `None`: they are independent.
    pub(super) fn new(workload: &'a Workload, replicas: &'a Replicas, options: &'a Options) -> Option<Self> {
        let acts = options.acts()
            || match workload.kind {
                Kind::Job => true,
                Kind::StatefulSet => replicas.pods.len() > 1 && workload.creates_in_order(),
                _ => may_fail(workload),
            };
        if !acts || replicas.pods.is_empty() {
            return None;
        }
        let controller = match &workload.job {
            Some(job) => Controller::Job(JobController::new(job.clone(), workload.pod.restart_policy)),
            None => Controller::Set(SetController::new(workload, replicas.pods.len(), options)),
        };
        let mut kubelet_restarts = options.kubelet_restarts.clone();
        order::sort_by_key(&mut kubelet_restarts, |at| Reverse(*at));
        Some(Self {
            workload,
            options,
            replicas,
            later: Vec::new(),
            members: Vec::new(),
            due: BinaryHeap::new(),
            roster: Roster::default(),
            controller,
            drain: options.drain.map(|at| Drain::new(at, workload, replicas.pods.len())),
            kubelet_restarts,
            cause: None,
        })
    }

    /// The Pod at a position.
    pub(super) fn replica(&self, pod: usize) -> &Replica {
        replica_of(self.replicas, &self.later, pod)
    }

    /// For each Pod, the time of its creation, and its figures.
    pub(super) fn stats(&self) -> Vec<(Duration, Stats)> {
        let of =
            |member: &Member| (member.added, member.settled.clone().unwrap_or_else(|| member.pod.stats()));
        self.members.iter().map(of).collect()
    }

    /// The Pods that were created after the first ones.
    pub(super) fn into_later(self) -> Vec<Replica> {
        self.later
    }

    /// Runs until `until`. Events are in the order of time, and each after its cause.
    pub(super) fn run(
        &mut self,
        until: Duration,
        events: &mut Vec<(PodEvent, usize)>,
        happened: &mut Vec<Occurrence>,
    ) {
        loop {
            let next_pod = self.next_pod();
            let next_action = self.next_action();
            let pod_first = match (next_pod, next_action) {
                (Some((at, _)), Some(action)) => at <= action,
                (pod, _) => pod.is_some(),
            };
            if pod_first {
                let Some((at, pod)) = next_pod.filter(|(at, _)| *at <= until) else { break };
                self.due.pop();
                self.run_pod(pod, at, events, happened);
            } else {
                let Some(at) = next_action.filter(|at| *at <= until) else { break };
                self.act(at, events, happened);
            }
        }
        for member in self.members.iter_mut().filter(|member| member.settled.is_none()) {
            member.pod.run(until.saturating_sub(member.added), &mut |_| {});
        }
    }

    /// The next Pod that is due.
    fn next_pod(&mut self) -> Option<(Duration, usize)> {
        while let Some(Reverse((at, pod))) = self.due.peek().copied() {
            if self.members[pod].due == Some(at) {
                return Some((at, pod));
            }
            self.due.pop();
        }
        None
    }

    fn next_action(&self) -> Option<Duration> {
        let of_controller = match &self.controller {
            Controller::Job(job) => job.next(&self.roster),
            Controller::Set(set) => set.next(&self.roster),
        };
        let of_drain = self.drain.as_ref().and_then(Drain::next);
        [of_controller, of_drain, self.kubelet_restarts.last().copied()].into_iter().flatten().min()
    }

    fn run_pod(
        &mut self,
        pod: usize,
        at: Duration,
        events: &mut Vec<(PodEvent, usize)>,
        happened: &mut Vec<Occurrence>,
    ) {
        let first = events.len();
        let member = &mut self.members[pod];
        let added = member.added;
        member.pod.run(at.saturating_sub(added), &mut |event| {
            events.push((PodEvent { at: event.at + added, ..event }, pod));
        });
        if self.take(pod, &events[first..]) {
            self.cause = Some(pod);
            self.act(at, events, happened);
            self.cause = None;
        }
        self.schedule(pod);
    }

    fn occurrence(&self, at: Duration, what: ClusterEvent) -> Occurrence {
        Occurrence { at, what, cause: self.cause }
    }

    /// Applies the events of a Pod. Returns whether a controller may react to them.
    fn take(&mut self, pod: usize, events: &[(PodEvent, usize)]) -> bool {
        let mut matters = false;
        for (event, _) in events {
            matters |= self.roster.take(pod, event);
            if matches!(event.kind, PodEventKind::PodGone | PodEventKind::PodFinished { .. }) {
                let member = &mut self.members[pod];
                member.settled.get_or_insert_with(|| member.pod.stats());
            }
        }
        matters
    }

    fn schedule(&mut self, pod: usize) {
        let member = &mut self.members[pod];
        let is_over = self.roster.entries[pod].is_over();
        member.due = member.pod.next_due().filter(|_| !is_over).map(|at| at.saturating_add(member.added));
        self.due.extend(member.due.map(|at| Reverse((at, pod))));
    }

    /// Lets kubelet restarts, the drain and the controller act until none of them has anything to do at this instant.
    fn act(&mut self, now: Duration, events: &mut Vec<(PodEvent, usize)>, happened: &mut Vec<Occurrence>) {
        while self.kubelet_restarts.pop_if(|at| *at <= now).is_some() {
            happened.push(self.occurrence(now, ClusterEvent::KubeletRestart));
            for pod in 0..self.members.len() {
                let member = &mut self.members[pod];
                member.pod.run(now.saturating_sub(member.added), &mut |_| {});
                member.pod.restart_kubelet();
                self.schedule(pod);
            }
        }
        loop {
            let mut actions = Vec::new();
            if let Some(drain) = &mut self.drain {
                drain.react(&self.roster, now, &mut actions);
            }
            match &mut self.controller {
                Controller::Job(job) => job.react(&self.roster, now, &mut actions),
                Controller::Set(set) => set.react(&self.roster, now, &mut actions),
            }
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    Action::Create { ordinal, revision } => self.create(ordinal, revision, now, happened),
                    Action::Delete { pod, evicted } => self.delete(pod, evicted, now, events, happened),
                    Action::Report(what) => happened.push(self.occurrence(now, what)),
                }
            }
        }
    }

    fn create(&mut self, ordinal: u32, revision: u32, now: Duration, happened: &mut Vec<Occurrence>) {
        let position = self.members.len();
        if self.is_full() {
            return;
        }
        if position >= self.replicas.pods.len() {
            self.later.push(late_replica(self.workload, self.replicas, position, ordinal, self.options));
        }
        let replica = replica_of(self.replicas, &self.later, position);
        let mut spec = replica.pod.clone();
        for program in spec.containers.iter_mut().filter_map(|container| container.program.as_mut()) {
            program.epoch.0 = program.epoch.0.saturating_add(now);
        }
        let label =
            if position < self.replicas.pods.len() { "node".to_owned() } else { format!("node-{position}") };
        let pod = Pod::new(spec, Draws::of(self.replicas.seed.for_pod(&replica.name), &label));
        if position >= self.replicas.pods.len() || now > Duration::ZERO {
            let name = replica.name.clone();
            happened.push(self.occurrence(now, ClusterEvent::Created { pod: position, name }));
        }
        self.members.push(Member { pod, added: now, due: None, settled: None });
        self.roster.entries.push(Entry::new(ordinal, revision, self.workload.pod.containers.len()));
        self.schedule(position);
    }

    fn delete(
        &mut self,
        pod: usize,
        evicted: bool,
        now: Duration,
        events: &mut Vec<(PodEvent, usize)>,
        happened: &mut Vec<Occurrence>,
    ) {
        let name = self.replica(pod).name.clone();
        happened.push(self.occurrence(now, ClusterEvent::Deleted { pod, name, evicted }));
        self.roster.entries[pod].delete(now, evicted);
        let first = events.len();
        let member = &mut self.members[pod];
        let added = member.added;
        let mut push = |event: PodEvent| events.push((PodEvent { at: event.at + added, ..event }, pod));
        member.pod.run(now.saturating_sub(added), &mut push);
        member.settled = Some(member.pod.stats());
        member.pod.delete(&mut push);
        self.take(pod, &events[first..]);
        self.schedule(pod);
    }

    /// Whether the limit on the number of Pods is reached.
    fn is_full(&self) -> bool {
        self.later.len() >= MAX_LATER
    }
}

fn replica_of<'a>(replicas: &'a Replicas, later: &'a [Replica], pod: usize) -> &'a Replica {
    replicas.pods.get(pod).unwrap_or_else(|| &later[pod - replicas.pods.len()])
}

/// Whether a Pod of the workload may fail, so that its controller replaces it.
fn may_fail(workload: &Workload) -> bool {
    let is_replaced = workload.kind != Kind::Pod;
    let pod = &workload.pod;
    let fills = workload.facts.iter().any(|facts| !facts.volume_limits.is_empty());
    is_replaced && (fills || pod.deadline.is_some() || pod.restart_policy != RestartPolicy::Always)
}
