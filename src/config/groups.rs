//! Groups of variables to rules. The original's names are translated here and nowhere else.

use std::time::Duration;

use super::environment::{Reader, Var, Warning, var};
use super::error::Reason;
use super::plan::build_mode;
use super::variables::{RawFault, RawService, prefix};
use crate::fault::{
    Action, Burst, ClientFilter, Cut, Delay, Mode, Networks, Rate, RequestWindow, Rule, RuleName, Target,
    Targets, TimeWindow, Trigger, TriggerError,
};
use crate::units::{self, Bare};

/// All rules of the groups, in the order in which they decide.
pub(super) fn rules(
    reader: &mut Reader,
    raw: &RawService,
    plain: &RawFault,
    prefixed: &[RawFault],
) -> Vec<Rule> {
    let sources: Vec<Source<'_>> =
        Target::ALL.into_iter().zip(prefixed).map(|(target, own)| Source { target, own, plain }).collect();
    let modes: Vec<Option<Mode>> = sources.iter().map(|source| source.mode(reader)).collect();
    let mode = |target: Target| modes[target.index()].clone();
    let mut rules = Rules { reader, rules: Vec::new() };
    rules.listen(raw);
    rules.partition(raw, mode(Target::Readiness));
    rules.startup(raw, &modes);
    rules.dependency(raw, mode(Target::Dependency));
    for group in ["time", "requests", "rate"] {
        for source in &sources {
            let trigger = match group {
                "time" => source.time(rules.reader),
                "requests" => source.requests(rules.reader),
                _ => source.rate(rules.reader),
            };
            if let Some(trigger) = trigger {
                rules.requests(source.target, group, trigger, None, mode(source.target));
            }
        }
    }
    for source in &sources {
        if let Some(delay) = source.latency(rules.reader) {
            rules.requests(source.target, "latency", Trigger::ALWAYS, Some(delay), None);
        }
    }
    rules.rules
}

struct Rules<'a> {
    reader: &'a mut Reader,
    rules: Vec<Rule>,
}

impl Rules<'_> {
    fn push(&mut self, name: &str, trigger: Trigger, action: Action) {
        let rule = RuleName::new(name).and_then(|name| Rule::new(name, ClientFilter::Any, trigger, action));
        match rule {
            Ok(rule) => self.rules.push(rule),
            Err(error) => self.reader.error(&format!("rule {name}"), None, Reason::Rule(error)),
        }
    }

    /// Without a mode, which was wrong and has been reported, there is no rule.
    fn requests(
        &mut self,
        target: Target,
        group: &str,
        trigger: Trigger,
        delay: Option<Delay>,
        mode: Option<Mode>,
    ) {
        if delay.is_some() || mode.is_some() {
            let action = Action::Requests { targets: Targets::NONE.with(target), delay, mode };
            self.push(&format!("{target}-{group}"), trigger, action);
        }
    }

    fn listen(&mut self, raw: &RawService) {
        let delay =
            self.reader.duration(var("LISTEN_DELAY", raw.listen_delay.as_ref()).as_ref(), Bare::Seconds);
        if let Some(time) = delay.and_then(|delay| TimeWindow::new(Duration::ZERO, Some(delay), None).ok()) {
            let action = Action::Listener { cut: Cut::Refuse, from: Networks::default() };
            self.push("listener-listen", Trigger { time: Some(time), ..Trigger::ALWAYS }, action);
        }
    }

    fn partition(&mut self, raw: &RawService, readiness: Option<Mode>) {
        let reader = &mut *self.reader;
        let after = either(
            reader,
            var("PARTITION_AFTER", raw.partition_after.as_ref()),
            var("DISCONNECT_AFTER", raw.disconnect_after.as_ref()),
        );
        let length = either(
            reader,
            var("PARTITION_FOR", raw.partition_for.as_ref()),
            var("RECONNECT_AFTER", raw.reconnect_after.as_ref()),
        );
        let mode_var = var("PARTITION_MODE", raw.partition_mode.as_ref());
        let cut = reader.word(
            mode_var.as_ref(),
            &["status", "drop", "refuse", "reset"],
            &[None, Some(Cut::Drop), Some(Cut::Refuse), Some(Cut::Reset)],
        );
        let begins = reader.duration(after.as_ref(), Bare::Minutes);
        let lasts = reader.duration(length.as_ref(), Bare::Minutes);
        if let (None, Some(_), Some(var)) = (begins, lasts, &length)
            && var.name == "RECONNECT_AFTER"
        {
            let name = var.name.clone();
            reader.warnings.push(Warning::NoEffect { name, needs: "DISCONNECT_AFTER" });
            return;
        }
        if begins.is_none() && lasts.is_none() {
            if let Some(var) = mode_var {
                let name = var.name;
                reader.warnings.push(Warning::NoEffect { name, needs: "PARTITION_AFTER or PARTITION_FOR" });
            }
            return;
        }
        let Ok(time) = TimeWindow::new(begins.unwrap_or_default(), lasts, None) else { return };
        let trigger = Trigger { time: Some(time), ..Trigger::ALWAYS };
        match cut.flatten() {
            Some(cut) => {
                let action = Action::Listener { cut, from: Networks::default() };
                self.push("listener-partition", trigger, action);
            }
            None => self.requests(Target::Readiness, "partition", trigger, None, readiness),
        }
    }

    fn startup(&mut self, raw: &RawService, modes: &[Option<Mode>]) {
        let delay =
            self.reader.duration(var("STARTUP_DELAY", raw.startup_delay.as_ref()).as_ref(), Bare::Seconds);
        let Some(time) = delay.and_then(|delay| TimeWindow::new(Duration::ZERO, Some(delay), None).ok())
        else {
            return;
        };
        for target in [Target::Startup, Target::Readiness, Target::Liveness] {
            let trigger = Trigger { time: Some(time), ..Trigger::ALWAYS };
            self.requests(target, "startup", trigger, None, modes[target.index()].clone());
        }
    }

    fn dependency(&mut self, raw: &RawService, mode: Option<Mode>) {
        if self.reader.flag(var("FAIL_DEPENDENCY", raw.fail_dependency.as_ref()).as_ref()) == Some(true) {
            self.requests(Target::Dependency, "dependency", Trigger::ALWAYS, None, mode);
        }
    }
}

/// A variable by its name of today or of the original; both are too many.
fn either(reader: &mut Reader, new: Option<Var>, old: Option<Var>) -> Option<Var> {
    if let (Some(new), Some(old)) = (&new, &old) {
        reader.wrong(old, Reason::Conflict(new.name.clone()));
    }
    new.or(old)
}

/// The fault variables of one target.
struct Source<'a> {
    target: Target,
    own: &'a RawFault,
    plain: &'a RawFault,
}

type Field = fn(&RawFault) -> Option<&String>;

impl Source<'_> {
    fn own(&self, name: &str, field: Field) -> Option<Var> {
        var(&(prefix(self.target) + name), field(self.own))
    }

    /// The target's own variable, or the unprefixed one where that acts on the target.
    fn var(&self, name: &str, field: Field, unprefixed: &[Target]) -> Option<Var> {
        let plain = || var(name, field(self.plain).filter(|_| unprefixed.contains(&self.target)));
        self.own(name, field).or_else(plain)
    }

    fn any(&self, name: &str, field: Field) -> Option<Var> {
        self.var(name, field, &Target::ALL)
    }

    /// What every failure of the target gets.
    fn mode(&self, reader: &mut Reader) -> Option<Mode> {
        let before = reader.errors.len();
        let name_var = self.any("FAILURE_MODE", |raw| raw.failure_mode.as_ref());
        let target = self.target.name();
        let name =
            reader.read(name_var.as_ref(), |text| match Mode::NAMES.iter().find(|known| **known == text) {
                Some(known) => Ok(*known),
                None if Cut::from_name(text).is_some() => {
                    Err(Reason::ModeForTarget { mode: text.to_owned(), target, allowed: &Mode::NAMES })
                }
                None => Err(Reason::OneOf(&Mode::NAMES)),
            });
        let status_var = self.any("FAILURE_STATUS", |raw| raw.failure_status.as_ref());
        let status = reader.number(status_var.as_ref(), 200, 599);
        let body_var = self.any("FAILURE_BODY", |raw| raw.failure_body.as_ref());
        let body = reader.read(body_var.as_ref(), |text| units::size(text).map_err(Reason::Unit));
        let drip_var = self.any("FAILURE_DRIP", |raw| raw.failure_drip.as_ref());
        let drip = reader.duration(drip_var.as_ref(), Bare::Seconds);
        let location_var = self.any("FAILURE_LOCATION", |raw| raw.failure_location.as_ref());
        let location = location_var.map(|var| var.value);
        if reader.errors.len() > before || (name_var.is_some() && name.is_none()) {
            return None;
        }
        Some(build_mode(name.unwrap_or("status"), status.map(|status| status as u16), body, drip, location))
    }

    fn time(&self, reader: &mut Reader) -> Option<Trigger> {
        const TARGETS: [Target; 2] = [Target::Liveness, Target::Readiness];
        let after_var = self.var("FAIL_AFTER_TIME", |raw| raw.fail_after_time.as_ref(), &TARGETS);
        let for_var = self.var("FAIL_FOR", |raw| raw.fail_for.as_ref(), &TARGETS);
        let every_var = self.var("FAIL_EVERY", |raw| raw.fail_every.as_ref(), &TARGETS);
        let after = reader.duration(after_var.as_ref(), Bare::Seconds);
        let length = reader.duration(for_var.as_ref(), Bare::Seconds);
        let period = reader.duration(every_var.as_ref(), Bare::Seconds);
        if let (None, Some(_), Some(var)) = (length, period, &every_var) {
            reader.wrong(var, Reason::Needs("FAIL_FOR".into()));
            return None;
        }
        if after.is_none() && length.is_none() {
            return None;
        }
        match TimeWindow::new(after.unwrap_or_default(), length, period) {
            Ok(time) => Some(Trigger { time: Some(time), ..Trigger::ALWAYS }),
            Err(error) => {
                self.window_error(reader, for_var.as_ref(), error);
                None
            }
        }
    }

    fn window_error(&self, reader: &mut Reader, var: Option<&Var>, error: TriggerError) {
        match var {
            Some(var) => reader.wrong(var, Reason::Trigger(error)),
            None => reader.error(&prefix(self.target), None, Reason::Trigger(error)),
        }
    }

    fn requests(&self, reader: &mut Reader) -> Option<Trigger> {
        const TARGETS: [Target; 2] = [Target::Liveness, Target::Readiness];
        let after_var = self.both(
            reader,
            ("FAIL_AFTER_REQUESTS", |raw| raw.fail_after_requests.as_ref()),
            ("FAIL_COUNT", |raw| raw.fail_count.as_ref()),
            &TARGETS,
        );
        let length_var = self.both(
            reader,
            ("FAIL_REQUESTS", |raw| raw.fail_requests.as_ref()),
            ("RECOVERY_PERIOD", |raw| raw.recovery_period.as_ref()),
            &TARGETS,
        );
        let positive = |count: &u64| *count > 0;
        let after = reader.number(after_var.as_ref(), 0, u64::MAX).filter(positive);
        let length = reader.number(length_var.as_ref(), 0, u64::MAX).filter(positive);
        if let (Some(_), None, Some(var)) = (after, length, &after_var)
            && var.name.ends_with("FAIL_COUNT")
        {
            let warning = Warning::NoEffect { name: var.name.clone(), needs: "RECOVERY_PERIOD" };
            if !reader.warnings.contains(&warning) {
                reader.warnings.push(warning);
            }
            return None;
        }
        if after.is_none() && length.is_none() {
            return None;
        }
        let window = RequestWindow::new(after.unwrap_or(0), length, None).ok()?;
        Some(Trigger { requests: Some(window), ..Trigger::ALWAYS })
    }

    /// A variable by one of its two names; at each level, both are too many.
    fn both(
        &self,
        reader: &mut Reader,
        (new, new_field): (&str, Field),
        (old, old_field): (&str, Field),
        targets: &[Target],
    ) -> Option<Var> {
        let own = either(reader, self.own(new, new_field), self.own(old, old_field));
        own.or_else(|| either(reader, self.var(new, new_field, targets), self.var(old, old_field, targets)))
    }

    fn rate(&self, reader: &mut Reader) -> Option<Trigger> {
        const TARGETS: [Target; 4] = [Target::Liveness, Target::Readiness, Target::Startup, Target::Traffic];
        let rate_var = self.var("FAILURE_RATE", |raw| raw.failure_rate.as_ref(), &TARGETS);
        let burst_var = self.var("FAILURE_BURST", |raw| raw.failure_burst.as_ref(), &TARGETS);
        let percent = reader.read(rate_var.as_ref(), |text| units::bare_percent(text).map_err(Reason::Unit));
        let mean = reader.read(burst_var.as_ref(), |text| {
            let plain = text.bytes().all(|c| c.is_ascii_digit() || c == b'.');
            text.parse::<f64>().ok().filter(|_| plain).ok_or(Reason::Type("a number of requests"))
        });
        let mean = mean.filter(|mean| *mean > 0.0);
        let Some(percent) = percent.filter(|percent| *percent > 0.0) else {
            if let (None, Some(_), Some(var)) = (&rate_var, mean, &burst_var) {
                reader.wrong(var, Reason::Needs("FAILURE_RATE".into()));
            }
            return None;
        };
        let rate = Rate::from_percent(percent).ok()?;
        let burst = match mean.map(|mean| Burst::new(mean, rate)).transpose() {
            Ok(burst) => burst,
            Err(error) => {
                self.window_error(reader, burst_var.as_ref(), error);
                return None;
            }
        };
        Some(Trigger { rate, burst, ..Trigger::ALWAYS })
    }

    fn latency(&self, reader: &mut Reader) -> Option<Delay> {
        let base_var = self.any("LATENCY", |raw| raw.latency.as_ref());
        let jitter_var = self.any("LATENCY_JITTER", |raw| raw.latency_jitter.as_ref());
        let form_var = self.any("LATENCY_DISTRIBUTION", |raw| raw.latency_distribution.as_ref());
        let table_vars = [
            (50.0, self.any("LATENCY_P50", |raw| raw.latency_p50.as_ref())),
            (90.0, self.any("LATENCY_P90", |raw| raw.latency_p90.as_ref())),
            (99.0, self.any("LATENCY_P99", |raw| raw.latency_p99.as_ref())),
        ];
        let base = reader.duration(base_var.as_ref(), Bare::Milliseconds);
        let jitter = reader.duration(jitter_var.as_ref(), Bare::Milliseconds);
        let form = reader.word(form_var.as_ref(), &FORMS, &FORMS);
        let mut table: Vec<(f64, Duration, &Var)> = Vec::new();
        for (percentile, var) in &table_vars {
            if let (Some(delay), Some(var)) = (reader.duration(var.as_ref(), Bare::Milliseconds), var) {
                table.push((*percentile, delay, var));
            }
        }
        let refuse_jitter = |reader: &mut Reader, other: &str| {
            if let (Some(_), Some(var)) = (jitter, &jitter_var) {
                reader.wrong(var, Reason::Conflict(other.to_owned()));
            }
        };
        let missing = |reader: &mut Reader, var: &Option<Var>, needs: &str| {
            if let Some(var) = var {
                reader.wrong(var, Reason::Needs(needs.to_owned()));
            }
            None
        };
        let delay = match form {
            Some("lognormal") => {
                refuse_jitter(reader, "LATENCY_DISTRIBUTION=lognormal");
                let at = |name| table.iter().find(|entry| entry.2.name.ends_with(name)).map(|entry| entry.1);
                match (base.or_else(|| at("_P50")), at("_P99")) {
                    (Some(median), Some(p99)) => Delay::log_normal(median, p99),
                    _ => return missing(reader, &form_var, "LATENCY (the median) and LATENCY_P99"),
                }
            }
            Some("exponential") => {
                refuse_jitter(reader, "LATENCY_DISTRIBUTION=exponential");
                match base {
                    Some(mean) => Delay::exponential(mean),
                    None => return missing(reader, &form_var, "LATENCY (the mean)"),
                }
            }
            form if !table.is_empty() => {
                refuse_jitter(reader, "a table of percentiles");
                if let (Some(_), Some(var)) = (base, &base_var) {
                    reader.wrong(var, Reason::Conflict("a table of percentiles".into()));
                }
                if let (Some(_), Some(var)) = (form, &form_var) {
                    reader.wrong(var, Reason::Conflict("a table of percentiles".into()));
                }
                Delay::percentiles(table.iter().map(|(percentile, delay, _)| (*percentile, *delay)).collect())
            }
            form => match (base, jitter) {
                (Some(base), Some(jitter)) if form == Some("normal") => Delay::normal(base, jitter),
                (Some(base), Some(jitter)) => Delay::uniform(base, jitter),
                (Some(base), None) => Delay::fixed(base),
                // A latency of 0 turns off what the unprefixed variables say, its spread included.
                (None, Some(_)) if base_var.is_none() => return missing(reader, &jitter_var, "LATENCY"),
                (None, _) => return None,
            },
        };
        match delay {
            Ok(delay) => Some(delay),
            Err(error) => {
                let last = table.last().map(|(_, _, var)| *var).or(base_var.as_ref());
                if let Some(var) = last {
                    reader.wrong(var, Reason::Delay(error));
                }
                None
            }
        }
    }
}

const FORMS: [&str; 4] = ["uniform", "normal", "lognormal", "exponential"];
