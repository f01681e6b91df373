//! Headers of an HTTP probe.

use std::str::FromStr;

use thiserror::Error;

/// A header of an HTTP probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name in Go's canonical form, such as `X-Request-Id`.
    pub(super) name: String,
    pub(super) value: String,
}

/// Why a text is not a header. The message says what would be valid.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// No colon.
    #[error("has no colon; write 'Name: value'")]
    Form,
    /// A name that is not a token.
    #[error("has a name with other characters than letters, digits and !#$%&'*+-.^_`|~")]
    Name,
    /// A control character in the value.
    #[error("has a control character in its value")]
    Value,
}

impl FromStr for Header {
    type Err = HeaderError;

    fn from_str(text: &str) -> Result<Self, HeaderError> {
        let (name, value) = text.split_once(':').ok_or(HeaderError::Form)?;
        let value = value.trim();
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(HeaderError::Name);
        }
        if value.bytes().any(|c| c.is_ascii_control() && c != b'\t') {
            return Err(HeaderError::Value);
        }
        let name = String::from_utf8_lossy(&canonical(name.as_bytes())).into_owned();
        Ok(Self { name, value: value.to_owned() })
    }
}

/// Whether a byte is allowed in the name of a header.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A name in Go's canonical form: upper case at the beginning and after each hyphen, and lower case elsewhere.
pub(super) fn canonical(name: &[u8]) -> Vec<u8> {
    let mut upper = true;
    let letter = |c: &u8| {
        let c = if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        upper = c == b'-';
        c
    };
    name.iter().map(letter).collect()
}
