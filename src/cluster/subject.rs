//! Objects to wait for.

use super::condition::Condition;

/// A choice of objects of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The object with this name.
    Name(String),
    /// All objects with these labels.
    Selector(String),
}

/// Objects to wait for.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The kind, by any of its names.
    pub kind: String,
    /// The namespace; ignored for kinds without namespaces.
    pub namespace: String,
    /// Which objects of the kind.
    pub which: Which,
    /// `None` means the default of the kind.
    pub condition: Option<Condition>,
}
