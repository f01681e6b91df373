//! From variables to rules: each group makes one rule per target.

use std::time::Duration;

use super::faults::FaultSettings;
use super::given::{Given, Reader, is_bad, on};
use super::latency::Latency;
use super::{Made, Warning};
use crate::config::error::{ConfigError, Reason};
use crate::config::plan::{ModeParts, build, fields_of};
use crate::fault::{
    Action, Burst, ClientFilter, Cut, Mode, Networks, Rate, RequestWindow, Rule, RuleError, RuleName, Target,
    Targets, TimeWindow, Trigger, TriggerError,
};
use crate::units::Show;

const OF_RATE: &[Target] = &[Target::Liveness, Target::Readiness, Target::Startup, Target::Traffic];
const OF_WINDOWS: &[Target] = &[Target::Liveness, Target::Readiness];
const OF_STARTUP: &[Target] = &[Target::Liveness, Target::Readiness, Target::Startup];
const OF_ALL: &[Target] = &Target::ALL;

/// The cut of the network, as the variables have it.
pub(super) struct Partition {
    pub(super) after: Option<Given<Duration>>,
    pub(super) length: Option<Given<Duration>>,
    /// What is cut; `None` makes readiness fail instead.
    pub(super) cut: Option<Given<Option<Cut>>>,
}

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

    fn partition(&mut self, partition: &'a Partition) {
        let Partition { after, length, cut } = partition;
        let (after, length) = (after.as_ref(), length.as_ref());
        let Some(main) =
            after.filter(|given| given.on().is_some()).or(length).filter(|given| given.on().is_some())
        else {
            if !is_bad(after)
                && !is_bad(length)
                && let Some(mode) = cut
            {
                self.warn(&mode.name, "PARTITION_AFTER or PARTITION_FOR");
            }
            return;
        };
        if is_bad(after) || is_bad(length) || is_bad(cut.as_ref()) {
            return;
        }
        if on(after).is_none() && main.name == "RECONNECT_AFTER" {
            self.warn(&main.name, "DISCONNECT_AFTER");
            return;
        }
        let time = TimeWindow::new(on(after).copied().unwrap_or_default(), on(length).copied(), None);
        let time = match time {
            Ok(time) => Some(time),
            Err(error) => return self.reader.fail(main.error(error)),
        };
        let trigger = Trigger { time, ..Trigger::ALWAYS };
        match cut.as_ref().and_then(|cut| Some((cut, (*cut.on()?)?))) {
            Some((given, cut)) => {
                let action = Action::Listener { cut, from: Networks::default() };
                let not_built = given.error(Reason::NotBuilt);
                self.rule("listener-partition", trigger, action, &main.name, not_built);
            }
            None => {
                let status = self.held(Target::Readiness, OF_ALL, |of| &of.status);
                if is_bad(status) {
                    return;
                }
                let mode = Mode::Status(on(status).copied().unwrap_or(ModeParts::default().status));
                let action = Action::Requests {
                    targets: Targets::NONE.with(Target::Readiness),
                    delay: None,
                    mode: Some(mode),
                };
                let not_built = main.error(Reason::NotBuilt);
                self.rule("readiness-partition", trigger, action, &main.name, not_built);
            }
        }
    }

    fn startup(&mut self) {
        for target in Target::ALL {
            let Some(given) = self.held(target, OF_STARTUP, |of| &of.startup) else { continue };
            let Some(delay) = given.on() else { continue };
            match TimeWindow::new(Duration::ZERO, Some(*delay), None) {
                Ok(time) => {
                    let trigger = Trigger { time: Some(time), ..Trigger::ALWAYS };
                    self.failure(target, "startup", trigger, &given.name);
                }
                Err(error) => self.reader.fail(given.error(error)),
            }
        }
    }

    fn time(&mut self) {
        for target in Target::ALL {
            let after = self.held(target, OF_WINDOWS, |of| &of.after_time);
            let length = self.held(target, OF_WINDOWS, |of| &of.length);
            let period = self.held(target, OF_WINDOWS, |of| &of.period);
            let own = &self.own[target.index()];
            let others = [own.length.is_some(), own.period.is_some()];
            if self.is_turned_off(target, |of| &of.after_time, &others) {
                continue;
            }
            if is_bad(after) || is_bad(length) || is_bad(period) {
                self.use_of(period);
                continue;
            }
            let time = match (on(length), period.filter(|period| period.on().is_some())) {
                (None, _) if on(after).is_none() => continue,
                (None, Some(period)) => {
                    self.reader
                        .fail(period.error(Reason::Needs("FAIL_FOR, the length of each window".into())));
                    self.use_of(Some(period));
                    continue;
                }
                (Some(window), Some(every)) if on(Some(every)).is_some_and(|period| window >= period) => {
                    let value = Show(on(Some(every)).copied().unwrap_or_default()).to_string();
                    if let Some(length) = length {
                        self.reader.fail(length.error(Reason::NotBelow { name: every.name.clone(), value }));
                    }
                    self.use_of(period);
                    continue;
                }
                (window, _) => TimeWindow::new(
                    on(after).copied().unwrap_or_default(),
                    window.copied(),
                    on(period).copied(),
                ),
            };
            self.use_of(period);
            let Some(main) = after.filter(|given| given.on().is_some()).or(length) else { continue };
            match time {
                Ok(time) => {
                    let trigger = Trigger { time: Some(time), ..Trigger::ALWAYS };
                    self.failure(target, "time", trigger, &main.name);
                }
                Err(error) => self.reader.fail(main.error(error)),
            }
        }
    }

    fn requests(&mut self) {
        for target in Target::ALL {
            let after = self.held(target, OF_WINDOWS, |of| &of.after_requests);
            let length = self.held(target, OF_WINDOWS, |of| &of.requests);
            let others = [self.own[target.index()].requests.is_some()];
            if self.is_turned_off(target, |of| &of.after_requests, &others) || is_bad(after) || is_bad(length)
            {
                continue;
            }
            let Some(main) = after.filter(|given| given.on().is_some()).or(length) else { continue };
            if on(length).is_none() && main.name.ends_with("FAIL_COUNT") {
                self.warn(&main.name, "RECOVERY_PERIOD");
                continue;
            }
            if main.on().is_none() {
                continue;
            }
            match RequestWindow::new(on(after).copied().unwrap_or(0), on(length).copied(), None) {
                Ok(window) => {
                    let trigger = Trigger { requests: Some(window), ..Trigger::ALWAYS };
                    self.failure(target, "requests", trigger, &main.name);
                }
                Err(error) => self.reader.fail(main.error(error)),
            }
        }
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
                Some((_, Err(TriggerError::BurstAtFullRate)))
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
                let not_built = given.error(Reason::NotBuilt);
                self.rule(&format!("{target}-latency"), Trigger::ALWAYS, action, &given.name, not_built);
            }
        }
    }

    /// What is set in vain.
    fn without_effect(&mut self) {
        let settings = std::iter::once(self.shared).chain(self.own);
        for of in settings {
            let needs = [
                (of.burst
                    .as_ref()
                    .map(|given| (&given.name, given.on().map(|_| given.error(needs("FAILURE_RATE")))))),
                (of.period
                    .as_ref()
                    .map(|given| (&given.name, given.on().map(|_| given.error(needs("FAIL_FOR")))))),
                (of.jitter
                    .as_ref()
                    .map(|given| (&given.name, given.on().map(|_| given.error(needs("LATENCY")))))),
                (of.shape
                    .as_ref()
                    .map(|given| (&given.name, given.on().map(|_| given.error(needs("LATENCY")))))),
            ];
            for (name, error) in needs.into_iter().flatten() {
                if let Some(error) = error.filter(|_| !self.used.contains(&name.as_str())) {
                    self.reader.fail(error);
                }
            }
        }
        self.modes_without_effect(self.shared, None);
        for target in Target::ALL {
            self.modes_without_effect(&self.own[target.index()], Some(target));
        }
    }

    /// Warns of fields of a mode that is not the mode of any failure, and of a mode without a failure.
    fn modes_without_effect(&mut self, of: &'a FaultSettings, of_target: Option<Target>) {
        let targets = Target::ALL.into_iter().filter(|target| of_target.is_none_or(|own| own == *target));
        let modes: Vec<&str> = targets.clone().filter_map(|target| self.mode_name(target)).collect();
        let names = [
            ("location", of.location.as_ref().map(|given| &given.name), "FAILURE_MODE=redirect"),
            (
                "body",
                of.body.as_ref().map(|given| &given.name),
                "FAILURE_MODE=truncate, body-hang, body-reset, malformed or drip",
            ),
            ("drip", of.drip.as_ref().map(|given| &given.name), "FAILURE_MODE=drip"),
        ];
        for (field, name, needs) in names {
            if let Some(name) = name
                && !modes.iter().any(|mode| fields_of(mode).contains(&field))
            {
                self.warn(name, needs);
            }
        }
        let fails = |target: Target| {
            self.made.iter().any(|made| made.rule.targets().contains(target) && made.rule.mode().is_some())
        };
        if let Some(mode) = &of.mode
            && mode.on().is_some()
            && self.reader.errors.is_empty()
            && !targets.clone().any(fails)
        {
            self.warn(&mode.name, "a failure, such as FAILURE_RATE");
        }
    }

    fn mode_name(&self, target: Target) -> Option<&'static str> {
        let given = self.held(target, OF_ALL, |of| &of.mode);
        if is_bad(given) { None } else { Some(on(given).copied().unwrap_or("status")) }
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
        build(self.mode_name(target)?, parts)
    }

    /// A rule that makes requests fail in the target's mode.
    fn failure(&mut self, target: Target, group: &str, trigger: Trigger, cause: &str) {
        let Some(mode) = self.mode(target) else { return };
        let not_built = match self.held(target, OF_ALL, |of| &of.mode) {
            Some(given) => given.error(Reason::NotBuilt),
            None => ConfigError::new(cause, Reason::NotBuilt),
        };
        let action = Action::Requests { targets: Targets::NONE.with(target), delay: None, mode: Some(mode) };
        match self.checked(&format!("{target}-{group}"), trigger, action) {
            Ok(rule) => self.made.push(Made { rule, place: cause.to_owned(), not_built }),
            // The mode and the status that do not go together hold for each group.
            Err(error @ RuleError::NoBody { .. }) => match self.held(target, OF_ALL, |of| &of.status) {
                Some(status) => self.reader.fail(status.error(error)),
                None => self.reader.fail(ConfigError::new(cause, error)),
            },
            Err(error) => self.reader.fail(ConfigError::new(cause, error)),
        }
    }

    fn rule(&mut self, name: &str, trigger: Trigger, action: Action, cause: &str, not_built: ConfigError) {
        match self.checked(name, trigger, action) {
            Ok(rule) => self.made.push(Made { rule, place: cause.to_owned(), not_built }),
            Err(error) => self.reader.fail(ConfigError::new(cause, error)),
        }
    }

    fn checked(&self, name: &str, trigger: Trigger, action: Action) -> Result<Rule, RuleError> {
        Rule::new(RuleName::new(name)?, ClientFilter::Any, trigger, action)
    }

    fn use_of<T>(&mut self, given: Option<&'a Given<T>>) {
        self.used.extend(given.map(|given| given.name.as_str()));
    }

    fn warn(&mut self, name: &str, needs: &str) {
        let warning = Warning::NoEffect { name: name.to_owned(), needs: needs.to_owned() };
        self.reader.warnings.insert(warning);
    }
}

fn needs(what: &str) -> Reason {
    Reason::Needs(what.to_owned())
}
