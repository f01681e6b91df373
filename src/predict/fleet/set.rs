//! The controllers of long-running Pods, such as that of a Deployment.

use std::time::Duration;

use super::roster::{Entry, Roster};
use super::{Action, ClusterEvent};
use crate::predict::options::Options;
use crate::predict::workload::{Kind, Update, Workload};

/// How a controller replaces Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    /// By any new Pod.
    Alike,
    /// By a Pod with the same ordinal or on the same node, after the old one is removed.
    Numbered,
    /// Not at all.
    Alone,
}

pub(super) struct SetController {
    identity: Identity,
    replicas: u32,
    update: Option<Update>,
    /// Pods with a lower ordinal keep their revision.
    partition: u32,
    min_ready: Duration,
    in_order: bool,
    revision: u32,
    /// When a rolling update begins.
    rollout: Option<Duration>,
    /// The time over which the first Pods are created.
    spread: Duration,
    /// When it last reacted.
    looked: Option<Duration>,
}

impl SetController {
    pub(super) fn new(workload: &Workload, pods: usize, options: &Options) -> Self {
        let identity = match (&workload.kind, workload.update) {
            (Kind::Pod, _) => Identity::Alone,
            (Kind::StatefulSet, _) | (Kind::DaemonSet, Some(Update::Rolling { surge: 0, .. }) | None) => {
                Identity::Numbered
            }
            _ => Identity::Alike,
        };
        let updates = workload.update.is_some_and(|update| update != Update::OnDelete);
        Self {
            identity,
            replicas: pods as u32,
            update: workload.update,
            partition: workload.partition,
            min_ready: workload.min_ready,
            in_order: workload.creates_in_order(),
            revision: 0,
            rollout: options.rollout.filter(|_| updates),
            spread: options.spread,
            looked: None,
        }
    }

    /// The next time at which it may act without an event of a Pod.
    pub(super) fn next(&self, roster: &Roster) -> Option<Duration> {
        let count = roster.entries.len() as u32;
        let arrival = (count < self.replicas).then(|| self.arrival(count));
        let available = roster.entries.iter().filter_map(|entry| entry.available_at(self.min_ready));
        available
            .chain(arrival)
            .chain(self.rollout)
            .filter(|at| self.looked.is_none_or(|looked| *at > looked))
            .min()
    }

    pub(super) fn react(&mut self, roster: &Roster, now: Duration, actions: &mut Vec<Action>) {
        self.looked = Some(now);
        if self.rollout.take_if(|at| *at <= now).is_some() {
            self.revision += 1;
            actions.push(Action::Report(ClusterEvent::RolloutBegins));
        }
        match self.identity {
            Identity::Alone => self.create_first(roster, now, actions),
            Identity::Numbered => self.numbered(roster, now, actions),
            Identity::Alike => self.alike(roster, now, actions),
        }
    }

    /// When the first Pod with this number is created.
    fn arrival(&self, number: u32) -> Duration {
        self.spread.mul_f64(f64::from(number) / f64::from(self.replicas.max(1)))
    }

    fn create_first(&self, roster: &Roster, now: Duration, actions: &mut Vec<Action>) {
        let first = roster.entries.len() as u32;
        let due = (first..self.replicas).take_while(|number| self.arrival(*number) <= now);
        actions.extend(due.map(|ordinal| Action::Create { ordinal, revision: 0 }));
    }

    /// Replaces each Pod after its removal, from the last to the first, a limited number at a time.
    fn numbered(&self, roster: &Roster, now: Duration, actions: &mut Vec<Action>) {
        let mut current: Vec<Option<usize>> = vec![None; self.replicas as usize];
        for pod in roster.positions(|entry| !entry.is_over()) {
            if let Some(place) = current.get_mut(roster.entries[pod].ordinal as usize) {
                *place = Some(pod);
            }
        }
        let is_available = |pod: usize| roster.entries[pod].is_available(now, self.min_ready);
        for (ordinal, pod) in (0..).zip(&current) {
            match pod {
                None if self.arrival(ordinal) <= now => {
                    let revision = if ordinal < self.partition { 0 } else { self.revision };
                    actions.push(Action::Create { ordinal, revision });
                    if self.in_order {
                        return;
                    }
                }
                Some(pod) if !self.in_order || is_available(*pod) => {}
                _ => break,
            }
        }
        let most = match self.update {
            Some(Update::Rolling { unavailable, .. }) => unavailable.max(1),
            Some(Update::Recreate) => self.replicas,
            Some(Update::OnDelete) | None => return,
        };
        let mut unavailable = 0;
        for pod in current.iter().skip(self.partition as usize).rev() {
            if unavailable >= most {
                return;
            }
            match pod {
                Some(pod)
                    if roster.entries[*pod].is_alive() && roster.entries[*pod].revision < self.revision =>
                {
                    actions.push(Action::Delete { pod: *pod, evicted: false });
                    unavailable += 1;
                }
                Some(pod) if is_available(*pod) => {}
                _ => unavailable += 1,
            }
        }
    }

    /// Replaces Pods with a surge and a number of unavailable Pods.
    fn alike(&self, roster: &Roster, now: Duration, actions: &mut Vec<Action>) {
        if (roster.entries.len() as u32) < self.replicas && self.revision == 0 {
            return self.create_first(roster, now, actions);
        }
        let is_new = |entry: &Entry| entry.is_alive() && entry.revision == self.revision;
        let is_old = |entry: &Entry| entry.is_alive() && entry.revision < self.revision;
        let new = roster.positions(is_new).count() as u32;
        let old: Vec<usize> = roster.positions(is_old).collect();
        let (surge, unavailable) = match self.update {
            Some(Update::Rolling { surge, unavailable }) => (surge, unavailable),
            Some(Update::Recreate) => {
                actions.extend(old.iter().map(|pod| Action::Delete { pod: *pod, evicted: false }));
                let remain =
                    roster.positions(|entry| !entry.is_over() && entry.revision < self.revision).count();
                if remain > 0 {
                    return;
                }
                (0, 0)
            }
            _ => (0, 0),
        };
        let total = new + old.len() as u32;
        let room = (self.replicas + surge).saturating_sub(total);
        let missing = self.replicas.saturating_sub(new).min(room);
        let first = roster.entries.len() as u32;
        actions.extend(
            (0..missing).map(|number| Action::Create { ordinal: first + number, revision: self.revision }),
        );
        // As in `pkg/controller/deployment`: first old Pods that are not available, then as many as may be unavailable.
        let available = |entry: &Entry| entry.is_available(now, self.min_ready);
        let new_available = roster.positions(|entry| is_new(entry) && available(entry)).count() as u32;
        let least = self.replicas.saturating_sub(unavailable);
        // The Pods that are created now are not available yet.
        let mut may_go = (total + missing).saturating_sub(least + (new + missing - new_available));
        let (well, ill): (Vec<usize>, Vec<usize>) =
            old.into_iter().partition(|pod| available(&roster.entries[*pod]));
        let mut spare = (new_available + well.len() as u32).saturating_sub(least);
        for pod in ill.into_iter().chain(well) {
            let is_well = available(&roster.entries[pod]);
            if may_go == 0 || (is_well && spare == 0) {
                break;
            }
            may_go -= 1;
            spare = spare.saturating_sub(u32::from(is_well));
            actions.push(Action::Delete { pod, evicted: false });
        }
    }
}
