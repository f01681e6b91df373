//! The conditions of a rule.

use serde_json::Value;

use super::reader::{Fields, Reader};
use super::whole;
use crate::config::error::Reason;
use crate::fault::{Burst, Rate, RequestWindow, TimeWindow, Trigger, TriggerError};
use crate::units;

/// `when`, `rate`, `burst` and `ramp`.
pub(super) fn read(reader: &mut Reader, fields: &Fields<'_>) -> Trigger {
    let (mut time, mut requests) = (None, None);
    if let Some(value) = fields.get("when")
        && let Some(when) = reader.mapping(value, "when", &["after", "for", "every", "requests"])
    {
        let before = reader.errors.len();
        let [after, length, period] = ["after", "for", "every"].map(|field| reader.duration(&when, field));
        if reader.errors.len() == before && [after, length, period].iter().any(Option::is_some) {
            time = TimeWindow::new(after.unwrap_or_default(), length, period)
                .map_err(|error| reader.fail("when", error))
                .ok();
        }
        if let Some(value) = when.get("requests") {
            requests = request_window(reader, value);
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
            // Whether it fits the rate cannot be said.
            Err(_) if rate_is_bad => Ok(None),
            Err(error) => Err(error.into()),
        }
    });
    let ramp = reader.duration(fields, "ramp");
    if ramp.is_some_and(|ramp| ramp.is_zero()) {
        reader.fail("ramp", Reason::Trigger(TriggerError::Zero("ramp")));
    }
    Trigger { time, requests, rate, burst: burst.flatten(), ramp }
}

fn request_window(reader: &mut Reader, value: &Value) -> Option<RequestWindow> {
    let fields = reader.mapping(value, "when.requests", &["after", "for", "every"])?;
    let before = reader.errors.len();
    let [after, length, period] = ["after", "for", "every"]
        .map(|field| reader.parsed(&fields, field, "a whole number", |text| whole(text, 0, u64::MAX)));
    if reader.errors.len() > before {
        return None;
    }
    RequestWindow::new(after.unwrap_or(0), length, period)
        .map_err(|error| reader.fail("when.requests", error))
        .ok()
}
