//! Parses and writes the matches of rules.

use serde_json::{Map, Value};

use super::reader::{FieldReader, Fields};
use crate::fault::{MAX_MATCHES, Match, MatchError};
use crate::plan::error::Reason;

const FIELDS: &[&str] = &["path", "method", "host", "headers", "query"];

/// Reads `match`; `None` if it is absent or invalid.
pub(super) fn read(reader: &mut FieldReader, fields: &Fields<'_>) -> Option<Match> {
    let value = fields.get("match")?;
    let before = reader.errors.len();
    let fields = reader.mapping(value, "match", FIELDS)?;
    let mut wanted = Match::default();
    if let Some(path) = fields.get("path") {
        text(reader, "match.path", path, |path| wanted.set_path(path));
    }
    if let Some(methods) = fields.get("method") {
        for method in reader.texts(methods, "match.method").unwrap_or_default() {
            if let Err(error) = wanted.add_method(&method) {
                reader.errors.push(reader.error("match.method", error).value(&method));
            }
        }
    }
    if let Some(host) = fields.get("host") {
        text(reader, "match.host", host, |host| wanted.set_host(host));
    }
    if let Some(headers) = fields.get("headers") {
        entries(reader, "match.headers", headers, |name, value| wanted.add_header(name, value));
    }
    if let Some(query) = fields.get("query") {
        entries(reader, "match.query", query, |name, value| wanted.add_query(name, value));
    }
    if reader.errors.len() > before {
        return None;
    }
    if wanted.is_empty() {
        reader.fail("match", MatchError::Nothing);
        return None;
    }
    Some(wanted)
}

/// Writes a match in the format of a plan.
pub(super) fn write(wanted: &Match) -> Value {
    let mapping = |entries: &mut dyn ExactSizeIterator<Item = (&str, &str)>| {
        let is_empty = entries.len() == 0;
        let mapping: Map<_, _> = entries.map(|(name, value)| (name.to_owned(), value.into())).collect();
        (!is_empty).then_some(Value::Object(mapping))
    };
    let methods = wanted.methods().iter().map(|method| Value::from(method.as_str())).collect();
    let fields = [
        ("path", wanted.path().map(Value::from)),
        ("method", (!wanted.methods().is_empty()).then_some(Value::Array(methods))),
        ("host", wanted.host().map(Value::from)),
        ("headers", mapping(&mut wanted.headers())),
        ("query", mapping(&mut wanted.query())),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn text(
    reader: &mut FieldReader,
    field: &str,
    value: &Value,
    set: impl FnOnce(&str) -> Result<(), MatchError>,
) {
    match value {
        Value::String(text) => {
            if let Err(error) = set(text) {
                reader.fail_value(field, value, error);
            }
        }
        other => reader.fail_value(field, other, Reason::Expected("text")),
    }
}

/// A mapping from names to values. Numbers and booleans are taken as they are written, since YAML makes them of texts.
fn entries(
    reader: &mut FieldReader,
    field: &str,
    value: &Value,
    mut add: impl FnMut(&str, &str) -> Result<(), MatchError>,
) {
    let Value::Object(entries) = value else {
        reader.fail_value(field, value, Reason::Expected("a mapping from names to values"));
        return;
    };
    if entries.len() > MAX_MATCHES {
        reader.fail(field, Reason::TooManyItems { count: entries.len(), most: MAX_MATCHES });
        return;
    }
    for (name, value) in entries {
        let place = format!("{field}.{}", crate::plan::error::shown(name));
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            other => {
                reader.fail_value(
                    &place,
                    other,
                    Reason::Expected("text; * requires only that it is present"),
                );
                continue;
            }
        };
        if let Err(error) = add(name, &text) {
            reader.errors.push(reader.error(&place, error).value(&text));
        }
    }
}
