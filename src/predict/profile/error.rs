//! What can be wrong with a profile.

use thiserror::Error;

use crate::plan::document::DocumentError;

/// An error in a profile. The text says what would be right.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ProfileError {
    /// Not YAML or JSON, or too much of it.
    #[error(transparent)]
    Document(DocumentError),
    /// Something other than a mapping.
    #[error("is {0}, not a mapping such as {{ready_after: 20s, latency: 50ms}}")]
    Shape(String),
    /// A field that no profile has.
    #[error("has no field {0:?}; there are {1}")]
    Field(String, String),
    /// A value that its field does not take.
    #[error("{0}")]
    Value(String),
    /// Two fields that contradict each other.
    #[error("{0}")]
    Conflict(&'static str),
}
