//! What rules do to the process.

use std::time::Duration;

use super::ActivePlan;
use crate::fault::process::ProcessMode;

/// A rule for the process that is in its window in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessHit<'a> {
    /// The rule's position in the plan.
    pub rule: usize,
    /// What it does.
    pub mode: &'a ProcessMode,
    /// Whether it acts in this start of the container.
    pub fired: bool,
    /// How much of what it asks for is due, 0 to 1: less than 1 while its `ramp` lasts.
    pub share: f64,
}

impl ActivePlan {
    /// The rules for the process that are in their windows, in their order.
    pub fn process(&self, elapsed: Duration) -> impl Iterator<Item = ProcessHit<'_>> {
        self.entries.iter().enumerate().filter_map(move |(rule, entry)| {
            let mode = entry.rule.process()?;
            let open_for = entry.open_for(elapsed)?;
            let share = match entry.rule.trigger().ramp {
                Some(ramp) if open_for < ramp => open_for.as_secs_f64() / ramp.as_secs_f64(),
                _ => 1.0,
            };
            Some(ProcessHit { rule, mode, fired: entry.fires_in(self.replica.starts), share })
        })
    }

    /// Whether the rule at a position acts in this start of the container, once its window opens. Always for rules whose
    /// rate is one of requests.
    pub fn fires_in_start(&self, position: usize) -> bool {
        let entry = &self.entries[position];
        entry.rule.process().is_none() || entry.fires_in(self.replica.starts)
    }

    /// Whether there is a rule for the process.
    pub fn has_process(&self) -> bool {
        self.entries.iter().any(|entry| entry.rule.process().is_some())
    }
}
