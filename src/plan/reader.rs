//! Reads fields of mappings, and records the place of each error.

use std::time::Duration;

use serde_json::Value;

use super::Map;
use crate::plan::error::{ConfigError, Errors, Reason};
use crate::units::{self, Bare};

/// Limit of entries of a list inside a rule.
const MAX_LIST: usize = 1_000;

/// Limit of unknown fields that are reported per mapping, since each is compared with all known ones.
const MAX_UNKNOWN: usize = 20;

/// One mapping and the path that leads to it.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: &'static str,
}

impl<'a> Fields<'a> {
    /// The value of a field.
    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field)
    }

    /// The name of a field in errors.
    fn path_to(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    /// The names of all fields.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }
}

/// Reads fields and collects the errors at one place.
pub(super) struct FieldReader {
    place: String,
    pub(super) errors: Errors,
}

impl FieldReader {
    pub(super) const fn new(place: String) -> Self {
        Self { place, errors: Errors::new() }
    }

    pub(super) fn error(&self, field: &str, reason: impl Into<Reason>) -> ConfigError {
        ConfigError::new(self.place.clone(), reason).field(field)
    }

    pub(super) fn fail(&mut self, field: &str, reason: impl Into<Reason>) {
        self.errors.push(self.error(field, reason));
    }

    pub(super) fn fail_value(&mut self, field: &str, value: &Value, reason: impl Into<Reason>) {
        let error = self.error(field, reason);
        self.errors.push(match text_of(value) {
            Some(text) => error.value(&text),
            None => error,
        });
    }

    /// The fields of a mapping; unknown fields are errors.
    pub(super) fn mapping<'a>(
        &mut self,
        value: &'a Value,
        path: &'static str,
        known: &[&'static str],
    ) -> Option<Fields<'a>> {
        let fields = self.open(value, path, known)?;
        for field in fields.names().filter(|field| !known.contains(field)).take(MAX_UNKNOWN) {
            self.fail(path, Reason::unknown_field(field, known));
        }
        Some(fields)
    }

    /// The fields of a mapping, whatever their names.
    pub(super) fn open<'a>(
        &mut self,
        value: &'a Value,
        path: &'static str,
        known: &[&'static str],
    ) -> Option<Fields<'a>> {
        let Value::Object(map) = value else {
            self.fail_value(path, value, Reason::ExpectedMapping(known.to_vec()));
            return None;
        };
        Some(Fields { map, path })
    }

    /// The value of a required field.
    pub(super) fn required<'a>(&mut self, fields: &Fields<'a>, field: &'static str) -> Option<&'a Value> {
        let value = fields.get(field);
        if value.is_none() {
            self.fail(fields.path, Reason::Missing(field));
        }
        value
    }

    /// Parses a field's text or number. `None` if it is absent or invalid; the latter is reported.
    pub(super) fn parsed<T, E: Into<Reason>>(
        &mut self,
        fields: &Fields<'_>,
        field: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = fields.get(field)?;
        let parsed = match value {
            Value::String(text) => parse(text.trim()).map_err(Into::into),
            Value::Number(number) => parse(&number.to_string()).map_err(Into::into),
            _ => Err(Reason::Expected(expected)),
        };
        parsed.map_err(|reason| self.fail_value(&fields.path_to(field), value, reason)).ok()
    }

    /// The duration in a field; a bare number has the unit `bare`.
    pub(super) fn duration(&mut self, fields: &Fields<'_>, field: &str, bare: Bare) -> Option<Duration> {
        self.parsed(fields, field, "a duration such as 30s", |text| units::duration(text, bare))
    }

    /// A list of texts, or a single one.
    pub(super) fn texts(&mut self, value: &Value, field: &str) -> Option<Vec<String>> {
        let single = std::slice::from_ref(value);
        let items = value.as_array().map_or(single, Vec::as_slice);
        if items.len() > MAX_LIST {
            self.fail(field, Reason::TooManyItems { count: items.len(), most: MAX_LIST });
            return None;
        }
        let texts: Option<Vec<_>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        if texts.is_none() {
            self.fail_value(field, value, Reason::Expected("text, or a list of texts"));
        }
        texts
    }
}

/// A scalar as text, for errors.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        Value::Null => Some("null".to_owned()),
        Value::Array(_) | Value::Object(_) => None,
    }
}
