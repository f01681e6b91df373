//! Connections that change their protocol, such as WebSocket.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::backend::Backend;
use super::{count, in_front_of};
use crate::support::{End, Service, eventually, exchange, read_until_silent};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n";

/// Changes to a protocol that echoes in capitals and ends with `bye`.
async fn shouting() -> Backend {
    Backend::serving(|mut stream, notes, _| async move {
        notes.read_request(&mut stream).await;
        // The first message comes with the answer.
        stream.write_all(&[SWITCH, b"hello "].concat()).await.unwrap();
        let mut buffer = [0; 4096];
        while let Ok(count) = stream.read(&mut buffer).await {
            if count == 0 {
                let _ = stream.write_all(b"bye").await;
                return notes.note("ended");
            }
            buffer[..count].make_ascii_uppercase();
            stream.write_all(&buffer[..count]).await.unwrap();
        }
        notes.note("broken off");
    })
    .await
}

/// A connection that has changed its protocol.
async fn switched(service: &Service, first: &str) -> TcpStream {
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    // The bytes that follow are not HTTP.
    stream.write_all([ASK, first].concat().as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"hello ") {
        bytes.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(bytes).unwrap().to_lowercase();
    for part in ["101 switching protocols", "connection: upgrade", "upgrade: websocket", "accept: y"] {
        assert!(head.contains(part), "{head}");
    }
    assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
    stream
}

#[tokio::test]
async fn bytes_pass_in_both_directions_until_both_sides_have_closed() {
    let backend = shouting().await;
    let service = in_front_of(&backend, &[]).await;
    let mut stream = switched(&service, "early ").await;
    let asked = backend.last().to_lowercase();
    assert!(asked.contains("connection: upgrade\r\n") && asked.contains("upgrade: websocket\r\n"), "{asked}");
    stream.write_all(b"late").await.unwrap();
    stream.shutdown().await.unwrap();
    let reply = read_until_silent(&mut stream, Duration::from_secs(5)).await;
    assert_eq!((reply.text().as_str(), reply.end), ("EARLY LATEbye", End::Fin));
    assert_eq!(backend.last(), "ended");
    assert_eq!(count(&service, "probesim_upstream_requests_total", &["code=\"101\""]).await, 1);
    eventually("no connection is left", || async { count(&service, "probesim_connections", &[]).await == 0 })
        .await;
}

#[tokio::test]
async fn limits_for_idle_clients_do_not_end_it() {
    let backend = shouting().await;
    let limits = [("IDLE_TIMEOUT", "200ms"), ("HEAD_TIMEOUT", "200ms"), ("UPSTREAM_TIMEOUT", "200ms")];
    let service = in_front_of(&backend, &limits).await;
    let mut stream = switched(&service, "").await;
    sleep(Duration::from_millis(1500)).await;
    stream.write_all(b"there?").await.unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"THERE?");
}

#[tokio::test]
async fn an_aborted_client_also_ends_the_upstream_connection() {
    let backend = shouting().await;
    let service = in_front_of(&backend, &[]).await;
    let stream = switched(&service, "").await;
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    eventually("the upstream is told", || async { backend.count() == 2 }).await;
}

#[tokio::test]
async fn upgraded_connections_end_with_the_shutdown_grace() {
    let backend = shouting().await;
    let service = in_front_of(&backend, &[("SHUTDOWN_GRACE", "500ms")]).await;
    let mut stream = switched(&service, "").await;
    let took = service.stop().await;
    assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn an_upstream_may_decline() {
    let backend = Backend::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno").await;
    let service = in_front_of(&backend, &[]).await;
    let text =
        exchange(service.probe, [ASK, "GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"].concat())
            .await
            .text();
    assert_eq!(text.matches("200 OK").count(), 2, "{text}");
    assert!(text.ends_with("no"), "{text}");
}

#[tokio::test]
async fn http_2_is_not_offered_by_a_change_of_protocol() {
    let backend = shouting().await;
    let service = in_front_of(&backend, &[]).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n";
    let reply = exchange(service.probe, request).await;
    let asked = backend.last().to_lowercase();
    assert!(!asked.contains("h2c") && !asked.contains("http2-settings"), "{asked}");
    // This application switches protocols without a request to do so.
    assert_eq!(reply.status(), 502);
}
