//! Errors of profiles.

use thiserror::Error;

use crate::plan::document::DocumentError;

/// An error of a profile. The message says what would be valid.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ProfileError {
    /// Not YAML or JSON, or too large.
    #[error(transparent)]
    Document(DocumentError),
    /// Not a mapping.
    #[error("is {0}, not a mapping such as {{ready_after: 20s, latency: 50ms}}")]
    Shape(String),
    /// An unknown field.
    #[error("unknown field {0:?}; the fields are {1}")]
    Field(String, String),
    /// An invalid value.
    #[error("{0}")]
    Value(String),
    /// Two fields that contradict each other.
    #[error("{0}")]
    Conflict(&'static str),
}
