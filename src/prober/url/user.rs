//! Parses user and password.

use super::error::UrlError;
use super::escape::{Part, unescaped};

/// User and password of a URL, unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::prober) struct User {
    pub(in crate::prober) name: Vec<u8>,
    pub(in crate::prober) password: Option<Vec<u8>>,
}

/// Parses the text before the last `@` of an authority.
pub(super) fn read(text: &[u8]) -> Result<User, UrlError> {
    let is_valid = |c: &u8| c.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(c);
    if !text.iter().all(is_valid) {
        return Err(UrlError::User);
    }
    let (name, password) = match text.iter().position(|c| *c == b':') {
        Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
        None => (text, None),
    };
    let name = unescaped(name, Part::User)?;
    let password = password.map(|password| unescaped(password, Part::User)).transpose()?;
    Ok(User { name, password })
}
