//! Splits a URL or a relative reference into its parts.

use super::error::{LocationError, UrlError};
use super::escape::{Part, normalized};
use super::user::User;
use super::{host, user};

/// The checked parts of a reference.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The scheme in lower case; empty if there is none.
    pub(super) scheme: String,
    pub(super) has_authority: bool,
    pub(super) user: Option<User>,
    pub(super) host: Vec<u8>,
    pub(super) path: String,
    pub(super) query: Option<Vec<u8>>,
    pub(super) fragment: Option<String>,
}

impl Parts {
    /// Parses a reference.
    pub(super) fn read(text: &[u8]) -> Result<Self, LocationError> {
        let (rest, fragment) = match text.iter().position(|c| *c == b'#') {
            Some(at) => (&text[..at], &text[at + 1..]),
            None => (text, &[][..]),
        };
        let mut parts =
            Self::before_fragment(rest).map_err(|error| LocationError { text: rest.to_vec(), error })?;
        let fragment = normalized(fragment, Part::Fragment)
            .map_err(|error| LocationError { text: text.to_vec(), error })?;
        parts.fragment = Some(fragment).filter(|fragment| !fragment.is_empty());
        Ok(parts)
    }

    fn before_fragment(text: &[u8]) -> Result<Self, UrlError> {
        if text.iter().any(u8::is_ascii_control) {
            return Err(UrlError::Control);
        }
        let (scheme, rest) = scheme(text)?;
        let (rest, query) = match rest.iter().position(|c| *c == b'?') {
            Some(at) => (&rest[..at], Some(rest[at + 1..].to_vec())),
            None => (rest, None),
        };
        let mut parts = Self { scheme, query, ..Self::default() };
        if !rest.starts_with(b"/") {
            if !parts.scheme.is_empty() {
                // An opaque URL such as mailto:a@b has no host and no path.
                return Ok(parts);
            }
            if rest.split(|c| *c == b'/').next().unwrap_or_default().contains(&b':') {
                return Err(UrlError::Colon);
            }
        }
        // Without a scheme, three slashes start a path.
        let authority =
            rest.strip_prefix(b"//").filter(|_| !parts.scheme.is_empty() || !rest.starts_with(b"///"));
        let mut path = rest;
        if let Some(after) = authority {
            let (authority, rest) =
                after.split_at(after.iter().position(|c| *c == b'/').unwrap_or(after.len()));
            parts.has_authority = true;
            parts.read_authority(authority)?;
            path = rest;
        }
        parts.path = normalized(path, Part::Path)?;
        Ok(parts)
    }

    fn read_authority(&mut self, authority: &[u8]) -> Result<(), UrlError> {
        let Some(at) = authority.iter().rposition(|c| *c == b'@') else {
            self.host = host::read(&self.scheme, authority)?;
            return Ok(());
        };
        self.host = host::read(&self.scheme, &authority[at + 1..])?;
        self.user = Some(user::read(&authority[..at])?);
        Ok(())
    }
}

/// Splits a text into its scheme, in lower case, and the rest.
fn scheme(text: &[u8]) -> Result<(String, &[u8]), UrlError> {
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err(UrlError::NoScheme),
            b':' => {
                let scheme = String::from_utf8_lossy(&text[..at]).to_ascii_lowercase();
                return Ok((scheme, &text[at + 1..]));
            }
            _ => break,
        }
    }
    Ok((String::new(), text))
}
