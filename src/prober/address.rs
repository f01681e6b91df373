//! Addresses of probes.

use std::fmt;
use std::net::Ipv6Addr;

use thiserror::Error;

use super::url::{Url, UrlError};

/// The formats of an address, for messages.
const FORMS: &str =
    "http://host:port/path, https://host:port/path, tcp://host:port, grpc://host:port/service or grpcs://...";

/// A host, by name or by IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The host, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why an address cannot be probed. The message says what would be valid.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AddressError {
    /// Not a URL.
    #[error("is not a URL: {0}; write {FORMS}")]
    Url(UrlError),
    /// A URL without scheme or host.
    #[error("is not an address; write {FORMS}")]
    Form,
    /// An unknown scheme.
    #[error("has the unknown scheme {0}; write {FORMS}")]
    Scheme(String),
    /// A user or a password.
    #[error("has a user or password; send --header 'Authorization: ...' instead")]
    User,
    /// An empty host.
    #[error("has no host; write {FORMS}")]
    NoHost,
    /// A host with invalid characters.
    #[error("has the host {0:?}, which is neither a name nor an IP address")]
    Host(String),
    /// A port that is required and missing, or not between 1 and 65535.
    #[error("needs a port from 1 to 65535; write {FORMS}")]
    Port,
    /// A path or a query that this kind of probe does not have.
    #[error("has a path or query that this probe does not use; write {0}")]
    Path(&'static str),
    /// The name of a service that is not UTF-8.
    #[error("has a service name that is not UTF-8")]
    Service,
    /// Headers for a probe that sends none.
    #[error("does not support --header: a {0} probe sends no headers")]
    Headers(&'static str),
}

impl Endpoint {
    /// Returns host and port of a URL. The port may be 0.
    pub(super) fn of(url: &Url, default_port: Option<u16>) -> Result<Self, AddressError> {
        let host = String::from_utf8_lossy(url.hostname()).into_owned();
        if host.is_empty() {
            return Err(AddressError::NoHost);
        }
        let is_name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
        if !host.bytes().all(is_name) && host.parse::<Ipv6Addr>().is_err() {
            return Err(AddressError::Host(host));
        }
        let port = match url.port() {
            Some(port) => std::str::from_utf8(port).ok().and_then(|port| port.parse().ok()),
            None => default_port,
        };
        Ok(Self { host, port: port.ok_or(AddressError::Port)? })
    }
}
