//! The end of a simulated Pod: deletion, failure, or the end of its last container.

use super::super::clock::{NEVER, Nanos, duration};
use super::super::event::{PodEvent, PodEventKind, PodFailure};
use super::super::spec::ContainerRole;
use super::{ContainerPhase, FAILURE, LEAST_GRACE, Pod, PodEnding, SYNC};

impl Pod {
    /// Deletes the Pod now: liveness and startup probes stop, its containers get SIGTERM, sidecars after the others.
    pub fn delete(&mut self, observe: &mut dyn FnMut(PodEvent)) {
        self.end(PodEnding::Deleted, observe);
    }

    /// Ends all containers of the Pod.
    pub(super) fn end(&mut self, ending: PodEnding, observe: &mut dyn FnMut(PodEvent)) {
        if self.is_ending() {
            return;
        }
        self.ending = ending;
        self.due[SYNC] = NEVER;
        self.due[FAILURE] = NEVER;
        self.stop_all(self.grace, observe);
        self.conclude_if_over(observe);
    }

    /// Reports the end of a Pod whose containers have all ended.
    pub(super) fn conclude_if_over(&mut self, observe: &mut dyn FnMut(PodEvent)) {
        if self.ending == PodEnding::Over
            || !self.containers.iter().all(|container| container.phase == ContainerPhase::Done)
        {
            return;
        }
        let mut mains = self.containers.iter().filter(|container| container.role == ContainerRole::Main);
        let succeeded = self.failure.is_none() && mains.all(|container| container.exit_code == 0);
        let kind = match self.ending {
            PodEnding::Completed => PodEventKind::PodFinished { succeeded },
            _ => PodEventKind::PodGone,
        };
        self.ending = PodEnding::Over;
        self.emit(0, kind, observe);
    }

    /// Fails the Pod because of its deadline or the limit of a volume.
    pub(super) fn fail_by_time(&mut self, observe: &mut dyn FnMut(PodEvent)) {
        let why = if self.now >= self.deadline { PodFailure::DeadlineExceeded } else { PodFailure::Evicted };
        self.fail(0, why, observe);
    }

    pub(super) fn fail(&mut self, position: usize, why: PodFailure, observe: &mut dyn FnMut(PodEvent)) {
        if self.is_ending() {
            return;
        }
        self.failure = Some(why);
        self.emit(position, PodEventKind::PodFails(why), observe);
        // The eviction manager uses the minimum grace period.
        if why == PodFailure::Evicted {
            self.grace = LEAST_GRACE;
        }
        self.end(PodEnding::Completed, observe);
    }

    /// Schedules an eviction if the process that starts now will exceed the limit of a volume.
    pub(super) fn expect_eviction(&mut self, position: usize) {
        let process = self.containers[position].process.as_ref();
        let Some(full_at) = process.and_then(|process| process.overfills_at(self.now)) else { return };
        let noticed = full_at.saturating_add(self.draw_within(self.timing.eviction));
        self.due[FAILURE] = self.due[FAILURE].min(noticed);
    }

    /// Stops the containers of a deleted Pod, then its sidecars.
    pub(super) fn stop_all(&mut self, grace: Nanos, observe: &mut dyn FnMut(PodEvent)) {
        let mains_run =
            self.containers.iter().any(|container| container.role == ContainerRole::Main && container.runs());
        for position in 0..self.containers.len() {
            let container = &mut self.containers[position];
            match container.phase {
                ContainerPhase::Running if container.role == ContainerRole::Sidecar && mains_run => {}
                ContainerPhase::Running => {
                    self.terminate(position, grace);
                    let kind = PodEventKind::Killing { probe: None, grace: duration(grace), restart: false };
                    self.emit(position, kind, observe);
                }
                ContainerPhase::Gated | ContainerPhase::Creating | ContainerPhase::Exited => {
                    container.phase = ContainerPhase::Done;
                    container.held_since = None;
                    *self.life(position) = NEVER;
                }
                ContainerPhase::Stopping | ContainerPhase::Done => {}
            }
        }
    }
}
