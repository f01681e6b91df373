//! Fields of a manifest, each with its path.

use serde_json::{Map, Value};

use super::error::{ManifestError, Place, Problem};

/// The longest value that an error repeats, in characters.
const MAX_SHOWN: usize = 80;

/// The most errors, warnings or assumptions of one object; nobody reads more.
const MOST: usize = 1000;

/// What the reading of an object brings to light.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) place: Place,
    pub(super) errors: Vec<ManifestError>,
    pub(super) warnings: Vec<String>,
    pub(super) assumptions: Vec<String>,
}

impl Report {
    pub(super) fn new(place: Place) -> Self {
        Self { place, ..Self::default() }
    }

    pub(super) fn error(&mut self, field: &str, problem: Problem) {
        let error = ManifestError { place: self.place.clone(), field: field.to_owned(), problem };
        add(&mut self.errors, error);
    }

    pub(super) fn warn(&mut self, what: &str) {
        let warning = format!("{}, {what}", self.place);
        add(&mut self.warnings, warning);
    }

    /// Notes what the prediction takes for granted; it names its container itself.
    pub(super) fn assume(&mut self, what: String) {
        add(&mut self.assumptions, what);
    }

    /// Takes over errors and warnings about another object.
    pub(super) fn adopt(&mut self, other: Self) {
        for error in other.errors {
            add(&mut self.errors, error);
        }
        for warning in other.warnings {
            add(&mut self.warnings, warning);
        }
    }
}

/// Adds what is new, within the limit.
fn add<T: PartialEq>(all: &mut Vec<T>, new: T) {
    if all.len() < MOST && !all.contains(&new) {
        all.push(new);
    }
}

/// A mapping and where it stands in its object.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Node<'a> {
    pub(super) fn root(map: &'a Map<String, Value>) -> Self {
        Self { map, path: String::new() }
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

    /// The value of a field; null means that it is not there, as for the API server.
    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    pub(super) fn child(&self, name: &str, report: &mut Report) -> Option<Self> {
        let value = self.value(name)?;
        let map = value.as_object();
        if map.is_none() {
            report.error(&self.field(name), wrong("a mapping", value));
        }
        Some(Self { map: map?, path: self.field(name) })
    }

    /// A chain of mappings.
    pub(super) fn descend(&self, names: &[&str], report: &mut Report) -> Option<Self> {
        names.iter().try_fold(self.clone(), |node, name| node.child(name, report))
    }

    pub(super) fn text(&self, name: &str, report: &mut Report) -> Option<&'a str> {
        let value = self.value(name)?;
        value.as_str().or_else(|| {
            report.error(&self.field(name), wrong("a string", value));
            None
        })
    }

    /// A text that has to be there.
    pub(super) fn needed(&self, name: &str, report: &mut Report) -> Option<&'a str> {
        if !self.has(name) {
            report.error(&self.field(name), Problem::Missing);
        }
        self.text(name, report)
    }

    /// A name that has to be there, of the characters that names of objects and containers have.
    pub(super) fn name(&self, name: &str, report: &mut Report) -> Option<&'a str> {
        let text = self.needed(name, report)?;
        if is_template(text) {
            report.error(&self.field(name), Problem::Template(shown(text)));
            return Some(text);
        }
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.');
        if text.is_empty() || text.len() > 253 || !text.bytes().all(plain) {
            report.error(&self.field(name), Problem::Name(shown(text)));
        }
        Some(text)
    }

    pub(super) fn flag(&self, name: &str, report: &mut Report) -> Option<bool> {
        let value = self.value(name)?;
        value.as_bool().or_else(|| {
            report.error(&self.field(name), wrong("true or false", value));
            None
        })
    }

    pub(super) fn word(
        &self,
        name: &str,
        words: &'static [&'static str],
        report: &mut Report,
    ) -> Option<&'static str> {
        let text = self.text(name, report)?;
        words.iter().copied().find(|word| *word == text).or_else(|| {
            report.error(&self.field(name), Problem::OneOf { value: shown(text), words });
            None
        })
    }

    /// A whole number within a range that a `u32` holds.
    pub(super) fn number(&self, name: &str, least: u32, most: u32, report: &mut Report) -> Option<u32> {
        let value = self.value(name)?;
        let (least, most) = (i64::from(least), i64::from(most));
        let problem = match value.as_i64() {
            Some(number) if (least..=most).contains(&number) => return u32::try_from(number).ok(),
            Some(value) => Problem::Range { value, least, most },
            None => wrong("a whole number", value),
        };
        report.error(&self.field(name), problem);
        None
    }

    fn list(&self, name: &str, report: &mut Report) -> &'a [Value] {
        match self.value(name) {
            None => &[],
            Some(Value::Array(values)) => values,
            Some(value) => {
                report.error(&self.field(name), wrong("a list", value));
                &[]
            }
        }
    }

    /// The mappings of a list.
    pub(super) fn items(&self, name: &str, report: &mut Report) -> Vec<Self> {
        let mut nodes = Vec::new();
        for (i, value) in self.list(name, report).iter().enumerate() {
            let path = format!("{}[{i}]", self.field(name));
            match value.as_object() {
                Some(map) => nodes.push(Self { map, path }),
                None => report.error(&path, wrong("a mapping", value)),
            }
        }
        nodes
    }

    /// The texts of a list.
    pub(super) fn words(&self, name: &str, report: &mut Report) -> Vec<&'a str> {
        let mut words = Vec::new();
        for (i, value) in self.list(name, report).iter().enumerate() {
            match value.as_str() {
                Some(text) => words.push(text),
                None => report.error(&format!("{}[{i}]", self.field(name)), wrong("a string", value)),
            }
        }
        words
    }

    /// The pairs of a mapping of texts, such as labels.
    pub(super) fn texts(&self, name: &str, report: &mut Report) -> Vec<(&'a str, &'a str)> {
        let Some(node) = self.child(name, report) else { return Vec::new() };
        let keys = node.map.keys();
        keys.filter_map(|key| node.text(key, report).map(|text| (key.as_str(), text))).collect()
    }

    /// All fields that are not null.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.map.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.as_str(), value))
    }
}

/// Whether a text holds an action of Go's templates, which no name or image does.
pub(super) fn is_template(text: &str) -> bool {
    text.split_once("{{").is_some_and(|(_, rest)| rest.contains("}}"))
}

/// A value of a wrong type.
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

/// A text on one line, cut to a length.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for (i, c) in text.chars().enumerate() {
        match c {
            _ if i == MAX_SHOWN => {
                shown.push('…');
                break;
            }
            c if c.is_control() => shown.extend(c.escape_debug()),
            c => shown.push(c),
        }
    }
    shown
}
