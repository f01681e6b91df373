//! Delays in a plan.

use serde_json::Value;

use super::choice;
use super::reader::{FieldReader, Fields};
use crate::fault::{Delay, DelayError};
use crate::plan::error::Reason;
use crate::units::{self, Bare};

const KNOWN: &[&str] = &["fixed", "jitter", "distribution", "median", "p99", "mean", "p50", "p90"];
/// Limit of fields, percentiles included.
const MAX_FIELDS: usize = 100;
const DISTRIBUTIONS: &[&str] = &["uniform", "normal", "lognormal", "exponential"];

/// `50ms`, `{fixed, jitter, distribution}`, `{distribution: lognormal, median, p99}`,
/// `{distribution: exponential, mean}` or `{p50: …, p99.9: …}`.
pub(super) fn read(reader: &mut FieldReader, value: &Value) -> Option<Delay> {
    let before = reader.errors.len();
    let delay = match value {
        Value::String(_) | Value::Number(_) => short(reader, value),
        Value::Object(_) => long(reader, value),
        _ => {
            let expected = "a duration such as 50ms, or a mapping such as {fixed: 50ms, jitter: 10ms}";
            reader.fail_value("delay", value, Reason::Expected(expected));
            return None;
        }
    };
    delay.filter(|_| reader.errors.len() == before)
}

fn short(reader: &mut FieldReader, value: &Value) -> Option<Delay> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let delay = units::duration(&text, Bare::Milliseconds)
        .map_err(Reason::from)
        .and_then(|delay| Delay::fixed(delay).map_err(|_| Reason::Delay(DelayError::Zero("delay"))));
    delay.map_err(|reason| reader.fail_value("delay", value, reason)).ok()
}

fn long(reader: &mut FieldReader, value: &Value) -> Option<Delay> {
    let fields = reader.open(value, "delay", KNOWN)?;
    let distribution = reader.parsed(&fields, "distribution", "text", |text| {
        DISTRIBUTIONS
            .iter()
            .find(|name| name.eq_ignore_ascii_case(text))
            .copied()
            .ok_or_else(|| choice(text, DISTRIBUTIONS.to_vec()))
    });
    if distribution.is_none() && fields.get("distribution").is_some() {
        return None;
    }
    let is_table = distribution.is_none()
        && fields.names().any(|name| percentile(name).is_some())
        && fields.get("fixed").is_none();
    let (takes, shape): (&[&str], _) = match distribution {
        None if is_table => (&[], "percentiles".to_owned()),
        None => (&["fixed", "jitter"], "a delay without `distribution`".to_owned()),
        Some(name) => (
            match name {
                "lognormal" => &["distribution", "median", "p99"],
                "exponential" => &["distribution", "mean"],
                _ => &["distribution", "fixed", "jitter"],
            },
            format!("distribution {name}"),
        ),
    };
    let count = fields.names().count();
    if count > MAX_FIELDS {
        reader.fail("delay", Reason::TooManyItems { count, most: MAX_FIELDS });
        return None;
    }
    for field in fields.names() {
        let known = KNOWN.contains(&field) || percentile(field).is_some();
        if !known {
            reader.fail("delay", Reason::unknown_field(field, KNOWN));
        } else if !(takes.contains(&field) || (is_table && percentile(field).is_some())) {
            reader.fail(&format!("delay.{field}"), Reason::NotWith(shape.clone()));
        }
    }
    let delay = if is_table { table(reader, &fields)? } else { shaped(reader, &fields, distribution)? };
    delay.map_err(|error| reader.fail("delay", error)).ok()
}

fn table(reader: &mut FieldReader, fields: &Fields<'_>) -> Option<Result<Delay, DelayError>> {
    let mut table = Vec::new();
    for name in fields.names() {
        if let Some(percentile) = percentile(name) {
            table.push((percentile, reader.duration(fields, name, Bare::Milliseconds)?));
        }
    }
    Some(Delay::percentiles(table))
}

fn shaped(
    reader: &mut FieldReader,
    fields: &Fields<'_>,
    distribution: Option<&str>,
) -> Option<Result<Delay, DelayError>> {
    let mut required = |field| {
        reader.required(fields, field)?;
        reader.duration(fields, field, Bare::Milliseconds)
    };
    Some(match distribution {
        Some("lognormal") => {
            let (median, p99) = (required("median"), required("p99"));
            Delay::log_normal(median?, p99?)
        }
        Some("exponential") => Delay::exponential(required("mean")?),
        _ => {
            let fixed = required("fixed");
            // A distribution without a spread is a mistake.
            let spread = distribution.is_some() || fields.get("jitter").is_some();
            let jitter = if spread { Some(required("jitter")?) } else { None };
            match jitter {
                None => Delay::fixed(fixed?),
                Some(jitter) if distribution == Some("normal") => Delay::normal(fixed?, jitter),
                Some(jitter) => Delay::uniform(fixed?, jitter),
            }
        }
    })
}

/// The percentile of a field such as `p99.9`.
fn percentile(field: &str) -> Option<f64> {
    let number = field.strip_prefix('p')?;
    let decimal = number.starts_with(|c: char| c.is_ascii_digit())
        && number.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    if decimal { number.parse().ok() } else { None }
}
