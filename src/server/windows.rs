//! Tracks open time windows; the cost depends only on the number of changes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::Active;
use crate::fault::{Link, LinkCut, ListenerId};

/// The windows of a plan, and when each changes next.
#[derive(Debug, Default)]
pub(super) struct Windows {
    active: Option<Arc<Active>>,
    open: Vec<bool>,
    /// The next instant at which each window opens or closes, by position in the plan.
    edges: BinaryHeap<Reverse<(Duration, usize)>>,
    /// Open partitions by position, with the cut of those that affect every connection.
    partitions: BTreeMap<usize, Option<LinkCut>>,
}

/// Changes since the last check.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WindowChanges {
    /// Positions of rules, and whether each is open now. Excludes windows that opened and closed again.
    pub(super) opened_or_closed: Vec<(usize, bool)>,
    /// Whether a partition changed.
    pub(super) listener: bool,
}

impl Windows {
    pub(super) fn new(active: Arc<Active>, elapsed: Duration) -> Self {
        let mut windows =
            Self { open: vec![false; active.plan.len()], active: Some(active), ..Self::default() };
        for position in 0..windows.open.len() {
            windows.look(position, elapsed);
        }
        windows
    }

    /// Whether this tracks exactly that plan.
    pub(super) fn is_of(&self, active: &Arc<Active>) -> bool {
        self.active.as_ref().is_some_and(|own| Arc::ptr_eq(own, active))
    }

    /// Checks the windows that were due to change by `elapsed`.
    pub(super) fn advance(&mut self, elapsed: Duration) -> WindowChanges {
        let mut changed = WindowChanges::default();
        while let Some(Reverse((_, position))) =
            self.edges.peek().copied().filter(|Reverse((at, _))| *at <= elapsed)
        {
            self.edges.pop();
            if let Some(open) = self.look(position, elapsed) {
                changed.opened_or_closed.push((position, open));
                changed.listener |= active_rule_cuts(self.active.as_deref(), position);
            }
        }
        changed
    }

    /// The rules of the same plan whose windows are open in only one of both.
    pub(super) fn differences(&self, before: &Self) -> Vec<(usize, bool)> {
        let both = self.open.iter().zip(&before.open).enumerate();
        both.filter(|(_, (now, before))| now != before).map(|(position, (now, _))| (position, *now)).collect()
    }

    /// When a window opens or closes next.
    pub(super) fn next_change(&self) -> Option<Duration> {
        self.edges.peek().map(|Reverse((at, _))| *at)
    }

    /// The state of the listener, as in the plan.
    pub(super) fn link(&self) -> Link {
        let whole = self.partitions.values().position(Option::is_some);
        Link {
            whole: whole.and_then(|nth| self.partitions.values().nth(nth).copied().flatten()),
            // Partial cuts after a complete one change nothing.
            partial: whole.unwrap_or(self.partitions.len()) > 0,
        }
    }

    /// Checks whether a window is open and when that changes. Returns its state if it changed.
    fn look(&mut self, position: usize, elapsed: Duration) -> Option<bool> {
        let active = self.active.as_ref()?;
        let open = active.plan.is_in_time(position, elapsed);
        if let Some(next) = active.plan.next_change_of(position, elapsed) {
            self.edges.push(Reverse((next, position)));
        }
        if self.open[position] == open {
            return None;
        }
        self.open[position] = open;
        if active.plan.is_partition_of(position, ListenerId::Probe) {
            if open {
                let cut = active.plan.rule(position).whole_cut().map(|cut| LinkCut { rule: position, cut });
                self.partitions.insert(position, cut);
            } else {
                self.partitions.remove(&position);
            }
        }
        Some(open)
    }
}

/// Whether a rule is a partition of any listener.
fn active_rule_cuts(active: Option<&Active>, position: usize) -> bool {
    active.is_some_and(|active| active.plan.rule(position).is_partition())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::fault::{ActivePlan, Plan, Seed};
    use crate::plan::{document, read_plan};

    fn plan(text: &str) -> Arc<Active> {
        let rules = read_plan(&document::parse(text, 1 << 20).unwrap(), "").unwrap().rules;
        Engine::new(ActivePlan::new(Plan::new(rules).unwrap(), Seed(1), true)).active()
    }

    #[tokio::test]
    async fn windows_and_the_link_are_those_of_the_plan_at_every_instant() {
        let active = plan(
            "faults:
             - {name: a, target: liveness, mode: hang, when: {after: 15ms, for: 20ms, every: 50ms}}
             - {name: b, target: listener, mode: reset, client: kubelet, when: {for: 30ms, every: 70ms}}
             - {name: c, target: listener, mode: drop, when: {after: 10ms, for: 10ms, every: 35ms}}
             - {name: d, target: listener, mode: refuse, from: 10.0.0.0/8, when: {after: 40ms, for: 10ms}}
             - {name: e, target: listener, mode: refuse, when: {after: 100ms, for: 90ms, every: 200ms}}",
        );
        for step in [1, 3, 7, 40, 250] {
            let mut windows = Windows::new(active.clone(), Duration::ZERO);
            for elapsed in (0..2_000).step_by(step).map(Duration::from_millis) {
                windows.advance(elapsed);
                let open: Vec<bool> =
                    (0..5).map(|position| active.plan.is_in_time(position, elapsed)).collect();
                assert_eq!(windows.open, open, "{elapsed:?}");
                assert_eq!(windows.link(), active.plan.link(ListenerId::Probe, elapsed), "{elapsed:?}");
                assert_eq!(windows.next_change(), active.plan.next_change(elapsed), "{elapsed:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_window_that_opened_and_closed_between_two_looks_is_no_change() {
        let mut windows = Windows::new(
            plan("faults: [{name: a, target: liveness, mode: hang, when: {after: 1s, for: 1s}}]"),
            Duration::ZERO,
        );
        assert_eq!(windows.advance(Duration::from_secs(3)), WindowChanges::default());
        assert_eq!(windows.next_change(), None);
    }
}
