//! Effects of process rules: the end of the process, and its reaction to SIGTERM.

use super::clock::{MILLISECOND, NEVER, Nanos, duration, nanos};
use super::spec::{ContainerEnd, Program};
use crate::fault::ProcessMode;

/// Exit code of a process that the kernel kills.
const KILLED: u8 = 137;

/// The period of the CPU quota: `cpu.cfs_period_us` as the kubelet sets it.
const CPU_PERIOD: Nanos = 100 * MILLISECOND;
/// The CPU time of one answer (an assumption).
const ANSWER: Nanos = MILLISECOND;

/// Limit of the windows of a rule that are examined.
const MAX_WINDOWS: usize = 10_000;

/// How a process reacts to SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// When it reacts: readiness fails from then on.
    pub(super) from: Nanos,
    /// Until when it otherwise continues as before.
    pub(super) until: Nanos,
}

impl Program {
    /// When and how a rule ends the process that starts at `now`, its plan's clock at zero at `zero`. Memory counts against
    /// the limit of the container, each rule by itself.
    pub(super) fn end_by_rule(&self, now: Nanos, zero: Nanos) -> Option<(Nanos, ContainerEnd)> {
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
                    // Memory that grows linearly exceeds the limit in the last part of the ramp.
                    let ramp = rule.trigger().ramp.map_or(0, nanos) as f64;
                    let at = opens + (ramp * limit as f64 / bytes.max(1) as f64) as Nanos;
                    (bytes > limit && at < closes).then_some((at, KILLED, true))?
                }
                mode => (opens, mode.exit_code()?, false),
            };
            let at = zero.saturating_add(at);
            Some((at, ContainerEnd { after: duration(at - now), code, out_of_memory }))
        });
        ends.min_by_key(|(at, _)| *at)
    }

    /// The reaction of the process to a SIGTERM at `at`.
    pub(super) fn term(&self, at: Nanos, zero: Nanos) -> Term {
        if !self.plan.has_process() {
            return Term { from: at, until: at };
        }
        let mut elapsed = at.saturating_sub(zero);
        // A signal that arrived while it was ignored is handled at the end of the window.
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

    /// When an answer is ready that would be ready at `at` without throttling, while rules use more CPU time than the container's
    /// limit. In each
    /// period, the container runs until its quota is used up; the answer needs some of that time.
    pub(super) fn throttled(&self, at: Nanos, zero: Nanos) -> Nanos {
        let Some(limit) = self.cpu_limit.filter(|_| self.plan.has_process()) else { return at };
        let elapsed = at.saturating_sub(zero);
        let burning = self.plan.process(duration(elapsed)).filter(|hit| hit.fired);
        let cores: f64 = burning
            .map(|hit| match hit.mode {
                ProcessMode::Cpu(cores) => *cores * hit.share,
                _ => 0.0,
            })
            .sum();
        if cores <= limit {
            return at;
        }
        let runs = ((CPU_PERIOD as f64 * limit / cores) as Nanos).max(1);
        let (period, phase) = (elapsed / CPU_PERIOD, elapsed % CPU_PERIOD);
        let left = runs.saturating_sub(phase);
        if ANSWER <= left {
            return at.saturating_add(ANSWER);
        }
        // The next periods do the rest.
        let rest = ANSWER - left;
        let whole = (rest - 1) / runs;
        let end = (period + 1 + whole) * CPU_PERIOD + (rest - whole * runs);
        zero.saturating_add(end)
    }

    /// Until when the process has no file descriptor left for a connection that comes at `at`.
    pub(super) fn descriptors_until(&self, at: Nanos, zero: Nanos) -> Option<Nanos> {
        if !self.plan.has_process() {
            return None;
        }
        let elapsed = at.saturating_sub(zero);
        let held = self.plan.process(duration(elapsed)).filter(|hit| hit.fired);
        let held = held.filter(|hit| *hit.mode == ProcessMode::Fds);
        held.map(|hit| zero.saturating_add(self.closes(hit.rule, elapsed))).max()
    }

    /// When a rule has filled a volume beyond its limit, in the process that starts at `now`.
    pub(super) fn overfills_at(&self, now: Nanos, zero: Nanos) -> Option<Nanos> {
        if self.volume_limits.is_empty() || !self.plan.has_process() {
            return None;
        }
        let fills = self.plan.rules().enumerate().filter_map(|(position, rule)| {
            let Some(ProcessMode::Disk { path, size }) = rule.process() else { return None };
            let is_beyond = |(mount, limit): &(String, u64)| {
                mount.trim_end_matches('/') == path.trim_end_matches('/') && size > limit
            };
            if !self.volume_limits.iter().any(is_beyond) || !self.plan.fires_in_start(position) {
                return None;
            }
            let (opens, _) = self.window(position, now - zero)?;
            Some(zero.saturating_add(opens))
        });
        fills.min()
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
