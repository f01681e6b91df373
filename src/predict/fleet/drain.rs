//! Drains nodes: evicts the Pods one after the other, as far as budgets allow.

use std::time::Duration;

use super::roster::{Entry, Roster};
use super::{Action, ClusterEvent};
use crate::predict::workload::{Disruption, Kind, Workload};

/// How often `kubectl drain` retries a refused eviction.
const RETRY: Duration = Duration::from_secs(5);

/// Runs `kubectl drain` on the node of each Pod, one node after the other. Each node has one Pod.
pub(super) struct Drain {
    next: Option<Duration>,
    /// The Pods that existed when the drain began; the next one is last.
    queue: Option<Vec<usize>>,
    /// The Pod whose end it waits for.
    current: Option<usize>,
    budgets: Vec<Disruption>,
    pods: usize,
    /// Whether it evicts no Pod of this kind: a Pod of a `DaemonSet` stays, and a Pod without a controller is refused.
    spares: bool,
}

impl Drain {
    pub(super) fn new(at: Duration, workload: &Workload, pods: usize) -> Self {
        Self {
            next: Some(at),
            queue: None,
            current: None,
            budgets: workload.disruptions.clone(),
            pods,
            spares: matches!(workload.kind, Kind::DaemonSet | Kind::Pod),
        }
    }

    /// The next time at which it acts without an event of a Pod.
    pub(super) fn next(&self) -> Option<Duration> {
        self.next
    }

    pub(super) fn react(&mut self, roster: &Roster, now: Duration, actions: &mut Vec<Action>) {
        if let Some(pod) = self.current {
            if !roster.entries[pod].is_over() {
                return;
            }
            self.current = None;
            self.next = Some(now);
        }
        if self.spares || self.next.is_none_or(|next| now < next) {
            if self.spares {
                self.next = None;
            }
            return;
        }
        let queue = self.queue.get_or_insert_with(|| roster.positions(Entry::is_alive).rev().collect());
        while queue.pop_if(|pod| !roster.entries[*pod].is_alive()).is_some() {}
        let Some(pod) = queue.last().copied() else {
            self.next = None;
            actions.push(Action::Report(ClusterEvent::DrainComplete));
            return;
        };
        let healthy = roster.entries.iter().filter(|entry| entry.is_alive() && entry.ready.is_some()).count();
        let is_ready = roster.entries[pod].ready.is_some();
        let lets_go = |budget: &Disruption| {
            let least = self.pods.saturating_sub(budget.allowed as usize);
            if is_ready { healthy > least } else { budget.lets_unready_go || healthy >= least }
        };
        if self.budgets.iter().all(lets_go) {
            queue.pop();
            self.current = Some(pod);
            self.next = None;
            actions.push(Action::Delete { pod, evicted: true });
        } else {
            self.next = Some(now + RETRY);
        }
    }
}
