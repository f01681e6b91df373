//! What is told of plans besides the plan in force.

use std::path::PathBuf;
use std::time::Duration;

use super::merge::Hidden;
use crate::engine::Snapshot;
use crate::plan::Source;

/// What holds, in one piece.
#[derive(Clone, Debug)]
pub struct Status {
    /// Plan, clock and counts.
    pub snapshot: Snapshot,
    /// In the order of the plan.
    pub rules: Vec<RuleStatus>,
    /// Rules that something stronger hides.
    pub hidden: Vec<Hidden>,
    /// The seed that was given, before the Pod's name is mixed in.
    pub seed: Option<(u64, Source)>,
    /// The sources in use.
    pub sources: Vec<SourceStatus>,
    /// Which start of the container this is.
    pub starts: u64,
}

/// What is known of a rule besides the plan.
#[derive(Clone, Debug)]
pub struct RuleStatus {
    /// Where it comes from.
    pub source: Source,
    /// After how long it ends by itself.
    pub expires_in: Option<Duration>,
    /// Whether this Pod is one of the rule's `pods`.
    pub selected: bool,
}

/// A source in use.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    /// Which.
    pub source: Source,
    /// The file it is read from.
    pub path: Option<PathBuf>,
    /// How many rules it has.
    pub rules: usize,
    /// What is wrong with what it holds now; the plan that it held before goes on.
    pub errors: Vec<String>,
}
