//! Durations and numbers as JSON values.

use serde_json::{Number, Value};

use crate::units::Show;

pub(super) fn duration(value: std::time::Duration) -> Value {
    Show(value).to_string().into()
}

/// A whole number without a fraction.
pub(super) fn decimal(value: f64) -> Value {
    if value.fract() == 0.0 {
        (value as u64).into()
    } else {
        Number::from_f64(value).map_or(Value::Null, Value::Number)
    }
}
