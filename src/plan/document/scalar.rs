//! Resolution of scalars: YAML 1.2's core schema for plans, YAML 1.1 as in go-yaml v2 for manifests.

use granit_parser::{ScalarStyle, Tag};
use serde_json::{Number, Value};

use super::error::DocumentProblem;
use crate::plan::error::shown;

/// The largest magnitude of a float that Go's JSON writes without an exponent.
const MAX_WITHOUT_EXPONENT: f64 = 1e21;

/// The rules for plain scalars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The core schema of YAML 1.2: `yes` is text, `010` is ten.
    Plan,
    /// As `kubectl` reads it: `yes` is true, `010` is eight.
    Manifest,
}

/// The meaning of a scalar.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Resolved {
    Null,
    Bool(bool),
    Integer(Number),
    Float(f64),
    Text(String),
    /// A number that JSON cannot represent, such as `.inf`.
    NotJson,
}

impl Resolved {
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Null | Self::NotJson => Value::Null,
            Self::Bool(flag) => Value::Bool(flag),
            Self::Integer(number) => Value::Number(number),
            Self::Float(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
            Self::Text(text) => Value::String(text),
        }
    }
}

/// The value of a scalar, or an error.
pub(super) fn resolve(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    dialect: Dialect,
) -> Result<Resolved, DocumentProblem> {
    let string = || Resolved::Text(text.to_owned());
    let plain = || match dialect {
        Dialect::Plan => plan(text),
        Dialect::Manifest => manifest(text),
    };
    let resolved = match tag {
        None if style == ScalarStyle::Plain => plain(),
        None => string(),
        Some(tag) if tag.handle().is_empty() && tag.suffix() == "!" => string(),
        Some(tag) => match (tag.core_suffix(), plain()) {
            (Some("str"), _) => string(),
            (Some("float"), Resolved::Integer(number)) => Resolved::Integer(number),
            (Some("int"), number @ Resolved::Integer(_))
            | (Some("float"), number @ Resolved::Float(_))
            | (Some("bool"), number @ Resolved::Bool(_))
            | (Some("null"), number @ Resolved::Null) => number,
            _ => return Err(DocumentProblem::Tag(shown(&tag.original()))),
        },
    };
    match resolved {
        Resolved::NotJson => Err(DocumentProblem::NotJson(shown(text))),
        // Go writes a float without a fraction as an integer, which integer fields accept.
        Resolved::Float(number)
            if dialect == Dialect::Manifest
                && number.fract() == 0.0
                && number.abs() < MAX_WITHOUT_EXPONENT.min(i64::MAX as f64) =>
        {
            Ok(Resolved::Integer(Number::from(number as i64)))
        }
        resolved => Ok(resolved),
    }
}

/// A mapping's key as text; `None` for a merge key. In manifests, plain keys are resolved first: `yes` becomes
/// `true`.
pub(super) fn key(
    text: &str,
    style: ScalarStyle,
    resolved: Resolved,
    dialect: Dialect,
) -> Result<Option<String>, DocumentProblem> {
    if text == "<<" && style == ScalarStyle::Plain {
        return match dialect {
            Dialect::Plan => Err(DocumentProblem::MergeKey),
            Dialect::Manifest => Ok(None),
        };
    }
    if dialect == Dialect::Plan {
        return Ok(Some(text.to_owned()));
    }
    match resolved {
        Resolved::Text(text) => Ok(Some(text)),
        Resolved::Bool(flag) => Ok(Some(flag.to_string())),
        Resolved::Integer(number) => Ok(Some(number.to_string())),
        Resolved::Float(number) => Ok(Some((number as f32).to_string())),
        Resolved::Null | Resolved::NotJson => Err(DocumentProblem::ComplexKey),
    }
}

/// The meaning of a plain scalar of a plan in YAML 1.1, if it differs.
pub(super) fn other_meaning(text: &str, here: &Resolved) -> Option<String> {
    let elsewhere = manifest(text);
    match (&elsewhere, here) {
        // The same number in another representation.
        (Resolved::Float(a), Resolved::Float(b)) if (a - b).abs() < f64::EPSILON => None,
        (Resolved::Float(a), Resolved::Integer(b)) if b.as_f64() == Some(*a) => None,
        (Resolved::NotJson, _) => None,
        _ if elsewhere == *here => None,
        _ => Some(elsewhere.into_value().to_string()),
    }
}

/// The core schema of YAML 1.2.
fn plan(text: &str) -> Resolved {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Resolved::Null,
        "true" | "True" | "TRUE" => Resolved::Bool(true),
        "false" | "False" | "FALSE" => Resolved::Bool(false),
        // Numbers that JSON cannot represent, such as `.inf`, remain text.
        _ => plan_number(text).unwrap_or_else(|| Resolved::Text(text.to_owned())),
    }
}

fn plan_number(text: &str) -> Option<Resolved> {
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16, false);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8, false);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned.bytes().all(|c| c.is_ascii_digit())
        && let Some(integer) = radix(unsigned, 10, text.starts_with('-'))
    {
        return Some(integer);
    }
    float(text)
}

/// As go-yaml v2 resolves plain scalars. It has no base-60 numbers, and dates remain text.
fn manifest(text: &str) -> Resolved {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Resolved::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Resolved::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Resolved::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => return Resolved::NotJson,
        _ => {}
    }
    let number = match text.as_bytes().first() {
        Some(b'.') => float(text),
        Some(b'0'..=b'9' | b'+' | b'-') => {
            let digits = text.replace('_', "");
            go_integer(&digits).or_else(|| float(&digits))
        }
        _ => None,
    };
    number.unwrap_or_else(|| Resolved::Text(text.to_owned()))
}

/// An integer as Go's `strconv.ParseInt` and `ParseUint` read it with base 0.
fn go_integer(text: &str) -> Option<Resolved> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefixed = |prefix: [&str; 2]| prefix.into_iter().find_map(|prefix| unsigned.strip_prefix(prefix));
    if let Some(digits) = prefixed(["0x", "0X"]) {
        radix(digits, 16, negative)
    } else if let Some(digits) = prefixed(["0b", "0B"]) {
        radix(digits, 2, negative)
    } else if let Some(digits) = prefixed(["0o", "0O"]) {
        radix(digits, 8, negative)
    } else if unsigned.len() > 1 && unsigned.starts_with('0') {
        radix(&unsigned[1..], 8, negative)
    } else {
        radix(unsigned, 10, negative)
    }
}

/// A decimal float. Rust's own parser also accepts `inf` and `nan`.
fn float(text: &str) -> Option<Resolved> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mantissa = unsigned.split(['e', 'E']).next().unwrap_or_default();
    if !mantissa.bytes().all(|c| c.is_ascii_digit() || c == b'.')
        || !mantissa.bytes().any(|c| c.is_ascii_digit())
    {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite()).map(Resolved::Float)
}

/// Digits in a base. Integers are exact: a seed has 64 bits.
fn radix(digits: &str, radix: u32, negative: bool) -> Option<Resolved> {
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let number = if negative {
        i64::from_str_radix(&format!("-{digits}"), radix).ok()?.into()
    } else {
        u64::from_str_radix(digits, radix).ok()?.into()
    };
    Some(Resolved::Integer(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(text: &str, dialect: Dialect) -> Value {
        resolve(text, ScalarStyle::Plain, None, dialect).unwrap().into_value()
    }

    #[test]
    fn plain_scalars_of_plans_follow_the_core_schema_of_yaml_1_2() {
        for (text, expected) in [
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
            assert_eq!(value(text, Dialect::Plan), expected, "{text}");
        }
    }

    #[test]
    fn plain_scalars_of_manifests_mean_what_kubectl_reads() {
        for (text, expected) in [
            ("yes", json!(true)),
            ("y", json!(true)),
            ("On", json!(true)),
            ("no", json!(false)),
            ("N", json!(false)),
            ("OFF", json!(false)),
            ("yEs", json!("yEs")),
            ("010", json!(8)),
            ("-010", json!(-8)),
            ("0o10", json!(8)),
            ("08", json!(8)),
            ("0_10", json!(8)),
            ("1_000", json!(1000)),
            ("_1", json!("_1")),
            ("0b101", json!(5)),
            ("-0b101", json!(-5)),
            ("0x1F", json!(31)),
            ("-0x10", json!(-16)),
            ("0x", json!("0x")),
            ("0", json!(0)),
            ("-0", json!(0)),
            ("+1", json!(1)),
            ("1:30", json!("1:30")),
            ("190:20:30.15", json!("190:20:30.15")),
            ("2001-12-14", json!("2001-12-14")),
            ("1e3", json!(1000)),
            ("1.50", json!(1.5)),
            ("1_0.5", json!(10.5)),
            (".5", json!(0.5)),
            ("1e999", json!("1e999")),
            ("-", json!("-")),
            ("1.2.3", json!("1.2.3")),
            ("9223372036854775808", json!(9_223_372_036_854_775_808_u64)),
            ("=", json!("=")),
        ] {
            assert_eq!(value(text, Dialect::Manifest), expected, "{text}");
        }
        let infinite = resolve(".inf", ScalarStyle::Plain, None, Dialect::Manifest);
        assert_eq!(infinite, Err(DocumentProblem::NotJson(".inf".to_owned())));
    }

    #[test]
    fn keys_of_manifests_become_text_from_what_they_mean() {
        let key = |text: &str| {
            let resolved = resolve(text, ScalarStyle::Plain, None, Dialect::Manifest)?;
            key(text, ScalarStyle::Plain, resolved, Dialect::Manifest)
        };
        assert_eq!(key("on"), Ok(Some("true".to_owned())));
        assert_eq!(key("0x10"), Ok(Some("16".to_owned())));
        assert_eq!(key("1.5"), Ok(Some("1.5".to_owned())));
        assert_eq!(key("name"), Ok(Some("name".to_owned())));
        assert_eq!(key("<<"), Ok(None));
        assert_eq!(key("~"), Err(DocumentProblem::ComplexKey));
    }

    #[test]
    fn only_scalars_with_another_meaning_in_yaml_1_1_are_ambiguous() {
        let other = |text: &str| other_meaning(text, &plan(text));
        assert_eq!(other("yes"), Some("true".to_owned()));
        assert_eq!(other("010"), Some("8".to_owned()));
        assert_eq!(other("1_000"), Some("1000".to_owned()));
        for text in ["0o10", "1e3", "08", "true", "a", "12", "-1", "1.5", ".inf", "60s", "", "0x1f"] {
            assert_eq!(other(text), None, "{text}");
        }
    }
}
