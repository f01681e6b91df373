//! The host of a URL.

use std::net::IpAddr;

use super::error::UrlError;
use super::escape::{Part, unescaped};

/// Parses a host with its port and returns it unescaped. In HTTP URLs, a host without brackets has at most one
/// colon.
pub(super) fn read(scheme: &str, host: &[u8]) -> Result<Vec<u8>, UrlError> {
    match host.iter().rposition(|c| *c == b'[') {
        None => {}
        Some(0) => return read_literal(host),
        Some(_) => return Err(UrlError::Literal),
    }
    let is_strict = matches!(scheme, "http" | "https");
    let is_colon = |c: &u8| *c == b':';
    let colon = if is_strict { host.iter().position(is_colon) } else { host.iter().rposition(is_colon) };
    if let Some(colon) = colon {
        check_port(&host[colon..])?;
    }
    unescaped(host, Part::Host)
}

/// Parses an IPv6 address in brackets, with its port.
fn read_literal(host: &[u8]) -> Result<Vec<u8>, UrlError> {
    let end = host.iter().rposition(|c| *c == b']').ok_or(UrlError::Bracket)?;
    let port = &host[end + 1..];
    check_port(port)?;
    let address = &host[1..end];
    let zone = address.windows(3).position(|window| window == b"%25").unwrap_or(address.len());
    let mut literal = unescaped(&address[..zone], Part::Host)?;
    literal.extend(unescaped(&address[zone..], Part::Zone)?);
    check_address(&literal)?;
    Ok([b"[", literal.as_slice(), b"]", port].concat())
}

fn check_address(literal: &[u8]) -> Result<(), UrlError> {
    let wrong = || UrlError::Address(literal.to_vec());
    let (address, zone) = match literal.iter().position(|c| *c == b'%') {
        Some(at) => (&literal[..at], Some(&literal[at + 1..])),
        None => (literal, None),
    };
    let address = std::str::from_utf8(address).map_err(|_| wrong())?;
    match (address.parse::<IpAddr>(), zone) {
        (_, Some([])) => Err(UrlError::Zone(literal.to_vec())),
        (Ok(IpAddr::V6(_)), _) => Ok(()),
        (Ok(IpAddr::V4(_)), None) => Err(UrlError::Literal),
        _ => Err(wrong()),
    }
}

/// Checks that the text is empty, or a colon and digits.
fn check_port(text: &[u8]) -> Result<(), UrlError> {
    if is_port(text) { Ok(()) } else { Err(UrlError::Port(text.to_vec())) }
}

fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Splits a host into its name, without brackets, and its port, which may be empty.
pub(super) fn split(host: &[u8]) -> (&[u8], &[u8]) {
    let colon = host.iter().rposition(|c| *c == b':').filter(|colon| is_port(&host[*colon..]));
    let (name, port) = match colon {
        Some(colon) => (&host[..colon], &host[colon + 1..]),
        None => (host, &[][..]),
    };
    (name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")).unwrap_or(name), port)
}
