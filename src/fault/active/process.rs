//! Effects of rules on the process.

use std::time::Duration;

use super::ActivePlan;
use crate::fault::process::ProcessMode;

/// A process rule in its time window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessHit<'a> {
    /// Position of the rule in the plan.
    pub rule: usize,
    /// Its mode.
    pub mode: &'a ProcessMode,
    /// Whether it applies in this start of the container.
    pub fired: bool,
    /// The current share of the requested effect, 0 to 1: less than 1 during its `ramp`.
    pub share: f64,
}

impl ActivePlan {
    /// The process rules in their windows, in the order of the plan.
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

    /// Whether the rule at a position fires in this start of the container when its window opens. Always true for
    /// rules whose rate applies to requests.
    pub fn fires_in_start(&self, position: usize) -> bool {
        let entry = &self.entries[position];
        entry.rule.process().is_none() || entry.fires_in(self.replica.starts)
    }

    /// Whether there is a process rule.
    pub fn has_process(&self) -> bool {
        self.entries.iter().any(|entry| entry.rule.process().is_some())
    }
}
