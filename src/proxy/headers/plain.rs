//! Fields of requests and answers that are forwarded without hyper.

use std::net::IpAddr;

use super::special::SpecialField;
use super::{CDN_LOOP, Pseudonym, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, address};
use crate::fault::RequestView as _;
use crate::listener::PlainHead;

/// Whether a field of a request is forwarded as it is, or is a `Connection` that [`PlainHead`] admits.
pub(in crate::proxy) fn is_plain(name: &str) -> bool {
    match SpecialField::of_text(name) {
        None => !is_ours(name) && !name.eq_ignore_ascii_case("trailer"),
        Some(field) => matches!(field, SpecialField::Connection | SpecialField::Cookie | SpecialField::Host),
    }
}

/// Whether a field speaks to this program.
fn is_ours(name: &str) -> bool {
    const PREFIX: &[u8] = b"x-probesim";
    name.as_bytes().get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// What a field of an answer means to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum AnswerField {
    Connection,
    Date,
    KeepAlive,
    Length,
    /// Nothing.
    Ordinary,
    /// Something that only hyper understands.
    Other,
}

/// What a field of an answer means to a proxy.
pub(in crate::proxy) fn answer_field(name: &str) -> AnswerField {
    match SpecialField::of_text(name) {
        Some(SpecialField::Connection) => AnswerField::Connection,
        Some(SpecialField::KeepAlive) => AnswerField::KeepAlive,
        Some(SpecialField::ContentLength) => AnswerField::Length,
        Some(
            SpecialField::ProxyConnection
            | SpecialField::Te
            | SpecialField::TransferEncoding
            | SpecialField::Upgrade,
        ) => AnswerField::Other,
        _ if name.eq_ignore_ascii_case("date") => AnswerField::Date,
        _ if name.eq_ignore_ascii_case("trailer") => AnswerField::Other,
        _ => AnswerField::Ordinary,
    }
}

/// The usual length of the line and the fields that are added to a request, in bytes.
const ADDED: usize = 192;

/// A request as the upstream gets it, whose fields are all [plain](is_plain). `client` is told to the upstream: its address,
/// and whether it uses TLS.
pub(in crate::proxy) fn write_plain(
    head: &PlainHead<'_>,
    client: Option<(IpAddr, bool)>,
    pseudonym: &Pseudonym,
) -> Vec<u8> {
    let fields: usize = head.fields.iter().map(|field| field.name.len() + field.value.len() + 4).sum();
    let mut request = Vec::with_capacity(head.target.len() + fields + ADDED);
    let mut write = |parts: [&[u8]; 4]| parts.iter().for_each(|part| request.extend_from_slice(part));
    write([b"GET ", head.target.as_bytes(), b" HTTP/1.1", b"\r\n"]);
    let mut field = |name: &str, value: &[u8]| write([name.as_bytes(), b": ", value, b"\r\n"]);
    for header in head.fields {
        if !header.name.eq_ignore_ascii_case("connection") {
            field(header.name, header.value);
        }
    }
    if let Some((ip, is_tls)) = client {
        field(X_FORWARDED_FOR.as_str(), &address(ip.to_canonical()));
        field(X_FORWARDED_PROTO.as_str(), if is_tls { b"https" } else { b"http" });
        field(X_FORWARDED_HOST.as_str(), head.host().unwrap_or_default().as_bytes());
    }
    if let Some(name) = &pseudonym.0 {
        field(CDN_LOOP.as_str(), name.as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    request
}
