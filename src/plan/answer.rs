//! What faulted answers carry and do: `headers`, `body_text`, `forward`, `connection`.

use serde_json::Value;

use super::reader::{FieldReader, Fields};
use crate::fault::{FaultAnswer, ModeField};
use crate::plan::error::Reason;

/// Reads the fields. The rule checks whether its mode has them.
pub(super) fn read(reader: &mut FieldReader, fields: &Fields<'_>) -> FaultAnswer {
    let mut is_set = |field: ModeField| match fields.get(field.name()) {
        None => false,
        Some(Value::Bool(set)) => *set,
        Some(other) => {
            reader.fail_value(field.name(), other, Reason::Expected("true or false"));
            false
        }
    };
    let (forward, ends_connection) = (is_set(ModeField::Forward), is_set(ModeField::Connection));
    let body_text = match fields.get("body_text") {
        None => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => {
            reader.fail_value("body_text", other, Reason::Expected("text; quote it"));
            None
        }
    };
    let headers = fields.get("headers").map(|value| headers(reader, value)).unwrap_or_default();
    FaultAnswer { headers, body_text, forward, ends_connection }
}

/// A mapping of names to a value or a list of values.
fn headers(reader: &mut FieldReader, value: &Value) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    let Value::Object(map) = value else {
        reader.fail_value(
            "headers",
            value,
            Reason::Expected("a mapping of names to values, such as {Retry-After: 5}"),
        );
        return headers;
    };
    for (name, value) in map {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            match value {
                Value::String(text) => headers.push((name.to_ascii_lowercase(), text.clone())),
                Value::Number(number) => headers.push((name.to_ascii_lowercase(), number.to_string())),
                other => {
                    reader.fail_value(
                        "headers",
                        other,
                        Reason::Expected("text, a number, or a list of these"),
                    );
                }
            }
        }
    }
    headers
}
