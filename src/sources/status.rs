//! The status that the API reports, in addition to the plan in force.

use std::path::PathBuf;
use std::time::Duration;

use super::merge::Hidden;
use crate::engine::Snapshot;
use crate::plan::{Proxy, Source};

/// The status of all sources at one instant.
#[derive(Clone, Debug)]
pub struct SourcesStatus {
    /// Plan, clock, counts and the stop, if any.
    pub snapshot: Snapshot,
    /// In the order of the plan.
    pub rules: Vec<RuleStatus>,
    /// Rules that a higher-ranking source hides.
    pub hidden: Vec<Hidden>,
    /// The proxies of all sources.
    pub proxies: Vec<Proxy>,
    /// The configured seed, before the Pod's name is mixed in.
    pub seed: Option<(u64, Source)>,
    /// The sources in use.
    pub sources: Vec<SourceStatus>,
    /// Number of this start of the container.
    pub starts: u64,
    /// Sources whose rules come back at each start of the container.
    pub returning: Vec<Returning>,
}

/// The status of a rule.
#[derive(Clone, Debug)]
pub struct RuleStatus {
    /// Its source.
    pub source: Source,
    /// Time until it expires.
    pub expires_in: Option<Duration>,
    /// Whether `pods` of the rule selects this Pod.
    pub selected: bool,
}

/// A source in use.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    /// The source.
    pub source: Source,
    /// The file it is read from.
    pub path: Option<PathBuf>,
    /// Number of its rules.
    pub rules: usize,
    /// Errors of its current content; its previous plan stays in use.
    pub errors: Vec<String>,
}

/// A source whose rules come back at each start of the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returning {
    /// The source.
    pub source: Source,
    /// Number of its rules.
    pub rules: usize,
    /// How to remove them: a command, or an instruction for a file.
    pub end: String,
}
