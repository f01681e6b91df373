//! Turns variables into rules: each group of variables makes one rule per target.

mod effect;
mod partition;
mod process;
mod windows;

pub(super) use partition::Partition;
pub use process::PROCESS_VARIABLES;
pub(super) use process::ProcessFaults;

use super::faults::FaultSettings;
use super::latency::Latency;
use super::reader::{Parsed, VariableReader, is_bad, value_of};
use super::{SourcedRule, Warning};
use crate::fault::{
    Action, Burst, ClientFilter, Container, Mode, ModeInfo, ModeParts, Rate, Rule, RuleError, RuleName,
    Target, Targets, Trigger, TriggerError,
};
use crate::plan::error::ConfigError;

const RATE_TARGETS: &[Target] = &[Target::Liveness, Target::Readiness, Target::Startup, Target::Traffic];
const WINDOWS_TARGETS: &[Target] = &[Target::Liveness, Target::Readiness];
const STARTUP_TARGETS: &[Target] = &[Target::Liveness, Target::Readiness, Target::Startup];
const ALL_TARGETS: &[Target] = &Target::ALL;

/// Builds the rules.
pub(super) struct Groups<'a> {
    reader: &'a mut VariableReader,
    shared: &'a FaultSettings,
    own: &'a [FaultSettings; Target::COUNT],
    /// Whether there is an upstream: unprefixed variables then do not act on traffic.
    behind: bool,
    rules: Vec<SourcedRule>,
    /// Variables that need another variable and had an effect.
    used: Vec<&'a str>,
}

type Field<T> = fn(&FaultSettings) -> &Option<Parsed<T>>;

impl<'a> Groups<'a> {
    /// The rules of all groups, in order.
    pub(super) fn rules(
        reader: &'a mut VariableReader,
        shared: &'a FaultSettings,
        own: &'a [FaultSettings; Target::COUNT],
        partition: &'a Partition,
        dependency: Option<&'a Parsed<bool>>,
        process: (&ProcessFaults, &Container),
        behind: bool,
    ) -> Vec<SourcedRule> {
        let mut groups = Self { reader, shared, own, behind, rules: Vec::new(), used: Vec::new() };
        groups.listen(partition);
        groups.partition(partition);
        groups.startup();
        if let Some(parsed) = dependency.filter(|parsed| parsed.value() == Some(&true)) {
            groups.failure(Target::Dependency, "dependency", Trigger::ALWAYS, &parsed.name);
        }
        groups.time();
        groups.requests();
        groups.rate();
        groups.latency();
        groups.process(process.0, process.1);
        groups.without_effect();
        groups.rules
    }

    /// The variable in effect for a target: the prefixed one, otherwise the unprefixed one if it acts on the target.
    fn variable_for<T>(
        &self,
        target: Target,
        shared_by: &[Target],
        field: Field<T>,
    ) -> Option<&'a Parsed<T>> {
        let is_own = self.behind && target == Target::Traffic;
        let shared = field(self.shared).as_ref().filter(|_| shared_by.contains(&target) && !is_own);
        field(&self.own[target.index()]).as_ref().or(shared)
    }

    /// Whether a prefixed variable set to 0 disables the unprefixed variables for its target.
    fn is_turned_off<T>(&self, target: Target, main: Field<T>, others: &[bool]) -> bool {
        main(&self.own[target.index()]).as_ref().is_some_and(Parsed::is_off) && !others.contains(&true)
    }

    fn rate(&mut self) {
        for target in Target::ALL {
            let percent = self.variable_for(target, RATE_TARGETS, |of| &of.rate);
            let burst = self.variable_for(target, RATE_TARGETS, |of| &of.burst);
            if is_bad(percent) || is_bad(burst) {
                self.mark_used(burst);
                continue;
            }
            let Some((parsed, percent)) = percent.and_then(|parsed| Some((parsed, *parsed.value()?))) else {
                continue;
            };
            self.mark_used(burst);
            let rate = match Rate::from_percent(percent) {
                Ok(rate) => rate,
                Err(error) => {
                    self.reader.fail(parsed.error(error));
                    continue;
                }
            };
            let burst = match burst.and_then(|parsed| Some((parsed, Burst::new(*parsed.value()?, rate)))) {
                None => None,
                Some((_, Ok(burst))) => Some(burst),
                // The unprefixed burst belongs to other targets, with a lower rate.
                Some((_, Err(TriggerError::BurstAtHighRate { .. })))
                    if self.own[target.index()].burst.is_none()
                        && self.own[target.index()].rate.is_some() =>
                {
                    None
                }
                Some((parsed, Err(error))) => {
                    self.reader.fail(parsed.error(error));
                    continue;
                }
            };
            self.failure(target, "rate", Trigger { rate, burst, ..Trigger::ALWAYS }, &parsed.name);
        }
    }

    fn latency(&mut self) {
        for target in Target::ALL {
            let own = &self.own[target.index()];
            let others = [
                own.jitter.is_some(),
                own.shape.is_some(),
                own.p50.is_some(),
                own.p90.is_some(),
                own.p99.is_some(),
            ];
            if self.is_turned_off(target, |of| &of.latency, &others) {
                continue;
            }
            let latency = Latency {
                base: self.variable_for(target, ALL_TARGETS, |of| &of.latency),
                jitter: self.variable_for(target, ALL_TARGETS, |of| &of.jitter),
                shape: self.variable_for(target, ALL_TARGETS, |of| &of.shape),
                p50: self.variable_for(target, ALL_TARGETS, |of| &of.p50),
                p90: self.variable_for(target, ALL_TARGETS, |of| &of.p90),
                p99: self.variable_for(target, ALL_TARGETS, |of| &of.p99),
            };
            if let Some((delay, parsed)) = latency.delay(self.reader, &mut self.used) {
                let targets = Targets::NONE.with(target);
                let action = Action::Requests { targets, delay: Some(delay), mode: None };
                self.rule(&format!("{target}-latency"), Trigger::ALWAYS, action, &parsed.name);
            }
        }
    }

    /// The row of the mode of a target's failures; `None` if its variable is invalid.
    fn mode_info(&self, target: Target) -> Option<&'static ModeInfo> {
        let parsed = self.variable_for(target, ALL_TARGETS, |of| &of.mode);
        if is_bad(parsed) {
            None
        } else {
            value_of(parsed).copied().or_else(|| ModeInfo::of_requests("status"))
        }
    }

    /// The mode of a target's failures; `None` if one of its variables is invalid.
    fn mode(&self, target: Target) -> Option<Mode> {
        let default = ModeParts::default();
        let status = self.variable_for(target, ALL_TARGETS, |of| &of.status);
        let body = self.variable_for(target, ALL_TARGETS, |of| &of.body);
        let drip = self.variable_for(target, ALL_TARGETS, |of| &of.drip);
        let location = self.variable_for(target, ALL_TARGETS, |of| &of.location);
        let speed = self.variable_for(target, ALL_TARGETS, |of| &of.speed);
        let share = self.variable_for(target, ALL_TARGETS, |of| &of.share);
        let grpc_status = self.variable_for(target, ALL_TARGETS, |of| &of.grpc_status);
        let grpc_message = self.variable_for(target, ALL_TARGETS, |of| &of.grpc_message);
        let bad = [
            is_bad(status),
            is_bad(body),
            is_bad(drip),
            is_bad(location),
            is_bad(speed),
            is_bad(share),
            is_bad(grpc_status),
            is_bad(grpc_message),
        ];
        if bad.contains(&true) {
            return None;
        }
        let parts = ModeParts {
            status: value_of(status).copied(),
            body: value_of(body).copied().unwrap_or(default.body),
            drip: value_of(drip).copied().unwrap_or(default.drip),
            location: value_of(location).cloned().unwrap_or(default.location),
            speed: value_of(speed).copied().unwrap_or(default.speed),
            share: value_of(share).copied().unwrap_or(default.share),
            grpc_status: value_of(grpc_status).copied().unwrap_or(default.grpc_status),
            grpc_message: value_of(grpc_message).cloned().unwrap_or(default.grpc_message),
            slices: default.slices,
        };
        self.mode_info(target)?.mode(parts)
    }

    /// A rule that makes requests fail in the target's mode.
    fn failure(&mut self, target: Target, group: &str, trigger: Trigger, cause: &str) {
        let Some(mode) = self.mode(target) else { return };
        let action = Action::Requests { targets: Targets::NONE.with(target), delay: None, mode: Some(mode) };
        match checked(&format!("{target}-{group}"), trigger, action) {
            Ok(rule) => self.rules.push(SourcedRule { rule, place: cause.to_owned() }),
            // Every group has the same mode and status, so this is reported once, for the status.
            Err(error @ RuleError::NoBody { .. }) => {
                match self.variable_for(target, ALL_TARGETS, |of| &of.status) {
                    Some(status) => self.reader.fail(status.error(error)),
                    None => self.reader.fail(ConfigError::new(cause, error)),
                }
            }
            Err(error) => self.reader.fail(ConfigError::new(cause, error)),
        }
    }

    fn rule(&mut self, name: &str, trigger: Trigger, action: Action, cause: &str) {
        match checked(name, trigger, action) {
            Ok(rule) => self.rules.push(SourcedRule { rule, place: cause.to_owned() }),
            Err(error) => self.reader.fail(ConfigError::new(cause, error)),
        }
    }

    fn mark_used<T>(&mut self, parsed: Option<&'a Parsed<T>>) {
        self.used.extend(parsed.map(|parsed| parsed.name.as_str()));
    }

    fn warn(&mut self, name: &str, needs: &str) {
        self.reader.warnings.insert(Warning::no_effect(name, needs));
    }
}

fn checked(name: &str, trigger: Trigger, action: Action) -> Result<Rule, RuleError> {
    Rule::new(RuleName::new(name)?, ClientFilter::Unset, trigger, action)
}
