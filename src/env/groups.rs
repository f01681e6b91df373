//! From variables to rules: each group makes one rule per target.

mod effect;
mod partition;
mod windows;

pub(super) use partition::Partition;

use super::faults::FaultSettings;
use super::latency::Latency;
use super::reader::{Given, Reader, is_bad, on};
use super::{Made, Warning};
use crate::fault::{
    Action, Burst, ClientFilter, Mode, ModeInfo, ModeParts, Rate, Rule, RuleError, RuleName, Target, Targets,
    Trigger, TriggerError,
};
use crate::plan::error::ConfigError;

const OF_RATE: &[Target] = &[Target::Liveness, Target::Readiness, Target::Startup, Target::Traffic];
const OF_WINDOWS: &[Target] = &[Target::Liveness, Target::Readiness];
const OF_STARTUP: &[Target] = &[Target::Liveness, Target::Readiness, Target::Startup];
const OF_ALL: &[Target] = &Target::ALL;

/// Makes the rules.
pub(super) struct Groups<'a> {
    reader: &'a mut Reader,
    shared: &'a FaultSettings,
    own: &'a [FaultSettings; Target::COUNT],
    made: Vec<Made>,
    /// Names of variables that had an effect; asked only for those that need another one.
    used: Vec<&'a str>,
}

type Field<T> = fn(&FaultSettings) -> &Option<Given<T>>;

impl<'a> Groups<'a> {
    /// All rules of the groups, in their order.
    pub(super) fn rules(
        reader: &'a mut Reader,
        shared: &'a FaultSettings,
        own: &'a [FaultSettings; Target::COUNT],
        partition: &'a Partition,
        dependency: Option<&'a Given<bool>>,
    ) -> Vec<Made> {
        let mut groups = Self { reader, shared, own, made: Vec::new(), used: Vec::new() };
        groups.listen(partition);
        groups.partition(partition);
        groups.startup();
        if let Some(given) = dependency.filter(|given| given.on() == Some(&true)) {
            groups.failure(Target::Dependency, "dependency", Trigger::ALWAYS, &given.name);
        }
        groups.time();
        groups.requests();
        groups.rate();
        groups.latency();
        groups.without_effect();
        groups.made
    }

    /// The value that holds for a target: its own, or the unprefixed one if that acts on it.
    fn held<T>(&self, target: Target, shared_by: &[Target], field: Field<T>) -> Option<&'a Given<T>> {
        let shared = field(self.shared).as_ref().filter(|_| shared_by.contains(&target));
        field(&self.own[target.index()]).as_ref().or(shared)
    }

    /// Whether a target's own 0 turns a group off that the unprefixed variables make.
    fn is_turned_off<T>(&self, target: Target, main: Field<T>, others: &[bool]) -> bool {
        main(&self.own[target.index()]).as_ref().is_some_and(Given::is_off) && !others.contains(&true)
    }

    fn rate(&mut self) {
        for target in Target::ALL {
            let percent = self.held(target, OF_RATE, |of| &of.rate);
            let burst = self.held(target, OF_RATE, |of| &of.burst);
            if is_bad(percent) || is_bad(burst) {
                self.use_of(burst);
                continue;
            }
            let Some((given, percent)) = percent.and_then(|given| Some((given, *given.on()?))) else {
                continue;
            };
            self.use_of(burst);
            let rate = match Rate::from_percent(percent) {
                Ok(rate) => rate,
                Err(error) => {
                    self.reader.fail(given.error(error));
                    continue;
                }
            };
            let burst = match burst.and_then(|given| Some((given, Burst::new(*given.on()?, rate)))) {
                None => None,
                Some((_, Ok(burst))) => Some(burst),
                // Meant for other targets, whose rate is lower.
                Some((_, Err(TriggerError::BurstAtHighRate { .. })))
                    if self.own[target.index()].burst.is_none()
                        && self.own[target.index()].rate.is_some() =>
                {
                    None
                }
                Some((given, Err(error))) => {
                    self.reader.fail(given.error(error));
                    continue;
                }
            };
            self.failure(target, "rate", Trigger { rate, burst, ..Trigger::ALWAYS }, &given.name);
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
                base: self.held(target, OF_ALL, |of| &of.latency),
                jitter: self.held(target, OF_ALL, |of| &of.jitter),
                shape: self.held(target, OF_ALL, |of| &of.shape),
                p50: self.held(target, OF_ALL, |of| &of.p50),
                p90: self.held(target, OF_ALL, |of| &of.p90),
                p99: self.held(target, OF_ALL, |of| &of.p99),
            };
            if let Some((delay, given)) = latency.delay(self.reader, &mut self.used) {
                let targets = Targets::NONE.with(target);
                let action = Action::Requests { targets, delay: Some(delay), mode: None };
                self.rule(&format!("{target}-latency"), Trigger::ALWAYS, action, &given.name);
            }
        }
    }

    /// The row of the mode of a target's failures; `None` if its variable is wrong.
    fn mode_info(&self, target: Target) -> Option<&'static ModeInfo> {
        let given = self.held(target, OF_ALL, |of| &of.mode);
        if is_bad(given) { None } else { on(given).copied().or_else(|| ModeInfo::of_requests("status")) }
    }

    /// The mode of a target's failures; `None` if a variable for it is wrong.
    fn mode(&self, target: Target) -> Option<Mode> {
        let default = ModeParts::default();
        let status = self.held(target, OF_ALL, |of| &of.status);
        let body = self.held(target, OF_ALL, |of| &of.body);
        let drip = self.held(target, OF_ALL, |of| &of.drip);
        let location = self.held(target, OF_ALL, |of| &of.location);
        if is_bad(status) || is_bad(body) || is_bad(drip) || is_bad(location) {
            return None;
        }
        let parts = ModeParts {
            status: on(status).copied().unwrap_or(default.status),
            body: on(body).copied().unwrap_or(default.body),
            drip: on(drip).copied().unwrap_or(default.drip),
            location: on(location).cloned().unwrap_or(default.location),
        };
        self.mode_info(target)?.mode(parts)
    }

    /// A rule that makes requests fail in the target's mode.
    fn failure(&mut self, target: Target, group: &str, trigger: Trigger, cause: &str) {
        let Some(mode) = self.mode(target) else { return };
        let action = Action::Requests { targets: Targets::NONE.with(target), delay: None, mode: Some(mode) };
        match checked(&format!("{target}-{group}"), trigger, action) {
            Ok(rule) => self.made.push(Made { rule, place: cause.to_owned() }),
            // The mode and the status that do not go together hold for each group.
            Err(error @ RuleError::NoBody { .. }) => match self.held(target, OF_ALL, |of| &of.status) {
                Some(status) => self.reader.fail(status.error(error)),
                None => self.reader.fail(ConfigError::new(cause, error)),
            },
            Err(error) => self.reader.fail(ConfigError::new(cause, error)),
        }
    }

    fn rule(&mut self, name: &str, trigger: Trigger, action: Action, cause: &str) {
        match checked(name, trigger, action) {
            Ok(rule) => self.made.push(Made { rule, place: cause.to_owned() }),
            Err(error) => self.reader.fail(ConfigError::new(cause, error)),
        }
    }

    fn use_of<T>(&mut self, given: Option<&'a Given<T>>) {
        self.used.extend(given.map(|given| given.name.as_str()));
    }

    fn warn(&mut self, name: &str, needs: &str) {
        self.reader.warnings.insert(Warning::no_effect(name, needs));
    }
}

fn checked(name: &str, trigger: Trigger, action: Action) -> Result<Rule, RuleError> {
    Rule::new(RuleName::new(name)?, ClientFilter::Any, trigger, action)
}
