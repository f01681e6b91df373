//! TLS on listeners, as clients see it.

#![allow(clippy::unwrap_used, clippy::float_cmp)]

mod certificates;
mod clients;
mod handshake;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube_probesim::tls::{Trust, client_config};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::authority::Authority;
use crate::support::{End, PATIENCE, SILENCE, Service, eventually, exchange, read_to_end, request};

/// How a client within TLS saw the connection end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TlsEnd {
    /// `close_notify`, then FIN.
    Notified,
    /// FIN alone.
    Fin,
    Reset,
    Silence,
}

async fn connect_with(addr: SocketAddr, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    timeout(PATIENCE, TlsConnector::from(config).connect(name, stream)).await.unwrap()
}

/// A client that verifies nothing, as the kubelet.
pub(crate) async fn connect(addr: SocketAddr, alpn: &[&str]) -> TlsStream<TcpStream> {
    connect_with(addr, client_config(&Trust::Anyone, alpn)).await.unwrap()
}

async fn read(stream: &mut TlsStream<TcpStream>) -> (String, TlsEnd) {
    let (bytes, end) = read_bytes(stream).await;
    (String::from_utf8_lossy(&bytes).into_owned(), end)
}

pub(crate) async fn read_bytes(stream: &mut TlsStream<TcpStream>) -> (Vec<u8>, TlsEnd) {
    let mut bytes = Vec::new();
    let end = loop {
        match timeout(SILENCE, stream.read_buf(&mut bytes)).await {
            Err(_) => break TlsEnd::Silence,
            Ok(Ok(0)) => break TlsEnd::Notified,
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => break TlsEnd::Fin,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => break TlsEnd::Reset,
            Ok(Err(error)) => panic!("{error}"),
        }
    };
    (bytes, end)
}

async fn get(addr: SocketAddr, path: &str) -> (String, TlsEnd) {
    let mut stream = connect(addr, &[]).await;
    stream.write_all(request(path).as_bytes()).await.unwrap();
    read(&mut stream).await
}

async fn self_signed(more: &[(&str, &str)]) -> Service {
    Service::start(&[&[("TLS", "self-signed")], more].concat()).await
}

fn plan(fields: &str) -> String {
    format!("{{faults: [{{name: drill, target: listener, {fields}}}]}}")
}

async fn connected(addr: SocketAddr) -> io::Result<()> {
    connect_with(addr, client_config(&Trust::Anyone, &[])).await.map(drop)
}

#[tokio::test]
async fn one_port_speaks_tls_and_plain_http() {
    let service = self_signed(&[]).await;
    let (answer, end) = get(service.probe, "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok"), "{answer}");
    assert_eq!(end, TlsEnd::Notified);
    assert_eq!(service.get("/healthz").await.status(), 200);
    for (offered, agreed) in
        [(&["h2", "http/1.1"][..], Some(&b"h2"[..])), (&["http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let stream = connect(service.probe, offered).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
    }
    assert_eq!(
        service.metric("probesim_requests_total", &["target=\"liveness\"", "code=\"200\""]).await,
        2.0
    );
}

#[tokio::test]
async fn a_connection_within_tls_is_kept_and_goes_on_after_a_rest() {
    let service = self_signed(&[]).await;
    let mut stream = connect(service.probe, &[]).await;
    for pause in [0, 1300, 0] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let (answer, end) = read(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200") && end == TlsEnd::Silence, "{answer} {end:?}");
    }
}

#[tokio::test]
async fn large_answers_and_bodies_go_through_tls() {
    let body = "x".repeat(300_000);
    let plan = format!(
        "{{faults: [{{name: a, target: liveness, mode: status, status: 200, body_text: {}}}]}}",
        &body[..4000]
    );
    let service = self_signed(&[("FAULTS", &plan)]).await;
    let mut stream = connect(service.probe, &[]).await;
    let head = format!("POST /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let (answer, _) = read(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&body[..4000]));
}

#[tokio::test]
async fn faults_of_the_wire_strike_below_tls_or_within_it() {
    let rules = [
        ("mode: close", "", TlsEnd::Notified),
        ("mode: reset", "", TlsEnd::Reset),
        ("mode: garbage", "", TlsEnd::Notified),
        ("mode: truncate, body: 5, status: 200", ".....", TlsEnd::Fin),
        ("mode: body-reset, body: 5, status: 200", ".....", TlsEnd::Reset),
        ("mode: body-hang, body: 5, status: 200", ".....", TlsEnd::Silence),
        ("mode: malformed, body: 5, status: 200", "", TlsEnd::Notified),
        ("mode: hang", "", TlsEnd::Silence),
        ("mode: drip, drip: 100ms, body: 5, status: 200", "0\r\n\r\n", TlsEnd::Notified),
    ];
    for (fields, body, expected) in rules {
        let plan = format!("{{faults: [{{name: drill, target: liveness, {fields}}}]}}");
        let service = self_signed(&[("FAULTS", &plan)]).await;
        let (answer, end) = get(service.probe, "/healthz").await;
        assert_eq!(end, expected, "{fields}: {answer:?}");
        assert!(answer.ends_with(body), "{fields}: {answer:?}");
        if fields.contains("mode: close") || fields.contains("mode: hang") || fields.contains("mode: reset") {
            assert_eq!(answer, "", "{fields}");
        }
        assert_eq!(
            service.metric("probesim_faults_injected_total", &["fault=\"drill\""]).await,
            1.0,
            "{fields}"
        );
    }
}

#[tokio::test]
async fn tls_only_answers_plain_http_with_400() {
    let service = self_signed(&[("TLS_ONLY", "true")]).await;
    let reply = service.get("/healthz").await;
    assert_eq!((reply.status(), reply.end), (400, End::Fin));
    assert_eq!(reply.body(), "this port requires TLS; use https://\n");
    let reply = exchange(service.probe, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(reply.bytes.last(), Some(&0xc), "GOAWAY with INADEQUATE_SECURITY");
    assert!(get(service.probe, "/healthz").await.0.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_handshake_is_ended_by_the_limit_of_a_head() {
    let service = self_signed(&[("HEAD_TIMEOUT", "300ms")]).await;
    // The header of a record and a part of a ClientHello.
    for start in [&b"\x16"[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        stream.write_all(start).await.unwrap();
        let reply = crate::support::read_until_silent(&mut stream, PATIENCE).await;
        assert_eq!((reply.bytes.len(), reply.end), (0, End::Fin));
    }
    assert_eq!(service.metric("probesim_limits_hit_total", &["head_time"]).await, 2.0);
}

#[tokio::test]
async fn what_is_no_handshake_gets_an_alert() {
    let service = self_signed(&[]).await;
    for bytes in [&b"\x16GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x00\x05\x05\x00\x00\x01\x00"] {
        let reply = exchange(service.probe, bytes).await;
        assert_eq!((&reply.bytes[..1], reply.bytes[5], reply.end), (&b"\x15"[..], 2, End::Fin), "{reply:?}");
    }
    // With TLS off, a handshake is an invalid request.
    let plain = Service::start(&[]).await;
    let mut stream = TcpStream::connect(plain.probe).await.unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await.unwrap();
    let reply = read_to_end(&mut stream).await;
    assert_eq!(reply.status(), 400);
}

#[tokio::test]
async fn a_client_that_leaves_within_tls_counts_as_gone() {
    let service = self_signed(&[("FAULTS", "{faults: [{name: a, target: liveness, mode: hang}]}")]).await;
    let mut stream = connect(service.probe, &[]).await;
    stream.write_all(request("/healthz").as_bytes()).await.unwrap();
    eventually("the fault is injected", || async {
        service.metric("probesim_faults_injected_total", &[]).await == 1.0
    })
    .await;
    stream.shutdown().await.unwrap();
    drop(stream);
    eventually("the client is counted as gone", || async {
        service.metric("probesim_clients_gone_total", &["liveness"]).await == 1.0
    })
    .await;
}
