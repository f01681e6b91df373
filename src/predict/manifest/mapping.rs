//! Fields of a manifest, each with its path.

use serde_json::{Map, Value};

use super::error::Problem;
use super::findings::{Findings, Reading};
pub(super) use crate::plan::error::shown;

/// A mapping and its path in its object.
#[derive(Clone, Debug)]
pub(super) struct Mapping<'a> {
    fields: &'a Map<String, Value>,
    path: String,
}

impl<'a> Mapping<'a> {
    pub(super) fn root(fields: &'a Map<String, Value>) -> Self {
        Self { fields, path: String::new() }
    }

    /// Its own path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path of one of its fields.
    pub(super) fn field(&self, name: &str) -> String {
        let name = shown(name);
        if self.path.is_empty() { name } else { format!("{}.{name}", self.path) }
    }

    /// The value of a field. As for the API server, null means absent.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A field that is a mapping.
    pub(super) fn mapping(&self, name: &str) -> Reading<Option<Self>> {
        self.read(name, "a mapping", |value| {
            value.as_object().map(|fields| Self { fields, path: self.field(name) })
        })
    }

    /// A chain of mappings.
    pub(super) fn descend(&self, names: &[&str]) -> Reading<Option<Self>> {
        let mut found = Findings::default();
        let mapping = names.iter().try_fold(self.clone(), |mapping, name| found.take(mapping.mapping(name)));
        found.with(mapping)
    }

    /// A field that is a string.
    pub(super) fn string(&self, name: &str) -> Reading<Option<&'a str>> {
        self.read(name, "a string", Value::as_str)
    }

    /// A required string.
    pub(super) fn required_string(&self, name: &str) -> Reading<Option<&'a str>> {
        if self.contains(name) {
            self.string(name)
        } else {
            Reading::wrong(self.field(name), Problem::Missing)
        }
    }

    /// A required name of an object or container. An invalid name is returned as well, with
    /// an error.
    pub(super) fn name(&self, name: &str) -> Reading<Option<&'a str>> {
        let mut found = Findings::default();
        let text = found.take(self.required_string(name));
        let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.');
        match text {
            Some(text) if is_template(text) => {
                found.error(self.field(name), Problem::Template(shown(text)));
            }
            Some(text) if text.is_empty() || text.len() > 253 || !text.bytes().all(is_plain) => {
                found.error(self.field(name), Problem::Name(shown(text)));
            }
            _ => {}
        }
        found.with(text)
    }

    /// A field that is true or false.
    pub(super) fn boolean(&self, name: &str) -> Reading<Option<bool>> {
        self.read(name, "true or false", Value::as_bool)
    }

    /// A field with one of these words.
    pub(super) fn one_of(&self, name: &str, words: &'static [&'static str]) -> Reading<Option<&'static str>> {
        let mut found = Findings::default();
        let text = found.take(self.string(name));
        let word = text.and_then(|text| words.iter().copied().find(|word| *word == text));
        if let (Some(text), None) = (text, word) {
            found.error(self.field(name), Problem::OneOf { value: shown(text), words });
        }
        found.with(word)
    }

    /// A whole number within a range that a `u32` holds.
    pub(super) fn number(&self, name: &str, least: u32, most: u32) -> Reading<Option<u32>> {
        let Some(value) = self.get(name) else { return Reading::of(None) };
        let (least, most) = (i64::from(least), i64::from(most));
        let problem = match value.as_i64() {
            Some(number) if (least..=most).contains(&number) => {
                return Reading::of(u32::try_from(number).ok());
            }
            Some(value) => Problem::Range { value, least, most },
            None => wrong("a whole number", value),
        };
        Reading::wrong(self.field(name), problem)
    }

    /// A port number.
    pub(super) fn port(&self, name: &str) -> Reading<Option<u16>> {
        let Reading { value, findings } = self.number(name, 1, u32::from(u16::MAX));
        findings.with(value.and_then(|number| u16::try_from(number).ok()))
    }

    fn list(&self, name: &str) -> Reading<&'a [Value]> {
        let Reading { value, findings } = self.read(name, "a list", |value| value.as_array());
        findings.with(value.map_or(&[], Vec::as_slice))
    }

    /// The mappings of a list.
    pub(super) fn mappings(&self, name: &str) -> Reading<Vec<Self>> {
        let mut found = Findings::default();
        let mut mappings = Vec::new();
        for (i, value) in found.take(self.list(name)).iter().enumerate() {
            let path = format!("{}[{i}]", self.field(name));
            match value.as_object() {
                Some(fields) => mappings.push(Self { fields, path }),
                None => found.error(path, wrong("a mapping", value)),
            }
        }
        found.with(mappings)
    }

    /// The strings of a list.
    pub(super) fn strings(&self, name: &str) -> Reading<Vec<&'a str>> {
        let mut found = Findings::default();
        let mut texts = Vec::new();
        for (i, value) in found.take(self.list(name)).iter().enumerate() {
            match value.as_str() {
                Some(text) => texts.push(text),
                None => found.error(format!("{}[{i}]", self.field(name)), wrong("a string", value)),
            }
        }
        found.with(texts)
    }

    /// The pairs of a mapping of strings, such as labels.
    pub(super) fn string_pairs(&self, name: &str) -> Reading<Vec<(&'a str, &'a str)>> {
        let mut found = Findings::default();
        let mut pairs = Vec::new();
        if let Some(mapping) = found.take(self.mapping(name)) {
            for key in mapping.fields.keys() {
                pairs.extend(found.take(mapping.string(key)).map(|text| (key.as_str(), text)));
            }
        }
        found.with(pairs)
    }

    fn read<T>(
        &self,
        name: &str,
        expected: &'static str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Reading<Option<T>> {
        match self.get(name) {
            None => Reading::of(None),
            Some(value) => match convert(value) {
                Some(converted) => Reading::of(Some(converted)),
                None => Reading::wrong(self.field(name), wrong(expected, value)),
            },
        }
    }

    /// All fields that are not null.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.as_str(), value))
    }
}

/// Whether a text contains an action of Go's templates, which no valid name or image does.
pub(super) fn is_template(text: &str) -> bool {
    text.split_once("{{").is_some_and(|(_, rest)| rest.contains("}}"))
}

/// The error for a value of the wrong type.
pub(super) fn wrong(expected: &'static str, value: &Value) -> Problem {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("\"{}\"", shown(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    };
    Problem::Type { expected, found }
}
