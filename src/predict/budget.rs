//! Budgets: what the fields of a manifest allow, independently of the program.
//!
//! A program fails at any point between two ticks of a probe, so each budget is two numbers. Up to the first, nothing
//! happens at any phase of the ticks; beyond the second, it happens at every phase.

mod formula;
mod probe;
mod workload;

use std::time::Duration;

use super::workload::Workload;
use crate::kubelet::ProbeKind;

pub use workload::longest_termination;

/// What the two numbers of a budget mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Safe up to the first, certain beyond the second.
    Limit,
    /// The shortest and the longest possible time.
    Time,
}

/// One number of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// A time.
    Time(Duration),
    /// A number of Pods.
    Pods(u32),
    /// There is no limit.
    NoLimit,
    /// It never happens.
    Never,
}

/// A budget and the fields that determine it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The stable name for machines.
    pub name: &'static str,
    /// The position of its container; absent: the budget of the Pod or the workload.
    pub container: Option<usize>,
    /// The probe that determines it.
    pub probe: Option<ProbeKind>,
    /// A description for people.
    pub what: String,
    /// The meaning of the numbers.
    pub meaning: Meaning,
    /// The first number.
    pub least: Amount,
    /// The second number.
    pub most: Amount,
    /// The formula of each number: fields and their values.
    pub formulas: [String; 2],
}

/// All budgets of a workload: those of its containers in order, then its own.
pub fn budgets(workload: &Workload, endpoint_lag: Duration) -> Vec<Budget> {
    let mut all = Vec::new();
    for position in 0..workload.pod.containers.len() {
        all.extend(probe::budgets(&workload.pod, position, endpoint_lag));
    }
    all.extend(workload::budgets(workload));
    all
}

/// The budget with this name of a container.
pub fn find<'a>(budgets: &'a [Budget], container: usize, name: &str) -> Option<&'a Budget> {
    budgets.iter().find(|budget| budget.container == Some(container) && budget.name == name)
}

impl Amount {
    /// The time, if the amount is one.
    pub const fn time(self) -> Option<Duration> {
        match self {
            Self::Time(time) => Some(time),
            _ => None,
        }
    }
}
