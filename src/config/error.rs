//! What can be wrong with a configuration.

use std::fmt;

use super::document::DocumentError;
use crate::fault::{DelayError, PlanError, RuleError, TriggerError};
use crate::units::UnitError;

/// The longest value that an error repeats, in characters.
const MAX_SHOWN: usize = 80;

/// One thing that is wrong: where, with which value, and what would be right.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigError {
    /// The variable, or the place in a plan.
    pub place: String,
    /// The value as it was given; absent where it is missing, too large or secret.
    pub value: Option<String>,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a value. The text says what would be right.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// Not a quantity.
    Unit(UnitError),
    /// Not a condition.
    Trigger(TriggerError),
    /// Not a delay.
    Delay(DelayError),
    /// Parts of a rule that do not go together.
    Rule(RuleError),
    /// Rules that do not go together.
    Plan(PlanError),
    /// Not a document.
    Document(DocumentError),
    /// A field that does not exist.
    UnknownField {
        /// Its name.
        field: String,
        /// The nearest that does.
        nearest: Option<&'static str>,
    },
    /// A field that is missing.
    Missing(&'static str),
    /// A value of another type.
    Type(&'static str),
    /// None of the words that are allowed.
    OneOf(&'static [&'static str]),
    /// A mode that acts on something else.
    ModeForTarget {
        /// The mode.
        mode: String,
        /// The target.
        target: &'static str,
        /// Modes of that target.
        allowed: &'static [&'static str],
    },
    /// The listener together with something else.
    ListenerWithOthers,
    /// A field that says nothing for the mode or target of its rule.
    NotFor {
        /// The field.
        field: &'static str,
        /// The mode or target.
        what: String,
    },
    /// Outside a range of whole numbers.
    Range {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// Not a truth value as Go's `ParseBool` takes it.
    Bool,
    /// Not an address.
    Address(&'static str),
    /// Not a network.
    Network,
    /// Not a path.
    Path,
    /// A path that belongs to something else.
    PathTaken(&'static str),
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// Says nothing without another.
    Needs(String),
    /// Contradicts another.
    Conflict(String),
    /// A plan without a rule and without a seed.
    EmptyPlan,
    /// Known, and not there yet.
    NotBuilt,
    /// An error of the reader of variables.
    Reader(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit(error) => error.fmt(f),
            Self::Trigger(error) => error.fmt(f),
            Self::Delay(error) => error.fmt(f),
            Self::Rule(error) => error.fmt(f),
            Self::Plan(error) => error.fmt(f),
            Self::Document(error) => error.fmt(f),
            Self::UnknownField { field, nearest } => {
                write!(f, "unknown field `{}`", shown(field))?;
                nearest.map_or(Ok(()), |nearest| write!(f, "; did you mean `{nearest}`?"))
            }
            Self::Missing(field) => write!(f, "`{field}` is missing"),
            Self::Type(expected) => write!(f, "is not {expected}"),
            Self::OneOf(words) => write!(f, "is none of {}", words.join(", ")),
            Self::ModeForTarget { mode, target, allowed } => {
                write!(f, "mode {mode} does not act on {target}; its modes are {}", allowed.join(", "))
            }
            Self::ListenerWithOthers => f.write_str("`listener` stands alone; give requests a rule of their own"),
            Self::NotFor { field, what } => write!(f, "`{field}` says nothing for {what}; leave it out"),
            Self::Range { least, most } => write!(f, "is not a whole number from {least} to {most}"),
            Self::Bool => f.write_str("is not true or false (1, t, T, TRUE, true, True, 0, f, F, FALSE, false, False)"),
            Self::Address(form) => write!(f, "is not an address such as {form}"),
            Self::Network => f.write_str("is not an address or network such as 10.0.0.0/8 or !10.1.2.3"),
            Self::Path => f.write_str(
                "is not a path such as /ready or /api/*: printable ASCII without ? # { }, `*` only as last segment",
            ),
            Self::PathTaken(owner) => write!(f, "belongs to {owner} already"),
            Self::NotUtf8 => f.write_str("holds bytes that are not UTF-8"),
            Self::Needs(other) => write!(f, "says nothing without {other}"),
            Self::Conflict(other) => write!(f, "contradicts {other}; give one of them"),
            Self::EmptyPlan => f.write_str("a plan without rules and seed; leave it out, or name rules under `faults`"),
            Self::NotBuilt => f.write_str("is not built yet"),
            Self::Reader(error) => f.write_str(error),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={}: {}", self.place, Quoted(value), self.reason),
            None => write!(f, "{}: {}", self.place, self.reason),
        }
    }
}

/// A value in quotes, on one line, cut to a length.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", shown(self.0))
    }
}

fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Everything that is wrong, a line each.
#[derive(Clone, Debug, PartialEq)]
pub struct Errors(pub Vec<ConfigError>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
