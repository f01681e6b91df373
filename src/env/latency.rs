//! The group of variables that delays answers.

use std::time::Duration;

use super::faults::Shape;
use super::reader::{Given, Reader, is_bad, on};
use crate::fault::{Delay, DelayError};
use crate::plan::error::{ConfigError, Reason};

type Held<'a, T> = Option<&'a Given<T>>;

/// The variables that hold for one target.
pub(super) struct Latency<'a> {
    pub(super) base: Held<'a, Duration>,
    pub(super) jitter: Held<'a, Duration>,
    pub(super) shape: Held<'a, Shape>,
    pub(super) p50: Held<'a, Duration>,
    pub(super) p90: Held<'a, Duration>,
    pub(super) p99: Held<'a, Duration>,
}

impl<'a> Latency<'a> {
    /// The delay, if these variables make one; the variable to blame for it. What they do not use is not in `used`.
    pub(super) fn delay(
        &self,
        reader: &mut Reader,
        used: &mut Vec<&'a str>,
    ) -> Option<(Delay, &'a Given<Duration>)> {
        let durations = [self.base, self.jitter, self.p50, self.p90, self.p99];
        let mut mark = |name: Option<&'a str>| used.extend(name);
        if is_bad(self.shape) || durations.iter().any(|given| is_bad(*given)) {
            mark(self.shape.map(|shape| shape.name.as_str()));
            for given in durations {
                mark(given.map(|given| given.name.as_str()));
            }
            return None;
        }
        let base = self.base.filter(|given| given.on().is_some());
        let percentile = |given: Held<'a, Duration>| given.filter(|given| given.on().is_some());
        let (p50, p90, p99) = (percentile(self.p50), percentile(self.p90), percentile(self.p99));
        let jitter = self.jitter.filter(|given| given.on().is_some());
        let Some((shape, shape_given)) = self.shape.and_then(|given| Some((*given.on()?, given))) else {
            return match (base, p50.or(p90).or(p99)) {
                (Some(base), None) => {
                    mark(jitter.map(|jitter| jitter.name.as_str()));
                    let delay = match on(jitter) {
                        Some(jitter) => Delay::uniform(value(base), *jitter),
                        None => Delay::fixed(value(base)),
                    };
                    made(reader, delay, base)
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
        mark(Some(&shape_given.name));
        let takes: &[Held<'a, Duration>] = match shape {
            Shape::Uniform | Shape::Normal => &[base, jitter],
            Shape::LogNormal => &[base, if base.is_none() { p50 } else { None }, p99],
            Shape::Exponential => &[base],
        };
        let names: Vec<&str> = takes.iter().flatten().map(|given| given.name.as_str()).collect();
        let mut fits = true;
        for given in [jitter, p50, p90, p99].into_iter().flatten() {
            mark(Some(&given.name));
            if !names.contains(&given.name.as_str()) {
                fits = false;
                reader.fail(given.error(not_with(base, shape_given, shape, given)));
            }
        }
        if !fits {
            return None;
        }
        let mut need = |what: &str| {
            reader.fail(shape_given.error(Reason::Needs(what.to_owned())));
            None
        };
        let (delay, main) = match shape {
            Shape::Uniform | Shape::Normal => {
                let Some(base) = base else { return need("LATENCY") };
                let Some(jitter) = on(jitter) else { return need("LATENCY_JITTER") };
                let make = if shape == Shape::Normal { Delay::normal } else { Delay::uniform };
                (make(value(base), *jitter), base)
            }
            Shape::LogNormal => {
                let Some(median) = base.or(p50) else { return need("LATENCY or LATENCY_P50, the median") };
                let Some(p99) = p99 else { return need("LATENCY_P99") };
                (Delay::log_normal(value(median), value(p99)), p99)
            }
            Shape::Exponential => {
                let Some(base) = base else { return need("LATENCY, the mean") };
                (Delay::exponential(value(base)), base)
            }
        };
        made(reader, delay, main)
    }

    /// A table of percentiles, in which an explicit 0 counts.
    fn table(&self, reader: &mut Reader, main: &'a Given<Duration>) -> Option<(Delay, &'a Given<Duration>)> {
        let table: Vec<_> = [(50.0, self.p50), (90.0, self.p90), (99.0, self.p99)]
            .into_iter()
            .filter_map(|(percentile, given)| Some((percentile, value(given?))))
            .collect();
        if table.len() < 2 {
            reader.fail(main.error(Reason::Needs("another percentile, or LATENCY instead".to_owned())));
            return None;
        }
        made(reader, Delay::percentiles(table), main)
    }
}

fn not_with(base: Held<'_, Duration>, shape: &Given<Shape>, kind: Shape, given: &Given<Duration>) -> Reason {
    match base {
        Some(base) if kind == Shape::LogNormal && given.name.ends_with("_P50") => {
            Reason::NotWith(base.name.clone())
        }
        _ => Reason::NotWith(format!("{}={}", shape.name, shape.text())),
    }
}

fn value(given: &Given<Duration>) -> Duration {
    given.on().copied().unwrap_or_default()
}

fn made<'a>(
    reader: &mut Reader,
    delay: Result<Delay, DelayError>,
    main: &'a Given<Duration>,
) -> Option<(Delay, &'a Given<Duration>)> {
    match delay {
        Ok(delay) => Some((delay, main)),
        Err(error) => {
            reader.fail(ConfigError::new(main.name.clone(), error).value(main.text()));
            None
        }
    }
}
