//! What is waited for.

use super::condition::Condition;

/// Which objects of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one of this name.
    Name(String),
    /// All with these labels.
    Selector(String),
}

/// What is waited for.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The kind by any of its names.
    pub kind: String,
    /// Where it is, if it is in a namespace.
    pub namespace: String,
    /// Which of them.
    pub which: Which,
    /// `None` is the default of the kind.
    pub condition: Option<Condition>,
}
