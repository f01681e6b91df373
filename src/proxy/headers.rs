//! Hop-by-hop fields, which are not forwarded, and fields that tell the upstream about the client (RFC 9110, section 7.6).

use std::net::IpAddr;

use axum::body::Body;
use http_body::Body as _;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, Entry, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};

use super::error::Refusal;

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

/// The name by which a forwarder recognizes requests that it has forwarded before.
#[derive(Clone, Debug)]
pub(super) struct Pseudonym(HeaderValue);

impl Pseudonym {
    pub(super) fn new(id: u64) -> Self {
        let name = HeaderValue::from_str(&format!("{LOOP_PREFIX}{id:016x}"));
        Self(name.unwrap_or_else(|_| HeaderValue::from_static("kube-probesim")))
    }

    /// Whether a request has been here before, or has passed too many proxies of this program.
    pub(super) fn is_loop(&self, headers: &HeaderMap) -> bool {
        let mut ours = 0;
        headers.get_all(&CDN_LOOP).iter().flat_map(list).any(|entry| {
            let name = entry.split(|byte| *byte == b';').next().unwrap_or(entry).trim_ascii();
            ours += usize::from(name.starts_with(LOOP_PREFIX.as_bytes()));
            name == self.0.as_bytes() || ours > MAX_HOPS
        })
    }

    fn sign(&self, headers: &mut HeaderMap) {
        match headers.entry(&CDN_LOOP) {
            Entry::Vacant(first) => drop(first.insert(self.0.clone())),
            Entry::Occupied(_) => append(headers, &CDN_LOOP, self.0.as_bytes()),
        }
    }
}

/// Refuses requests that the upstream could understand differently. hyper has refused most of them already.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    let headers = request.headers();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if request.version() < Version::HTTP_11 {
            return Err(Refusal::TransferCodingOfOldVersion);
        }
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
            return Err(Refusal::TransferCoding);
        }
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let is_number = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
        if !is_number || lengths.next().is_some() {
            return Err(Refusal::ContentLength);
        }
    }
    match headers.get(EXPECT) {
        Some(expected) if !expected.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Err(Refusal::Expectation)
        }
        _ => Ok(()),
    }
}

/// Whether a request asks to upgrade its connection to another protocol.
pub(super) fn wants_upgrade(request: &Request<Body>) -> bool {
    request.version() == Version::HTTP_11
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
    pub(super) fn apply<B>(&self, request: &mut Request<B>) {
        let host = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
        if request.uri().scheme().is_some() || host.is_some() {
            *request.uri_mut() = origin_form(request);
        }
        let upgrade = if self.upgrade { request.headers_mut().remove(UPGRADE) } else { None };
        let takes_trailers = request
            .headers()
            .get_all(TE)
            .iter()
            .flat_map(list)
            .any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
        let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
        let is_http2 = request.version() > Version::HTTP_11;
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        if is_http2 {
            join_cookies(headers);
        }
        // A target in absolute form wins over the field (RFC 9112, section 3.2.2).
        if let Some(Ok(host)) = host {
            headers.insert(HOST, host);
        }
        if let Entry::Vacant(host) = headers.entry(HOST) {
            host.insert(self.authority.clone());
        }
        remove_hop(headers);
        headers.remove(EXPECT);
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
            add_client(headers, client, if is_tls { "https" } else { "http" });
        }
        self.pseudonym.sign(headers);
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
pub(super) fn check_answer<B>(response: &Response<B>, upgrade: bool) -> Result<(), String> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS && !upgrade {
        return Err("an upgrade that the client did not request".to_owned());
    }
    let mut codings = response.headers().get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next()
        && (!coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some())
    {
        return Err("a Transfer-Encoding other than chunked".to_owned());
    }
    Ok(())
}

/// Converts the head into the one that the client gets.
pub(super) fn apply_to_answer<B>(response: &mut Response<B>) {
    *response.version_mut() = Version::HTTP_11;
    let is_upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    let upgrade = if is_upgrade { headers.remove(UPGRADE) } else { None };
    let is_chunked = headers.contains_key(TRANSFER_ENCODING);
    remove_hop(headers);
    if is_chunked {
        // `Transfer-Encoding` takes precedence (RFC 9112, section 6.3).
        headers.remove(CONTENT_LENGTH);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(UPGRADE, upgrade);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Removes hop-by-hop fields and those that `Connection` names.
fn remove_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
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
    for name in [&KEEP_ALIVE, &PROXY_CONNECTION, &TE, &TRANSFER_ENCODING, &UPGRADE] {
        headers.remove(name);
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
fn add_client(headers: &mut HeaderMap, client: IpAddr, protocol: &'static str) {
    let client = client.to_canonical();
    append(headers, &X_FORWARDED_FOR, client.to_string().as_bytes());
    if headers.contains_key(FORWARDED) {
        let element = match client {
            IpAddr::V4(ip) => format!("for={ip};proto={protocol}"),
            IpAddr::V6(ip) => format!("for=\"[{ip}]\";proto={protocol}"),
        };
        append(headers, &FORWARDED, element.as_bytes());
    }
    if !headers.contains_key(&X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO.clone(), HeaderValue::from_static(protocol));
    }
    if !headers.contains_key(&X_FORWARDED_HOST)
        && let Some(host) = headers.get(HOST).cloned()
    {
        headers.insert(X_FORWARDED_HOST.clone(), host);
    }
}

/// Appends an entry to a list field. Joins the field's lines, because some servers read only the first one.
fn append(headers: &mut HeaderMap, name: &HeaderName, entry: &[u8]) {
    let mut joined = Vec::new();
    for line in headers.get_all(name) {
        joined.extend_from_slice(line.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(entry);
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        headers.insert(name.clone(), value);
    }
}

/// The entries of a list field.
fn list(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(mut request: Request<()>) -> Request<()> {
        let authority = HeaderValue::from_static("app:3000");
        let pseudonym = Pseudonym::new(7);
        RequestHop {
            authority: &authority,
            pseudonym: &pseudonym,
            client: None,
            upgrade: false,
            http2: None,
        }
        .apply(&mut request);
        request
    }

    #[test]
    fn cookies_in_several_http_2_fields_are_joined() {
        let request = |version| {
            let request = Request::builder().version(version).header(COOKIE, "a=1").header(COOKIE, "b=2");
            applied(request.body(()).unwrap())
        };
        assert_eq!(request(Version::HTTP_2).headers()[COOKIE], "a=1; b=2");
        assert_eq!(request(Version::HTTP_11).headers().get_all(COOKIE).iter().count(), 2);
    }

    #[test]
    fn a_loop_is_detected_by_the_own_name_or_by_too_many_hops() {
        let forwarded = applied(Request::new(()));
        assert!(Pseudonym::new(7).is_loop(forwarded.headers()));
        assert!(!Pseudonym::new(8).is_loop(forwarded.headers()));
        let mut headers = HeaderMap::new();
        for id in 0..=MAX_HOPS as u64 {
            assert!(!Pseudonym::new(99).is_loop(&headers), "{id}");
            Pseudonym::new(id).sign(&mut headers);
        }
        assert!(Pseudonym::new(99).is_loop(&headers), "too many hops");
    }
}
