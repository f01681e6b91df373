//! The input of the reader.

/// Limit of an input, in bytes.
pub const MAX_INPUT: usize = 32 << 20;

/// A text with manifests: YAML or JSON, any number of documents.
#[derive(Clone, Debug)]
pub struct Input {
    /// The name in errors, such as that of a file.
    pub name: String,
    /// The content.
    pub text: String,
}
