//! Which Pods a command line means, and what is called in each of them.

use crate::cli::shared::OutputFormat;

/// A call of the `fault` verb.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) kind: CallKind,
    /// The verb and its arguments.
    pub(super) arguments: Vec<String>,
    /// A plan for its standard input.
    pub(super) input: Option<Vec<u8>>,
}

/// How the answers of the Pods are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallKind {
    /// A line for each Pod.
    Change,
    /// The rules of each Pod.
    List,
    /// The sums of each Pod.
    Top,
    /// What happens, as it happens.
    Watch,
}

/// Which Pods, and how they are reached.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// What each call of kubectl gets.
    pub(super) globals: Vec<String>,
    pub(super) selector: Option<String>,
    /// Pods by their names.
    pub(super) pods: Vec<String>,
    /// In percent, above 0.
    pub(super) share: Option<f64>,
    pub(super) seed: Option<u64>,
    pub(super) container: Option<String>,
    pub(super) executable: Option<String>,
    pub(super) is_dry_run: bool,
    /// Shows all that kubectl complains about.
    pub(super) is_verbose: bool,
    pub(super) output: OutputFormat,
}
