//! Parses, resolves and prints URLs as Go's `net/url` does.

mod error;
mod escape;
mod host;
mod resolve;
mod split;
mod user;

use std::fmt;

pub(super) use error::{LocationError, UrlError};
use escape::{Part, escaped, unescaped};
use split::Parts;
pub(super) use user::User;

/// The URL of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// The scheme, in lower case.
    scheme: String,
    user: Option<User>,
    /// Unescaped host, with the port if there is one. Empty in a URL without authority.
    host: Vec<u8>,
    /// The path, escaped as it is sent; may be empty.
    path: String,
    /// The query, as written and sent.
    query: Option<Vec<u8>>,
    /// The escaped fragment; `None` if it is empty.
    fragment: Option<String>,
}

impl Url {
    /// Parses a URL with a scheme and an authority. `None`: one of them is missing.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, UrlError> {
        let parts = Parts::read(text.as_bytes()).map_err(|error| error.error)?;
        Ok((!parts.scheme.is_empty() && parts.has_authority).then(|| Self::of(parts)))
    }

    /// Resolves a `Location`. Returns the URL, and whether the `Location` has a scheme.
    pub(super) fn join(&self, location: &[u8]) -> Result<(Self, bool), LocationError> {
        let parts = Parts::read(location)?;
        let is_absolute = !parts.scheme.is_empty();
        let mut url = Self::of(parts);
        if is_absolute || !url.host.is_empty() || url.user.is_some() {
            url.path = resolve::path("", &url.path);
        } else {
            if url.path.is_empty() && url.query.is_none() {
                url.query.clone_from(&self.query);
                if url.fragment.is_none() {
                    url.fragment.clone_from(&self.fragment);
                }
            }
            url.host.clone_from(&self.host);
            url.user.clone_from(&self.user);
            url.path = resolve::path(&self.path, &url.path);
        }
        if !is_absolute {
            url.scheme.clone_from(&self.scheme);
        }
        Ok((url, is_absolute))
    }

    fn of(parts: Parts) -> Self {
        let Parts { scheme, has_authority: _, user, host, path, query, fragment } = parts;
        Self { scheme, user, host, path, query, fragment }
    }

    pub(super) fn scheme(&self) -> &str {
        &self.scheme
    }

    pub(super) const fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// Host and port as in the `Host` header.
    pub(super) fn authority(&self) -> &[u8] {
        &self.host
    }

    /// The host without port and brackets.
    pub(super) fn hostname(&self) -> &[u8] {
        host::split(&self.host).0
    }

    /// The port as written. `None`: it is missing or empty.
    pub(super) fn port(&self) -> Option<&[u8]> {
        Some(host::split(&self.host).1).filter(|port| !port.is_empty())
    }

    /// The path, escaped.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path without escapes.
    pub(super) fn unescaped_path(&self) -> Vec<u8> {
        // The escapes were checked when the URL was parsed.
        unescaped(self.path.as_bytes(), Part::Path).unwrap_or_default()
    }

    pub(super) const fn has_query(&self) -> bool {
        self.query.is_some()
    }

    /// The target in the request line.
    pub(super) fn request_target(&self) -> Vec<u8> {
        let mut target = if self.path.is_empty() { b"/".to_vec() } else { self.path.clone().into_bytes() };
        if let Some(query) = &self.query {
            target.push(b'?');
            target.extend_from_slice(query);
        }
        target
    }

    /// The URL without user and password, for `Referer`.
    pub(super) fn without_user(&self) -> Vec<u8> {
        self.text("")
    }

    fn text(&self, user: &str) -> Vec<u8> {
        let mut text = format!("{}:", self.scheme);
        if !self.host.is_empty() || !self.path.is_empty() || self.user.is_some() {
            text.push_str("//");
        }
        text.push_str(user);
        text.push_str(&escaped(&self.host, Part::Host));
        if !self.path.is_empty() && !self.path.starts_with('/') && !self.host.is_empty() {
            text.push('/');
        }
        text.push_str(&self.path);
        let mut text = text.into_bytes();
        if let Some(query) = &self.query {
            text.push(b'?');
            text.extend_from_slice(query);
        }
        if let Some(fragment) = &self.fragment {
            text.push(b'#');
            text.extend_from_slice(fragment.as_bytes());
        }
        text
    }

    /// The URL with its password hidden, as in Go's errors.
    pub(super) fn redacted(&self) -> Vec<u8> {
        let user = self.user.as_ref().map_or_else(String::new, |user| match user.password {
            // Go does not escape the user name here.
            Some(_) => format!("{}:***@", String::from_utf8_lossy(&user.name)),
            None => format!("{}@", escaped(&user.name, Part::User)),
        });
        self.text(&user)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.redacted()))
    }
}

#[cfg(test)]
mod tests;
