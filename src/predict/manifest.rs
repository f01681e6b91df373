//! Stand-in until manifests can be read.

use std::fmt;

use super::Workload;

/// One file.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The most bytes of one input.
pub const MAX_INPUT: usize = 32 << 20;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// Workloads.
    pub workloads: Vec<Workload>,
    /// Services.
    pub services: Vec<ServiceInfo>,
}

/// A Service.
#[derive(Clone, Debug)]
pub struct ServiceInfo {
    /// Its name.
    pub name: String,
    /// Whether Pods that are not Ready are endpoints all the same.
    pub publishes_not_ready: bool,
    /// The positions of the workloads whose Pods it selects.
    pub workloads: Vec<usize>,
}

/// What is wrong.
#[derive(Debug)]
pub struct Errors;

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("manifests cannot be read yet")
    }
}

/// Reads manifests.
pub fn read(_: &[Input]) -> Result<Manifests, Errors> {
    Err(Errors)
}
