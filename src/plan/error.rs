//! Configuration errors, one per line.

mod reason;

use std::fmt;

use thiserror::Error;

use crate::order;
pub use reason::Reason;

/// Limit of the characters of a value in an error.
const SHOWN: usize = 80;

/// Limit of errors that are reported.
const MAX_ERRORS: usize = 100;

/// Limit of the text of all errors, in bytes.
const MAX_TEXT: usize = 32 << 10;

/// An error. As text, a line such as `FAILURE_RATE="120": is not between 0% and 100%`, or
/// `faults[1] (flaps): when.for="x": is not a duration …`.
#[derive(Clone, Debug, PartialEq, Error)]
pub struct ConfigError {
    /// The variable, or the position in the plan.
    pub place: String,
    /// The field inside that place, such as `when.for`; empty: the place itself.
    pub field: String,
    /// The value, shortened and escaped; absent if it is long, secret or missing.
    pub value: Option<String>,
    /// The reason.
    #[source]
    pub reason: Reason,
}

impl ConfigError {
    /// An error of a variable or rule, without a field.
    pub fn new(place: impl Into<String>, reason: impl Into<Reason>) -> Self {
        Self { place: place.into(), field: String::new(), value: None, reason: reason.into() }
    }

    /// The error of a field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// The error with the invalid value.
    #[must_use]
    pub fn value(mut self, value: &str) -> Self {
        self.value = Some(shown(value));
        self
    }
}

/// At most 80 characters of `value`, control characters escaped.
pub(crate) fn shown(value: &str) -> String {
    let mut text: String = value.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if value.chars().nth(SHOWN).is_some() {
        text.push('…');
    }
    text
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if !self.field.is_empty() {
            let separator = if self.place.is_empty() { "" } else { ": " };
            write!(f, "{separator}{}", self.field)?;
        }
        let is_nameless = self.place.is_empty() && self.field.is_empty();
        if let Some(value) = &self.value {
            let equals = if is_nameless { "" } else { "=" };
            write!(f, "{equals}\"{value}\"")?;
        }
        if !is_nameless || self.value.is_some() {
            f.write_str(": ")?;
        }
        self.reason.fmt(f)
    }
}

/// All errors, one per line. Keeps the first hundred errors, at most 32 KiB of text, and counts the rest.
#[derive(Clone, Debug, Default, PartialEq, Error)]
pub struct Errors {
    kept: Vec<ConfigError>,
    /// Size of the kept errors as text, in bytes.
    bytes: usize,
    omitted: usize,
}

impl Errors {
    /// No error.
    pub const fn new() -> Self {
        Self { kept: Vec::new(), bytes: 0, omitted: 0 }
    }

    /// Adds an error, or only counts it above the limits.
    pub fn push(&mut self, error: ConfigError) {
        if self.omitted == 0 && self.kept.len() < MAX_ERRORS {
            self.bytes += error.to_string().len();
            if self.bytes <= MAX_TEXT || self.kept.is_empty() {
                self.kept.push(error);
                return;
            }
        }
        self.omitted += 1;
    }

    /// Adds the errors of another place.
    pub fn append(&mut self, other: Self) {
        self.extend(other.kept);
        self.omitted += other.omitted;
    }

    /// Number of errors, including those that were only counted.
    pub fn len(&self) -> usize {
        self.kept.len() + self.omitted
    }

    /// Whether there are no errors.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of errors that were only counted.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// The kept errors.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.kept.iter()
    }

    /// The errors that were kept, to change them.
    pub(crate) fn kept_mut(&mut self) -> std::slice::IterMut<'_, ConfigError> {
        self.kept.iter_mut()
    }

    /// Whether an equal error was kept.
    pub fn contains(&self, error: &ConfigError) -> bool {
        self.kept.contains(error)
    }

    /// Sorts by a key; stable.
    pub(crate) fn sort_by_key<K: Ord>(&mut self, key: impl Fn(&ConfigError) -> K) {
        order::sort_by_key(&mut self.kept, key);
    }

    /// One line per kept error, and a last one with the number of the others.
    pub fn lines(&self) -> Vec<String> {
        let more = (self.omitted > 0).then(|| more(self.omitted));
        self.kept.iter().map(ToString::to_string).chain(more).collect()
    }
}

/// The line about errors that are not reported.
pub(crate) fn more(omitted: usize) -> String {
    format!("and {omitted} more")
}

impl Extend<ConfigError> for Errors {
    fn extend<I: IntoIterator<Item = ConfigError>>(&mut self, errors: I) {
        errors.into_iter().for_each(|error| self.push(error));
    }
}

impl From<ConfigError> for Errors {
    fn from(error: ConfigError) -> Self {
        Self::from_iter([error])
    }
}

impl FromIterator<ConfigError> for Errors {
    fn from_iter<I: IntoIterator<Item = ConfigError>>(errors: I) -> Self {
        let mut all = Self::new();
        all.extend(errors);
        all
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

/// The most similar word, if at most a third of its letters differ, whatever their case.
pub(crate) fn nearest(word: &str, of: &[&'static str]) -> Option<&'static str> {
    nearest_of(word, of)
}

/// Like [`nearest`], for words known only at run time.
pub(crate) fn nearest_of<'a>(word: &str, of: &[&'a str]) -> Option<&'a str> {
    // The cost of the distance is the product of both lengths.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    of.iter()
        .map(|known| (strsim::osa_distance(&word, &known.to_ascii_lowercase()), *known))
        .filter(|(distance, known)| *distance <= (word.len().max(known.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_value_is_short_and_has_no_control_characters() {
        assert_eq!(shown("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(shown(&"ä".repeat(100)), format!("{}…", "ä".repeat(80)));
        let error = ConfigError::new("PORT", Reason::Whole { low: 0, high: 65_535 }).value("x\"\n");
        assert_eq!(error.to_string(), r#"PORT="x\"\n": is not a whole number from 0 to 65535"#);
    }

    #[test]
    fn the_first_hundred_errors_are_kept_and_the_rest_is_counted() {
        let error = |i: usize| ConfigError::new(format!("faults[{i}]"), Reason::Missing("name"));
        let mut errors: Errors = (0..250).map(error).collect();
        assert_eq!((errors.len(), errors.iter().count(), errors.omitted()), (250, 100, 150));
        errors.append((0..50).map(error).collect());
        assert_eq!(errors.lines().last().map(String::as_str), Some("and 200 more"));
        assert!(errors.to_string().ends_with("faults[99]: `name` is missing\nand 200 more"));
    }

    #[test]
    fn long_errors_are_kept_up_to_32_kib() {
        let long = ConfigError::new("x".repeat(1 << 10), Reason::Missing("name"));
        let errors: Errors = std::iter::repeat_n(long, 90).collect();
        assert!(errors.to_string().len() <= MAX_TEXT + 100);
        assert_eq!(errors.len(), 90);
    }

    #[test]
    fn only_a_near_word_is_meant() {
        assert_eq!(nearest("fro", &["after", "for", "every"]), Some("for"));
        assert_eq!(nearest("dealy", &["delay", "mode"]), Some("delay"));
        assert_eq!(nearest("DELAY", &["delay", "mode"]), Some("delay"));
        assert_eq!(nearest("HTTPGet", &["httpGet"]), Some("httpGet"));
        assert_eq!(nearest("colour", &["delay", "mode"]), None);
    }
}
