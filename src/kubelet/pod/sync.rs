//! The kubelet's sync loop: starts, kills, exits, and the delays between them.

use super::super::backoff::DelayedStart;
use super::super::clock::{NEVER, Nanos, SECOND, duration, nanos};
use super::super::event::{PodEvent, PodEventKind, PodFailure};
use super::super::process::ContainerProcess;
use super::super::spec::{ContainerRole, ProbeKind, RestartPolicy};
use super::super::worker::WorkerState;
use super::{ContainerPhase, LEAST_GRACE, Pod, PodEnding, SYNC};

/// A Pod is synced again after 1.0 to 1.5 times this at the latest.
const RESYNC: Nanos = 60 * SECOND;
/// The exit code after SIGKILL.
const KILLED: u8 = 137;

impl Pod {
    /// One sync of the Pod.
    pub(super) fn sync(&mut self, observe: &mut dyn FnMut(PodEvent)) {
        self.due[SYNC] = NEVER;
        if self.is_ending() {
            return;
        }
        if self.killing.is_some() {
            self.sync_wanted = true;
            return;
        }
        self.trigger_readiness();
        if let Some((container, probe)) = self.failed_container() {
            self.kill(container, probe, observe);
            return;
        }
        self.start_what_may(observe);
    }

    /// A running container whose liveness or startup probe failed.
    fn failed_container(&self) -> Option<(usize, ProbeKind)> {
        self.workers.iter().find_map(|worker| {
            let failed = worker.kind != ProbeKind::Readiness
                && worker.state == WorkerState::Failure
                && self.containers[worker.container].phase == ContainerPhase::Running;
            failed.then_some((worker.container, worker.kind))
        })
    }

    /// Starts every container that may start now, and schedules the next sync.
    fn start_what_may(&mut self, observe: &mut dyn FnMut(PodEvent)) {
        let mut next = RESYNC;
        let mut created_by = self.now;
        let mut gates_open = true;
        for position in 0..self.containers.len() {
            let container = &mut self.containers[position];
            let starts = match container.phase {
                ContainerPhase::Gated => gates_open,
                ContainerPhase::Exited if container.exit_known => {
                    match container.backoff.ask(self.now, container.exited_at) {
                        Ok(()) => true,
                        Err(wait) => {
                            next = next.min(wait.remaining);
                            self.hold(position, wait, observe);
                            false
                        }
                    }
                }
                _ => false,
            };
            gates_open &= self.containers[position].lets_next_start(self.now);
            if starts {
                created_by = created_by.saturating_add(nanos(self.timing.container_start));
                self.create(position, created_by);
                // The sync waits for the hook before it starts the next container.
                created_by = created_by.saturating_add(self.containers[position].post_start);
            }
        }
        self.due[SYNC] = self.now + self.jitter(next);
    }

    fn create(&mut self, position: usize, at: Nanos) {
        self.containers[position].phase = ContainerPhase::Creating;
        *self.life(position) = at;
    }

    /// Delays the restart of a container.
    fn hold(&mut self, position: usize, wait: DelayedStart, observe: &mut dyn FnMut(PodEvent)) {
        let container = &mut self.containers[position];
        if container.held_since.is_none() {
            container.held_since = container.exited_at;
            let delay = duration(wait.delay);
            self.emit(position, PodEventKind::BackOff { delay }, observe);
        }
    }

    fn kill(&mut self, position: usize, probe: ProbeKind, observe: &mut dyn FnMut(PodEvent)) {
        let container = &mut self.containers[position];
        container.stats.kills += 1;
        let grace = container.grace[probe as usize];
        let restart = container.restarts(true);
        self.killing = Some(position);
        let kind = PodEventKind::Killing { probe: Some(probe), grace: duration(grace), restart };
        self.terminate(position, grace);
        self.emit(position, kind, observe);
    }

    pub(super) fn terminate(&mut self, position: usize, grace: Nanos) {
        let now = self.now;
        let container = &mut self.containers[position];
        container.phase = ContainerPhase::Stopping;
        // preStop runs inside the grace period, in whole seconds; after an overrun, a minimum remains.
        let hook = container.pre_stop.min(grace);
        let left = grace.saturating_sub(hook / SECOND * SECOND).max(LEAST_GRACE);
        let later = container.process.as_mut().map_or(0, |process| process.stop(now.saturating_add(hook)));
        let stops_after = container.stops_after.saturating_add(later);
        container.exit_code = if stops_after > left { KILLED } else { 0 };
        let after = hook.saturating_add(stops_after.min(left));
        *self.life(position) = now.saturating_add(after);
    }

    /// A container starts or ends.
    pub(super) fn live(&mut self, position: usize, observe: &mut dyn FnMut(PodEvent)) {
        *self.life(position) = NEVER;
        match self.containers[position].phase {
            ContainerPhase::Creating => self.start(position, observe),
            ContainerPhase::Running => {
                let container = &mut self.containers[position];
                container.exit_code = container.ending.map_or(0, |end| end.code);
                if container.ending.is_some_and(|end| end.out_of_memory) {
                    self.emit(position, PodEventKind::OutOfMemory, observe);
                }
                self.exit(position, observe);
            }
            ContainerPhase::Stopping => self.exit(position, observe),
            ContainerPhase::Gated | ContainerPhase::Exited | ContainerPhase::Done => {}
        }
    }

    fn start(&mut self, position: usize, observe: &mut dyn FnMut(PodEvent)) {
        let now = self.now;
        let container = &mut self.containers[position];
        if let Some(since) = container.held_since.take() {
            container.stats.back_off += duration(now - since);
        }
        container.phase = ContainerPhase::Running;
        container.started = container.workers[ProbeKind::Startup as usize].is_none();
        container.started_at = now.saturating_add(container.post_start);
        let hook_ends = container.started_at;
        let restarts = container.starts;
        container.stats.restarts = restarts;
        container.starts += 1;
        container.syncs = 0;
        let (workers, ends) = (container.workers, now.saturating_add(container.ends_after));
        let start_time = self.containers[position].process.as_ref().and_then(ContainerProcess::start_time);
        let listens_after = if let Some(time) = start_time {
            time
        } else if self.is_late_listener(position) {
            // No sync after the first one.
            self.containers[position].syncs = self.timing.syncs_after_start.len();
            nanos(self.timing.listens_after)
        } else {
            0
        };
        if let Some(process) = &mut self.containers[position].process {
            process.start(now, listens_after);
        }
        let by_itself = self.containers[position].end.map(|end| (ends, end));
        let by_rule = self.containers[position].process.as_ref().and_then(|it| it.end_by_rule(now));
        let ending = [by_itself, by_rule].into_iter().flatten().min_by_key(|(at, _)| *at);
        self.containers[position].ending = ending.map(|(_, end)| end);
        let ends = ending.map_or(NEVER, |(at, _)| at);
        // The status of a container has its start in whole seconds of the wall clock.
        let started_at = (now + self.phase) / SECOND * SECOND;
        for worker in workers.into_iter().flatten() {
            self.workers[worker].reset(started_at, self.phase, hook_ends);
            self.wake_up(worker);
        }
        *self.life(position) = ends;
        self.expect_eviction(position);
        *self.next_look(position) = hook_ends.saturating_add(nanos(self.timing.syncs_after_start[0]));
        self.emit(position, PodEventKind::Started { restarts }, observe);
        self.update_ready(position, observe);
    }

    /// Draws whether the first readiness attempt comes before the program listens. This is only possible if the
    /// container answers its own readiness probe.
    fn is_late_listener(&mut self, position: usize) -> bool {
        let container = &self.containers[position];
        let readiness = container.workers[ProbeKind::Readiness as usize];
        let asks_itself = readiness.is_some_and(|at| self.workers[at].handler.server() == Some(position));
        let share = self.timing.late_listener;
        asks_itself && share > 0.0 && self.draw_share() < share
    }

    /// The kubelet's list of containers shows a start or an exit.
    pub(super) fn look(&mut self, position: usize, observe: &mut dyn FnMut(PodEvent)) {
        let container = &mut self.containers[position];
        let started_at = container.started_at;
        let mut next = NEVER;
        if matches!(container.phase, ContainerPhase::Exited | ContainerPhase::Done) {
            container.exit_known = true;
        } else {
            container.syncs += 1;
            if let Some(after) = self.timing.syncs_after_start.get(container.syncs) {
                next = started_at + nanos(*after);
            }
            if container.post_start > 0 {
                // Only now does the status show that the container runs.
                self.update_ready(position, observe);
            }
        }
        *self.next_look(position) = next.max(self.now);
        self.sync(observe);
    }

    fn exit(&mut self, position: usize, observe: &mut dyn FnMut(PodEvent)) {
        let now = self.now;
        let is_ending = self.is_ending();
        let container = &mut self.containers[position];
        let previous = container.exited_at.replace(now);
        let killed = self.killing == Some(position);
        let code = container.exit_code;
        let again = !is_ending && container.restarts(killed);
        let is_init = container.role == ContainerRole::Init;
        container.phase = if again { ContainerPhase::Exited } else { ContainerPhase::Done };
        container.started = false;
        container.exit_known = false;
        if let Some(process) = &mut container.process {
            process.end();
        }
        self.abort_requests(position);
        self.emit(position, PodEventKind::Exited { code }, observe);
        self.update_ready(position, observe);
        // Containers after an init container also wait for the list.
        *self.next_look(position) = if again || (is_init && code == 0 && !is_ending) {
            let relist = nanos(self.timing.relist);
            now + self.draw(relist)
        } else {
            NEVER
        };
        if killed {
            self.killing = None;
            if again {
                self.restart_killed(position, previous, observe);
            }
            self.due[SYNC] = if self.sync_wanted { now } else { now + self.jitter(RESYNC) };
            self.sync_wanted = false;
        }
        if self.is_ending() {
            self.stop_all(self.grace, observe);
            self.conclude_if_over(observe);
        } else if is_init && !again && code != 0 {
            self.fail(position, PodFailure::Init, observe);
        } else if self
            .containers
            .iter()
            .all(|container| container.role != ContainerRole::Main || container.phase == ContainerPhase::Done)
        {
            // The Pod has completed: its sidecars are stopped.
            self.end(PodEnding::Completed, observe);
        }
    }

    /// The sync that killed a container also restarts it. It still knows only the exit before this one.
    fn restart_killed(
        &mut self,
        position: usize,
        previous: Option<Nanos>,
        observe: &mut dyn FnMut(PodEvent),
    ) {
        match self.containers[position].backoff.ask(self.now, previous) {
            Ok(()) => {
                let at = self.now.saturating_add(nanos(self.timing.container_start));
                self.create(position, at);
                *self.next_look(position) = NEVER;
            }
            Err(wait) => {
                self.hold(position, wait, observe);
                let container = &mut self.containers[position];
                if container.policy == RestartPolicy::OnFailure && container.exit_code == 0 {
                    // The next sync only sees exit code 0, which needs no restart.
                    container.phase = ContainerPhase::Done;
                    container.held_since = None;
                    *self.next_look(position) = NEVER;
                }
            }
        }
    }
}
