use super::*;
use axum::body::Body;

const LOCAL: &str = "127.0.0.1:8081";

fn request(version: Version, target: &str, headers: &[(&str, &str)]) -> Request {
    let builder = Request::builder().version(version).uri(target);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(Body::empty()).unwrap()
}

fn status(guard: &Guard, peer: &str, local: &str, request: &Request) -> u16 {
    let caller = Caller { peer: peer.parse().unwrap(), local: local.parse().ok() };
    guard.check(&caller, request).map_or_else(|problem| problem.answer().status().as_u16(), |()| 200)
}

#[test]
fn loopback_callers_have_a_loopback_address_at_both_ends() {
    let guard = Guard::new(None, true);
    let request = request(Version::HTTP_11, "/v1/state", &[("host", "localhost:8081")]);
    for (peer, local, expected) in [
        ("127.0.0.1:5", LOCAL, 200),
        ("[::1]:5", "[::1]:8081", 200),
        ("[::ffff:127.0.0.1]:5", "[::ffff:127.0.0.1]:8081", 200),
        ("127.0.0.6:5", LOCAL, 403),
        ("127.0.0.1:5", "127.0.0.2:8081", 403),
        ("127.0.0.1:5", "10.0.0.5:8081", 403),
        ("10.0.0.5:5", LOCAL, 403),
        ("127.0.0.1:5", "unknown", 403),
    ] {
        assert_eq!(status(&guard, peer, local, &request), expected, "{peer} {local}");
    }
}

#[test]
fn a_request_through_a_proxy_needs_a_token() {
    let (open, closed) = (Guard::new(None, true), Guard::new(Some(Token::Text("secret".into())), true));
    for sign in [
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Client-Cert",
        "X-Forwarded",
        "X_Forwarded_For",
        "X_Real_IP",
        "X-Forwarded_Host",
        "x_envoy_internal",
        "X-Real-IP",
        "X-Envoy-External-Address",
        "X-Original-Forwarded-For",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "X-ProxyUser-Ip",
        "X-Original-Host",
        "X-Original-URL",
        "X-Amzn-Trace-Id",
        "Client-IP",
        "Fly-Client-IP",
        "Fastly-Client-IP",
        "CDN-Loop",
        "True-Client-IP",
        "CF-Connecting-IP",
        "L5d-Client-Id",
        "Via",
    ] {
        let headers = [("host", "localhost"), (sign, ""), ("x-probesim-token", "secret"), ("x-other", "1")];
        let request = request(Version::HTTP_11, "/v1/state", &headers);
        assert_eq!(status(&open, "127.0.0.1:5", LOCAL, &request), 403, "{sign}");
        assert_eq!(status(&closed, "127.0.0.1:5", LOCAL, &request), 200, "{sign}");
    }
    for harmless in ["X-Real-IPs", "Client-IPs", "Flying", "X-Original", "Viable", "X-Envoy", "X-Request-Id"]
    {
        let headers = [("host", "localhost"), (harmless, "1")];
        let request = request(Version::HTTP_11, "/v1/state", &headers);
        assert_eq!(status(&open, "127.0.0.1:5", LOCAL, &request), 200, "{harmless}");
    }
}

#[test]
fn exactly_one_host_is_required_and_it_is_a_loopback_name() {
    let guard = Guard::new(None, true);
    let (h10, h11, h2) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
    for (version, target, hosts, expected) in [
        (h11, "/v1/state", &["localhost"][..], 200),
        (h11, "/v1/state", &[], 400),
        (h11, "/v1/state", &["localhost", "localhost"], 400),
        (h11, "/v1/state", &["a@localhost"], 400),
        (h11, "/v1/state", &["probesim.example"], 403),
        (h11, "http://localhost/v1/state", &["localhost"], 200),
        (h11, "http://localhost/v1/state", &["probesim.example"], 403),
        (h11, "http://probesim.example/v1/state", &["localhost"], 403),
        (h10, "/v1/state", &["localhost"], 403),
        (h10, "/v1/state", &[], 403),
        (h2, "http://localhost:8081/v1/state", &[], 200),
        (h2, "http://probesim.example/v1/state", &[], 403),
        (h2, "http://a@localhost/v1/state", &[], 400),
        (h2, "/v1/state", &[], 403),
    ] {
        let headers: Vec<(&str, &str)> = hosts.iter().map(|host| ("host", *host)).collect();
        let request = request(version, target, &headers);
        assert_eq!(
            status(&guard, "127.0.0.1:5", LOCAL, &request),
            expected,
            "{version:?} {target} {hosts:?}"
        );
    }
}

#[test]
fn without_loopback_and_without_a_token_everyone_is_rejected() {
    let request =
        request(Version::HTTP_11, "/v1/state", &[("host", "localhost"), ("authorization", "Bearer secret")]);
    assert_eq!(status(&Guard::new(None, false), "127.0.0.1:5", LOCAL, &request), 403);
    for loopback in [true, false] {
        let guard = Guard::new(Some(Token::Text("secret".into())), loopback);
        assert_eq!(status(&guard, "10.0.0.5:5", "10.0.0.6:8081", &request), 200);
    }
}

#[test]
fn the_full_token_is_compared_and_either_header_carries_it() {
    let guard = Guard::new(Some(Token::Text("secret".into())), true);
    for (headers, expected) in [
        (&[("authorization", "Bearer secret")][..], 200),
        (&[("authorization", "bEaReR  secret ")], 200),
        (&[("x-probesim-token", "secret")], 200),
        (&[("authorization", "Basic x"), ("x-probesim-token", "secret")], 200),
        (&[("authorization", "Bearer of-the-cluster"), ("x-probesim-token", "secret")], 200),
        (&[("authorization", "Bearer secre")], 401),
        (&[("authorization", "Bearer secret1")], 401),
        (&[("authorization", "Bearer secreT")], 401),
        (&[("authorization", "Bearer ")], 401),
        (&[("authorization", "Basic secret")], 401),
        (&[("x-probesim-token", "")], 401),
        (&[], 401),
    ] {
        let headers: Vec<(&str, &str)> = headers.iter().copied().chain([("host", "web-0")]).collect();
        let request = request(Version::HTTP_11, "/v1/state", &headers);
        assert_eq!(status(&guard, "10.0.0.5:5", "10.0.0.6:8081", &request), expected, "{headers:?}");
    }
}

#[test]
fn only_names_that_always_resolve_to_loopback_are_loopback_hosts() {
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
        assert!(is_loopback_host(host), "{host}");
    }
    for host in [
        "",
        "probesim",
        "127.0.0.1.example.org",
        "10.0.0.1:8081",
        "[fe80::1]",
        "[::1]evil",
        "[::1]:",
        "localhost:",
        "localhost:80evil",
        "localhost..",
        "localhost.example",
        "0.0.0.0",
    ] {
        assert!(!is_loopback_host(host), "{host}");
    }
}
