//! What the API reports besides the plan in force.

use std::path::PathBuf;
use std::time::Duration;

use super::merge::Hidden;
use crate::engine::Snapshot;
use crate::plan::Source;

/// All that is known of the sources at one instant.
#[derive(Clone, Debug)]
pub struct Status {
    /// Plan, clock, counts and the stop, if there is one.
    pub snapshot: Snapshot,
    /// In the order of the plan.
    pub rules: Vec<RuleStatus>,
    /// Rules that a stronger source hides.
    pub hidden: Vec<Hidden>,
    /// The seed that was given, before the Pod's name is mixed in.
    pub seed: Option<(u64, Source)>,
    /// The sources in use.
    pub sources: Vec<SourceStatus>,
    /// Which start of the container this is.
    pub starts: u64,
    /// The sources that bring rules at each start of the container.
    pub returning: Vec<Returning>,
}

/// What is known of a rule besides the plan.
#[derive(Clone, Debug)]
pub struct RuleStatus {
    /// The source that it comes from.
    pub source: Source,
    /// After how long it ends by itself.
    pub expires_in: Option<Duration>,
    /// Whether this Pod is one of the rule's `pods`.
    pub selected: bool,
}

/// A source in use.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    /// Which one.
    pub source: Source,
    /// The file it is read from.
    pub path: Option<PathBuf>,
    /// How many rules it has.
    pub rules: usize,
    /// What is wrong with its present content; the plan that it held before stays in use.
    pub errors: Vec<String>,
}

/// A source that brings rules at each start of the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returning {
    /// Which one.
    pub source: Source,
    /// How many rules it has.
    pub rules: usize,
    /// How to end them there: a command, or what to do with a file.
    pub end: String,
}
