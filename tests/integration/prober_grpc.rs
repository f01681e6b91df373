//! TCP and gRPC attempts, as the kubelet makes them.

#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not their helpers")]

mod answers;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use proptest::prelude::*;

use kube_probesim::prober::{Outcome, Phase, ProbeResult};

use crate::scripted::{self, LONG, SHORT, attempt, check, closed};
use ProbeResult::{Failure, Success};

#[test]
fn tcp_succeeds_once_connected() {
    let server = scripted::Server::new(&[(b"", scripted::Hang)]);
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

/// A literal header without a table (RFC 7541, 6.2.2). Names and values have less than 127 bytes.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// `:status: 200`, which the static table has.
const STATUS_200: &[u8] = b"\x88";
/// `SERVING` in a message.
const SERVING: &[u8] = b"\0\0\0\0\x02\x08\x01";

fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    frame(1, END_HEADERS, 1, &block)
}

/// The head of a gRPC answer, with additional fields.
fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    let more: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    frame(1, END_HEADERS, 1, &[STATUS_200, &field("content-type", "application/grpc"), &more].concat())
}

fn data(bytes: &[u8]) -> Vec<u8> {
    frame(0, 0, 1, bytes)
}

fn trailers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut trailers = headers(fields);
    trailers[4] = END_HEADERS_AND_STREAM;
    trailers
}

/// A head without data: a trailers-only answer.
fn alone(mut head: Vec<u8>) -> Vec<u8> {
    head[4] = END_HEADERS_AND_STREAM;
    head
}

fn serving() -> Vec<u8> {
    [head(&[]), data(SERVING), trailers(&[("grpc-status", "0")])].concat()
}

/// A server that sends its settings, waits for a call on stream 1, and answers with these bytes.
struct Server {
    address: SocketAddr,
    requests: Receiver<Vec<u8>>,
}

impl Server {
    /// The first connections are closed at once.
    fn after(closed: usize, answer: Vec<u8>, ends: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            for socket in listener.incoming().skip(closed) {
                serve(socket.unwrap(), &answer, ends, &sender);
            }
        });
        Self { address, requests }
    }

    fn new(answer: Vec<u8>) -> Self {
        Self::after(0, answer, false)
    }

    fn url(&self) -> String {
        format!("grpc://{}", self.address)
    }
}

/// Serves one connection until the client closes it. Without a call, it answers nothing.
fn serve(mut socket: TcpStream, answer: &[u8], ends: bool, requests: &Sender<Vec<u8>>) {
    let _ = socket.write_all(&frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]));
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    // The data of the request ends the stream: flags 1, stream 1.
    while !seen.windows(6).any(|window| window == [0, 1, 0, 0, 0, 1]) {
        match socket.read(&mut buffer) {
            Ok(count @ 1..) => seen.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let _ = requests.send(seen);
    let _ = socket.write_all(&[&frame(SETTINGS, 1, 0, &[]), &frame(6, 0, 0, b"pingping"), answer].concat());
    if ends {
        let _ = socket.shutdown(std::net::Shutdown::Write);
    }
    while matches!(socket.read(&mut buffer), Ok(1..)) {}
}

fn judged(answer: Vec<u8>) -> Outcome {
    attempt(&Server::new(answer).url(), &[], LONG)
}

/// A failed call, by the text after `rpc error: `.
fn failed(text: &str) -> (ProbeResult, String) {
    (Failure, format!("error: health rpc probe failed: rpc error: {text}"))
}

#[test]
fn grpc_serving_is_success() {
    check(&judged(serving()), Success, Phase::Complete, Some(0), "");
}

#[test]
fn grpc_asks_for_the_service_by_its_name_without_escapes() {
    for (path, name) in [("", &b""[..]), ("/shop.Cart", b"shop.Cart"), ("/\u{e4}%20b", "\u{e4} b".as_bytes())]
    {
        let server = Server::new(serving());
        let outcome = attempt(&format!("{}{path}", server.url()), &[], LONG);
        check(&outcome, Success, Phase::Complete, Some(0), "");
        let request = server.requests.recv_timeout(LONG).unwrap();
        assert!(request.ends_with(name), "{path}: {request:?}");
    }
    let refused = kube_probesim::prober::Probe::parse("grpc://h:1/%ff", Vec::new()).unwrap_err();
    assert_eq!(refused.to_string(), "has a service name that is not UTF-8");
}

#[test]
fn grpc_anything_but_serving_is_failure() {
    for (message, name) in [
        (&b"\0\0\0\0\0"[..], "UNKNOWN"),
        (b"\0\0\0\0\x02\x08\x02", "NOT_SERVING"),
        (b"\0\0\0\0\x02\x08\x03", "SERVICE_UNKNOWN"),
        (b"\0\0\0\0\x02\x08\x2a", "42"),
    ] {
        let outcome = judged([head(&[]), data(message), trailers(&[("grpc-status", "0")])].concat());
        let message = format!("service unhealthy (responded with \"{name}\")");
        check(&outcome, Failure, Phase::Complete, Some(0), &message);
    }
}

#[test]
fn grpc_unimplemented_and_other_codes_are_failures() {
    for (fields, code, message) in [
        (
            [("grpc-status", "12"), ("grpc-message", "No%20it")],
            12,
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): No it",
        ),
        (
            [("grpc-status", "5"), ("grpc-message", "x%")],
            5,
            "error: health rpc probe failed: rpc error: code = NotFound desc = x%",
        ),
        ([("grpc-status", "4"), ("x", "y")], 4, "timeout: health rpc did not complete within 20s"),
    ] {
        check(&judged(alone(head(&fields))), Failure, Phase::Complete, Some(code), message);
    }
}

#[test]
fn grpc_takes_a_message_that_needs_many_windows() {
    // Field 2 with 200 kB, then SERVING.
    let text = vec![b'x'; 200_000];
    let message = [&[0x12, 0xc0, 0x9a, 0x0c], text.as_slice(), &[8, 1]].concat();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let framed = [&[0], &length[..], &message].concat();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        runtime.block_on(async {
            let mut connection =
                h2::server::handshake(tokio::net::TcpStream::from_std(socket).unwrap()).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let head =
                    hyper::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
                let mut body = respond.send_response(head, false).unwrap();
                body.send_data(framed.clone().into(), false).unwrap();
                let mut trailers = hyper::HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                body.send_trailers(trailers).unwrap();
            }
        });
    });
    let outcome = attempt(&format!("grpc://{address}"), &[], LONG);
    check(&outcome, Success, Phase::Complete, Some(0), "");
}

#[test]
fn grpc_that_ends_or_hangs_is_failure_never_an_error() {
    for (answer, phase) in [
        (Vec::new(), Phase::Head),
        (head(&[]), Phase::Body),
        ([head(&[]), data(SERVING)].concat(), Phase::Body),
    ] {
        let ended = attempt(&Server::after(0, answer.clone(), true).url(), &[], LONG);
        let (_, message) = failed("code = Unavailable desc = error reading from server: EOF");
        check(&ended, Failure, phase, Some(14), &message);
        let hanging = attempt(&Server::new(answer).url(), &[], SHORT);
        let message = "timeout: health rpc did not complete within 300ms";
        check(&hanging, Failure, phase, Some(4), message);
    }
}

#[test]
fn grpc_that_does_not_listen_is_failure_after_the_whole_timeout() {
    let http = scripted::Server::new(&[(b"HTTP/1.1 400 Bad Request\r\n\r\n", scripted::Fin)]);
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
    let outcome = attempt(&Server::after(1, serving(), false).url(), &[], LONG);
    check(&outcome, Success, Phase::Complete, Some(0), "");
    assert!(outcome.duration >= Duration::from_secs(1), "{outcome:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_frames_make_grpc_panic_hang_or_err(
        frames in prop::collection::vec((0..10_u8, any::<u8>(), 0..3_u8, prop::collection::vec(any::<u8>(), 0..20)), 0..8),
    ) {
        let mut bytes = Vec::new();
        for (kind, flags, stream, payload) in frames {
            bytes.extend(frame(kind, flags, stream, &payload));
        }
        let outcome = attempt(&Server::after(0, bytes, true).url(), &[], LONG);
        prop_assert!(matches!(outcome.result, Failure | Success), "{outcome:?}");
        prop_assert!(outcome.duration < LONG);
    }
}
