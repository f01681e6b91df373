//! The time from a fault to the reaction of the kubelet.

use std::time::Duration;

use super::workload::Workload;
use crate::fault::{Action, Client, ClientFilter, Mode};
use crate::kubelet::{PodEvent, PodEventKind, PodSpec, ProbeKind, Program};

/// A failing rule of a container.
pub(super) struct Fault {
    container: usize,
    /// Its position in the container's plan.
    rule: usize,
    /// Whether it begins by the number of requests.
    by_requests: bool,
}

impl Fault {
    /// Whether it begins by the number of requests.
    pub(super) const fn is_by_requests(&self) -> bool {
        self.by_requests
    }
}

/// The first fault of a Pod, and the reaction to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Onset {
    lives: Vec<Life>,
    /// The first failure, if a fault begins by the number of requests.
    failed: Option<Duration>,
    /// The time from the start of the first fault to the first kill or the first loss of Ready.
    pub(super) reaction: Option<Duration>,
}

/// A kube-probesim container since its latest start.
#[derive(Clone, Debug)]
struct Life {
    container: usize,
    /// When the clock of its plan was zero: at that start or, with a kept state, at the first start.
    zero: Duration,
    begins: Option<Duration>,
}

impl Onset {
    /// Takes an event of the Pod.
    pub(super) fn see(&mut self, event: &PodEvent, faults: &[Fault], pod: &PodSpec) {
        if self.reaction.is_some() {
            return;
        }
        match event.kind {
            PodEventKind::Started { restarts } => {
                let Some(program) = &pod.containers[event.container].program else { return };
                let life = self.life(event);
                if !program.keeps_state {
                    life.zero = event.at;
                }
                // As long as no fault has begun, a new process may restart its plan.
                if life.begins.is_none_or(|begins| begins > event.at) {
                    let own = faults.iter().filter(|fault| fault.container == event.container);
                    life.begins = opening(program, own, restarts, life.zero, event.at);
                }
            }
            PodEventKind::Unhealthy { .. } if faults.iter().any(|fault| fault.by_requests) => {
                self.failed.get_or_insert(event.at);
            }
            PodEventKind::Killing { .. } | PodEventKind::PodReady(false) => {
                let begins = self.lives.iter().filter_map(|life| life.begins).chain(self.failed).min();
                self.reaction = begins.and_then(|begins| event.at.checked_sub(begins));
            }
            _ => {}
        }
    }

    /// The container that starts.
    fn life(&mut self, started: &PodEvent) -> &mut Life {
        let container = started.container;
        let known = self.lives.iter().position(|life| life.container == container);
        let position = known.unwrap_or(self.lives.len());
        if known.is_none() {
            self.lives.push(Life { container, zero: started.at, begins: None });
        }
        &mut self.lives[position]
    }
}

/// When the first of some faults begins, in a process that starts at `at` and whose plan's clock is zero at `zero`.
fn opening<'a>(
    program: &Program,
    faults: impl Iterator<Item = &'a Fault>,
    restarts: u64,
    zero: Duration,
    at: Duration,
) -> Option<Duration> {
    let plan = program.plan.clone().at(program.replica(restarts + 1, zero));
    let elapsed = at.saturating_sub(zero);
    let begin = |fault: &Fault| {
        if plan.is_in_time(fault.rule, elapsed) {
            Some(elapsed)
        } else {
            plan.next_change_of(fault.rule, elapsed)
        }
    };
    faults.filter(|fault| !fault.by_requests).filter_map(begin).min().map(|begin| zero.saturating_add(begin))
}

/// The rules of a workload that make probes fail.
pub(super) fn faults(workload: &Workload) -> Vec<Fault> {
    let mut faults = Vec::new();
    for probesim in &workload.probesim {
        for (position, rule) in probesim.plan.rules().iter().enumerate() {
            let fails = match rule.action() {
                Action::Requests { mode, .. } => mode.as_ref().is_some_and(Mode::fails),
                Action::Listener { .. } => true,
                Action::Handshake { fault, .. } => fault.fails_all(),
                Action::Process { .. } => false,
            };
            let probes =
                workload.pod.containers.iter().flat_map(|container| {
                    ProbeKind::ALL.into_iter().filter_map(|kind| container.probe(kind))
                });
            let is_met = rule.request_match().is_none() || probes.into_iter().any(|it| it.is_admitted(rule));
            if !fails || !is_met || rule.client() == ClientFilter::Only(Client::Other) {
                continue;
            }
            let by_requests = rule.trigger().requests.is_some_and(|window| window.after() > 0);
            faults.push(Fault { container: probesim.position, rule: position, by_requests });
        }
    }
    faults
}
