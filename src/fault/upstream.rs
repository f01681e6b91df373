//! The address of an upstream.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

/// Length limit of a socket path on Linux, in bytes.
const MAX_SOCKET_PATH: usize = 107;

/// Default port of `http://` and `h2c://`.
const HTTP_PORT: u16 = 80;

/// The port of `https://` where none is given.
const HTTPS_PORT: u16 = 443;

/// The protocol and address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamAddress {
    protocol: UpstreamProtocol,
    place: UpstreamPlace,
}

/// The protocol of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge, in plain text (`h2c://`).
    Http2,
    /// HTTP/2 or HTTP/1.1 within TLS, as the upstream chooses (`https://`).
    Https,
}

impl UpstreamProtocol {
    /// All, each with its scheme.
    const SCHEMES: [(&str, Self); 3] =
        [("http://", Self::Http1), ("h2c://", Self::Http2), ("https://", Self::Https)];

    /// The scheme of an address over TCP.
    fn scheme(self) -> &'static str {
        match self {
            Self::Http1 => Self::SCHEMES[0].0,
            Self::Http2 => Self::SCHEMES[1].0,
            Self::Https => Self::SCHEMES[2].0,
        }
    }

    /// The port where none is given.
    const fn port(self) -> u16 {
        match self {
            Self::Http1 | Self::Http2 => HTTP_PORT,
            Self::Https => HTTPS_PORT,
        }
    }
}

/// The place of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamPlace {
    /// A host and a port.
    Tcp(UpstreamHost, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// The host of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamHost {
    /// An address.
    Ip(IpAddr),
    /// A name, resolved for each connection.
    Name(String),
}

/// An error of an upstream address. The message says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UpstreamError {
    /// No scheme, or an unknown one.
    #[error(
        "is not the address of an upstream, such as http://127.0.0.1:3000, https://stock:8443, h2c://127.0.0.1:50051 or unix:/run/app.sock"
    )]
    Form,
    /// An address without a scheme.
    #[error("has no scheme; write http://{0}")]
    NoScheme(String),
    /// More than a host and a port.
    #[error("has {0}; give only scheme, host and port; each request keeps its path and query")]
    Extra(&'static str),
    /// No host, or an invalid one.
    #[error("has no valid host before the port; put an IPv6 address in brackets")]
    Host,
    /// An unspecified address.
    #[error("is not an address to connect to; write 127.0.0.1, or the host's own address")]
    Unspecified,
    /// No port, or an invalid one.
    #[error("has no valid port; it is a whole number from 1 to 65535")]
    Port,
    /// A TCP upstream without a port.
    #[error("has no port; write it behind the host, such as postgres:5432, or http:// before it")]
    NoPort,
    /// A path that is not absolute, or too long.
    #[error("is not the path of a socket, such as unix:/run/app.sock, of at most {MAX_SOCKET_PATH} bytes")]
    SocketPath,
}

impl UpstreamAddress {
    /// Its protocol.
    pub const fn protocol(&self) -> UpstreamProtocol {
        self.protocol
    }

    /// Its place.
    pub const fn place(&self) -> &UpstreamPlace {
        &self.place
    }

    /// The host header of requests whose client sent none.
    pub fn authority(&self) -> String {
        match &self.place {
            UpstreamPlace::Tcp(host, port) if *port == self.protocol.port() => host.to_string(),
            UpstreamPlace::Tcp(host, port) => format!("{host}:{port}"),
            UpstreamPlace::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The host, without brackets; that of a Unix socket is this one.
    pub fn host(&self) -> String {
        self.place.host()
    }

    /// The port, if the host is certainly this machine.
    pub fn loopback_port(&self) -> Option<u16> {
        self.place.loopback_port()
    }
}

impl UpstreamPlace {
    /// The host, without brackets; that of a Unix socket is this one.
    pub fn host(&self) -> String {
        match self {
            Self::Tcp(UpstreamHost::Ip(ip), _) => ip.to_string(),
            Self::Tcp(UpstreamHost::Name(name), _) => name.clone(),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The port, if the host is certainly this machine.
    pub fn loopback_port(&self) -> Option<u16> {
        match self {
            Self::Tcp(UpstreamHost::Ip(ip), port) => ip.to_canonical().is_loopback().then_some(*port),
            Self::Tcp(UpstreamHost::Name(name), port) => (name == "localhost").then_some(*port),
            Self::Unix(_) => None,
        }
    }
}

impl FromStr for UpstreamAddress {
    type Err = UpstreamError;

    fn from_str(text: &str) -> Result<Self, UpstreamError> {
        let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///run/app.sock` is an alternative form.
            let path = path.strip_prefix("//").unwrap_or(path);
            let is_valid = path.starts_with('/') && path.len() <= MAX_SOCKET_PATH && !path.contains('\0');
            return if is_valid && path.len() > 1 {
                let place = UpstreamPlace::Unix(Path::new(path).to_path_buf());
                Ok(Self { protocol: UpstreamProtocol::Http1, place })
            } else {
                Err(UpstreamError::SocketPath)
            };
        }
        let Some((scheme, protocol)) =
            UpstreamProtocol::SCHEMES.into_iter().find(|(scheme, _)| lower.starts_with(scheme))
        else {
            let is_bare = !text.contains("://") && authority(text).is_ok();
            return Err(if is_bare { UpstreamError::NoScheme(text.to_owned()) } else { UpstreamError::Form });
        };
        let (host, port) = authority(&text[scheme.len()..])?;
        Ok(Self { protocol, place: UpstreamPlace::Tcp(host, port.unwrap_or(protocol.port())) })
    }
}

/// A host with an optional port.
fn authority(text: &str) -> Result<(UpstreamHost, Option<u16>), UpstreamError> {
    let text = text.strip_suffix('/').unwrap_or(text);
    for (sign, what) in [('@', "a user"), ('?', "a query"), ('#', "a fragment"), ('/', "a path")] {
        if text.contains(sign) {
            return Err(UpstreamError::Extra(what));
        }
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, rest) = rest.split_once(']').ok_or(UpstreamError::Host)?;
            let ip: std::net::Ipv6Addr = ip.parse().map_err(|_| UpstreamError::Host)?;
            let port = match rest {
                "" => None,
                _ => Some(rest.strip_prefix(':').ok_or(UpstreamError::Port)?),
            };
            (UpstreamHost::Ip(ip.into()), port)
        }
        None => match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => return Err(UpstreamError::Host),
            Some((host, port)) => (name(host)?, Some(port)),
            None => (name(text)?, None),
        },
    };
    if let UpstreamHost::Ip(ip) = &host
        && ip.to_canonical().is_unspecified()
    {
        return Err(UpstreamError::Unspecified);
    }
    let Some(port) = port else { return Ok((host, None)) };
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| is_number && *port > 0).ok_or(UpstreamError::Port)?;
    Ok((host, Some(port)))
}

fn name(text: &str) -> Result<UpstreamHost, UpstreamError> {
    if let Ok(ip) = text.parse::<std::net::Ipv4Addr>() {
        return Ok(UpstreamHost::Ip(ip.into()));
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let labels = text.strip_suffix('.').unwrap_or(text);
    // A name of only digits is a mistyped address.
    let is_number = labels.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if labels.len() > 253 || is_number || !labels.split('.').all(is_label) {
        return Err(UpstreamError::Host);
    }
    Ok(UpstreamHost::Name(text.to_ascii_lowercase()))
}

/// The place of a TCP upstream: `host:port`, or `tcp://host:port`.
impl FromStr for UpstreamPlace {
    type Err = UpstreamError;

    fn from_str(text: &str) -> Result<Self, UpstreamError> {
        let text = text.strip_prefix("tcp://").unwrap_or(text);
        if text.contains("://") || text.starts_with("unix:") {
            return Err(UpstreamError::Form);
        }
        let (host, port) = authority(text)?;
        Ok(Self::Tcp(host, port.ok_or(UpstreamError::NoPort)?))
    }
}

impl fmt::Display for UpstreamPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            UpstreamPlace::Tcp(host, port) => write!(f, "{}{host}:{port}", self.protocol.scheme()),
            UpstreamPlace::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for UpstreamHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<UpstreamAddress, UpstreamError> {
        text.parse()
    }

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown, authority) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://127.0.0.1:3000/", "http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("HTTP://App.Example", "http://app.example:80", "app.example"),
            ("http://stock_1:8080", "http://stock_1:8080", "stock_1:8080"),
            ("http://[::1]:3000", "http://[::1]:3000", "[::1]:3000"),
            ("http://[::1]", "http://[::1]:80", "[::1]"),
            ("h2c://127.0.0.1:50051", "h2c://127.0.0.1:50051", "127.0.0.1:50051"),
            ("H2C://[::1]/", "h2c://[::1]:80", "[::1]"),
            ("https://stock", "https://stock:443", "stock"),
            ("HTTPS://[::1]:8443/", "https://[::1]:8443", "[::1]:8443"),
            ("https://stock:80", "https://stock:80", "stock:80"),
            ("unix:/run/app.sock", "unix:/run/app.sock", "localhost"),
            ("unix:///run/app.sock", "unix:/run/app.sock", "localhost"),
        ] {
            let address = parsed(text).unwrap();
            assert_eq!((address.to_string().as_str(), address.authority().as_str()), (shown, authority));
            assert_eq!(parsed(shown), Ok(address), "{text}");
        }
    }

    #[test]
    fn each_wrong_address_says_what_is_wrong() {
        let long = format!("unix:/{}", "a".repeat(107));
        for (text, error) in [
            ("", UpstreamError::Form),
            ("3000", UpstreamError::Form),
            ("ftp://a", UpstreamError::Form),
            ("127.0.0.1:3000", UpstreamError::NoScheme("127.0.0.1:3000".to_owned())),
            ("localhost:3000", UpstreamError::NoScheme("localhost:3000".to_owned())),
            ("https://a:0", UpstreamError::Port),
            ("https://a/x", UpstreamError::Extra("a path")),
            ("h2c:a", UpstreamError::Form),
            ("h2://a", UpstreamError::Form),
            ("h2c://a:1/x", UpstreamError::Extra("a path")),
            ("http://a:1/x", UpstreamError::Extra("a path")),
            ("http://a:1?x", UpstreamError::Extra("a query")),
            ("http://a:1#x", UpstreamError::Extra("a fragment")),
            ("http://u:p@a:1", UpstreamError::Extra("a user")),
            ("http://", UpstreamError::Host),
            ("http://:3000", UpstreamError::Host),
            ("http://a b", UpstreamError::Host),
            ("http://-a", UpstreamError::Host),
            ("http://1.2.3", UpstreamError::Host),
            ("http://256.0.0.1", UpstreamError::Host),
            ("http://::1:3000", UpstreamError::Host),
            ("http://[::1", UpstreamError::Host),
            ("http://[::g]:1", UpstreamError::Host),
            ("http://[::1]3000", UpstreamError::Port),
            ("http://0.0.0.0:3000", UpstreamError::Unspecified),
            ("http://[::]:3000", UpstreamError::Unspecified),
            ("http://a:", UpstreamError::Port),
            ("http://a:0", UpstreamError::Port),
            ("http://a:+1", UpstreamError::Port),
            ("http://a:65536", UpstreamError::Port),
            ("http://a:b", UpstreamError::Port),
            ("unix:", UpstreamError::SocketPath),
            ("unix:/", UpstreamError::SocketPath),
            ("unix:run/app.sock", UpstreamError::SocketPath),
            (long.as_str(), UpstreamError::SocketPath),
        ] {
            assert_eq!(parsed(text), Err(error), "{text}");
        }
    }

    #[test]
    fn loopback_is_told_from_other_hosts() {
        for (text, port) in [
            ("http://127.0.0.1:1", Some(1)),
            ("http://127.9.9.9:1", Some(1)),
            ("http://[::1]:1", Some(1)),
            ("http://[::ffff:127.0.0.1]:1", Some(1)),
            ("http://localhost:1", Some(1)),
            ("http://10.0.0.1:1", None),
            ("http://app:1", None),
            ("unix:/a", None),
        ] {
            assert_eq!(parsed(text).unwrap().loopback_port(), port, "{text}");
        }
    }
}
