//! Changes through the API.

use serde_json::Value;
use thiserror::Error;

use crate::plan::Errors;

/// A change through the API.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiChange {
    /// `{seed, faults: […], proxies: […]}`. Its rules replace those of all other sources; its proxies are added to theirs.
    PutPlan(Value),
    /// Creates a rule or replaces the one of that name.
    PutFault {
        /// Name of the rule.
        name: String,
        /// Content of the rule; `name` may be omitted.
        rule: Value,
    },
    /// Changes fields of a rule in force (RFC 7396).
    PatchFault {
        /// Name of the rule.
        name: String,
        /// The fields to change.
        patch: Value,
    },
    /// Removes a rule from the plan in force, whatever its source.
    DeleteFault {
        /// Name of the rule.
        name: String,
    },
    /// Adds a proxy, or replaces the one of that name.
    PutProxy {
        /// Name of the proxy.
        name: String,
        /// Content of the proxy; `name` may be omitted.
        proxy: Value,
    },
    /// Removes a proxy, whatever its source.
    DeleteProxy {
        /// Name of the proxy.
        name: String,
    },
    /// Discards all changes to rules made through the API. Stops and proxies are kept.
    Reset {
        /// Whether the clocks and counts of every rule start over.
        renew: bool,
    },
    /// Stops all rules of all sources, including those that a source adds later.
    Stop,
    /// Ends a stop made through the API.
    Resume,
}

/// The result of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeResult {
    /// Generation of the plan.
    pub generation: u64,
    /// Whether no rule of that name existed.
    pub created: bool,
    /// Whether a stop is in force.
    pub stopped: bool,
}

/// Why a change was rejected. The previous plan stays in force.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ChangeRefusal {
    /// All errors of the change.
    #[error("{0}")]
    Invalid(Errors),
    /// The plan has another generation than expected.
    #[error("the plan is at generation {generation}")]
    Stale {
        /// The current generation.
        generation: u64,
    },
    /// No proxy has that name.
    #[error("there is no proxy {name:?}")]
    NoProxy {
        /// The name.
        name: String,
    },
    /// No rule in force has that name.
    #[error("no rule in force is named {name:?}")]
    NotFound {
        /// The name.
        name: String,
    },
}
