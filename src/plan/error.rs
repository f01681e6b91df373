//! Errors of a configuration, one per line.

mod reason;

use std::fmt;

use thiserror::Error;

pub use reason::Reason;

/// How many characters of a value an error shows.
const SHOWN: usize = 80;

/// One thing that is wrong. As text it is a line such as `FAILURE_RATE="120": is not between 0% and 100%`, or
/// `faults[1] (flaps): when.for="x": is not a duration …`.
#[derive(Clone, Debug, PartialEq, Error)]
pub struct ConfigError {
    /// The variable, or the position in the plan.
    pub place: String,
    /// The field inside that place, such as `when.for`; empty: the place itself.
    pub field: String,
    /// The value, shortened and without control characters; absent if it is long, secret or missing.
    pub value: Option<String>,
    /// What is wrong with it.
    #[source]
    pub reason: Reason,
}

impl ConfigError {
    /// An error of a whole variable or rule.
    pub fn new(place: impl Into<String>, reason: impl Into<Reason>) -> Self {
        Self { place: place.into(), field: String::new(), value: None, reason: reason.into() }
    }

    /// The error of a field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// The error with the value it is about.
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

/// Everything that is wrong, a line each.
#[derive(Clone, Debug, PartialEq, Error)]
pub struct Errors(pub Vec<ConfigError>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

/// The word that a misspelt one probably means: the nearest, if at most a third of its letters differ.
pub(crate) fn nearest(word: &str, of: &[&'static str]) -> Option<&'static str> {
    // The distance costs the product of both lengths.
    if word.len() > 64 {
        return None;
    }
    of.iter()
        .map(|known| (strsim::osa_distance(word, known), *known))
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
    fn only_a_near_word_is_meant() {
        assert_eq!(nearest("fro", &["after", "for", "every"]), Some("for"));
        assert_eq!(nearest("dealy", &["delay", "mode"]), Some("delay"));
        assert_eq!(nearest("colour", &["delay", "mode"]), None);
    }
}
