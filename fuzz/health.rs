//! Messages to the health service of gRPC, beside a reader of its own.

use std::net::SocketAddr;
use std::sync::LazyLock;

use bytes::Bytes;
use hyper::Request;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use super::service::start;

/// Size limit of a request, in bytes.
const MAX_REQUEST: usize = 4 << 10;

const OK: &str = "0";
const NOT_FOUND: &str = "5";
const RESOURCE_EXHAUSTED: &str = "8";
const UNIMPLEMENTED: &str = "12";
const INTERNAL: &str = "13";

/// The body of a call of `Check`: it gets the status that it should have.
pub fn health(data: &[u8]) {
    let (status, body) = RUNTIME.block_on(check(data));
    assert_eq!(status, expected(data), "{data:?}");
    let serving: &[u8] = if status == OK { b"\0\0\0\0\x02\x08\x01" } else { b"" };
    assert_eq!(body, serving);
}

static SERVICE: LazyLock<SocketAddr> = LazyLock::new(|| start(&[]));

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));

/// The status and the message of the answer.
async fn check(body: &[u8]) -> (String, Vec<u8>) {
    let stream = TcpStream::connect(*SERVICE).await.expect("the service listens");
    let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let request = Request::post("http://a/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let mut requests = requests.ready().await.expect("a connection");
    let (answer, mut sender) =
        requests.send_request(request.body(()).expect("a request"), false).expect("a stream");
    let _ = sender.send_data(Bytes::copy_from_slice(body), true);
    let (head, mut answer) = answer.await.expect("an answer").into_parts();
    let mut message = Vec::new();
    while let Some(data) = answer.data().await {
        message.extend_from_slice(&data.expect("a body"));
    }
    let trailers = answer.trailers().await.expect("an end");
    connection.abort();
    let status = head.headers.get("grpc-status").or_else(|| trailers.as_ref()?.get("grpc-status"));
    (status.expect("a status").to_str().expect("a number").to_owned(), message)
}

/// By the letter of the specifications of gRPC and of protobuf.
fn expected(body: &[u8]) -> &'static str {
    if body.len() > MAX_REQUEST {
        return RESOURCE_EXHAUSTED;
    }
    match body {
        [1, _, _, _, _, ..] => UNIMPLEMENTED,
        [0, a, b, c, d, message @ ..] if message.len() == u32::from_be_bytes([*a, *b, *c, *d]) as usize => {
            match name(message) {
                Some("" | "liveness" | "readiness" | "startup" | "dependency") => OK,
                Some(_) => NOT_FOUND,
                None => INTERNAL,
            }
        }
        _ => INTERNAL,
    }
}

/// The last field 1 of type string. `None` if this is not a message, or the name is not UTF-8.
fn name(message: &[u8]) -> Option<&str> {
    let (mut at, mut name) = (0, "".as_bytes());
    while at < message.len() {
        let tag = number(message, &mut at)?;
        if tag >> 3 == 0 {
            return None;
        }
        let length = match tag & 7 {
            0 => {
                number(message, &mut at)?;
                0
            }
            1 => 8,
            2 => usize::try_from(number(message, &mut at)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let value = message.get(at..at.checked_add(length)?)?;
        if tag == 10 {
            name = value;
        }
        at += length;
    }
    std::str::from_utf8(name).ok()
}

/// Seven bits a byte, the lowest first, in at most ten bytes.
fn number(message: &[u8], at: &mut usize) -> Option<u64> {
    let rest = &message[*at..];
    let length = rest.iter().position(|byte| *byte < 128).filter(|last| *last < 10)? + 1;
    *at += length;
    let parts = rest[..length].iter().enumerate();
    Some(parts.fold(0, |sum, (place, byte)| sum | u64::from(byte & 127) << (7 * place)))
}
