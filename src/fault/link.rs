//! The state of a listener under partitions.

use super::mode::Cut;
use super::proxy::Slot;

/// A partition in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkCut {
    /// Position of the rule in the plan.
    pub rule: usize,
    /// Its effect.
    pub cut: Cut,
}

/// A listener of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ListenerId {
    /// The probe listener.
    #[default]
    Probe,
    /// The listener of a proxy.
    Proxy(Slot),
}

/// The state of a listener at an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The cut of every connection; it acts before `accept`.
    pub whole: Option<LinkCut>,
    /// Whether some connections are cut, by network or client class; [`ActivePlan::cut`](super::ActivePlan::cut)
    /// decides on each.
    pub partial: bool,
}
