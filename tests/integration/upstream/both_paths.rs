//! The same requests and answers with hyper and without it: neither the application nor the client can tell the difference.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::backend::Backend;
use super::in_front_of;
use crate::support::{PATIENCE, Service};

/// An answer that can be forwarded without hyper.
const DATED: &[u8] = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\napp";

/// First lines of requests, with usual fields.
const LINES: &[&str] = &[
    "GET / HTTP/1.1",
    "GET /a?b=%20c&d HTTP/1.1",
    "GET /a//b/../c/./;x=y HTTP/1.1",
    "GET //a HTTP/1.1",
    "GET /a:b@c HTTP/1.1",
    "GET /% HTTP/1.1",
    "GET /%zz HTTP/1.1",
    "GET /? HTTP/1.1",
    "GET /a#b HTTP/1.1",
    "GET /{a}|^`\"<> HTTP/1.1",
    "GET /\\ HTTP/1.1",
    "GET /\u{e4} HTTP/1.1",
    "GET /\x7f HTTP/1.1",
    "GET /\x01 HTTP/1.1",
    "GET /\tb HTTP/1.1",
    "GET\t/ HTTP/1.1",
    "GET  / HTTP/1.1",
    "GET /  HTTP/1.1",
    "GET / HTTP/1.1 ",
    "GET / HTTP/1.1\r",
    "GET / b HTTP/1.1",
    "GET /",
    "GET / HTTP/1.0",
    "GET / HTTP/1.2",
    "GET / HTTP/2.0",
    "GET / http/1.1",
    "GET a HTTP/1.1",
    "GET ? HTTP/1.1",
    "GET * HTTP/1.1",
    "GET http://b:81/x?y HTTP/1.1",
    "GET http://b HTTP/1.1",
    "GET http:///x HTTP/1.1",
    "GET https://u@b/x HTTP/1.1",
    " GET / HTTP/1.1",
    "\r\nGET / HTTP/1.1",
    "\nGET / HTTP/1.1",
    "get / HTTP/1.1",
    "G(T / HTTP/1.1",
    "HEAD / HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "DELETE / HTTP/1.1",
    "CONNECT a:1 HTTP/1.1",
];

/// Fields of requests.
const FIELDS: &[&str] = &[
    "Host: a",
    "HOST:a",
    "Host:\ta \t",
    "Host: ",
    "X: b",
    "Host: a:80",
    "Host: a:",
    "Host: a:x",
    "Host: [::1]:80",
    "Host: [::1",
    "Host: u@a",
    "Host: a/b",
    "Host: a,b",
    "Host: a_b",
    "Host: a%20b",
    "Host: \u{e4}",
    "Host: a\r\nHost: a",
    "Host: a\r\nhost: b",
    "Host: a\r\nX-b: 1\r\nx-A: 2\r\nX-b: 3",
    "Host: a\r\nX: \u{e4}\u{ff}",
    "Host: a\r\nX:   b c \t",
    "Host: a\r\nX:",
    "Host: a\r\nX : b",
    "Host: a\r\nX\t: b",
    "Host: a\r\n X: b",
    "Host: a\r\nX: b\r\n c",
    "Host: a\r\nX: b\r\n\tc",
    "Host: a\r\nX: b\rc",
    "Host: a\r\nX: b\r\r\nY: c",
    "Host: a\r\nX: b\0c",
    "Host: a\r\nX: b\x01c",
    "Host: a\r\nX: b\x7fc",
    "Host: a\r\nX: b\tc",
    "Host: a\r\nX\u{e4}: b",
    "Host: a\r\n: b",
    "Host: a\r\nX",
    "Host: a\r\nX(y): b",
    "Host: a\nX: b\nY: c",
    "Host: a\r\nConnection: host",
    "Host: a\r\nConnection: Keep-Alive",
    "Host: a\r\nConnection: close, X\r\nX: 1",
    "Host: a\r\nConnection: X\r\nX: 1",
    "Host: a\r\nConnection: keep-alive\r\nConnection: X\r\nX: 1",
    "Host: a\r\nConnection:",
    "Host: a\r\nConnection: x-forwarded-for, cdn-loop",
    "Host: a\r\nKeep-Alive: 5",
    "Host: a\r\nProxy-Connection: close",
    "Host: a\r\nProxy-Authorization: x",
    "Host: a\r\nTE: trailers",
    "Host: a\r\nTE: gzip",
    "Host: a\r\nTrailer: x",
    "Host: a\r\nUpgrade: h2c",
    "Host: a\r\nUpgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: AAA",
    "Host: a\r\nExpect: something",
    "Host: a\r\nContent-Length: 0",
    "Host: a\r\nContent-Length: 0\r\nContent-Length: 0",
    "Host: a\r\nContent-Length: +0",
    "Host: a\r\nContent-Length : 0",
    "Host: a\r\nContent_Length: 9",
    "Host: a\r\nTransfer_Encoding: chunked",
    "Host: a\r\nTransfer-Encoding : chunked",
    "Host: a\r\nTransfer-Encoding:",
    "Host: a\r\nTransfer-Encoding: identity",
    "Host: a\r\nTransfer-Encoding: gzip, chunked",
    "Host: a\r\nX-Transfer-Encoding: chunked",
    "Host: a\r\nCDN-Loop: other",
    "Host: a\r\nCDN-Loop: kube-probesim-0; x",
    "Host: a\r\nX-Forwarded-For: 192.0.2.1",
    "Host: a\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2",
    "Host: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: c",
    "Host: a\r\nForwarded: for=192.0.2.1",
    "Host: a\r\nVia: 1.1 x",
    "Host: a\r\nCookie: a=b\r\nCookie: c=d",
    "Host: a\r\nUser-Agent: kube-probe/1.36",
    "Host: a\r\nUser-Agent: a\r\nUser-Agent: kube-probe/1.36",
    "Host: a\r\nX-Probesim-Target: liveness",
    "Host: a\r\nX-Probesim-Other: a",
    "Host: a\r\nx-probesim-fault: mode=close",
    "Host: a\r\nRange: bytes=0-1\r\nIf-None-Match: \"x\"\r\nAccept-Encoding: gzip",
];

/// What the application sends. Its connection ends with it.
const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length:3 \t\r\nX-b: 1\r\nx-A: 2\r\nX-b: 3\r\nServer: x\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 003\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 4\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 2\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: +3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length : 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\napp\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nDate: now\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nDate: then\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nConnection: X, close\r\nX: 1\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nConnection: Content-Length\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nProxy-Connection: close\r\nTE: x\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nTrailer: X\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nX: \u{e4}\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nX: b\r\n c\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nX: b\rc\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nX: b\0c\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nX y: b\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\nDate: now\nContent-Length: 3\n\napp",
    "HTTP/1.1 200\r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 \r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 All  Is\tWell \r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 \u{e4}\r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1  200 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 2000 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 99 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 205 Reset Content\r\nDate: now\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nDate: now\r\nETag: \"x\"\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nDate: now\r\nContent-Length: 3\r\n\r\n",
    "HTTP/1.1 206 Partial Content\r\nDate: now\r\nContent-Range: bytes 0-2/9\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 599 Odd\r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 600 Odd\r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 101 Switching Protocols\r\nDate: now\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "HTTP/1.0 200 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.0 200 OK\r\nDate: now\r\n\r\napp",
    "HTTP/2.0 200 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
    "\r\nHTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
    "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Le",
    "app",
    "",
];

/// Writes one byte for each character.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect()
}

/// A message without what differs from one service or second to the next, and with its fields by name: hyper does not keep
/// their order. `Connection` is the proxy's own, so its spelling does not matter.
fn comparable(message: &[u8]) -> Vec<String> {
    let text: String = message.iter().copied().map(char::from).collect();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines: Vec<String> =
        head.split("\r\n").filter(|line| !line.starts_with("date: ")).map(field).collect();
    if let Some((_, fields)) = lines.split_first_mut() {
        fields.sort_by_key(|line| line.split(':').next().unwrap_or_default().to_ascii_lowercase());
    }
    lines.push(body.to_owned());
    lines
}

fn field(line: &str) -> String {
    match line.split_once(": ") {
        Some((name, value)) if name.eq_ignore_ascii_case("connection") => format!("connection: {value}"),
        Some((name, value)) if name.eq_ignore_ascii_case("cdn-loop") => {
            let mark = value.find("kube-probesim-").map_or(value.len(), |at| at + "kube-probesim-".len());
            format!("{name}: {}", &value[..mark])
        }
        // The space before an empty value is no part of it.
        _ => line.trim_end_matches(' ').to_owned(),
    }
}

/// What a client gets up to the end of the connection.
async fn answer(service: &Service, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(request).await.unwrap();
    let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match timeout(PATIENCE, stream.read(&mut buffer)).await.expect("an answer, or the end") {
            Ok(count @ 1..) => got.extend_from_slice(&buffer[..count]),
            _ => return got,
        }
    }
}

/// An upstream's timeout leaves all requests to hyper.
const HYPER: &[(&str, &str)] = &[("UPSTREAM_TIMEOUT", "1m")];

#[tokio::test]
async fn requests_reach_the_application_alike() {
    let (plain_backend, backend) = (Backend::answering(DATED).await, Backend::answering(DATED).await);
    let (plain, hyper) = (in_front_of(&plain_backend, &[]).await, in_front_of(&backend, HYPER).await);
    let lines = LINES.iter().map(|line| format!("{line}\r\nHost: a\r\nX-b: 1\r\nx-A: 2\r\nX-b: 3\r\n"));
    let fields = FIELDS.iter().map(|fields| format!("GET /x HTTP/1.1\r\n{fields}\r\n"));
    let pairs = FIELDS.iter().enumerate().flat_map(|(at, fields)| {
        let others = [1, 7, 23].map(|step| FIELDS[(at + step) % FIELDS.len()]);
        others.map(|other| {
            format!("GET /x HTTP/1.1\r\n{fields}\r\n{}\r\n", other.trim_start_matches("Host: a\r\n"))
        })
    });
    let many = [31, 32, 33, 99, 101]
        .map(|count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "X-Many: b\r\n".repeat(count - 2)));
    let long = [3900, 4020, 4060, 4100, 5000, 60_000, 70_000]
        .map(|length| format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n", "c".repeat(length)));
    let mut differ = 0;
    for request in lines.chain(fields).chain(pairs).chain(many).chain(long) {
        let request = bytes(&format!("{request}Connection: close\r\n\r\n"));
        let shown = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
        let (one, other) = (answer(&plain, &request).await, answer(&hyper, &request).await);
        assert_eq!(comparable(&one), comparable(&other), "{shown:?}");
        let (one, other) = (plain_backend.messages(), backend.messages());
        assert_eq!(one.len(), other.len(), "{shown:?}");
        if let (Some(one), Some(other)) = (one.last(), other.last()) {
            assert_eq!(comparable(one.as_bytes()), comparable(other.as_bytes()), "{shown:?}");
            differ += usize::from(
                one.find("x-A").zip(one.rfind("X-b")) != other.find("x-A").zip(other.rfind("X-b")),
            );
        }
    }
    assert!(differ > 3, "hyper has forwarded all of them");
}

#[tokio::test]
async fn answers_reach_the_client_alike() {
    for text in ANSWERS {
        let reply: &'static [u8] = bytes(text).leak();
        for fields in ["Connection: close\r\n", "Connection: close\r\nTE: trailers\r\n"] {
            let request = format!("GET /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let mut got = Vec::new();
            for more in [&[], HYPER] {
                let backend = Backend::serving(move |mut stream, notes, _| async move {
                    if notes.read_request(&mut stream).await.is_some() {
                        stream.write_all(reply).await.unwrap();
                    }
                })
                .await;
                let service = in_front_of(&backend, more).await;
                let answer = comparable(&answer(&service, request.as_bytes()).await);
                let address = backend.addr.to_string();
                let answer: Vec<String> =
                    answer.iter().map(|line| line.replace(&address, "ADDRESS")).collect();
                got.push((answer, backend.count()));
            }
            assert_eq!(got[0], got[1], "{text:?}");
        }
    }
}
