//! The variables that delay answers.

use std::time::Duration;

use super::faults::DelayShape;
use super::reader::{Parsed, VariableReader, is_bad, value_of};
use crate::fault::{Delay, DelayError};
use crate::plan::error::{ConfigError, Reason};

type Optional<'a, T> = Option<&'a Parsed<T>>;

/// The variables that are effective for one target.
pub(super) struct Latency<'a> {
    pub(super) base: Optional<'a, Duration>,
    pub(super) jitter: Optional<'a, Duration>,
    pub(super) shape: Optional<'a, DelayShape>,
    pub(super) p50: Optional<'a, Duration>,
    pub(super) p90: Optional<'a, Duration>,
    pub(super) p99: Optional<'a, Duration>,
}

impl<'a> Latency<'a> {
    /// The delay that these variables configure, with the variable that its errors name. Adds the variables used to
    /// `used`.
    pub(super) fn delay(
        &self,
        reader: &mut VariableReader,
        used: &mut Vec<&'a str>,
    ) -> Option<(Delay, &'a Parsed<Duration>)> {
        let durations = [self.base, self.jitter, self.p50, self.p90, self.p99];
        let mut mark = |name: Option<&'a str>| used.extend(name);
        if is_bad(self.shape) || durations.iter().any(|parsed| is_bad(*parsed)) {
            mark(self.shape.map(|shape| shape.name.as_str()));
            for parsed in durations {
                mark(parsed.map(|parsed| parsed.name.as_str()));
            }
            return None;
        }
        let base = self.base.filter(|parsed| parsed.value().is_some());
        let percentile = |parsed: Optional<'a, Duration>| parsed.filter(|parsed| parsed.value().is_some());
        let (p50, p90, p99) = (percentile(self.p50), percentile(self.p90), percentile(self.p99));
        let jitter = self.jitter.filter(|parsed| parsed.value().is_some());
        let Some((shape, parsed_shape)) = self.shape.and_then(|parsed| Some((*parsed.value()?, parsed)))
        else {
            return match (base, p50.or(p90).or(p99)) {
                (Some(base), None) => {
                    mark(jitter.map(|jitter| jitter.name.as_str()));
                    let delay = match value_of(jitter) {
                        Some(jitter) => Delay::uniform(or_zero(base), *jitter),
                        None => Delay::fixed(or_zero(base)),
                    };
                    checked(reader, delay, base)
                }
                (Some(base), Some(percentile)) => {
                    reader.fail(percentile.error(Reason::NotWith(base.name.clone())));
                    mark(jitter.map(|jitter| jitter.name.as_str()));
                    None
                }
                (None, Some(percentile)) => self.table(reader, percentile),
                (None, None) => None,
            };
        };
        if base.is_none() && p50.is_none() && p99.is_none() {
            return None;
        }
        mark(Some(&parsed_shape.name));
        let takes: &[Optional<'a, Duration>] = match shape {
            DelayShape::Uniform | DelayShape::Normal => &[base, jitter],
            DelayShape::LogNormal => &[base, if base.is_none() { p50 } else { None }, p99],
            DelayShape::Exponential => &[base],
        };
        let names: Vec<&str> = takes.iter().flatten().map(|parsed| parsed.name.as_str()).collect();
        let mut fits = true;
        for parsed in [jitter, p50, p90, p99].into_iter().flatten() {
            mark(Some(&parsed.name));
            if !names.contains(&parsed.name.as_str()) {
                fits = false;
                reader.fail(parsed.error(not_with(base, parsed_shape, shape, parsed)));
            }
        }
        if !fits {
            return None;
        }
        let mut need = |what: &str| {
            reader.fail(parsed_shape.error(Reason::Needs(what.to_owned())));
            None
        };
        let (delay, main) = match shape {
            DelayShape::Uniform | DelayShape::Normal => {
                let Some(base) = base else { return need("LATENCY") };
                let Some(jitter) = value_of(jitter) else { return need("LATENCY_JITTER") };
                let make = if shape == DelayShape::Normal { Delay::normal } else { Delay::uniform };
                (make(or_zero(base), *jitter), base)
            }
            DelayShape::LogNormal => {
                let Some(median) = base.or(p50) else { return need("LATENCY or LATENCY_P50, the median") };
                let Some(p99) = p99 else { return need("LATENCY_P99") };
                (Delay::log_normal(or_zero(median), or_zero(p99)), p99)
            }
            DelayShape::Exponential => {
                let Some(base) = base else { return need("LATENCY, the mean") };
                (Delay::exponential(or_zero(base)), base)
            }
        };
        checked(reader, delay, main)
    }

    /// A table of percentiles. An explicit 0 is a value here.
    fn table(
        &self,
        reader: &mut VariableReader,
        main: &'a Parsed<Duration>,
    ) -> Option<(Delay, &'a Parsed<Duration>)> {
        let table: Vec<_> = [(50.0, self.p50), (90.0, self.p90), (99.0, self.p99)]
            .into_iter()
            .filter_map(|(percentile, parsed)| Some((percentile, or_zero(parsed?))))
            .collect();
        if table.len() < 2 {
            reader.fail(main.error(Reason::Needs("another percentile, or LATENCY instead".to_owned())));
            return None;
        }
        checked(reader, Delay::percentiles(table), main)
    }
}

fn not_with(
    base: Optional<'_, Duration>,
    shape: &Parsed<DelayShape>,
    kind: DelayShape,
    parsed: &Parsed<Duration>,
) -> Reason {
    match base {
        Some(base) if kind == DelayShape::LogNormal && parsed.name.ends_with("_P50") => {
            Reason::NotWith(base.name.clone())
        }
        _ => Reason::NotWith(format!("{}={}", shape.name, shape.text())),
    }
}

fn or_zero(parsed: &Parsed<Duration>) -> Duration {
    parsed.value().copied().unwrap_or_default()
}

fn checked<'a>(
    reader: &mut VariableReader,
    delay: Result<Delay, DelayError>,
    main: &'a Parsed<Duration>,
) -> Option<(Delay, &'a Parsed<Duration>)> {
    match delay {
        Ok(delay) => Some((delay, main)),
        Err(error) => {
            reader.fail(ConfigError::new(main.name.clone(), error).value(main.text()));
            None
        }
    }
}
