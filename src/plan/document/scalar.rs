//! Scalars by the core schema of YAML 1.2.

use saphyr_parser::{ScalarStyle, Tag};
use serde_json::{Number, Value};

/// The value of a scalar; `None` if its tag is unknown or does not fit.
pub(super) fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Option<Value> {
    let string = || Value::from(text);
    let Some(tag) = tag else {
        return Some(if style == ScalarStyle::Plain { plain(text) } else { string() });
    };
    if tag.handle.is_empty() && tag.suffix == "!" {
        return Some(string());
    }
    if !tag.is_yaml_core_schema() {
        return None;
    }
    let value = plain(text);
    match tag.suffix.as_str() {
        "str" => Some(string()),
        "int" => (value.is_u64() || value.is_i64()).then_some(value),
        "float" => value.is_number().then_some(value),
        "bool" => value.is_boolean().then_some(value),
        "null" => value.is_null().then_some(value),
        _ => None,
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        // What JSON cannot hold, such as `.inf`, stays text.
        _ => number(text).map_or_else(|| Value::from(text), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    // Rust's own parser takes `inf`, `nan` and `infinity`, too.
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !unsigned.bytes().any(|c| c.is_ascii_digit())
        || unsigned.starts_with(".e")
        || unsigned.starts_with(".E")
    {
        return None;
    }
    if unsigned.bytes().all(|c| c.is_ascii_digit()) {
        // Integers keep all their digits: a seed has 64 bits.
        let exact = if text.starts_with('-') {
            text.parse::<i64>().ok().map(Number::from)
        } else {
            unsigned.parse::<u64>().ok().map(Number::from)
        };
        if exact.is_some() {
            return exact;
        }
    }
    text.parse().ok().and_then(Number::from_f64)
}

fn radix(digits: &str, radix: u32) -> Option<Number> {
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, radix).ok().map(Number::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("True", json!(true)),
            ("yes", json!("yes")),
            ("12", json!(12)),
            ("+12", json!(12)),
            ("-12", json!(-12)),
            ("010", json!(10)),
            ("0o10", json!(8)),
            ("0x1F", json!(31)),
            ("0x+1", json!("0x+1")),
            ("18446744073709551615", json!(u64::MAX)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("1.", json!(1.0)),
            ("1e999", json!("1e999")),
            (".inf", json!(".inf")),
            ("inf", json!("inf")),
            ("nan", json!("nan")),
            (".e1", json!(".e1")),
            (".", json!(".")),
            ("1_000", json!("1_000")),
            ("20%", json!("20%")),
            ("60s", json!("60s")),
        ] {
            assert_eq!(plain(text), value, "{text}");
        }
    }
}
