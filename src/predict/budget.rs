//! Budgets: what the fields of a manifest allow, whatever the program does.
//!
//! The ticks of a probe do not know when a program fails, so each budget is two numbers. Up to the first nothing happens
//! wherever the ticks fall, and beyond the second it happens wherever they fall.

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
    /// The shortest and the longest time that something takes.
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
    /// It never comes.
    Never,
}

/// A budget, with the fields that it follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Which, for machines: a word that stays.
    pub name: &'static str,
    /// The position of the container it is of; absent: of the Pod or the workload.
    pub container: Option<usize>,
    /// The probe it follows from.
    pub probe: Option<ProbeKind>,
    /// What it is a budget of.
    pub what: String,
    /// What the numbers mean.
    pub meaning: Meaning,
    /// The first number.
    pub least: Amount,
    /// The second number.
    pub most: Amount,
    /// How each number follows from the fields, with their values.
    pub formulas: [String; 2],
}

/// All budgets of a workload: those of its containers, in their order, then its own.
pub fn budgets(workload: &Workload, endpoint_lag: Duration) -> Vec<Budget> {
    let mut all = Vec::new();
    for position in 0..workload.pod.containers.len() {
        all.extend(probe::budgets(&workload.pod, position, endpoint_lag));
    }
    all.extend(workload::budgets(workload));
    all
}

/// The budget of a container with this name.
pub fn find<'a>(budgets: &'a [Budget], container: usize, name: &str) -> Option<&'a Budget> {
    budgets.iter().find(|budget| budget.container == Some(container) && budget.name == name)
}

impl Amount {
    /// The time, if it is one.
    pub const fn time(self) -> Option<Duration> {
        match self {
            Self::Time(time) => Some(time),
            _ => None,
        }
    }
}
