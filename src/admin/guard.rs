//! Access control of the admin API.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::Request;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::{HeaderMap, StatusCode, Version};
use subtle::{Choice, ConstantTimeEq};

use super::answer::ProblemDetails;
use crate::env::Token;
use crate::sources::watch::{self, PollResult};

/// Carries the token when `Authorization` is not available: the API server's proxy consumes it.
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-probesim-token");

/// Headers that reverse proxies add. A name that ends in a hyphen is a prefix.
const PROXY_HEADERS: [&str; 18] = [
    "cdn-loop",
    "cf-",
    "client-ip",
    "fastly-",
    "fly-",
    "forwarded",
    "l5d-",
    "true-client-ip",
    "via",
    "x-amzn-",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-",
    "x-forwarded",
    "x-forwarded-",
    "x-original-",
    "x-proxyuser-ip",
    "x-real-ip",
];

/// Decides which callers are allowed.
pub(super) struct Guard {
    token: Option<Token>,
    /// Whether loopback callers are allowed when there is no token.
    loopback: bool,
}

/// Both addresses of a caller's connection.
pub(super) struct Caller {
    pub(super) peer: SocketAddr,
    /// The address that the caller connected to.
    pub(super) local: Option<SocketAddr>,
}

impl Guard {
    pub(super) fn new(token: Option<Token>, loopback: bool) -> Self {
        Self { token, loopback }
    }

    /// Returns an error if the request is not allowed.
    pub(super) fn check(&self, caller: &Caller, request: &Request) -> Result<(), ProblemDetails> {
        let hosts = hosts(request)?;
        if let Some(token) = &self.token {
            // Pages of other sites do not know the token. Behind the API server's proxy or an ingress, the Origin is theirs.
            return check_token(token, request.headers());
        }
        if !has_own_origin(request.headers(), &hosts) {
            return Err(forbidden(
                "the Origin is not that of this service: pages of other sites must not control it",
            ));
        }
        if !self.loopback {
            return Err(forbidden(
                "ADMIN_LOOPBACK is false and no token is set; set ADMIN_TOKEN or ADMIN_TOKEN_FILE",
            ));
        }
        check_loopback(caller, request, &hosts)
    }
}

fn forbidden(detail: impl Into<String>) -> ProblemDetails {
    ProblemDetails::new(StatusCode::FORBIDDEN, detail)
}

/// The hosts that a request names, in its URI and in `Host`. HTTP/1.1 requires exactly one `Host` (RFC 9112, 3.2).
fn hosts(request: &Request) -> Result<Vec<&str>, ProblemDetails> {
    let bad = |detail: &str| ProblemDetails::new(StatusCode::BAD_REQUEST, detail);
    let headers = request.headers().get_all(HOST);
    match headers.iter().count() {
        0 if request.version() == Version::HTTP_11 => return Err(bad("HTTP/1.1 requires a Host header")),
        0 | 1 => {}
        _ => return Err(bad("there is more than one Host header")),
    }
    let target = request.uri().authority().map(|authority| Ok(authority.as_str()));
    let header = headers.iter().map(HeaderValue::to_str);
    let hosts: Result<Vec<&str>, _> = target.into_iter().chain(header).collect();
    let hosts = hosts.map_err(|_| bad("the Host is not a host name or an IP address"))?;
    if hosts.iter().any(|host| host.contains('@')) {
        return Err(bad("the Host contains @, which is not allowed in a host name"));
    }
    Ok(hosts)
}

/// Whether there is no `Origin`, or one that matches the requested host.
fn has_own_origin(headers: &HeaderMap, hosts: &[&str]) -> bool {
    headers.get_all(ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().unwrap_or_default().split_once("://");
        let is_own = |host: &&str| origin.is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host));
        !hosts.is_empty() && hosts.iter().all(is_own)
    })
}

fn check_token(token: &Token, headers: &HeaderMap) -> Result<(), ProblemDetails> {
    let expected = match token {
        Token::Text(token) => token.clone(),
        Token::File(path) => match watch::read(path) {
            PollResult::Text(token) => token,
            PollResult::Missing => return Err(no_token("does not exist")),
            PollResult::Unreadable(reason) => return Err(no_token(&reason)),
        },
    };
    let expected = expected.trim().as_bytes();
    if expected.is_empty() {
        return Err(no_token("is empty"));
    }
    let bearers = headers.get_all(AUTHORIZATION).iter().filter_map(|value| bearer(value.as_bytes()));
    let plain = headers.get_all(TOKEN_HEADER).iter().map(|value| value.as_bytes().trim_ascii());
    let given: Vec<&[u8]> = bearers.chain(plain).collect();
    if given.is_empty() {
        let needed = "a token is required: Authorization: Bearer TOKEN, or X-Probesim-Token: TOKEN";
        return Err(ProblemDetails::unauthorized(needed));
    }
    let is_right = given.iter().fold(Choice::from(0), |any, token| any | token.ct_eq(expected));
    if is_right.into() { Ok(()) } else { Err(ProblemDetails::unauthorized("the token is wrong")) }
}

fn no_token(reason: &str) -> ProblemDetails {
    ProblemDetails::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("ADMIN_TOKEN_FILE {reason}: access is denied"),
    )
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
}

/// Allows a caller in this network namespace that is not a proxy for somebody else.
///
/// A reverse proxy in the Pod connects from loopback, too. It is rejected if HTTP/1.0, the forwarded host or the
/// headers it adds give it away.
fn check_loopback(caller: &Caller, request: &Request, hosts: &[&str]) -> Result<(), ProblemDetails> {
    const TOKEN: &str = "set ADMIN_TOKEN or ADMIN_TOKEN_FILE to admit it";
    if !is_exact_loopback(caller.peer.ip())
        || !caller.local.is_some_and(|local| is_exact_loopback(local.ip()))
    {
        return Err(forbidden(
            "without ADMIN_TOKEN or ADMIN_TOKEN_FILE only loopback callers are answered, as by kubectl exec and \
             kubectl port-forward",
        ));
    }
    if !matches!(request.version(), Version::HTTP_11 | Version::HTTP_2) {
        return Err(forbidden(format!("the request is HTTP/1.0, which reverse proxies send; {TOKEN}")));
    }
    // Protects against DNS rebinding: a foreign name may resolve to loopback and let its page control the service.
    if hosts.is_empty() || !hosts.iter().all(|host| is_loopback_host(host)) {
        return Err(forbidden("the Host is not a loopback name such as localhost"));
    }
    match request.headers().keys().find(|name| is_of_proxy(name)) {
        Some(name) => Err(forbidden(format!("the header {name} shows a reverse proxy; {TOKEN}"))),
        None => Ok(()),
    }
}

fn is_of_proxy(header: &HeaderName) -> bool {
    // Servers that hand headers to programs in the style of CGI spell both alike.
    let header = header.as_str().replace('_', "-");
    PROXY_HEADERS.iter().any(|known| header == *known || (known.ends_with('-') && header.starts_with(known)))
}

/// Whether this is 127.0.0.1 or `::1`. The rest of 127/8 does not count: a mesh delivers remote requests from
/// 127.0.0.6.
fn is_exact_loopback(ip: IpAddr) -> bool {
    matches!(ip.to_canonical(), IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST))
}

fn is_loopback_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, "0"),
        Some((address, rest)) => match rest.strip_prefix(':') {
            Some(port) => (address, port),
            None => return false,
        },
        None => host.rsplit_once(':').unwrap_or((host, "0")),
    };
    if port.parse::<u16>().is_err() {
        return false;
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests;
