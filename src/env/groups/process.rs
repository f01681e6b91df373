//! Faults of the process.

use std::time::Duration;

use super::{Groups, SourcedRule, checked};
use crate::env::raw::ServiceVariables;
use crate::env::reader::ParseResult;
use crate::env::reader::{Parsed, VariableReader, boolean, duration, is_bad, percent, value_of};
use crate::fault::{
    Action, CORES, Container, DEFAULT_CODE, ProcessMode, Rate, RequestWindow, RuleError, Size, TimeWindow,
    Trigger, TriggerError,
};
use crate::plan::error::{ConfigError, Reason};
use crate::plan::process::{cores, exit_code, size};
use crate::plan::whole;
use crate::units::Bare;

/// Rules that depend on the resources of the container, each with its main variable.
pub const PROCESS_VARIABLES: &[(&str, &str)] =
    &[("process-memory", "MEMORY_SIZE"), ("process-cpu", "CPU_CORES")];

/// Start, length and period of a fault.
struct Window {
    after: Option<Parsed<Duration>>,
    length: Option<Parsed<Duration>>,
    period: Option<Parsed<Duration>>,
}

/// The variables of process faults.
pub(in crate::env) struct ProcessFaults {
    exit_after: Option<Parsed<Duration>>,
    code: Option<Parsed<u8>>,
    rate: Option<Parsed<f64>>,
    starts: Option<Parsed<u64>>,
    size: Option<Parsed<Size>>,
    memory: Window,
    ramp: Option<Parsed<Duration>>,
    cores: Option<Parsed<f64>>,
    cpu: Window,
    ignore_term: Option<Parsed<bool>>,
    slow_term: Option<Parsed<Duration>>,
}

impl ProcessFaults {
    pub(in crate::env) fn read(reader: &mut VariableReader, raw: &mut ServiceVariables) -> Self {
        let seconds = duration(Bare::Seconds);
        Self {
            exit_after: reader.read("EXIT_AFTER", raw.exit_after.take(), &seconds),
            code: reader.read("EXIT_CODE", raw.exit_code.take(), |text| {
                let code = exit_code(text)?;
                Ok((Some(code), code.to_string()))
            }),
            rate: reader.read("EXIT_RATE", raw.exit_rate.take(), percent),
            starts: reader.read("EXIT_STARTS", raw.exit_starts.take(), starts),
            size: reader.read("MEMORY_SIZE", raw.memory_size.take(), memory_size),
            memory: Window {
                after: reader.read("MEMORY_AFTER", raw.memory_after.take(), &seconds),
                length: reader.read("MEMORY_FOR", raw.memory_for.take(), &seconds),
                period: reader.read("MEMORY_EVERY", raw.memory_every.take(), &seconds),
            },
            ramp: reader.read("MEMORY_RAMP", raw.memory_ramp.take(), &seconds),
            cores: reader.read("CPU_CORES", raw.cpu_cores.take(), cpu_cores),
            cpu: Window {
                after: reader.read("CPU_AFTER", raw.cpu_after.take(), &seconds),
                length: reader.read("CPU_FOR", raw.cpu_for.take(), &seconds),
                period: reader.read("CPU_EVERY", raw.cpu_every.take(), &seconds),
            },
            ignore_term: reader.read("IGNORE_TERM", raw.ignore_term.take(), boolean),
            slow_term: reader.read("SLOW_TERM", raw.slow_term.take(), &seconds),
        }
    }

    /// The error of a rule, as that of the variable that caused it.
    fn culprit(&self, error: &RuleError) -> Option<ConfigError> {
        let error = error.clone();
        match error {
            RuleError::StartsWithoutState => self.starts.as_ref().map(|parsed| parsed.error(error)),
            RuleError::RateWithoutState => self.rate.as_ref().map(|parsed| parsed.error(error)),
            _ => None,
        }
    }
}

impl Groups<'_> {
    /// Creates the process rules and checks them against `container`.
    pub(in crate::env) fn process(&mut self, faults: &ProcessFaults, container: &Container) {
        let before = self.rules.len();
        self.exit(faults);
        self.quantity(
            "memory",
            faults.size.as_ref(),
            &faults.memory,
            faults.ramp.as_ref(),
            ProcessMode::Memory,
        );
        self.quantity("cpu", faults.cores.as_ref(), &faults.cpu, None, ProcessMode::Cpu);
        if let Some(parsed) = faults.ignore_term.as_ref().filter(|parsed| parsed.value() == Some(&true)) {
            self.process_rule("ignore-term", Trigger::ALWAYS, ProcessMode::IgnoreTerm, &parsed.name);
        }
        if let Some((parsed, delay)) = given(faults.slow_term.as_ref()) {
            self.process_rule("slow-term", Trigger::ALWAYS, ProcessMode::SlowTerm(*delay), &parsed.name);
        }
        for SourcedRule { rule, place } in &self.rules[before..] {
            for error in rule.check_container(container) {
                let error = faults.culprit(&error).unwrap_or_else(|| ConfigError::new(place.clone(), error));
                self.reader.fail(error);
            }
        }
    }

    fn exit(&mut self, faults: &ProcessFaults) {
        let ProcessFaults { exit_after: after, code, rate, starts, .. } = faults;
        if is_bad(after.as_ref()) || is_bad(code.as_ref()) || is_bad(rate.as_ref()) || is_bad(starts.as_ref())
        {
            return;
        }
        let cause = [
            given(after.as_ref()).map(|(parsed, _)| &parsed.name),
            given(rate.as_ref()).map(|(parsed, _)| &parsed.name),
            given(starts.as_ref()).map(|(parsed, _)| &parsed.name),
        ];
        let Some(cause) = cause.into_iter().flatten().next() else {
            if let Some(code) = code {
                let needs = "EXIT_AFTER, EXIT_STARTS or EXIT_RATE (100% is at once)";
                self.reader.fail(code.error(Reason::Needs(needs.to_owned())));
            }
            return;
        };
        let rate = value_of(rate.as_ref()).and_then(|percent| Rate::from_percent(*percent).ok());
        let trigger = Trigger {
            time: value_of(after.as_ref()).and_then(|after| TimeWindow::new(*after, None, None).ok()),
            rate: rate.unwrap_or(Rate::ALWAYS),
            starts: value_of(starts.as_ref())
                .and_then(|starts| RequestWindow::new(0, Some(*starts), None).ok()),
            ..Trigger::ALWAYS
        };
        let code = value_of(code.as_ref()).copied().unwrap_or(DEFAULT_CODE);
        self.process_rule("exit", trigger, ProcessMode::Exit(code), cause);
    }

    /// A rule for memory or CPU time.
    fn quantity<T: Copy>(
        &mut self,
        name: &str,
        main: Option<&Parsed<T>>,
        window: &Window,
        ramp: Option<&Parsed<Duration>>,
        mode: fn(T) -> ProcessMode,
    ) {
        let Window { after, length, period } = window;
        let (after, length, period) = (after.as_ref(), length.as_ref(), period.as_ref());
        let parts = [after, length, period, ramp];
        let Some((main, value)) = given(main) else {
            if !is_bad(main) {
                let needs = if name == "memory" { "MEMORY_SIZE" } else { "CPU_CORES" };
                for (part, _) in parts.into_iter().filter_map(given) {
                    self.reader.fail(part.error(Reason::Needs(needs.to_owned())));
                }
            }
            return;
        };
        if parts.into_iter().any(is_bad) {
            return;
        }
        let [after, length_value, period_value] = [after, length, period].map(|part| value_of(part).copied());
        let time = if [after, length_value, period_value].iter().any(Option::is_some) {
            match TimeWindow::new(after.unwrap_or_default(), length_value, period_value) {
                Ok(time) => Some(time),
                Err(error) => {
                    let wrong = match &error {
                        TriggerError::EveryWithoutFor => period,
                        error if error.window_field() == Some("every") => period,
                        _ => length.or(period),
                    };
                    self.reader.fail(wrong.map_or_else(
                        || ConfigError::new(main.name.clone(), error.clone()),
                        |wrong| wrong.error(error.clone()),
                    ));
                    return;
                }
            }
        } else {
            None
        };
        let trigger = Trigger { time, ramp: value_of(ramp).copied(), ..Trigger::ALWAYS };
        self.process_rule(name, trigger, mode(*value), &main.name);
    }

    fn process_rule(&mut self, name: &str, trigger: Trigger, mode: ProcessMode, cause: &str) {
        let action = Action::Process { mode, allow_node_pressure: false };
        match checked(&format!("process-{name}"), trigger, action) {
            Ok(rule) => self.rules.push(SourcedRule { rule, place: cause.to_owned() }),
            Err(error) => self.reader.fail(ConfigError::new(cause, error)),
        }
    }
}

fn given<T>(parsed: Option<&Parsed<T>>) -> Option<(&Parsed<T>, &T)> {
    parsed.and_then(|parsed| Some((parsed, parsed.value()?)))
}

fn starts(text: &str) -> ParseResult<u64> {
    let value = whole(text, 0, u64::MAX)?;
    Ok(((value > 0).then_some(value), format!("{value} starts")))
}

fn memory_size(text: &str) -> ParseResult<Size> {
    if text == "0" {
        return Ok((None, String::new()));
    }
    let size = size(text)?;
    let shown = match size {
        Size::Bytes(bytes) => format!("{bytes}B"),
        Size::Percent(percent) => format!("{percent}% of the memory limit"),
    };
    Ok((Some(size), shown))
}

fn cpu_cores(text: &str) -> ParseResult<f64> {
    let cores = cores(text)?;
    if cores == 0.0 {
        return Ok((None, String::new()));
    }
    if !CORES.contains(&cores) {
        return Err(RuleError::Cores(cores).into());
    }
    Ok((Some(cores), format!("{cores} cores")))
}
