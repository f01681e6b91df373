//! What the command's verbs do.

pub mod probe;
