//! What to probe, as it is written on a command line.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use super::grpc::Check;
use super::http::Get;
use super::url::{Url, UrlError};

/// A probe, ready to be made.
#[derive(Clone, Debug)]
pub enum Probe {
    /// `http://host[:port][/path]`.
    Http(Get),
    /// `tcp://host:port`.
    Tcp(Endpoint),
    /// `grpc://host:port[/service]`.
    Grpc(Check),
}

/// A host, by name or by address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Without brackets.
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

/// Why an address cannot be probed. The text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// No URL at all.
    Url(UrlError),
    /// Not one of the forms that are known.
    Form,
    /// A scheme that is not known.
    Scheme(String),
    /// `https`, which is not built.
    Https,
    /// A user or a password.
    User,
    /// A host that is empty or an IPv6 address that is none.
    Host(String),
    /// No port where there has to be one, or one that is not between 1 and 65535.
    Port,
    /// A path or a query where there is none.
    Path(&'static str),
    /// Headers for a probe without any.
    Headers(&'static str),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FORMS: &str = "http://host:port/path, tcp://host:port or grpc://host:port/service";
        match self {
            Self::Url(error) => write!(f, "is not a URL: {error}; write {FORMS}"),
            Self::Form => write!(f, "is not an address; write {FORMS}"),
            Self::Scheme(scheme) => write!(f, "has the unknown scheme {scheme}; write {FORMS}"),
            Self::Https => write!(f, "has the scheme https, which is not supported yet; write {FORMS}"),
            Self::User => f.write_str("has a user or password; send --header 'Authorization: ...' instead"),
            Self::Host(host) if host.is_empty() => write!(f, "has no host; write {FORMS}"),
            Self::Host(host) => write!(f, "has the host {host:?}, which is neither a name nor an IP address"),
            Self::Port => write!(f, "needs a port from 1 to 65535; write {FORMS}"),
            Self::Path(form) => write!(f, "has too much after its port; write {form}"),
            Self::Headers(scheme) => write!(f, "takes no --header: a {scheme} probe sends none"),
        }
    }
}

impl std::error::Error for AddressError {}

impl Probe {
    /// Reads an address. `headers` are those of an HTTP probe; the order of equal names is kept.
    pub fn parse(address: &str, headers: Vec<Header>) -> Result<Self, AddressError> {
        let url = Url::parse(address).map_err(AddressError::Url)?.ok_or(AddressError::Form)?;
        let default_port = match url.scheme.as_str() {
            "http" => Some(80),
            "tcp" | "grpc" => None,
            "https" => return Err(AddressError::Https),
            other => return Err(AddressError::Scheme(other.to_owned())),
        };
        // The URL itself has dropped them.
        if address.split('/').nth(2).is_some_and(|authority| authority.contains('@')) {
            return Err(AddressError::User);
        }
        let endpoint = Endpoint::of(&url, default_port)?;
        let too_much = |form| Err(AddressError::Path(form));
        match url.scheme.as_str() {
            "tcp" if url.path().len() > 1 || url.has_query() => too_much("tcp://host:port"),
            "grpc" if url.has_query() => too_much("grpc://host:port/service"),
            scheme @ ("tcp" | "grpc") if !headers.is_empty() => {
                Err(AddressError::Headers(if scheme == "tcp" { "tcp" } else { "grpc" }))
            }
            "tcp" => Ok(Self::Tcp(endpoint)),
            "grpc" => {
                let service = url.path().strip_prefix('/').unwrap_or_default().to_owned();
                Ok(Self::Grpc(Check::new(endpoint, service)))
            }
            _ => Ok(Self::Http(Get::new(url, headers))),
        }
    }
}

impl Endpoint {
    /// Host and port of a URL.
    pub(super) fn of(url: &Url, default_port: Option<u16>) -> Result<Self, AddressError> {
        let host = url.host();
        let is_name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
        let valid = if url.authority.starts_with('[') {
            host.parse::<Ipv6Addr>().is_ok()
        } else {
            !host.is_empty() && host.bytes().all(is_name)
        };
        if !valid {
            return Err(AddressError::Host(host.to_owned()));
        }
        let port = match url.port() {
            Some(port) => port.parse().ok().filter(|port| *port > 0),
            None => default_port,
        };
        Ok(Self { host: host.to_owned(), port: port.ok_or(AddressError::Port)? })
    }
}

/// A header of an HTTP probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// In the spelling that Go sends: `X-Request-Id`.
    pub(super) name: String,
    pub(super) value: String,
}

/// Why a text is not a header. The text says what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// No colon.
    Form,
    /// A name that is not a token.
    Name,
    /// A control character in the value.
    Value,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "has no colon; write 'Name: value'",
            Self::Name => "has a name that is not made of letters, digits and !#$%&'*+-.^_`|~",
            Self::Value => "has a control character in its value",
        })
    }
}

impl std::error::Error for HeaderError {}

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
        Ok(Self { name: canonical(name), value: value.to_owned() })
    }
}

/// Whether a byte may stand in the name of a header.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Upper case after each hyphen, lower case elsewhere.
fn canonical(name: &str) -> String {
    let mut upper = true;
    name.chars()
        .map(|c| {
            let c = if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
            upper = c == '-';
            c
        })
        .collect()
}
