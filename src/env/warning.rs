//! Warnings about the environment.

use thiserror::Error;

use crate::plan::error::{ConfigError, Reason, shown};

/// A warning about the environment; with `STRICT=true`, an error.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[error("{}: {problem}", shown(.name))]
pub struct Warning {
    /// The variable, or the place in a plan.
    pub name: String,
    /// The reason.
    pub problem: WarningKind,
}

/// The reason of a warning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum WarningKind {
    /// An unknown name that resembles one of ours.
    #[error("unknown variable, ignored; did you mean {nearest}?")]
    Unknown {
        /// The name that was probably meant.
        nearest: String,
    },
    /// A variable with a target prefix that it does not support.
    #[error("ignored: {variable} does not support the prefix {prefix}; did you mean {variable}?")]
    Prefix {
        /// The prefix, such as `LIVENESS_`.
        prefix: &'static str,
        /// The variable without it.
        variable: &'static str,
    },
    /// A variable that has no effect without another one.
    #[error("has no effect without {needs}")]
    NoEffect {
        /// The other variable.
        needs: String,
    },
    /// A scalar in a plan that other YAML parsers read differently.
    #[error("{0}")]
    Ambiguous(String),
    /// A variable that overrides a value of the plan.
    #[error("overrides {what}")]
    Overrides {
        /// The overridden value.
        what: String,
    },
}

impl Warning {
    /// A warning about a variable that has no effect without another one.
    pub(super) fn no_effect(name: &str, needs: &str) -> Self {
        Self { name: name.to_owned(), problem: WarningKind::NoEffect { needs: needs.to_owned() } }
    }

    /// The warning as an error, for `STRICT=true`.
    pub(super) fn into_error(self) -> ConfigError {
        ConfigError::new(shown(&self.name), Reason::Strict(self.problem.to_string()))
    }
}
