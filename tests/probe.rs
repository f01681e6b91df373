//! `probe` against servers that say exactly what a test wants, over real sockets.

#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not their helpers")]

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use kube_probesim::cli::probe::run;
use kube_probesim::prober::{MAX_MESSAGE, Outcome, Phase, Probe, ProbeResult};
use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

use ProbeResult::{Error, Failure, Success, Warning};

/// For attempts that are to end by themselves.
const LONG: Duration = Duration::from_secs(20);
/// For attempts that are to run out of time.
const SHORT: Duration = Duration::from_millis(300);

/// What a server does after its bytes.
#[derive(Clone, Copy)]
enum End {
    Fin,
    Reset,
    /// Nothing, until the client has gone.
    Hang,
}

use End::{Fin, Hang, Reset};

struct Server {
    address: SocketAddr,
    requests: Receiver<Vec<u8>>,
}

impl Server {
    /// Gives the answers to one connection each; the last one to all that follow.
    fn new(answers: &[(&[u8], End)]) -> Self {
        Self::on("127.0.0.1:0", answers)
    }

    fn on(address: &str, answers: &[(&[u8], End)]) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let answers: Vec<_> = answers.iter().map(|(bytes, end)| (bytes.to_vec(), *end)).collect();
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (bytes, end) = answers[number.min(answers.len() - 1)].clone();
                let sender = sender.clone();
                std::thread::spawn(move || {
                    let _ = sender.send(answer(stream.unwrap(), &bytes, end));
                });
            }
        });
        Self { address, requests }
    }

    fn url(&self) -> String {
        format!("http://{}/p", self.address)
    }

    fn probe(&self, timeout: Duration) -> Outcome {
        attempt(&self.url(), &[], timeout)
    }

    fn request(&self) -> String {
        String::from_utf8(self.requests.recv_timeout(LONG).unwrap()).unwrap()
    }
}

/// Reads a head, answers, and returns the head.
fn answer(mut stream: TcpStream, bytes: &[u8], end: End) -> Vec<u8> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
            _ => return request,
        }
    }
    let _ = stream.write_all(bytes);
    match end {
        Fin => {}
        Reset => SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
        Hang => while matches!(stream.read(&mut buffer), Ok(1..)) {},
    }
    request
}

fn attempt(url: &str, headers: &[&str], timeout: Duration) -> Outcome {
    let headers = headers.iter().map(|header| header.parse().unwrap()).collect();
    let probe = Probe::parse(url, headers).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(probe.attempt(timeout))
}

/// What one answer makes of an attempt with plenty of time.
fn judged(bytes: &[u8], end: End) -> Outcome {
    Server::new(&[(bytes, end)]).probe(LONG)
}

#[track_caller]
fn check(outcome: &Outcome, result: ProbeResult, phase: Phase, status: Option<u16>, message: &str) {
    assert_eq!(
        (outcome.result, outcome.phase, outcome.status, outcome.message.as_str()),
        (result, phase, status, message)
    );
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const AWAITING: &str = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
const READING: &str = "context deadline exceeded (Client.Timeout or context cancellation while reading body)";

fn redirect(status: u16, location: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 4\r\n\r\nbody").into_bytes()
}

/// An address that nothing listens on.
fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A listener whose queue is full, so that a connection attempt gets no answer.
fn silent() -> (Socket, Vec<TcpStream>, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
    }
    (socket, held, address)
}

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
    ] {
        let server = Server::new(&[(bytes, Fin)]);
        let broken = "net/http: HTTP/1.x transport connection broken:";
        let message = format!("Get \"{}\": {broken} {message}", server.url());
        check(&server.probe(LONG), Failure, Phase::Head, None, &message);
    }
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
fn a_redirect_to_https_of_the_host_is_an_error_that_says_so() {
    let message = "Get \"https://127.0.0.1/\": redirected to https, which is not supported yet";
    check(&judged(&redirect(302, "https://127.0.0.1/"), Fin), Error, Phase::Redirect, Some(302), message);
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

// TCP and gRPC.

#[test]
fn tcp_succeeds_once_connected() {
    let server = Server::new(&[(b"", Hang)]);
    let outcome = attempt(&format!("tcp://{}", server.address), &[], LONG);
    check(&outcome, Success, Phase::Complete, None, "");
    assert_eq!(server.request(), "", "the connection is closed at once");
    let closed = closed();
    let message = format!("dial tcp {closed}: connect: connection refused");
    check(&attempt(&format!("tcp://{closed}"), &[], LONG), Failure, Phase::Connect, None, &message);
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let head = [0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream];
    [&head[..], payload].concat()
}

const SETTINGS: u8 = 4;
const END_HEADERS: u8 = 4;
const END_HEADERS_AND_STREAM: u8 = 5;

/// What a gRPC server answers whose messages and trailers are these.
fn grpc_answer(data: &[u8], trailers: &[u8]) -> Vec<u8> {
    [
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
        frame(SETTINGS, 1, 0, &[]),
        frame(6, 0, 0, b"pingping"),
        // A window update, which nobody needs here.
        frame(8, 0, 0, &[0, 0, 1, 0]),
        if data.is_empty() {
            Vec::new()
        } else {
            frame(1, END_HEADERS, 1, b"\x20\x88\x5f\x10application/grpc")
        },
        if data.is_empty() { Vec::new() } else { frame(0, 0, 1, data) },
        frame(1, END_HEADERS_AND_STREAM, 1, trailers),
    ]
    .concat()
}

/// `grpc-status: 0`, as gRPC's own servers code it.
const STATUS_0: &[u8] = b"\x40\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x010";

#[test]
fn grpc_serving_is_success() {
    let server = Server::new(&[(&grpc_answer(b"\0\0\0\0\x02\x08\x01", STATUS_0), Hang)]);
    let outcome = attempt(&format!("grpc://{}/name", server.address), &[], LONG);
    check(&outcome, Success, Phase::Complete, Some(0), "");
}

#[test]
fn grpc_anything_but_serving_is_failure() {
    for (message, name) in [
        (&b"\0\0\0\0\0"[..], "UNKNOWN"),
        (b"\0\0\0\0\x02\x08\x02", "NOT_SERVING"),
        (b"\0\0\0\0\x02\x08\x03", "SERVICE_UNKNOWN"),
        (b"\0\0\0\0\x02\x08\x2a", "42"),
    ] {
        let server = Server::new(&[(&grpc_answer(message, STATUS_0), Hang)]);
        let outcome = attempt(&format!("grpc://{}", server.address), &[], LONG);
        let message = format!("service unhealthy (responded with \"{name}\")");
        check(&outcome, Failure, Phase::Complete, Some(0), &message);
    }
}

#[test]
fn grpc_unimplemented_and_other_codes_are_failures() {
    for (trailers, code, message) in [
        (
            &b"\x88\0\x0bgrpc-status\x0212\0\x0cgrpc-message\x07No%20it"[..],
            12,
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): No it",
        ),
        (
            b"\x88\0\x0bgrpc-status\x015\0\x0cgrpc-message\x02x%",
            5,
            "error: health rpc probe failed: rpc error: code = NotFound desc = x%",
        ),
        (b"\x88\0\x0bgrpc-status\x014", 4, "timeout: health rpc did not complete within 20s"),
    ] {
        let server = Server::new(&[(&grpc_answer(b"", trailers), Hang)]);
        let outcome = attempt(&format!("grpc://{}", server.address), &[], LONG);
        check(&outcome, Failure, Phase::Complete, Some(code), message);
    }
}

#[test]
fn grpc_that_breaks_off_is_failure_never_an_error() {
    let settings = frame(SETTINGS, 0, 0, &[]);
    let url = |server: &Server| format!("grpc://{}", server.address);
    let server = Server::new(&[(&settings, Hang)]);
    let message = "timeout: health rpc did not complete within 300ms";
    check(&attempt(&url(&server), &[], SHORT), Failure, Phase::Head, Some(4), message);
    let reset = [settings.clone(), frame(3, 0, 1, &[0, 0, 0, 8])].concat();
    let oversized = [settings.clone(), vec![0xff; 9]].concat();
    let no_trailers = [settings.clone(), frame(0, 1, 1, b"\0\0\0\0\0")].concat();
    let bad_block = [settings, frame(1, END_HEADERS_AND_STREAM, 1, &[0xff; 9])].concat();
    for bytes in [reset, oversized, no_trailers, bad_block] {
        let outcome = attempt(&url(&Server::new(&[(&bytes, Hang)])), &[], LONG);
        assert_eq!(outcome.result, Failure, "{outcome:?}");
        assert!(
            outcome.message.starts_with("error: health rpc probe failed: rpc error: code = "),
            "{outcome:?}"
        );
    }
}

#[test]
fn grpc_that_does_not_listen_is_failure_after_the_whole_timeout() {
    let http = Server::new(&[(b"HTTP/1.1 400 Bad Request\r\n\r\n", Fin)]);
    for address in [closed(), http.address] {
        let outcome = attempt(&format!("grpc://{address}"), &[], SHORT);
        let message = format!(
            "timeout: failed to connect service \"{address}\" within 300ms: context deadline exceeded"
        );
        check(&outcome, Failure, Phase::Connect, None, &message);
        assert!(outcome.duration >= SHORT, "{outcome:?}");
    }
}

#[test]
fn grpc_connects_again_within_its_timeout() {
    let serving = grpc_answer(b"\0\0\0\0\x02\x08\x01", STATUS_0);
    let server = Server::new(&[(b"", Fin), (&serving, Hang)]);
    let outcome = attempt(&format!("grpc://{}", server.address), &[], LONG);
    check(&outcome, Success, Phase::Complete, Some(0), "");
    assert!(outcome.duration >= Duration::from_secs(1), "{outcome:?}");
}

// The command.

struct Ran {
    code: u8,
    out: String,
    err: String,
}

fn command(args: &[&str], env: &[(&str, &str)]) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let code = run(args.iter().map(OsString::from), env, &mut out, &mut err);
    Ran { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn answer_of(status: u16) -> Vec<u8> {
    format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

#[test]
fn the_exit_code_is_the_result() {
    let truncated = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_vec();
    for (answer, code, line) in [
        (answer_of(200), 0, "success complete 200 "),
        (answer_of(304), 0, "warning complete 304 "),
        (answer_of(503), 1, "failure complete 503 "),
        (truncated, 3, "error body 200 "),
    ] {
        let ran = command(&["--timeout", "20", &Server::new(&[(&answer, Fin)]).url()], &[]);
        assert_eq!((ran.code, ran.err.as_str(), ran.out.lines().count()), (code, "", 1), "{}", ran.out);
        assert!(ran.out.starts_with(line), "{}", ran.out);
    }
    let ran = command(&[&format!("tcp://{}", closed())], &[]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.starts_with("failure connect - ") && ran.out.ends_with("connection refused\n"),
        "{}",
        ran.out
    );
}

#[test]
fn what_a_server_says_stays_on_its_line() {
    let server = Server::new(&[(b"HTTP/1.1 304 x\r\n\r\n", Fin)]);
    assert!(command(&[&server.url()], &[]).out.ends_with("Response body: \n"));
    let server = Server::new(&[(b"HTTP/1.1 302 x\r\n\r\na\x1b[31m\nb\xff", Fin)]);
    let out = command(&[&server.url()], &[]).out;
    assert!(out.ends_with("Response body: a\\u{1b}[31m\\nb\u{fffd}\n"), "{out}");
}

#[test]
fn json_has_every_part_of_an_outcome() {
    let server = Server::new(&[(&answer_of(503), Fin)]);
    let ran = command(&["--output=json", &server.url()], &[]);
    let line: Value = serde_json::from_str(&ran.out).unwrap();
    let keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["address", "result", "phase", "status", "duration_seconds", "message"]);
    assert_eq!((&line["address"], &line["result"]), (&server.url().into(), &"failure".into()));
    assert_eq!((&line["phase"], &line["status"]), (&"complete".into(), &503.into()));
    assert_eq!(line["message"], "HTTP probe failed with statuscode: 503");
    assert!(line["duration_seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn headers_are_sent() {
    let server = Server::new(&[(OK, Fin)]);
    assert_eq!(command(&["--header", "x-a: 1", "--header=Host: me", &server.url()], &[]).code, 0);
    let request = server.request();
    assert!(request.contains("\r\nX-A: 1\r\n") && request.contains("\r\nHost: me\r\n"), "{request}");
}

#[test]
fn until_success_waits_through_failures_and_errors() {
    let (bad, error, good) =
        (answer_of(500), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", answer_of(200));
    let server = Server::new(&[(&bad, Fin), (&bad, Fin), (error, Fin), (&good, Fin)]);
    let ran = command(&["--until", "success", "--every", "20ms", &server.url()], &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let results: Vec<_> = ran.out.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(results, ["failure", "error", "success"], "a line for each change");
    assert!(ran.out.starts_with("+0.0"), "{}", ran.out);
}

#[test]
fn until_failure_takes_no_error_for_one() {
    let (good, error, bad) = (answer_of(200), b"HTTP/1.1 500 x\r\nContent-Length: 9\r\n\r\n", answer_of(500));
    let server = Server::new(&[(&good, Fin), (error, Fin), (&bad, Fin)]);
    let ran = command(&["--until=failure", "--every=20ms", &server.url()], &[]);
    assert_eq!((ran.code, ran.out.lines().count()), (1, 3), "{}", ran.out);
}

#[test]
fn until_that_runs_out_ends_with_the_last_result() {
    let server = Server::new(&[(&answer_of(500), Fin)]);
    let start = Instant::now();
    let ran = command(&["--until", "success", "--every", "50ms", "--for", "400ms", &server.url()], &[]);
    assert_eq!((ran.code, ran.out.lines().count()), (1, 1), "{}", ran.out);
    assert!(ran.err.contains("no success in "), "{}", ran.err);
    assert!((Duration::from_millis(400)..LONG).contains(&start.elapsed()));
}

#[test]
fn an_observer_prints_each_change_and_a_summary() {
    let (bad, good) = (answer_of(500), answer_of(200));
    let server = Server::new(&[(&good, Fin), (&bad, Fin), (&bad, Fin), (&good, Fin)]);
    let ran = command(&["--every=100ms", "--for=1s", "--output=json", &server.url()], &[]);
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let results: Vec<_> = lines.iter().filter_map(|line| line["result"].as_str()).collect();
    assert_eq!(results, ["success", "failure", "success"], "{}", ran.out);
    assert!(lines[1]["elapsed_seconds"].as_f64().unwrap() >= 0.09, "{}", ran.out);
    let summary = &lines[3]["summary"];
    let attempts = summary["attempts"].as_u64().unwrap();
    assert!((4..=10).contains(&attempts), "{summary}");
    assert_eq!(
        (&summary["failure"], &summary["warning"], &summary["error"]),
        (&2.into(), &0.into(), &0.into())
    );
    let availability = (attempts - 2) as f64 / attempts as f64;
    assert!((summary["availability"].as_f64().unwrap() - availability).abs() < 1e-9, "{summary}");
    let latency = |name: &str| summary["latency_seconds"][name].as_f64().unwrap();
    assert_eq!(summary["latency_seconds"]["answers"], attempts);
    assert!(latency("p50") > 0.0 && latency("p50") <= latency("p99") && latency("p99") <= latency("max"));
    assert_eq!(ran.code, 0);
}

#[test]
fn an_observers_summary_reads_well() {
    let server = Server::new(&[(&answer_of(500), Fin)]);
    let ran = command(&["--every=100ms", "--for=50ms", &server.url()], &[]);
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines[1], "attempts 1: success 0, warning 0, failure 1, error 0");
    assert_eq!(lines[2], "availability 0.000% (success and warning, of all attempts)");
    assert!(lines[3].starts_with("latency p50 ") && lines[3].ends_with("(of 1 answers)"), "{}", lines[3]);
    assert_eq!(ran.code, 1);
}

#[test]
fn a_target_is_probed_where_the_environment_says() {
    let server = Server::new(&[(OK, Fin)]);
    let port = server.address.port().to_string();
    for (args, path) in [
        (&[][..], "/readyz"),
        (&["readiness"], "/readyz"),
        (&["liveness"], "/healthz"),
        (&["startup"], "/startupz"),
        (&["dependency"], "/dependency"),
        (&["traffic"], "/api/"),
    ] {
        let env = [("PORT", port.as_str()), ("TRAFFIC_PATHS", " /api/* , /x"), ("BIND_ADDRESS", "0.0.0.0")];
        assert_eq!(command(args, &env).code, 0, "{args:?}");
        assert!(server.request().starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{args:?}");
    }
    let server = Server::on("[::1]:0", &[(OK, Fin)]);
    let port = server.address.port().to_string();
    for bind in ["::1", "::"] {
        assert_eq!(command(&["liveness"], &[("PORT", &port), ("BIND_ADDRESS", bind)]).code, 0, "{bind}");
    }
}

#[test]
fn wrong_usage_is_told_all_at_once() {
    let ran = command(
        &[
            "--timeout=abc",
            "--every",
            "0",
            "--for=-1",
            "--until=maybe",
            "--output=xml",
            "--header=nothing",
            "--header=a b: c",
            "--frobnicate=1",
            "ftp://host:1",
            "another",
        ],
        &[],
    );
    assert_eq!((ran.code, ran.out.as_str()), (64, ""));
    for part in [
        "--timeout \"abc\" is not a duration such as 250ms",
        "--every \"0\" has to be above 0",
        "--for \"-1\" is not a duration",
        "--until \"maybe\" is not one of success, failure",
        "--output \"xml\" is not one of text, json",
        "--header \"nothing\" has no colon; write 'Name: value'",
        "--header \"a b: c\" has a name that",
        "--frobnicate is not an option",
        "\"ftp://host:1\" has the unknown scheme ftp; write http://",
        "\"another\" is one argument too many",
    ] {
        assert!(ran.err.contains(part), "{part} is not in\n{}", ran.err);
    }
    assert_eq!(ran.err.lines().count(), 11, "one line each, and where to read on:\n{}", ran.err);
}

#[test]
fn each_wrong_address_is_told_what_would_be_right() {
    for (address, part) in [
        ("https://h/", "has the scheme https, which is not supported yet"),
        ("h:80", "is not an address; write http://host:port/path"),
        ("/healthz", "is not an address"),
        ("livenes", "is not an address"),
        ("http://", "has no host"),
        ("http://u:p@h/", "has a user or password"),
        ("http://h:0/", "needs a port from 1 to 65535"),
        ("http://h:99999/", "needs a port from 1 to 65535"),
        ("http://h:x/", "invalid port \":x\" after host"),
        ("http://[::1/", "missing ']' in host"),
        ("http://[1]/", "has the host \"1\", which is neither a name nor an IP address"),
        ("http://a b/", "neither a name nor an IP address"),
        ("http://h/\r\nX: y", "invalid control character"),
        ("tcp://h", "needs a port"),
        ("tcp://h:1/x", "has too much after its port; write tcp://host:port"),
        ("grpc://h:1/s?x", "has too much after its port"),
    ] {
        let ran = command(&[address], &[]);
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{address}");
        assert!(ran.err.contains(part), "{address}: {}", ran.err);
    }
    let ran = command(&["--header=a: b", "grpc://h:1"], &[]);
    assert!(ran.code == 64 && ran.err.contains("takes no --header"), "{}", ran.err);
    let ran = command(&["--for=1s", "tcp://h:1"], &[]);
    assert!(ran.code == 64 && ran.err.contains("--for needs --until or --every"), "{}", ran.err);
    let ran = command(&["tcp://h:1", "--timeout"], &[]);
    assert!(ran.code == 64 && ran.err.contains("--timeout needs a value"), "{}", ran.err);
}

#[test]
fn an_environment_that_names_no_address_is_wrong_usage() {
    for (args, env, part) in [
        (&["traffic"][..], &[][..], "traffic has no path of its own; set TRAFFIC_PATHS"),
        (&["traffic"], &[("TRAFFIC_PATHS", "api")], "TRAFFIC_PATHS=\"api\" does not begin with a path"),
        (&[], &[("PORT", "http")], "PORT=\"http\" is not a port from 1 to 65535"),
        (&[], &[("PORT", "0")], "PORT=\"0\" is not a port"),
        (&[], &[("BIND_ADDRESS", "all")], "BIND_ADDRESS=\"all\" is not an IP address"),
    ] {
        let ran = command(args, env);
        assert!(ran.code == 64 && ran.err.contains(part), "{}", ran.err);
    }
}

#[test]
fn help_names_every_option_and_exit_code() {
    let ran = command(&["--help", "--frobnicate"], &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for part in ["--timeout", "--header", "--until", "--every", "--for", "--output", "Exit code", "64"] {
        assert!(ran.out.contains(part), "{part}");
    }
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_closed_output_ends_an_observer_and_changes_no_exit_code() {
    let server = Server::new(&[(&answer_of(500), Fin)]);
    for options in [&[][..], &["--every=20ms"], &["--until=success", "--every=20ms"], &["--help"], &["--bad"]]
    {
        let args =
            options.iter().copied().chain([server.url().as_str()]).map(OsString::from).collect::<Vec<_>>();
        let code = run(args, [], &mut Closed, &mut Closed);
        let expected = match options.first() {
            Some(&"--help") => 0,
            Some(&"--bad") => 64,
            _ => 1,
        };
        assert_eq!(code, expected, "{options:?}");
    }
}
