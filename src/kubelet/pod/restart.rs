//! A restart of the kubelet itself.

use super::super::backoff::BackOff;
use super::super::clock::{NEVER, SECOND};
use super::super::event::SpamFilter;
use super::super::spec::ProbeKind;
use super::{Pod, SYNC};

impl Pod {
    /// Restarts the kubelet instantly. State that it keeps only in memory is lost: runs of results, back-off, event limits.
    /// Ticks restart, each worker's at a random point in its period. Containers continue, and since 1.35 they stay Ready
    /// and started until a probe changes that.
    pub fn restart_kubelet(&mut self) {
        if self.is_ending() {
            return;
        }
        self.filter = SpamFilter::new();
        for container in &mut self.containers {
            container.backoff = BackOff::default();
        }
        for position in 0..self.workers.len() {
            let period = self.workers[position].period;
            let wait = self.draw(period);
            let worker = &mut self.workers[position];
            let started = self.containers[worker.container].started;
            worker.forget(self.now.saturating_add(wait), started && worker.kind == ProbeKind::Startup);
            let tick = worker.next_tick;
            *self.wakes(position) = tick;
        }
        if self.killing.is_none() && self.due[SYNC] != NEVER {
            self.due[SYNC] = self.now + self.draw(SECOND);
        }
    }
}
