//! HTTP attempts, point by point as the kubelet makes them.

#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not their helpers")]

mod bodies;
mod redirects;

use proptest::prelude::*;

use kube_probesim::prober::{MAX_MESSAGE, Outcome, Phase, ProbeResult};

use crate::scripted::{
    AWAITING, End, Fin, Hang, LONG, OK, READING, Reset, SHORT, Server, attempt, check, closed, judged,
    redirect, silent,
};
use ProbeResult::{Error, Failure, Success, Warning};

// The request.

#[test]
fn the_request_is_byte_for_byte_the_kubelets() {
    let server = Server::new(&[(OK, Fin)]);
    check(&server.probe(LONG), Success, Phase::Complete, Some(200), "");
    let expected = format!(
        "GET /p HTTP/1.1\r\nHost: {}\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        server.address
    );
    assert_eq!(server.request(), expected);
}

#[test]
fn headers_are_added_sorted_and_in_gos_spelling() {
    let server = Server::new(&[(OK, Fin)]);
    attempt(&server.url(), &["x-a: 1", "B: 3", "X-A: 2", "content-length: 7"], LONG);
    let expected = format!(
        "GET /p HTTP/1.1\r\nHost: {}\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\nB: 3\r\nX-A: 1\r\nX-A: 2\r\n\
         Connection: close\r\n\r\n",
        server.address
    );
    assert_eq!(server.request(), expected);
}

#[test]
fn a_host_header_replaces_the_host_and_an_empty_accept_removes_it() {
    let server = Server::new(&[(OK, Fin)]);
    attempt(&server.url(), &["host: example.org", "Accept:", "User-Agent: me"], LONG);
    let expected = "GET /p HTTP/1.1\r\nHost: example.org\r\nUser-Agent: me\r\nConnection: close\r\n\r\n";
    assert_eq!(server.request(), expected);
}

#[test]
fn a_connection_header_of_ones_own_does_not_keep_the_connection() {
    let server = Server::new(&[(OK, Fin)]);
    attempt(&server.url(), &["Connection: keep-alive"], LONG);
    assert!(server.request().contains("\r\nConnection: keep-alive\r\nConnection: close\r\n"));
}

#[test]
fn each_attempt_has_a_connection_of_its_own() {
    let server = Server::new(&[(OK, Hang)]);
    for _ in 0..3 {
        assert_eq!(server.probe(LONG).result, Success);
        server.request();
    }
}

#[test]
fn ipv6_addresses_and_names_are_probed() {
    let server = Server::on("[::1]:0", &[(OK, Fin)]);
    check(&server.probe(LONG), Success, Phase::Complete, Some(200), "");
    assert!(server.request().contains(&format!("\r\nHost: [::1]:{}\r\n", server.address.port())));
    let server = Server::new(&[(OK, Fin)]);
    let port = server.address.port();
    check(&attempt(&format!("http://localhost:{port}"), &[], LONG), Success, Phase::Complete, Some(200), "");
    assert!(server.request().starts_with(&format!("GET / HTTP/1.1\r\nHost: localhost:{port}\r\n")));
}

// The table of results.

#[test]
fn status_2xx_with_a_whole_body_is_success() {
    for status in [200, 201, 204, 299] {
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
        check(&judged(answer.as_bytes(), Hang), Success, Phase::Complete, Some(status), "");
    }
}

#[test]
fn status_4xx_and_5xx_with_a_whole_body_is_failure() {
    for status in [400, 404, 500, 503, 999] {
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\nno");
        let message = format!("HTTP probe failed with statuscode: {status}");
        check(&judged(answer.as_bytes(), Hang), Failure, Phase::Complete, Some(status), &message);
    }
}

#[test]
fn nothing_before_the_timeout_is_failure() {
    for head in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Le"] {
        let server = Server::new(&[(head, Hang)]);
        let outcome = server.probe(SHORT);
        let message = format!("Get \"{}\": {AWAITING}", server.url());
        check(&outcome, Failure, Phase::Head, None, &message);
        assert!(outcome.duration >= SHORT && outcome.duration < LONG, "{outcome:?}");
    }
}

#[test]
fn a_fin_before_the_headers_is_failure() {
    let server = Server::new(&[(b"", Fin)]);
    check(&server.probe(LONG), Failure, Phase::Head, None, &format!("Get \"{}\": EOF", server.url()));
}

#[test]
fn a_reset_before_the_headers_is_failure() {
    let server = Server::new(&[(b"", Reset)]);
    let Outcome { result, phase, message, .. } = server.probe(LONG);
    assert_eq!((result, phase), (Failure, Phase::Head));
    let (begin, rest) =
        (format!("Get \"{}\": read tcp 127.0.0.1:", server.url()), server.address.to_string());
    assert!(message.starts_with(&begin), "{message}");
    assert!(message.ends_with(&format!("->{rest}: read: connection reset by peer")), "{message}");
}

#[test]
fn garbage_is_failure() {
    for (bytes, message) in [
        (&b"\x8f\x9a\x00abc"[..], r#"malformed HTTP response "\x8f\x9a\x00abc""#),
        (b"SSH-2.0-OpenSSH_9\r\n", r#"malformed HTTP response "SSH-2.0-OpenSSH_9""#),
        (b"ICY 200 OK\r\n\r\n", r#"malformed HTTP version "ICY""#),
        (b"HTTP/1.1 2xx OK\r\n\r\n", r#"malformed HTTP status code "2xx""#),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", r#"malformed MIME header: missing colon: "no colon""#),
        (b"HTTP/1.1 200 OK\r\nX-A: a\x01b\r\n\r\n", r#"malformed MIME header line: "X-A: a\x01b""#),
        (b"HTTP/1.1 200 OK\r\n X: a\r\n\r\n", r#"malformed MIME header initial line: " X: a""#),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", r#"bad Content-Length "-1""#),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", r#"unsupported transfer encoding: "gzip""#),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n", "unexpected EOF"),
        (b"HTTP/1.1 200 OK\r\nX: y\r\r\n\r\n", r#"malformed MIME header line: "X: y\r""#),
        (b"HTTP/1.1 200 OK\r\nx-a: y\x0c\r\n\r\n", r#"malformed MIME header line: "X-A: y\f""#),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n z\x0c\r\n\r\n", r#"malformed MIME header line: "X: y z\f""#),
        (b"HTTP/1.1 \t200 OK\r\n\r\n", r#"malformed HTTP status code "\t200""#),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
            r#"http: message cannot contain multiple Content-Length headers; got ["2" "3"]"#,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X, content-length\r\n\r\n0\r\n\r\n",
            r#"bad trailer key "Content-Length""#,
        ),
    ] {
        let server = Server::new(&[(bytes, Fin)]);
        let broken = "net/http: HTTP/1.x transport connection broken:";
        let message = format!("Get \"{}\": {broken} {message}", server.url());
        check(&server.probe(LONG), Failure, Phase::Head, None, &message);
    }
}

#[test]
fn odd_heads_that_go_accepts_are_accepted() {
    for head in [
        "HTTP/1.1  200 OK\r\nContent-Length: 2\r\n \r\n\r\nok",
        "HTTP/1.1 200\r\nX: a\r\n\tb\r\nContent-Length: 02\r\n\r\nok",
        "HTTP/9.9 200 OK\r\nX Y: a\r\nContent-Length : 7\r\n\r\nok",
    ] {
        check(&judged(head.as_bytes(), Fin), Success, Phase::Complete, Some(200), "");
    }
    let message = "HTTP probe failed with statuscode: 20";
    check(&judged(b"HTTP/1.1 +20 x\r\n\r\n", Fin), Failure, Phase::Complete, Some(20), message);
}

#[test]
fn a_switch_of_protocols_is_read_up_to_the_end_of_the_connection() {
    let head = b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    check(&Server::new(&[(head, Hang)]).probe(SHORT), Error, Phase::Body, Some(101), READING);
    let message = "HTTP probe failed with statuscode: 101";
    check(&judged(head, Fin), Failure, Phase::Complete, Some(101), message);
}

#[test]
fn a_head_without_end_is_failure() {
    let head = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-A: 0123456789\r\n".repeat(700_000)].concat();
    let outcome = judged(&head, Hang);
    assert_eq!((outcome.result, outcome.phase), (Failure, Phase::Head));
    assert!(
        outcome.message.ends_with("server response headers exceeded 10485760 bytes; aborted"),
        "{outcome:?}"
    );
}

#[test]
fn answers_of_1xx_are_passed_over() {
    let answer = [&b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(7)[..], OK].concat();
    check(&judged(&answer, Hang), Success, Phase::Complete, Some(200), "");
    let message = "HTTP probe failed with statuscode: 101";
    check(&judged(b"HTTP/1.1 101 x\r\n\r\n", Hang), Failure, Phase::Complete, Some(101), message);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_it_panic_or_hang(
        head in prop_oneof![
            Just(""),
            Just("HTTP/1.1 200 OK\r\n"),
            Just("HTTP/1.1 302 x\r\nLocation: "),
            Just("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ],
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b':'), Just(b'1')], 0..64),
    ) {
        let outcome = judged(&[head.as_bytes(), &bytes].concat(), Fin);
        prop_assert_eq!(outcome.message.is_empty(), outcome.result == Success);
        prop_assert!(outcome.duration < LONG);
    }
}

// The timeout.

#[test]
fn the_timeout_covers_the_connection() {
    let (_listener, _held, address) = silent();
    let outcome = attempt(&format!("http://{address}/"), &[], SHORT);
    check(&outcome, Failure, Phase::Connect, None, &format!("Get \"http://{address}/\": {AWAITING}"));
    assert!(outcome.duration >= SHORT && outcome.duration < LONG, "{outcome:?}");
    let outcome = attempt(&format!("tcp://{address}"), &[], SHORT);
    check(&outcome, Failure, Phase::Connect, None, &format!("dial tcp {address}: i/o timeout"));
}

#[test]
fn the_timeout_covers_all_redirects_together() {
    let there = Server::new(&[(b"", Hang)]);
    let slow = redirect(302, &there.url());
    let outcome = Server::new(&[(&slow, Fin)]).probe(SHORT);
    check(&outcome, Failure, Phase::Head, None, &format!("Get \"{}\": {AWAITING}", there.url()));
    assert!(outcome.duration >= SHORT && outcome.duration < LONG, "{outcome:?}");
}

#[test]
fn a_refused_connection_and_an_unknown_name_are_failures() {
    let closed = closed();
    let url = format!("http://{closed}/");
    let message = format!("Get \"{url}\": dial tcp {closed}: connect: connection refused");
    check(&attempt(&url, &[], LONG), Failure, Phase::Connect, None, &message);
    let outcome = attempt("http://name.invalid/", &[], LONG);
    assert_eq!((outcome.result, outcome.phase), (Failure, Phase::Resolve));
    assert!(outcome.message.starts_with("Get \"http://name.invalid/\": dial tcp: lookup name.invalid: "));
}

#[test]
fn a_long_message_is_cut_at_a_character() {
    let body = "é".repeat(5000);
    let answer = format!("HTTP/1.1 302 x\r\n\r\n{body}");
    let outcome = judged(answer.as_bytes(), Fin);
    assert_eq!(outcome.result, Warning);
    assert!(outcome.message.len() <= MAX_MESSAGE && outcome.message.ends_with("é…"), "{}", outcome.message);
}
