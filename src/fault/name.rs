//! Validation of rule and proxy names.

/// Length limit: that of a DNS label (RFC 1123).
const MAX_NAME: usize = 63;

/// Whether a name is a DNS label of 1 to 63 lower-case letters, digits and inner hyphens.
pub(super) fn is_label(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = name.as_bytes();
    let ends = bytes.first().copied().is_some_and(inner) && bytes.last().copied().is_some_and(inner);
    ends && bytes.len() <= MAX_NAME && bytes.iter().all(|c| inner(*c) || *c == b'-')
}

/// A name as shown in errors, truncated if too long.
pub(super) fn truncated(name: &str) -> String {
    name.chars().take(MAX_NAME + 1).collect()
}
