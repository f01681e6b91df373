//! Changes through the API.

use serde_json::Value;

use crate::plan::ConfigError;

/// A change through the API.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// `{seed, faults: […]}`, which replaces everything beneath it.
    PutPlan(Value),
    /// Creates a rule or replaces the one of that name.
    PutFault {
        /// Its name.
        name: String,
        /// Its content; the name in it may be left out.
        rule: Value,
    },
    /// Changes fields of the rule in force (RFC 7396).
    PatchFault {
        /// Its name.
        name: String,
        /// The fields.
        patch: Value,
    },
    /// Takes a rule out of force, whatever source it comes from.
    DeleteFault {
        /// Its name.
        name: String,
    },
    /// Forgets all changes through the API.
    Reset {
        /// Whether the conditions of every rule are measured from now on.
        renew: bool,
    },
}

/// A change that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The plan's generation.
    pub generation: u64,
    /// Whether there was no rule of that name.
    pub created: bool,
}

/// Why a change was refused. The plan before goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// Everything that is wrong with it.
    Invalid(Vec<ConfigError>),
    /// It was meant for another generation.
    Stale {
        /// The present one.
        generation: u64,
    },
    /// No rule in force has that name.
    NotFound {
        /// The name.
        name: String,
    },
}
