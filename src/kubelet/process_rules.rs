//! What rules of a plan do to the process itself: its end, and what it makes of SIGTERM.

use super::clock::{NEVER, Nanos, duration, nanos};
use super::spec::{End, Program};
use crate::fault::ProcessMode;

/// The exit code of a process that the kernel kills.
const KILLED: u8 = 137;

/// The most windows of a rule that are looked through.
const MAX_WINDOWS: usize = 10_000;

/// What a process makes of a SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// When it acts on it: readiness fails from then on.
    pub(super) from: Nanos,
    /// Until when it goes on as before otherwise.
    pub(super) until: Nanos,
}

impl Program {
    /// When and how a rule ends the process that starts at `now`, its plan's clock at zero at `zero`. Memory counts against
    /// the limit of the container, each rule by itself.
    pub(super) fn end_by_rule(&self, now: Nanos, zero: Nanos) -> Option<(Nanos, End)> {
        if !self.plan.has_process() {
            return None;
        }
        let started = now - zero;
        let ends = self.plan.rules().enumerate().filter_map(|(position, rule)| {
            let mode = rule.process()?;
            if !self.plan.fires_in_start(position) {
                return None;
            }
            let (opens, closes) = self.window(position, started)?;
            let (at, code, out_of_memory) = match mode {
                ProcessMode::Memory(size) => {
                    let limit = self.memory_limit?;
                    let bytes = size.bytes(limit);
                    // What grows evenly over the ramp is beyond the limit in its last part.
                    let ramp = rule.trigger().ramp.map_or(0, nanos) as f64;
                    let at = opens + (ramp * limit as f64 / bytes.max(1) as f64) as Nanos;
                    (bytes > limit && at < closes).then_some((at, KILLED, true))?
                }
                mode => (opens, mode.exit_code()?, false),
            };
            let at = zero.saturating_add(at);
            Some((at, End { after: duration(at - now), code, out_of_memory }))
        });
        ends.min_by_key(|(at, _)| *at)
    }

    /// What the process makes of a SIGTERM at `at`.
    pub(super) fn term(&self, at: Nanos, zero: Nanos) -> Term {
        if !self.plan.has_process() {
            return Term { from: at, until: at };
        }
        let mut elapsed = at.saturating_sub(zero);
        // A signal that came while it was ignored is acted on at the end of the window.
        for _ in 0..MAX_WINDOWS {
            let ignored = self.plan.process(duration(elapsed)).filter(|hit| hit.fired);
            let ignored = ignored.filter(|hit| *hit.mode == ProcessMode::IgnoreTerm).map(|hit| hit.rule);
            let Some(ends) = ignored.map(|rule| self.closes(rule, elapsed)).max() else { break };
            if ends == NEVER {
                return Term { from: NEVER, until: NEVER };
            }
            elapsed = ends;
        }
        let from = zero.saturating_add(elapsed);
        let slow = self.plan.process(duration(elapsed)).filter(|hit| hit.fired);
        let delay = slow.filter_map(|hit| match hit.mode {
            // The end of the window ends it, too.
            ProcessMode::SlowTerm(delay) => Some(nanos(*delay).min(self.closes(hit.rule, elapsed) - elapsed)),
            _ => None,
        });
        Term { from, until: from.saturating_add(delay.max().unwrap_or(0)) }
    }

    /// The first window of a rule that is open at `elapsed` or later: when it opens and closes.
    fn window(&self, rule: usize, mut elapsed: Nanos) -> Option<(Nanos, Nanos)> {
        for _ in 0..MAX_WINDOWS {
            if self.plan.is_in_time(rule, duration(elapsed)) {
                return Some((elapsed, self.closes(rule, elapsed)));
            }
            elapsed = nanos(self.plan.next_change_of(rule, duration(elapsed))?);
        }
        None
    }

    /// When the window of a rule closes that is open at `elapsed`.
    fn closes(&self, rule: usize, mut elapsed: Nanos) -> Nanos {
        for _ in 0..MAX_WINDOWS {
            let Some(next) = self.plan.next_change_of(rule, duration(elapsed)) else { return NEVER };
            elapsed = nanos(next);
            if !self.plan.is_in_time(rule, next) {
                return elapsed;
            }
        }
        NEVER
    }
}
