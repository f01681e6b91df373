//! Hop-by-hop fields, which are not forwarded, and fields that tell the upstream about the client (RFC 9110, section 7.6).

mod plain;
mod special;

use std::net::IpAddr;

use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};

use super::error::Refusal;
pub(super) use plain::{AnswerField, answer_field, is_plain, write_plain};
use special::SpecialField;
pub(super) use special::SpecialFields;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Lists the proxies that a request has passed (RFC 8586). `Via` is not used, because servers such as nginx do not compress
/// answers to requests with a `Via`.
static CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Prefix of this program's names in `CDN-Loop`.
const LOOP_PREFIX: &str = "kube-probesim-";

/// Limit of proxies of this program that a request may have passed.
const MAX_HOPS: usize = 10;

/// Fields that are kept even if `Connection` names them: otherwise, a client could hide them from the upstream.
fn is_protected(name: &HeaderName) -> bool {
    name == HOST
        || name == CONTENT_LENGTH
        || name == TRANSFER_ENCODING
        || name == FORWARDED
        || name == CDN_LOOP
        || name.as_str().starts_with("x-forwarded-")
}

/// Whether this entry of `Connection` is a connection option, or a field that is removed in any case.
fn is_option(name: &[u8]) -> bool {
    ["keep-alive", "close", "upgrade"].iter().any(|option| name.eq_ignore_ascii_case(option.as_bytes()))
}

/// The name by which a forwarder recognizes requests that it has forwarded before. Without one, it leaves no name.
#[derive(Clone, Debug)]
pub(super) struct Pseudonym(Option<HeaderValue>);

impl Pseudonym {
    pub(super) fn new(id: u64) -> Self {
        let name = HeaderValue::from_str(&format!("{LOOP_PREFIX}{id:016x}"));
        Self(Some(name.unwrap_or_else(|_| HeaderValue::from_static("kube-probesim"))))
    }

    /// No name, for a forwarder whose requests cannot come back.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// Whether a request has been here before, or has passed too many proxies of this program.
    pub(super) fn is_loop(&self, headers: &HeaderMap, present: SpecialFields) -> bool {
        let mut ours = 0;
        present.contain(SpecialField::CdnLoop)
            && headers.get_all(&CDN_LOOP).iter().flat_map(list).any(|entry| {
                let name = entry.split(|byte| *byte == b';').next().unwrap_or(entry).trim_ascii();
                ours += usize::from(name.starts_with(LOOP_PREFIX.as_bytes()));
                self.0.as_ref().is_some_and(|own| name == own.as_bytes()) || ours > MAX_HOPS
            })
    }

    fn sign(&self, headers: &mut HeaderMap, present: SpecialFields) {
        let Some(name) = &self.0 else { return };
        if present.contain(SpecialField::CdnLoop) {
            append(headers, &CDN_LOOP, name.as_bytes());
        } else {
            headers.insert(CDN_LOOP.clone(), name.clone());
        }
    }
}

/// Refuses requests that the upstream could understand differently. hyper has refused most of them already.
pub(super) fn check<B>(request: &Request<B>, present: SpecialFields) -> Result<(), Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    let headers = request.headers();
    if present.contain(SpecialField::TransferEncoding) {
        if request.version() < Version::HTTP_11 {
            return Err(Refusal::TransferCodingOfOldVersion);
        }
        if !is_chunked_once(headers) {
            return Err(Refusal::TransferCoding);
        }
    }
    if present.contain(SpecialField::ContentLength) {
        let mut lengths = headers.get_all(CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
        let length = lengths.next().unwrap_or_default();
        let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
        if !is_number || lengths.next().is_some() {
            return Err(Refusal::ContentLength);
        }
    }
    let expected = if present.contain(SpecialField::Expect) { headers.get(EXPECT) } else { None };
    match expected {
        Some(expected) if !expected.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Err(Refusal::Expectation)
        }
        _ => Ok(()),
    }
}

/// Whether the only transfer coding is `chunked`, once.
fn is_chunked_once(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    is_chunked && codings.next().is_none()
}

/// Whether a request asks to upgrade its connection to another protocol.
pub(super) fn wants_upgrade(request: &Request<Body>, present: SpecialFields) -> bool {
    request.version() == Version::HTTP_11
        && present.contain(SpecialField::Upgrade)
        // An upgrade to HTTP/2 would smuggle requests past the rules; RFC 9113 has deprecated it.
        && request.headers().get(UPGRADE).is_some_and(|to| !list(to).any(|to| to.eq_ignore_ascii_case(b"h2c")))
        && request.body().is_end_stream()
        && request
            .headers()
            .get_all(CONNECTION)
            .iter()
            .flat_map(list)
            .any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

/// How a request's head is changed.
#[derive(Debug)]
pub(super) struct RequestHop<'a> {
    /// The host to use if the client sent none.
    pub(super) authority: &'a HeaderValue,
    /// Marks the request, so that a loop is detected.
    pub(super) pseudonym: &'a Pseudonym,
    /// The client to tell the upstream about, and whether it uses TLS.
    pub(super) client: Option<(IpAddr, bool)>,
    /// Whether the request asks for an upgrade.
    pub(super) upgrade: bool,
    /// The scheme, if the upstream speaks HTTP/2.
    pub(super) http2: Option<Scheme>,
}

impl RequestHop<'_> {
    /// Converts the head into the one that the upstream gets.
    pub(super) fn apply<B>(&self, request: &mut Request<B>, present: SpecialFields) {
        let host = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
        if request.uri().scheme().is_some() || host.is_some() {
            *request.uri_mut() = origin_form(request);
        }
        let upgrade = if self.upgrade { request.headers_mut().remove(UPGRADE) } else { None };
        let takes_trailers = present.contain(SpecialField::Te)
            && request
                .headers()
                .get_all(TE)
                .iter()
                .flat_map(list)
                .any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
        let is_chunked = present.contain(SpecialField::TransferEncoding);
        let is_http2 = request.version() > Version::HTTP_11;
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        if is_http2 && present.contain(SpecialField::Cookie) {
            join_cookies(headers);
        }
        // A target in absolute form wins over the field (RFC 9112, section 3.2.2).
        if let Some(Ok(host)) = host {
            headers.insert(HOST, host);
        } else if !present.contain(SpecialField::Host) {
            headers.insert(HOST, self.authority.clone());
        }
        remove_hop(headers, present);
        if present.contain(SpecialField::Expect) {
            headers.remove(EXPECT);
        }
        if is_chunked {
            headers.remove(CONTENT_LENGTH);
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        if takes_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        if let Some(upgrade) = upgrade {
            headers.insert(UPGRADE, upgrade);
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        }
        if let Some((client, is_tls)) = self.client {
            add_client(headers, present, client, if is_tls { "https" } else { "http" });
        }
        self.pseudonym.sign(headers, present);
        if let Some(scheme) = &self.http2 {
            to_http2(request, scheme.clone());
        }
    }
}

/// Converts a request to HTTP/2: the target contains the host, and there are no transfer codings.
fn to_http2<B>(request: &mut Request<B>, scheme: Scheme) {
    request.headers_mut().remove(TRANSFER_ENCODING);
    let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
    // A host that is not a valid authority stays a field (RFC 9113, section 8.3.1).
    let Some(Ok(authority)) = host.filter(|host| !host.contains(&b'@')).map(Authority::try_from) else {
        return;
    };
    let target = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(request.uri().path_and_query().map_or("/", PathAndQuery::as_str));
    if let Ok(target) = target.build() {
        *request.uri_mut() = target;
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove(HOST);
    }
}

/// Joins cookies that an HTTP/2 client sent in several fields (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if cookies.next().is_some() && cookies.next().is_some() {
        let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
            headers.insert(COOKIE, joined);
        }
    }
}

/// The request target in origin form.
fn origin_form<B>(request: &Request<B>) -> Uri {
    let path = request.uri().path_and_query().filter(|path| !path.as_str().is_empty()).cloned();
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}

/// Checks the head of an answer. The error says what is wrong.
pub(super) fn check_answer<B>(
    response: &Response<B>,
    present: SpecialFields,
    upgrade: bool,
) -> Result<(), String> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS && !upgrade {
        return Err("an upgrade that the client did not request".to_owned());
    }
    if present.contain(SpecialField::TransferEncoding) && !is_chunked_once(response.headers()) {
        return Err("a Transfer-Encoding other than chunked".to_owned());
    }
    Ok(())
}

/// Converts the head into the one that the client gets.
pub(super) fn apply_to_answer<B>(response: &mut Response<B>, present: SpecialFields) {
    *response.version_mut() = Version::HTTP_11;
    let is_upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    let upgrade = if is_upgrade { headers.remove(UPGRADE) } else { None };
    remove_hop(headers, present);
    if present.contain(SpecialField::TransferEncoding) {
        // `Transfer-Encoding` takes precedence (RFC 9112, section 6.3).
        headers.remove(CONTENT_LENGTH);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(UPGRADE, upgrade);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Removes hop-by-hop fields and those that `Connection` names.
fn remove_hop(headers: &mut HeaderMap, present: SpecialFields) {
    if present.contain(SpecialField::Connection) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(list)
            .filter(|name| !is_option(name))
            .filter_map(|name| HeaderName::from_bytes(name).ok())
            .filter(|name| !is_protected(name))
            .collect();
        headers.remove(CONNECTION);
        for name in named {
            headers.remove(name);
        }
    }
    for (field, name) in [
        (SpecialField::KeepAlive, &KEEP_ALIVE),
        (SpecialField::ProxyConnection, &PROXY_CONNECTION),
        (SpecialField::Te, &TE),
        (SpecialField::TransferEncoding, &TRANSFER_ENCODING),
        (SpecialField::Upgrade, &UPGRADE),
    ] {
        if present.contain(field) {
            headers.remove(name);
        }
    }
}

/// Removes framing and hop-by-hop fields from trailers: a recipient that merges them into the head would change the message
/// (RFC 9110, section 6.5.1).
pub(super) fn apply_to_trailers(trailers: &mut HeaderMap) {
    for name in [&CONNECTION, &CONTENT_LENGTH, &HOST, &TE, &TRANSFER_ENCODING, &UPGRADE] {
        trailers.remove(name);
    }
    trailers.remove(&KEEP_ALIVE);
    trailers.remove(&PROXY_CONNECTION);
}

/// Adds the fields that tell the upstream about the client.
fn add_client(headers: &mut HeaderMap, present: SpecialFields, client: IpAddr, protocol: &'static str) {
    let client = client.to_canonical();
    let address = address(client);
    if present.contain(SpecialField::XForwardedFor) {
        append(headers, &X_FORWARDED_FOR, &address);
    } else if let Ok(value) = HeaderValue::from_maybe_shared(address) {
        headers.insert(X_FORWARDED_FOR.clone(), value);
    }
    if present.contain(SpecialField::Forwarded) {
        let element = match client {
            IpAddr::V4(ip) => format!("for={ip};proto={protocol}"),
            IpAddr::V6(ip) => format!("for=\"[{ip}]\";proto={protocol}"),
        };
        append(headers, &FORWARDED, element.as_bytes());
    }
    if !present.contain(SpecialField::XForwardedProto) {
        headers.insert(X_FORWARDED_PROTO.clone(), HeaderValue::from_static(protocol));
    }
    if !present.contain(SpecialField::XForwardedHost)
        && let Some(host) = headers.get(HOST).cloned()
    {
        headers.insert(X_FORWARDED_HOST.clone(), host);
    }
}

/// An address as text. IPv4 is written here, because formatting takes many times as long.
fn address(ip: IpAddr) -> Bytes {
    let IpAddr::V4(ip) = ip else { return ip.to_string().into() };
    let (mut text, mut length) = ([0; 15], 0);
    for (i, octet) in ip.octets().into_iter().enumerate() {
        let digits = [octet / 100, octet / 10 % 10, octet % 10].map(|digit| b'0' + digit);
        let shown = match octet {
            0..10 => 1,
            10..100 => 2,
            _ => 3,
        };
        if i > 0 {
            text[length] = b'.';
            length += 1;
        }
        text[length..length + shown].copy_from_slice(&digits[3 - shown..]);
        length += shown;
    }
    Bytes::copy_from_slice(&text[..length])
}

/// Appends an entry to a list field. Joins the field's lines, because some servers read only the first one.
fn append(headers: &mut HeaderMap, name: &HeaderName, entry: &[u8]) {
    let mut joined = Vec::new();
    for line in headers.get_all(name) {
        joined.extend_from_slice(line.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(entry);
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(joined)) {
        headers.insert(name.clone(), value);
    }
}

/// The entries of a list field.
fn list(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests;
