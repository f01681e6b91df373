//! Why a text is not a URL.

use thiserror::Error;

use super::super::quote::quoted;

/// Why a text is not a URL, with Go's messages.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UrlError {
    /// A control character.
    #[error("net/url: invalid control character in URL")]
    Control,
    /// A colon without a scheme before it.
    #[error("missing protocol scheme")]
    NoScheme,
    /// A percent sign without two hexadecimal digits, or an escape that is not allowed in this part of the URL.
    #[error("invalid URL escape {}", quoted(.0))]
    Escape(Vec<u8>),
    /// A character that is not allowed in a host.
    #[error("invalid character {} in host name", quoted(.0))]
    HostCharacter(Vec<u8>),
    /// An IPv6 literal without closing bracket.
    #[error("missing ']' in host")]
    Bracket,
    /// Brackets around something other than an IPv6 address.
    #[error("invalid IP-literal")]
    Literal,
    /// Brackets around something that is not an IP address.
    #[error("invalid host: ParseAddr({}): unable to parse IP", quoted(.0))]
    Address(Vec<u8>),
    /// An IPv6 address with an empty zone.
    #[error("invalid host: ParseAddr({}): zone must be a non-empty string", quoted(.0))]
    Zone(Vec<u8>),
    /// A port that is not a number.
    #[error("invalid port {} after host", quoted(.0))]
    Port(Vec<u8>),
    /// A character that is not allowed in a user or password.
    #[error("net/url: invalid userinfo")]
    User,
    /// A relative path that looks like a scheme.
    #[error("first path segment in URL cannot contain colon")]
    Colon,
}

/// Why a `Location` is not a URL.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("parse {}: {error}", quoted(.text))]
pub(in crate::prober) struct LocationError {
    /// The part that Go's message quotes.
    pub(in crate::prober) text: Vec<u8>,
    pub(in crate::prober) error: UrlError,
}
