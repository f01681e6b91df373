//! Who may steer.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use hyper::header::{AUTHORIZATION, HOST, ORIGIN};
use hyper::{HeaderMap, StatusCode};

use super::answer::Problem;
use crate::env::Token;
use crate::sources::watch::{self, Content};

/// Decides who is answered.
pub(super) struct Guard(Option<Token>);

impl Guard {
    pub(super) fn new(token: Option<Token>) -> Self {
        Self(token)
    }

    /// Whether a request of `peer` may be answered.
    pub(super) fn check(&self, peer: SocketAddr, request: &Request) -> Result<(), Problem> {
        let headers = request.headers();
        let forbidden = |detail: &str| Problem::new(StatusCode::FORBIDDEN, detail);
        let host = request.uri().authority().map(hyper::http::uri::Authority::as_str);
        let host = host.or_else(|| headers.get(HOST)?.to_str().ok()).unwrap_or_default();
        if !has_own_origin(headers, host) {
            return Err(forbidden("the Origin is not this service's: pages of others may not steer it"));
        }
        let Some(token) = &self.0 else {
            if !peer.ip().to_canonical().is_loopback() {
                return Err(forbidden(
                    "without ADMIN_TOKEN or ADMIN_TOKEN_FILE only loopback peers are answered, as by kubectl exec and kubectl port-forward",
                ));
            }
            // A page may have its own name resolve to loopback.
            if !is_loopback(host) {
                return Err(forbidden("the Host is not a loopback one, such as localhost"));
            }
            return Ok(());
        };
        let expected = match token {
            Token::Text(token) => token.clone(),
            Token::File(path) => match watch::read(path) {
                Content::Text(token) => token,
                Content::Missing => return Err(no_token("is not there")),
                Content::Unreadable(reason) => return Err(no_token(&reason)),
            },
        };
        let expected = expected.trim();
        if expected.is_empty() {
            return Err(no_token("is empty"));
        }
        let given = headers.get(AUTHORIZATION).map(hyper::header::HeaderValue::as_bytes);
        let Some(given) = given.and_then(bearer) else {
            return Err(Problem::unauthorized("a token is needed: Authorization: Bearer TOKEN"));
        };
        if is_same(given, expected.as_bytes()) {
            Ok(())
        } else {
            Err(Problem::unauthorized("the token is not the right one"))
        }
    }
}

fn no_token(reason: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("ADMIN_TOKEN_FILE {reason}: nobody may steer"))
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
}

/// Compares in a time that tells nothing but the length.
fn is_same(given: &[u8], expected: &[u8]) -> bool {
    let differences = given.iter().zip(expected).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
    given.len() == expected.len() && differences == 0
}

/// Whether there is no `Origin`, or one with the host that was asked.
fn has_own_origin(headers: &HeaderMap, host: &str) -> bool {
    headers.get_all(ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        origin.split_once("://").is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host))
    })
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => address,
        Some((address, port)) if port.starts_with(':') => address,
        Some(_) => return false,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_those_that_lead_nowhere_else() {
        for host in [
            "localhost",
            "LocalHost:8081",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]",
            "[::1]:8081",
            "localhost.",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "probesim",
            "127.0.0.1.example.org",
            "10.0.0.1:8081",
            "[fe80::1]",
            "[::1]evil",
            "localhost.example",
            "0.0.0.0",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn tokens_are_compared_as_a_whole() {
        assert!(is_same(b"secret", b"secret"));
        for given in [&b"secre"[..], b"secret1", b"", b"secreT"] {
            assert!(!is_same(given, b"secret"));
        }
        assert_eq!(bearer(b"bEaReR  x "), Some(&b"x"[..]));
        assert_eq!(bearer(b"Basic x"), None);
    }
}
