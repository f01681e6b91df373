//! HTTP/2 requests that an HTTP/1 upstream could understand differently, frame by frame.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::backend::{Backend, OK};
use super::in_front_of;
use crate::support::{PATIENCE, Service};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

type Field = (&'static str, &'static str);

const REQUEST: [Field; 4] = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/x")];

/// A second request, where it could hide.
const HIDDEN: &str = "x\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&size[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Fields as literals, valid or not.
fn block(fields: &[Field]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// Sends one request, with a body of these bytes, and returns the kind of the first frame that answers it, with its
/// first byte, which is the status of an answer as HPACK has it.
async fn answered(service: &Service, fields: &[Field], body: &[u8]) -> (u8, u8) {
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    let flags = END_HEADERS | if body.is_empty() { END_STREAM } else { 0 };
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    sent.extend(frame(HEADERS, flags, 1, &block(fields)));
    if !body.is_empty() {
        sent.extend(frame(0, END_STREAM, 1, body));
    }
    stream.write_all(&sent).await.unwrap();
    loop {
        let mut head = [0; 9];
        let read = timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("an answer in time");
        if read.is_err() {
            return (GOAWAY, 0);
        }
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.unwrap();
        if matches!(head[3], HEADERS | RST_STREAM | GOAWAY) {
            return (head[3], payload.first().copied().unwrap_or_default());
        }
    }
}

/// HPACK's index of `:status: 200`.
const OK_STATUS: u8 = 0x88;

#[tokio::test]
async fn what_is_malformed_in_http_2_never_reaches_the_upstream() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[]).await;
    let with = |more: &[Field]| [&REQUEST[..], more].concat();
    let replaced = |name: &str, value: &'static str| {
        REQUEST.map(|(own, old)| (own, if own == name { value } else { old })).to_vec()
    };
    for fields in [
        // Fields of the connection (RFC 9113, section 8.2.2).
        with(&[("transfer-encoding", "chunked")]),
        with(&[("connection", "close")]),
        with(&[("keep-alive", "5")]),
        with(&[("proxy-connection", "close")]),
        with(&[("upgrade", "websocket")]),
        with(&[("te", "gzip")]),
        // Invalid names and values.
        with(&[("X-Upper", "1")]),
        with(&[("", "1")]),
        with(&[("x a", "1")]),
        with(&[("x:a", "1")]),
        with(&[("x\r\na", "1")]),
        with(&[("x-a", HIDDEN)]),
        with(&[("x-a", "a\nb")]),
        with(&[("x-a", "a\rb")]),
        with(&[("x-a", "a\0b")]),
        // Fields of the request line.
        replaced(":path", "/x HTTP/1.1\r\nHost: a\r\n\r\nGET /hidden"),
        replaced(":path", "/x y"),
        replaced(":path", ""),
        replaced(":method", "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\nGET"),
        replaced(":method", "G T"),
        replaced(":method", ""),
        replaced(":authority", HIDDEN),
        replaced(":authority", "a b"),
        replaced(":scheme", "http\r\nx"),
        with(&[(":path", "/hidden")]),
        with(&[(":unknown", "1")]),
        with(&[("x-a", "1"), (":method", "GET")]),
        REQUEST[..3].to_vec(),
        REQUEST[1..].to_vec(),
        // Lengths.
        with(&[("content-length", "5"), ("content-length", "6")]),
        with(&[("content-length", "+0")]),
        with(&[("content-length", "5")]),
        // Hosts.
        with(&[("host", "a"), ("host", "b")]),
    ] {
        let answer = answered(&service, &fields, b"").await;
        assert_ne!(answer, (HEADERS, OK_STATUS), "{fields:?}");
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(backend.messages(), Vec::<String>::new());
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_never_whole_at_the_upstream() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[]).await;
    for (length, body) in
        [("3", &b"hello"[..]), ("7", b"hello"), ("0", b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n")]
    {
        let fields = [&REQUEST[..], &[("content-length", length)]].concat();
        let answer = answered(&service, &fields, body).await;
        assert_ne!(answer, (HEADERS, OK_STATUS), "{length}");
    }
    assert!(backend.messages().iter().all(|message| !message.starts_with("GET")), "{:?}", backend.messages());
}

#[tokio::test]
async fn what_http_2_allows_is_one_request_of_http_1() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[]).await;
    // The authority wins over a host that differs.
    let more = [("te", "trailers"), ("cookie", "a=1"), ("cookie", "b=2"), ("host", "b")];
    let fields = [&REQUEST[..], &more].concat();
    let body = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(answered(&service, &fields, body).await, (HEADERS, OK_STATUS));
    let asked = backend.last();
    assert!(asked.starts_with("POST /x HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains("transfer-encoding: chunked\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains("cookie: a=1; b=2\r\n"), "{asked}");
    let (head, _) = asked.split_once("\r\n\r\n").unwrap();
    let hosts: Vec<_> = head.lines().filter(|line| line.to_lowercase().starts_with("host:")).collect();
    assert_eq!(hosts.iter().map(|host| host.to_lowercase()).collect::<Vec<_>>(), ["host: a"], "{asked}");
    assert_eq!(backend.count(), 1, "the body is no request");
}
