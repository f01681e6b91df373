//! Changes through the API.

use serde_json::Value;
use thiserror::Error;

use crate::plan::Errors;

/// A change through the API.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// `{seed, faults: […]}`, which replaces the rules of all other sources.
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
    /// Adds a proxy, or replaces the one of that name.
    PutProxy {
        /// Its name.
        name: String,
        /// Its content; the name in it may be left out.
        proxy: Value,
    },
    /// Takes a proxy out, whatever source it comes from.
    DeleteProxy {
        /// Its name.
        name: String,
    },
    /// Forgets all changes to rules through the API. A stop and proxies stay.
    Reset {
        /// Whether the conditions of every rule are measured from now on.
        renew: bool,
    },
    /// Puts all rules of all sources out of force, those included that a source brings later.
    Stop,
    /// Ends a stop that came through the API.
    Resume,
}

/// A change that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The plan's generation.
    pub generation: u64,
    /// Whether there was no rule of that name.
    pub created: bool,
    /// Whether all rules are out of force by a stop.
    pub stopped: bool,
}

/// Why a change was refused. The previous plan stays in force.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Refusal {
    /// Everything that is wrong with it.
    #[error("{0}")]
    Invalid(Errors),
    /// It was meant for another generation.
    #[error("the plan is at generation {generation}")]
    Stale {
        /// The present one.
        generation: u64,
    },
    /// There is no proxy of that name.
    #[error("there is no proxy {name:?}")]
    NoProxy {
        /// The name.
        name: String,
    },
    /// No rule in force has that name.
    #[error("no rule in force is called {name:?}")]
    NotFound {
        /// The name.
        name: String,
    },
}
