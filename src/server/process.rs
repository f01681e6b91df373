//! Performs process rules.
//!
//! The plan determines the effects at an instant; this module performs them: it ends the process, or dedicated threads hold
//! memory, use CPU time and fill volumes. Resources are released when the rule's window closes, and at the end of the
//! process.

mod cpu;
mod descriptors;
mod disk;
mod memory;
pub(super) mod term;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{debug, warn};

use super::services::RESERVED_FILES;
use crate::clock::Timer;
use crate::engine::events::EventKind;
use crate::engine::{Active, Engine};
use crate::fault::{ActivePlan, ProcessMode, Rule, RuleName, Size};
use crate::listener::Conditions;
use crate::listener::budget::MemoryBudget;
use crate::telemetry::cgroup;
use crate::telemetry::metrics::Metrics;
use crate::units::Show;
use cpu::Cpu;
use descriptors::Descriptors;
use disk::Disk;
use memory::Memory;

/// Minimum time between two checks of the windows.
const MIN_PAUSE: Duration = Duration::from_millis(10);

/// Time between two steps of growing resources.
const GROWTH: Duration = Duration::from_millis(50);

/// Memory grows by multiples of this many bytes, so that each block is a separate mapping, which can be returned to the
/// system.
const UNIT: u64 = 256 << 10;

/// How a rule ends the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessEnding {
    /// With this exit code.
    Exit(u8),
    /// By SIGABRT.
    Abort,
}

/// Performs process rules.
#[derive(Debug)]
pub(super) struct ProcessFaults {
    engine: Engine,
    timer: Timer,
    /// The rules that were in their windows at the last check.
    open: HashMap<RuleName, Rule>,
    /// The engine's clock at the last check.
    looked: Duration,
    surroundings: Surroundings,
    memory: Memory,
    cpu: Cpu,
    descriptors: Descriptors,
    disk: Disk,
}

/// What process faults affect besides the process.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) metrics: Arc<Metrics>,
    /// The account that connections draw from.
    pub(super) budget: MemoryBudget,
    pub(super) conditions: watch::Sender<Conditions>,
}

impl ProcessFaults {
    /// Holds nothing at first. Removes files of earlier processes from volumes, except that of `state`.
    pub(super) fn new(
        engine: Engine,
        timer: Timer,
        surroundings: Surroundings,
        state: Option<PathBuf>,
    ) -> Self {
        disk::clean_up(state);
        Self {
            looked: engine.elapsed(),
            engine,
            timer,
            open: HashMap::new(),
            memory: Memory::new(surroundings.metrics.clone()),
            cpu: Cpu::default(),
            descriptors: Descriptors::default(),
            disk: Disk::new(surroundings.metrics.clone()),
            surroundings,
        }
    }

    /// Performs rules until one of them ends the process.
    pub(super) async fn run(&mut self) -> ProcessEnding {
        let mut plans = self.engine.subscribe();
        loop {
            let active = plans.borrow_and_update().clone();
            let elapsed = self.engine.elapsed();
            if let Some(ending) = self.look(&active, elapsed) {
                return ending;
            }
            let grows = self.hold(&active.plan, elapsed);
            let step = grows.then(|| elapsed + GROWTH);
            let next = next_change(&active.plan, elapsed).into_iter().chain(step).min();
            let next = next.map(|next| self.engine.instant(next.max(elapsed + MIN_PAUSE)));
            tokio::select! {
                () = self.timer.sleep_until_some(next) => {}
                changed = plans.changed() => if changed.is_err() { std::future::pending::<()>().await },
            }
        }
    }

    /// Counts and reports the rules whose windows have opened. Returns the ending if one of them ends the process.
    fn look(&mut self, active: &Active, elapsed: Duration) -> Option<ProcessEnding> {
        let plan = &active.plan;
        let before = std::mem::take(&mut self.open);
        let mut ending = None;
        for (position, rule) in plan.rules().enumerate() {
            let Some(mode) = rule.process() else { continue };
            let was_open = before.get(rule.name()) == Some(rule);
            let is_open = plan.is_in_time(position, elapsed);
            if is_open {
                self.open.insert(rule.name().clone(), rule.clone());
            }
            // A window may have opened and closed since the last check.
            let has_opened =
                !was_open && (is_open || plan.open_time(position, self.looked, elapsed) > Duration::ZERO);
            if !has_opened || mode.acts_at_term() {
                continue;
            }
            let fired = plan.fires_in_start(position);
            active.count_process(position, fired);
            if fired {
                self.report(rule.name(), mode, elapsed);
                ending = ending.or(match mode {
                    ProcessMode::Exit(code) => Some(ProcessEnding::Exit(*code)),
                    ProcessMode::Abort => Some(ProcessEnding::Abort),
                    _ => None,
                });
            }
        }
        self.looked = elapsed;
        ending
    }

    /// Acquires and releases resources. Returns whether something still has to grow.
    fn hold(&mut self, plan: &ActivePlan, elapsed: Duration) -> bool {
        let (mut due, mut goal, mut cores, mut files) = (0, 0, 0.0, false);
        let mut disk = disk::DiskDemand::new();
        for hit in plan.process(elapsed).filter(|hit| hit.fired) {
            match hit.mode {
                ProcessMode::Memory(size) => {
                    let bytes = memory_of(*size);
                    goal += bytes;
                    due +=
                        if hit.share < 1.0 { (bytes as f64 * hit.share) as u64 / UNIT * UNIT } else { bytes };
                }
                ProcessMode::Cpu(of_rule) => cores += of_rule,
                ProcessMode::Fds => files = true,
                ProcessMode::Disk { path, size } => *disk.entry(path.into()).or_default() += size,
                ProcessMode::Exit(_)
                | ProcessMode::Abort
                | ProcessMode::IgnoreTerm
                | ProcessMode::SlowTerm(_) => {}
            }
        }
        let Surroundings { metrics, budget, conditions } = &self.surroundings;
        budget.hold(due);
        self.memory.set(due, goal);
        metrics.hold_cpu(self.cpu.set(cores));
        self.disk.set(disk);
        if files != (self.descriptors.count() > 0) {
            self.descriptors.set(files, RESERVED_FILES);
            debug!(count = self.descriptors.count(), "file descriptors held");
            conditions.send_modify(|conditions| conditions.lacks_descriptors = files);
        }
        due < goal
    }

    /// Reports an effect. The end of the process is always reported; other effects have the same limit as windows.
    fn report(&self, fault: &RuleName, mode: &ProcessMode, elapsed: Duration) {
        let what = announcement(mode);
        let event = || EventKind::Process { fault: fault.to_string(), mode: mode.name(), what: what.clone() };
        if matches!(mode, ProcessMode::Exit(_) | ProcessMode::Abort) {
            self.engine.events().push(event());
        } else if !self.engine.events().push_change(elapsed, event) {
            return;
        }
        warn!(fault = %fault, mode = mode.name(), "{what}");
    }
}

/// Warns about rules that end this container, in case they were meant for the application behind it.
pub(super) fn warn_of_upstream<'a>(rules: impl Iterator<Item = &'a Rule>) {
    for rule in rules {
        let Some(mode) = rule.process() else { continue };
        if mode.exit_code().is_some() || matches!(mode, ProcessMode::Memory(_)) {
            warn!(
                fault = %rule.name(),
                mode = mode.name(),
                "acts only on this container, not on the application behind it, which is unreachable while this container is down"
            );
        }
    }
}

/// When the window of a process rule next opens or closes.
fn next_change(plan: &ActivePlan, elapsed: Duration) -> Option<Duration> {
    let rules = plan.rules().enumerate().filter(|(_, rule)| rule.process().is_some());
    rules.filter_map(|(position, _)| plan.next_change_of(position, elapsed)).min()
}

/// A size of memory in bytes, in this container.
fn memory_of(size: Size) -> u64 {
    match size {
        Size::Bytes(bytes) => bytes,
        // Percentages were checked against the same limit.
        Size::Percent(_) => size.bytes(cgroup::resources().memory().unwrap_or(0)),
    }
}

fn announcement(mode: &ProcessMode) -> String {
    match mode {
        ProcessMode::Exit(code) => format!("the process ends with exit code {code}"),
        ProcessMode::Abort => "the process ends by SIGABRT".to_owned(),
        ProcessMode::Memory(Size::Bytes(bytes)) => format!("{bytes} bytes of memory are allocated"),
        ProcessMode::Memory(Size::Percent(percent)) => {
            format!("{percent}% of the container's memory limit are allocated")
        }
        ProcessMode::Cpu(cores) => format!("{cores} cores are used"),
        ProcessMode::Fds => "file descriptors are used up".to_owned(),
        ProcessMode::Disk { path, size } => format!("{size} bytes of {path} are filled"),
        ProcessMode::IgnoreTerm => "SIGTERM is ignored".to_owned(),
        ProcessMode::SlowTerm(delay) => format!("SIGTERM takes effect after {}", Show(*delay)),
    }
}
