//! The conditions of a rule.

use serde_json::Value;

use super::reader::{FieldReader, Fields};
use super::whole;
use crate::fault::{Burst, MIN_WINDOW, Pods, Rate, RequestWindow, TimeWindow, Trigger, TriggerError};
use crate::plan::error::Reason;
use crate::units::{self, Bare};

/// Limit of ordinals of a rule.
const MAX_ORDINALS: usize = 1_000;

/// `when`, `rate`, `burst`, `ramp`, `start`, `until`, `stagger` and `pods`.
pub(super) fn read(reader: &mut FieldReader, fields: &Fields<'_>) -> Trigger {
    let (mut time, mut requests, mut starts) = (None, None, None);
    if let Some(value) = fields.get("when")
        && let Some(when) = reader.mapping(value, "when", &["after", "for", "every", "requests", "starts"])
    {
        let before = reader.errors.len();
        let [after, length, period] =
            ["after", "for", "every"].map(|field| reader.duration(&when, field, Bare::Seconds));
        if reader.errors.len() == before && [after, length, period].iter().any(Option::is_some) {
            time = TimeWindow::new(after.unwrap_or_default(), length, period)
                .map_err(|error| reader.fail(&field_in("when", &error), error))
                .ok();
        }
        if let Some(value) = when.get("requests") {
            requests = count_window(reader, value, "when.requests");
        }
        if let Some(value) = when.get("starts") {
            starts = count_window(reader, value, "when.starts");
        }
    }
    let before = reader.errors.len();
    let rate = reader.parsed(fields, "rate", "a percentage such as 20%", |text| {
        Ok::<_, Reason>(Rate::from_percent(units::percent(text)?)?)
    });
    let rate_is_bad = reader.errors.len() > before;
    let rate = rate.unwrap_or(Rate::ALWAYS);
    let burst = reader.parsed(fields, "burst", "a number", |text| {
        let mean: f64 = text.parse().map_err(|_| Reason::Expected("a number"))?;
        match Burst::new(mean, rate) {
            Ok(burst) => Ok::<_, Reason>(Some(burst)),
            Err(error @ TriggerError::BurstOutOfRange(_)) => Err(error.into()),
            // Without a valid rate, the burst cannot be checked.
            Err(_) if rate_is_bad => Ok(None),
            Err(error) => Err(error.into()),
        }
    });
    let [ramp, stagger] = ["ramp", "stagger"].map(|field| {
        let value = reader.duration(fields, field, Bare::Seconds);
        if value.is_some_and(|value| value.is_zero()) {
            reader.fail(field, TriggerError::Zero(field));
        } else if let Some(value) = value.filter(|value| field == "ramp" && *value < MIN_WINDOW) {
            reader.fail(field, TriggerError::TooShort { field, value });
        }
        value
    });
    let [start, until] =
        ["start", "until"].map(|field| reader.parsed(fields, field, "a time", units::timestamp));
    if start.zip(until).is_some_and(|(start, until)| until <= start) {
        reader.fail("until", Reason::Trigger(TriggerError::UntilBeforeStart));
    }
    let pods = fields.get("pods").and_then(|value| pods(reader, fields, value));
    Trigger { time, requests, rate, burst: burst.flatten(), ramp, starts, start, until, stagger, pods }
}

/// The path of the window field that caused an error.
fn field_in(window: &str, error: &TriggerError) -> String {
    error.window_field().map_or_else(|| window.to_owned(), |field| format!("{window}.{field}"))
}

/// A share such as `30%`, or a list of ordinals.
fn pods(reader: &mut FieldReader, fields: &Fields<'_>, value: &Value) -> Option<Pods> {
    const EXPECTED: &str = "a share such as 30%, or a list of ordinals such as [0, 2]";
    let Value::Array(items) = value else {
        return reader.parsed(fields, "pods", EXPECTED, |text| {
            // A bare number could be meant as an ordinal.
            if !text.ends_with('%') {
                return Err(Reason::Expected(EXPECTED));
            }
            Ok(Pods::Share(Rate::from_percent(units::percent(text)?)?))
        });
    };
    let ordinals: Option<Vec<u32>> =
        items.iter().map(|item| item.as_u64().and_then(|number| number.try_into().ok())).collect();
    let ordinals = ordinals.filter(|ordinals| (1..=MAX_ORDINALS).contains(&ordinals.len()));
    if ordinals.is_none() {
        reader.fail_value("pods", value, Reason::Expected(EXPECTED));
    }
    ordinals.map(Pods::Ordinals)
}

fn count_window(reader: &mut FieldReader, value: &Value, path: &'static str) -> Option<RequestWindow> {
    let fields = reader.mapping(value, path, &["after", "for", "every"])?;
    let before = reader.errors.len();
    let [after, length, period] = ["after", "for", "every"]
        .map(|field| reader.parsed(&fields, field, "a whole number", |text| whole(text, 0, u64::MAX)));
    if reader.errors.len() > before {
        return None;
    }
    RequestWindow::new(after.unwrap_or(0), length, period)
        .map_err(|error| reader.fail(&field_in(path, &error), error))
        .ok()
}
