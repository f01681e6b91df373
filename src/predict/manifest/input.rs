//! The texts that are read.

/// The longest input, in bytes.
pub const MAX_INPUT: usize = 32 << 20;

/// A text with manifests: YAML or JSON, any number of documents.
#[derive(Clone, Debug)]
pub struct Input {
    /// What errors call it, such as the name of a file.
    pub name: String,
    /// What it says.
    pub text: String,
}
