//! HTTP attempts, point by point as the kubelet makes them.

#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not their helpers")]

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
fn a_body_that_hangs_is_an_error_whatever_the_status() {
    for status in [200, 302, 500] {
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 100\r\n\r\npart");
        let outcome = Server::new(&[(answer.as_bytes(), Hang)]).probe(SHORT);
        check(&outcome, Error, Phase::Body, Some(status), READING);
        assert!(outcome.duration >= SHORT, "{outcome:?}");
    }
}

#[test]
fn a_body_that_is_cut_short_is_an_error_whatever_the_status() {
    for status in [200, 500] {
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 100\r\n\r\npart");
        check(&judged(answer.as_bytes(), Fin), Error, Phase::Body, Some(status), "unexpected EOF");
    }
}

#[test]
fn a_body_that_is_reset_is_an_error_whatever_the_status() {
    for framing in ["Content-Length: 100\r\n", ""] {
        for status in [200, 500] {
            let answer = format!("HTTP/1.1 {status} x\r\n{framing}\r\npart");
            let outcome = judged(answer.as_bytes(), Reset);
            assert_eq!((outcome.result, outcome.phase, outcome.status), (Error, Phase::Body, Some(status)));
            assert!(outcome.message.ends_with(": read: connection reset by peer"), "{outcome:?}");
        }
    }
}

#[test]
fn chunks_that_are_invalid_or_cut_short_are_errors() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (chunks, message) in [
        (&b"5\r\nhello\r\nzz\r\n"[..], "invalid byte in chunk length"),
        (b"5\r\nhelloXX5\r\n", "malformed chunked encoding"),
        (b"5\r\nhello\r\n\r\n", "empty hex number for chunk length"),
        (b"11111111111111111\r\nhello", "http chunk length too large"),
        (b"5\nhello\n0\n\n", "chunked line ends with bare LF"),
        (b"5\r\nhel", "unexpected EOF"),
        (b"5\r\nhello\r\n", "unexpected EOF"),
        (b"5\r\nhello\r\n0\r\n", "http: unexpected EOF reading trailer"),
        (b"", "unexpected EOF"),
    ] {
        check(&judged(&[head, chunks].concat(), Fin), Error, Phase::Body, Some(200), message);
    }
    let endless_line = [&head[..], b"5;", &[b'x'; 5000]].concat();
    check(&judged(&endless_line, Hang), Error, Phase::Body, Some(200), "header line too long");
}

#[test]
fn lines_of_chunks_are_as_strict_as_gos() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extension = |size| [b"5;", vec![b'x'; size].as_slice(), b"\r\nhello\r\n"].concat();
    for (chunks, message) in [
        (b"5\r \r\nhello\r\n0\r\n\r\n".to_vec(), "invalid CR in chunked line"),
        (b"5\r\r\nhello\r\n0\r\n\r\n".to_vec(), "invalid CR in chunked line"),
        (b"5;a\rb\r\nhello\r\n0\r\n\r\n".to_vec(), "invalid CR in chunked line"),
        (b"5\x0c\r\nhello\r\n0\r\n\r\n".to_vec(), "invalid byte in chunk length"),
        (
            [extension(3000).repeat(10).as_slice(), b"0\r\n\r\n"].concat(),
            "chunked encoding contains too much non-data",
        ),
        (b"5\r\nhello\r\n0\r\nX: y\n\n".to_vec(), "http: suspiciously long trailer after chunked body"),
        (b"5\r\nhello\r\n0\r\nX\r\n\r\n".to_vec(), "malformed MIME header: missing colon: \"X\""),
    ] {
        check(&judged(&[head, &*chunks].concat(), Fin), Error, Phase::Body, Some(200), message);
    }
    for chunks in
        [b"5;a=b \t\r\nhello\r\n0\r\n\r\n".to_vec(), [extension(3000).as_slice(), b"0\r\n\r\n"].concat()]
    {
        check(&judged(&[head, &*chunks].concat(), Fin), Success, Phase::Complete, Some(200), "");
    }
}

#[test]
fn an_invalid_chunk_right_after_10_kib_is_an_error_and_one_further_on_is_not_seen() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = |size: usize| [format!("{size:x}\r\n").as_bytes(), &vec![b'x'; size]].concat();
    for (chunks, message) in [
        ([chunk(10_240).as_slice(), b"zzzz"].concat(), "malformed chunked encoding"),
        ([chunk(10_240).as_slice(), b"\r\nzzzz\r\n"].concat(), "invalid byte in chunk length"),
        (
            [chunk(10_240).as_slice(), b"\r\n0\r\nX\r\n\r\n"].concat(),
            "malformed MIME header: missing colon: \"X\"",
        ),
    ] {
        check(&judged(&[head, &*chunks].concat(), Fin), Error, Phase::Body, Some(200), message);
    }
    let beyond = [head, chunk(10_241).as_slice(), b"zzzz"].concat();
    check(&judged(&beyond, Fin), Success, Phase::Complete, Some(200), "");
}

#[test]
fn whole_bodies_of_every_framing_are_read() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot in chunks",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok and more",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    ] {
        check(&judged(answer, Fin), Success, Phase::Complete, Some(200), "");
    }
}

#[test]
fn a_body_of_10_kib_is_enough_even_if_its_end_never_comes() {
    for (status, result) in [(200, Success), (500, Failure)] {
        for framing in ["Content-Length: 99999\r\n\r\n", "\r\n", "Transfer-Encoding: chunked\r\n\r\n9999\r\n"]
        {
            let head = format!("HTTP/1.1 {status} x\r\n{framing}");
            let answer = |size| [head.as_bytes(), &vec![b'x'; size]].concat();
            let outcome = judged(&answer(10_240), Hang);
            assert_eq!((outcome.result, outcome.status), (result, Some(status)), "{framing}");
            let outcome = Server::new(&[(&answer(10_239), Hang)]).probe(SHORT);
            check(&outcome, Error, Phase::Body, Some(status), READING);
        }
    }
}

#[test]
fn answers_without_a_body_end_with_their_head_whatever_their_length_says() {
    for (status, result) in [(204, Success), (304, Warning)] {
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(judged(answer.as_bytes(), Hang).result, result);
    }
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

// Redirects.

#[test]
fn nine_redirects_are_followed_and_the_tenth_is_failure() {
    let again = redirect(302, "/again");
    let mut answers: Vec<(&[u8], End)> = vec![(&again, Fin); 9];
    answers.push((OK, Fin));
    check(&Server::new(&answers).probe(LONG), Success, Phase::Complete, Some(200), "");
    answers.insert(0, (&again, Fin));
    let message = "Get \"/again\": stopped after 10 redirects";
    check(&Server::new(&answers).probe(LONG), Failure, Phase::Redirect, Some(302), message);
}

#[test]
fn a_redirect_to_another_port_of_the_host_is_followed() {
    let there = Server::new(&[(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", Fin)]);
    let here = Server::new(&[(&redirect(307, &format!("http://{}/x?y#z", there.address)), Fin)]);
    let message = "HTTP probe failed with statuscode: 503";
    check(&here.probe(LONG), Failure, Phase::Complete, Some(503), message);
    let expected = format!(
        "GET /x?y HTTP/1.1\r\nHost: {}\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\nReferer: {}\r\n\
         Connection: close\r\n\r\n",
        there.address,
        here.url()
    );
    assert_eq!(there.request(), expected);
}

#[test]
fn a_relative_redirect_keeps_the_host_header() {
    let server = Server::new(&[(&redirect(301, "x"), Fin), (OK, Fin)]);
    attempt(&server.url(), &["Host: example.org"], LONG);
    for path in ["/p", "/x"] {
        assert!(server.request().starts_with(&format!("GET {path} HTTP/1.1\r\nHost: example.org\r\n")));
    }
}

#[test]
fn user_and_password_of_a_redirect_are_sent_and_not_shown() {
    let there = Server::new(&[(&redirect(302, "/x"), Fin), (b"HTTP/1.1 404 x\r\n\r\n", Fin)]);
    let here = Server::new(&[(&redirect(302, &format!("http://u:p%40@{}/y", there.address)), Fin)]);
    check(&here.probe(LONG), Failure, Phase::Complete, Some(404), "HTTP probe failed with statuscode: 404");
    let request = there.request();
    assert!(request.contains("\r\nAccept: */*\r\nAuthorization: Basic dTpwQA==\r\nReferer: "), "{request}");
    // A relative redirect keeps them, and Referer never has them.
    let request = there.request();
    assert!(request.contains("\r\nAuthorization: Basic dTpwQA==\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nReferer: http://{}/y\r\n", there.address)), "{request}");
    let closed = closed();
    let outcome = judged(&redirect(302, &format!("http://u:p@{closed}/")), Fin);
    assert!(
        outcome.message.starts_with(&format!("Get \"http://u:***@{closed}/\": dial tcp ")),
        "{outcome:?}"
    );
}

#[test]
fn three_slashes_begin_a_path_and_not_a_host() {
    let server = Server::new(&[(&redirect(302, "///path"), Fin), (OK, Fin)]);
    check(&server.probe(LONG), Success, Phase::Complete, Some(200), "");
    server.request();
    assert!(server.request().starts_with("GET ///path HTTP/1.1\r\n"));
}

#[test]
fn headers_about_a_body_do_not_follow_a_redirect_that_drops_it() {
    for (status, follows) in [(302, false), (307, true)] {
        let server = Server::new(&[(&redirect(status, "/x"), Fin), (OK, Fin)]);
        attempt(&server.url(), &["Content-Type: a/b", "X-A: 1"], LONG);
        assert!(server.request().contains("\r\nContent-Type: a/b\r\n"));
        let second = server.request();
        assert_eq!(second.contains("Content-Type"), follows, "{second}");
        assert!(second.contains("\r\nX-A: 1\r\n"));
    }
}

#[test]
fn a_redirect_to_another_host_is_a_warning() {
    for location in ["http://example.invalid/", "//example.invalid/", "https://example.invalid/", "mailto:x"]
    {
        let outcome = judged(&redirect(302, location), Hang);
        let message = "Probe terminated redirects, Response body: body";
        check(&outcome, Warning, Phase::Complete, Some(302), message);
    }
}

#[test]
fn other_3xx_and_a_redirect_without_location_are_warnings() {
    for (status, header) in
        [(300, "Location: /x\r\n"), (302, ""), (302, "Location:\r\n"), (304, ""), (399, "")]
    {
        let answer = format!("HTTP/1.1 {status} x\r\n{header}Content-Length: 0\r\n\r\n");
        let message = "Probe terminated redirects, Response body: ";
        check(&judged(answer.as_bytes(), Hang), Warning, Phase::Complete, Some(status), message);
    }
}

#[test]
fn a_redirect_that_leads_nowhere_is_failure() {
    let closed = closed();
    let url = format!("http://{closed}/x");
    let message = format!("Get \"{url}\": dial tcp {closed}: connect: connection refused");
    check(&judged(&redirect(302, &url), Fin), Failure, Phase::Connect, None, &message);
    for (location, reason) in [
        ("http://[::1/", "missing ']' in host"),
        ("%zz", "invalid URL escape \"%zz\""),
        ("http://127.0.0.%31/", "invalid URL escape \"%31\""),
        ("http://127.0.0.1:9x/", "invalid port \":9x\" after host"),
    ] {
        let server = Server::new(&[(&redirect(302, location), Fin)]);
        let message = format!(
            "Get \"{}\": failed to parse Location header \"{location}\": parse \"{location}\": {reason}",
            server.url()
        );
        check(&server.probe(LONG), Failure, Phase::Redirect, Some(302), &message);
    }
}

#[test]
fn a_short_body_of_a_redirect_is_awaited_and_a_long_one_is_not() {
    let there = Server::new(&[(OK, Fin)]);
    for (length, result) in [(2049, Success), (2048, Failure)] {
        let location = there.url();
        let answer =
            format!("HTTP/1.1 302 x\r\nLocation: {location}\r\nContent-Length: {length}\r\n\r\npart");
        let here = Server::new(&[(answer.as_bytes(), Hang)]);
        let timeout = if result == Success { LONG } else { SHORT };
        assert_eq!(here.probe(timeout).result, result, "{length}");
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
