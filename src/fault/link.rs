//! The state of a listener, as partitions have it.

use super::mode::Cut;
use super::proxy::Slot;

/// A partition in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkCut {
    /// The rule's position in the plan.
    pub rule: usize,
    /// What it does.
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
    /// The cut of every connection, which acts before the accept.
    pub whole: Option<LinkCut>,
    /// Whether some connections are cut, by network or client class; [`ActivePlan::cut`](super::ActivePlan::cut) tells which.
    pub partial: bool,
}
