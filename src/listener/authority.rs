//! Validation of the host that a request names (RFC 9112, section 3.2).

use hyper::header::HOST;
use hyper::{Request, Version};

/// Whether a request names its host as required and in a valid form: exactly once in HTTP/1.1, at most once in
/// HTTP/1.0, and as authority or host in HTTP/2.
pub(super) fn is_valid<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host_is_valid = match hosts.next() {
        Some(host) => is_host(host.as_bytes()) && hosts.next().is_none(),
        // HTTP/2 has the authority instead.
        None => request.version() < Version::HTTP_11 || is_named_by_target(request),
    };
    // A target in absolute form contains a host.
    host_is_valid && request.uri().authority().is_none_or(|authority| is_host(authority.as_str().as_bytes()))
}

fn is_named_by_target<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2 && request.uri().authority().is_some()
}

/// Whether this is a host with an optional port, or empty (required for a target without a host). User information is
/// not allowed.
pub(super) fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|c| *c == b']') else { return false };
            let is_address = |c: &u8| c.is_ascii_hexdigit() || matches!(c, b':' | b'.');
            if end == 0 || !rest[..end].iter().all(is_address) {
                return false;
            }
            match &rest[end + 1..] {
                [] => return true,
                [b':', port @ ..] => (&b""[..], port),
                _ => return false,
            }
        }
        None => match host.iter().position(|c| *c == b':') {
            Some(colon) => (&host[..colon], &host[colon + 1..]),
            None => (host, &b""[..]),
        },
    };
    // Characters of a registered name (RFC 3986, section 3.2.2).
    let is_of_name = |c: &u8| {
        c.is_ascii_alphanumeric()
            || matches!(
                c,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'%'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            )
    };
    name.iter().all(is_of_name) && port.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses_with_an_optional_port() {
        for host in ["", "a", "example.org:8080", "10.0.0.1", "[::1]", "[fe80::1]:80", "a_b-c", "a:"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in ["a@b", "user:pass@host", "a b", "a/b", "a:b", "[::1", "[::1]x", "[]", "a:1:2", "\u{e4}"]
        {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
