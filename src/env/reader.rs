//! Parses variables and collects settings, errors and warnings.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::{Setting, VARIABLES, Warning};
use crate::plan::error::{ConfigError, Errors, Reason};
use crate::plan::{choice, whole};
use crate::units::{self, Bare, Show};

/// The effective value of a variable that is 0 and has no default, as text.
pub(super) const OFF: &str = "off";

/// A parsed variable.
#[derive(Clone, Debug)]
pub(super) struct Parsed<T> {
    pub(super) name: String,
    text: String,
    state: VariableState<T>,
}

#[derive(Clone, Debug)]
enum VariableState<T> {
    On(T),
    /// Explicitly 0.
    Off,
    /// Invalid; the error is reported.
    Bad,
}

impl<T> Parsed<T> {
    /// The value, unless it is 0 or invalid.
    pub(super) const fn value(&self) -> Option<&T> {
        match &self.state {
            VariableState::On(value) => Some(value),
            VariableState::Off | VariableState::Bad => None,
        }
    }

    pub(super) const fn is_off(&self) -> bool {
        matches!(self.state, VariableState::Off)
    }

    pub(super) const fn is_bad(&self) -> bool {
        matches!(self.state, VariableState::Bad)
    }

    /// The value as it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// An error of this variable.
    pub(super) fn error(&self, reason: impl Into<Reason>) -> ConfigError {
        ConfigError::new(self.name.clone(), reason).value(&self.text)
    }
}

/// Whether the variable is set but invalid, so that nothing that depends on it can be checked.
pub(super) fn is_bad<T>(parsed: Option<&Parsed<T>>) -> bool {
    parsed.is_some_and(Parsed::is_bad)
}

/// The value, unless the variable is unset, 0 or invalid.
pub(super) fn value_of<T>(parsed: Option<&Parsed<T>>) -> Option<&T> {
    parsed.and_then(Parsed::value)
}

/// A parsed value, `None` for 0, and its text with the unit.
pub(super) type ParseResult<T> = Result<(Option<T>, String), Reason>;

/// Collects settings, errors and warnings.
#[derive(Default)]
pub(super) struct VariableReader {
    pub(super) errors: Errors,
    pub(super) warnings: BTreeSet<Warning>,
    pub(super) effective: Vec<Setting>,
}

impl VariableReader {
    /// Parses a variable. Empty means unset.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        text: Option<String>,
        parse: impl FnOnce(&str) -> ParseResult<T>,
    ) -> Option<Parsed<T>> {
        let text = text.filter(|text| !text.trim().is_empty())?;
        Some(self.parse(name, text, parse))
    }

    /// Not inlined: most variables are unset, and their parsers would lie among the code that each start runs.
    #[inline(never)]
    fn parse<T>(
        &mut self,
        name: &str,
        text: String,
        parse: impl FnOnce(&str) -> ParseResult<T>,
    ) -> Parsed<T> {
        let state = match parse(text.trim()) {
            Ok((value, shown)) => {
                self.keep_effective(name, value.is_some().then_some(shown));
                value.map_or(VariableState::Off, VariableState::On)
            }
            Err(reason) => {
                self.errors.push(ConfigError::new(name, reason).value(&text));
                VariableState::Bad
            }
        };
        Parsed { name: name.to_owned(), text, state }
    }

    /// Keeps the effective value of a variable, which is its default if `shown` is `None`.
    fn keep_effective(&mut self, name: &str, shown: Option<String>) {
        let default = || match VARIABLES.iter().find(|variable| variable.name == name) {
            Some(variable) if !variable.default.is_empty() => format!("{} (default)", variable.default),
            _ => OFF.to_owned(),
        };
        self.effective.push(Setting { name: name.to_owned(), value: shown.unwrap_or_else(default) });
    }

    /// The value of a variable, or its default.
    pub(super) fn read_or<T>(
        &mut self,
        name: &str,
        text: Option<String>,
        default: T,
        parse: impl FnOnce(&str) -> ParseResult<T>,
    ) -> T {
        match self.read(name, text, parse).map(|parsed| parsed.state) {
            Some(VariableState::On(value)) => value,
            _ => default,
        }
    }

    /// A variable with an older name. Setting both is an error, unless one is 0 and therefore unset.
    pub(super) fn either<T>(&mut self, new: Option<Parsed<T>>, old: Option<Parsed<T>>) -> Option<Parsed<T>> {
        match (new, old) {
            (Some(new), Some(old)) if new.is_off() => Some(if old.is_off() { new } else { old }),
            (Some(new), Some(old)) => {
                if !old.is_off() {
                    self.errors.push(old.error(Reason::SameAs(new.name.clone())));
                }
                Some(new)
            }
            (new, old) => new.or(old),
        }
    }

    /// Reports an error once, even if it concerns several targets.
    pub(super) fn fail(&mut self, error: ConfigError) {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }
}

pub(super) fn duration(bare: Bare) -> impl Fn(&str) -> ParseResult<Duration> {
    move |text| {
        let value = units::duration(text, bare)?;
        Ok(((!value.is_zero()).then_some(value), Show(value).to_string()))
    }
}

pub(super) fn percent(text: &str) -> ParseResult<f64> {
    let value = units::percent(text)?;
    Ok(((value > 0.0).then_some(value), format!("{value}%")))
}

pub(super) fn count(text: &str) -> ParseResult<u64> {
    let value = whole(text, 0, u64::MAX)?;
    Ok(((value > 0).then_some(value), format!("{value} requests")))
}

/// A whole number up to `high`; 0 is unset.
pub(super) fn up_to(high: u64) -> impl Fn(&str) -> ParseResult<usize> {
    move |text| {
        if text == "0" {
            return Ok((None, String::new()));
        }
        let value = whole(text, 1, high)?;
        Ok((Some(value as usize), value.to_string()))
    }
}

/// One of some words, in any case.
pub(super) fn word<T: Copy>(words: &[(&'static str, T)]) -> impl Fn(&str) -> ParseResult<T> {
    move |text| match words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
        Some((word, value)) => Ok((Some(*value), (*word).to_owned())),
        None if text == "0" => Ok((None, String::new())),
        None => Err(choice(text, words.iter().map(|(word, _)| *word).collect())),
    }
}

/// A boolean as Go's `ParseBool` reads it.
pub(super) fn boolean(text: &str) -> ParseResult<bool> {
    let value = match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
        "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
        _ => return Err(Reason::Bool),
    };
    Ok((Some(value), value.to_string()))
}

pub(super) fn ip(text: &str) -> ParseResult<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip: IpAddr = bare.parse().map_err(|_| Reason::Ip)?;
    Ok((Some(ip), ip.to_string()))
}
