//! Attempts, their results, and the calls of clients.

use super::super::attempt::{AttemptResult, ProbeReply};
use super::super::clock::{NEVER, Nanos, nanos};
use super::super::event::{PodEvent, PodEventKind};
use super::super::process::{Behind, ContainerProcess, ProcessRequest};
use super::super::spec::{ProbeEndpoint, ProbeHandler, ProbeKind, ServiceCalls};
use super::super::worker::{Flight, NextStep, WorkerState};
use super::container::ContainerState;
use super::{Callers, ContainerPhase, Pod, SYNC};
use crate::fault::{Client, Target};

impl Pod {
    /// A worker's tick, a trigger, or the end of a request in progress.
    pub(super) fn wake(&mut self, position: usize, observe: &mut dyn FnMut(PodEvent)) {
        let now = self.now;
        let is_ending = self.is_ending();
        let worker = &mut self.workers[position];
        if let Some(flight) = worker.flight.take() {
            self.land(position, flight, observe);
        } else {
            worker.wake(now);
            if is_ending && worker.kind != ProbeKind::Readiness {
                *self.wakes(position) = NEVER;
                return;
            }
            if self.may_probe(position) {
                let worker = &self.workers[position];
                let flight = worker.flight(now, self.containers[worker.container].starts);
                self.send(position, flight, None, observe);
            }
        }
        if self.workers[position].flight.is_none() {
            *self.wakes(position) =
                if self.is_asleep(position) { NEVER } else { self.workers[position].wakes(now) };
        }
    }

    /// Whether the ticks of a worker do nothing until the next start of its container: those of a startup probe that
    /// succeeded.
    fn is_asleep(&self, position: usize) -> bool {
        let worker = &self.workers[position];
        worker.kind == ProbeKind::Startup && worker.on_hold && self.containers[worker.container].started
    }

    /// Lets a worker that is asleep tick again. A tick at this instant is not lost.
    pub(super) fn wake_up(&mut self, position: usize) {
        let now = self.now;
        if self.workers[position].flight.is_none() && *self.wakes(position) == NEVER {
            self.workers[position].skip_ticks(now);
            *self.wakes(position) = self.workers[position].wakes(now);
        }
    }

    fn may_probe(&mut self, position: usize) -> bool {
        let worker = &mut self.workers[position];
        let container = &self.containers[worker.container];
        if worker.on_hold || container.starts == 0 {
            return false;
        }
        if !container.runs() {
            worker.state = WorkerState::Failure;
            return false;
        }
        self.now >= worker.probes_from && container.started == (worker.kind != ProbeKind::Startup)
    }

    /// Sends a request of an attempt, and its follow-ups at the same instant.
    fn send(
        &mut self,
        position: usize,
        mut flight: Flight,
        mut endpoint: Option<ProbeEndpoint>,
        observe: &mut dyn FnMut(PodEvent),
    ) {
        let now = self.now;
        let worker = &self.workers[position];
        let (timeout, is_exec) = (worker.timeout, matches!(worker.handler, ProbeHandler::Exec { .. }));
        loop {
            let reply = self.ask(position, endpoint, flight.deadline);
            flight.outcome = reply.outcome;
            if reply.at > now {
                self.workers[position].flight = Some(flight);
                *self.wakes(position) = reply.at;
                return;
            }
            match flight.next(now, timeout, is_exec) {
                NextStep::Request(next) => endpoint = Some(next),
                NextStep::Again => endpoint = None,
                NextStep::Done(outcome) => return self.conclude(position, outcome, flight.start, observe),
            }
        }
    }

    /// The end of a request in progress.
    fn land(&mut self, position: usize, mut flight: Flight, observe: &mut dyn FnMut(PodEvent)) {
        let worker = &self.workers[position];
        match flight.next(self.now, worker.timeout, matches!(worker.handler, ProbeHandler::Exec { .. })) {
            NextStep::Request(endpoint) => self.send(position, flight, Some(endpoint), observe),
            NextStep::Again => self.send(position, flight, None, observe),
            NextStep::Done(outcome) => self.conclude(position, outcome, flight.start, observe),
        }
    }

    fn ask(&mut self, position: usize, redirected: Option<ProbeEndpoint>, deadline: Nanos) -> ProbeReply {
        let now = self.now;
        let success = ProbeReply { at: now, outcome: AttemptResult::Success };
        let worker = &self.workers[position];
        let Some((process, behind)) =
            worker.handler.server().and_then(|server| answering(&mut self.containers, server))
        else {
            return success;
        };
        let (endpoint, client, transport) = match worker.handler {
            ProbeHandler::Http { endpoint, client, .. } => (endpoint, client, None),
            ProbeHandler::Exec { endpoint, .. } => (endpoint, Client::Kubelet, None),
            ProbeHandler::Assumed { target, transport, .. } => {
                (ProbeEndpoint::Target(target), Client::Kubelet, Some(transport))
            }
            ProbeHandler::Tcp { .. } => return process.connect(now, deadline).err().unwrap_or(success),
            ProbeHandler::Healthy => return success,
        };
        let request = ProcessRequest {
            at: now,
            deadline,
            endpoint: redirected.unwrap_or(endpoint),
            https: worker.https,
            client,
            peer: self.node,
            is_grpc: false,
            purpose: worker.kind.target(),
            matched: &worker.matched,
            matched_behind: &worker.matched_behind,
        };
        match transport {
            None => process.request(request, behind),
            Some(transport) => process.assumed(request, transport, behind),
        }
    }

    /// A client of the Service calls the Pod, if it is Ready and its process accepts connections.
    pub(super) fn call(&mut self, observe: &mut dyn FnMut(PodEvent)) {
        let now = self.now;
        let Some(Callers { server, calls, failing }) = self.callers else { return };
        if let Some(due) = self.due.last_mut() {
            *due = now.saturating_add(nanos(calls.every).max(1));
        }
        let ready = self.readiness.ready;
        let Some((process, behind)) = answering(&mut self.containers, server) else { return };
        if !ready || !process.accepts(now) {
            return;
        }
        let ServiceCalls { endpoint, timeout, peer, .. } = calls;
        let deadline = now.saturating_add(nanos(timeout));
        let request = ProcessRequest {
            at: now,
            deadline,
            https: false,
            endpoint,
            client: Client::Other,
            peer,
            is_grpc: false,
            purpose: Target::Traffic,
            // What the calls ask for is not known.
            matched: &[],
            matched_behind: &[],
        };
        let reply = process.request(request, behind);
        let fails = matches!(reply.outcome, AttemptResult::Failure(_) | AttemptResult::Error(_));
        if fails != failing {
            self.callers = Some(Callers { server, calls, failing: fails });
            self.emit(server, PodEventKind::CallsFail(fails), observe);
        }
    }

    /// Handles the end of an attempt. `start` is the number of the container's start when it began.
    fn conclude(
        &mut self,
        position: usize,
        outcome: AttemptResult,
        start: u64,
        observe: &mut dyn FnMut(PodEvent),
    ) {
        let worker = &self.workers[position];
        let (container, probe) = (worker.container, worker.kind);
        let stats = &mut self.containers[container].stats.probes[probe as usize];
        let success = match outcome {
            AttemptResult::Success => {
                stats.successful += 1;
                true
            }
            AttemptResult::Warning(symptom) => {
                stats.successful += 1;
                stats.warnings += 1;
                self.emit(container, PodEventKind::Warning { probe, symptom }, observe);
                true
            }
            AttemptResult::Failure(symptom) => {
                stats.failed += 1;
                self.emit(container, PodEventKind::Unhealthy { probe, symptom, error: false }, observe);
                false
            }
            AttemptResult::Error(symptom) => {
                stats.errors += 1;
                self.emit(container, PodEventKind::Unhealthy { probe, symptom, error: true }, observe);
                return;
            }
            AttemptResult::Redirect(_) => return,
        };
        let worker = &mut self.workers[position];
        let Some(reached) = worker.record(success) else { return };
        if self.containers[container].starts != start {
            // The result belongs to an earlier container; only the run of results continues.
            worker.on_hold = false;
            return;
        }
        if worker.state != reached {
            worker.state = reached;
            self.react(container, probe, success, observe);
        }
    }

    /// A probe's state changed.
    fn react(
        &mut self,
        container: usize,
        probe: ProbeKind,
        success: bool,
        observe: &mut dyn FnMut(PodEvent),
    ) {
        self.emit(container, PodEventKind::Result { probe, success }, observe);
        match probe {
            ProbeKind::Startup => {
                self.containers[container].started = success && self.containers[container].runs();
                self.update_ready(container, observe);
            }
            ProbeKind::Readiness => self.update_ready(container, observe),
            ProbeKind::Liveness => {}
        }
        if !self.is_ending() {
            self.due[SYNC] = self.now;
        }
    }

    /// A sync of the Pod triggers readiness probes of all started containers that are not Ready.
    pub(super) fn trigger_readiness(&mut self) {
        for position in 0..self.workers.len() {
            let worker = &mut self.workers[position];
            let container = &self.containers[worker.container];
            let asked = worker.kind == ProbeKind::Readiness
                && worker.state != WorkerState::Success
                && container.started
                && matches!(container.phase, ContainerPhase::Running | ContainerPhase::Stopping);
            if !asked {
                continue;
            }
            worker.triggered = true;
            if worker.flight.is_none() {
                *self.wakes(position) = self.now;
            }
        }
    }

    /// Ends requests in progress to a process that has ended.
    pub(super) fn abort_requests(&mut self, server: usize) {
        for position in 0..self.workers.len() {
            let worker = &mut self.workers[position];
            if worker.handler.server() == Some(server)
                && let Some(flight) = &mut worker.flight
            {
                flight.outcome = AttemptResult::Failure(super::super::attempt::Symptom::Closed);
                *self.wakes(position) = self.now;
            }
        }
    }
}

/// The process in the container at `server`, and the application behind it.
fn answering(
    containers: &mut [ContainerState],
    server: usize,
) -> Option<(&mut ContainerProcess, Option<Behind<'_>>)> {
    let application = containers[server].process.as_ref()?.application();
    let Some(behind) = application.map(|it| it.container).filter(|it| *it != server) else {
        return Some((containers[server].process.as_mut()?, None));
    };
    let [front, behind] = containers.get_disjoint_mut([server, behind]).ok()?;
    let runs = behind.runs();
    Some((front.process.as_mut()?, Some(Behind { process: behind.process.as_mut(), runs })))
}
