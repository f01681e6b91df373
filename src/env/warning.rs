//! What is odd about the environment, but not wrong.

use thiserror::Error;

use crate::plan::error::{ConfigError, Reason, shown};

/// Something odd about the environment; with `STRICT=true`, an error.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[error("{}: {problem}", shown(.name))]
pub struct Warning {
    /// The variable, or the place in a plan.
    pub name: String,
    /// What is odd about it.
    pub problem: WarningKind,
}

/// What is odd about a variable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum WarningKind {
    /// A name that is none of ours, but near one.
    #[error("unknown variable, ignored; did you mean {nearest}?")]
    Unknown {
        /// The name that was probably meant.
        nearest: String,
    },
    /// A variable of ours with the prefix of a target that it does not take.
    #[error("ignored: {variable} does not take the prefix {prefix}; did you mean {variable}?")]
    Prefix {
        /// The prefix, such as `LIVENESS_`.
        prefix: &'static str,
        /// The variable without it.
        variable: &'static str,
    },
    /// A variable that does nothing without another one.
    #[error("has no effect without {needs}")]
    NoEffect {
        /// What it needs.
        needs: String,
    },
    /// A scalar in a plan that other YAML readers understand differently.
    #[error("{0}")]
    Ambiguous(String),
    /// A variable that replaces a value of the plan.
    #[error("wins over {what}")]
    Overrides {
        /// What it replaces.
        what: String,
    },
}

impl Warning {
    /// A warning about a variable that does nothing without another one.
    pub(super) fn no_effect(name: &str, needs: &str) -> Self {
        Self { name: name.to_owned(), problem: WarningKind::NoEffect { needs: needs.to_owned() } }
    }

    /// The warning as the error that `STRICT=true` makes of it.
    pub(super) fn into_error(self) -> ConfigError {
        ConfigError::new(shown(&self.name), Reason::Strict(self.problem.to_string()))
    }
}
