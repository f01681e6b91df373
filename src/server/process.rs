//! Performs what rules do to the process itself.
//!
//! The plan says what is due at an instant; here it is done: the process ends, or threads of their own hold memory, burn
//! CPU time and fill volumes. What is held is given back when its rule's window closes, and at the end of the process.

pub(super) mod term;

use std::collections::HashMap;
use std::time::Duration;

use tracing::warn;

use crate::clock::Timer;
use crate::engine::events::EventKind;
use crate::engine::{Active, Engine};
use crate::fault::{ActivePlan, ProcessMode, Rule, RuleName, Size};
use crate::units::Show;

/// How a rule ends the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Exit(u8),
    /// As SIGABRT ends a process.
    Abort,
}

/// Follows the rules for the process.
#[derive(Debug)]
pub(super) struct ProcessFaults {
    engine: Engine,
    timer: Timer,
    /// The rules that were in their windows at the last look.
    open: HashMap<RuleName, Rule>,
    /// The engine's clock at the last look.
    looked: Duration,
}

impl ProcessFaults {
    pub(super) fn new(engine: Engine, timer: Timer) -> Self {
        let looked = engine.elapsed();
        Self { engine, timer, open: HashMap::new(), looked }
    }

    /// Does what the rules say until one of them ends the process.
    pub(super) async fn run(&mut self) -> Ending {
        let mut plans = self.engine.subscribe();
        loop {
            let active = plans.borrow_and_update().clone();
            let elapsed = self.engine.elapsed();
            if let Some(ending) = self.look(&active, elapsed) {
                return ending;
            }
            let next = next_change(&active.plan, elapsed).map(|next| self.engine.instant(next));
            tokio::select! {
                () = self.timer.sleep_until_some(next) => {}
                changed = plans.changed() => if changed.is_err() { std::future::pending::<()>().await },
            }
        }
    }

    /// Counts and reports the rules whose windows have opened; gives the end of the process if one of them asks for it.
    fn look(&mut self, active: &Active, elapsed: Duration) -> Option<Ending> {
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
            // A window may have opened and closed since the last look.
            let has_opened =
                !was_open && (is_open || plan.open_time(position, self.looked, elapsed) > Duration::ZERO);
            if !has_opened || mode.acts_at_term() {
                continue;
            }
            let fired = plan.fires_in_start(position);
            active.count_process(position, fired);
            if fired {
                self.report(rule.name(), mode);
                ending = ending.or(match mode {
                    ProcessMode::Exit(code) => Some(Ending::Exit(*code)),
                    ProcessMode::Abort => Some(Ending::Abort),
                    _ => None,
                });
            }
        }
        self.looked = elapsed;
        ending
    }

    /// Says what is about to happen.
    fn report(&self, fault: &RuleName, mode: &ProcessMode) {
        let what = announcement(mode);
        warn!(fault = %fault, mode = mode.name(), "{what}");
        self.engine.events().push(EventKind::Process { fault: fault.to_string(), mode: mode.name(), what });
    }
}

/// Warns of rules that end this container, which somebody may mean for the application behind it.
pub(super) fn warn_of_upstream<'a>(rules: impl Iterator<Item = &'a Rule>) {
    for rule in rules {
        let Some(mode) = rule.process() else { continue };
        if mode.exit_code().is_some() || matches!(mode, ProcessMode::Memory(_)) {
            warn!(
                fault = %rule.name(),
                mode = mode.name(),
                "acts on this container alone, not on the application behind it, which cannot be reached while it is down"
            );
        }
    }
}

/// When a window of a rule for the process opens or closes next.
fn next_change(plan: &ActivePlan, elapsed: Duration) -> Option<Duration> {
    let rules = plan.rules().enumerate().filter(|(_, rule)| rule.process().is_some());
    rules.filter_map(|(position, _)| plan.next_change_of(position, elapsed)).min()
}

fn announcement(mode: &ProcessMode) -> String {
    match mode {
        ProcessMode::Exit(code) => format!("the process ends with exit code {code}"),
        ProcessMode::Abort => "the process ends by SIGABRT".to_owned(),
        ProcessMode::Memory(Size::Bytes(bytes)) => format!("{bytes} bytes of memory are taken"),
        ProcessMode::Memory(Size::Percent(percent)) => {
            format!("{percent}% of the container's memory limit are taken")
        }
        ProcessMode::Cpu(cores) => format!("{cores} cores are burnt"),
        ProcessMode::Fds => "file descriptors are taken".to_owned(),
        ProcessMode::Disk { path, size } => format!("{size} bytes of {path} are filled"),
        ProcessMode::IgnoreTerm => "SIGTERM is ignored".to_owned(),
        ProcessMode::SlowTerm(delay) => format!("SIGTERM is acted on after {}", Show(*delay)),
    }
}
