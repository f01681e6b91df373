//! Partitions of the listeners of HTTP proxies.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::backend::{Backend, OK};
use crate::support::{End, PATIENCE, SILENCE, Service, eventually, get, read_to_end};

/// Two proxies, and a connection to the first one that has received an answer.
async fn open() -> (Backend, Service, std::net::SocketAddr, TcpStream) {
    let backend = Backend::answering(OK).await;
    let proxies = format!("stock=:0->{url}, pay=:0->{url}", url = backend.url());
    let service = Service::start(&[("PROXIES", &proxies)]).await;
    let stock = service.proxy("stock").await;
    let mut stream = TcpStream::connect(stock).await.unwrap();
    asks(&mut stream, "/").await;
    is_answered(&mut stream).await;
    (backend, service, stock, stream)
}

async fn asks(stream: &mut TcpStream, path: &str) {
    // A connection that was reset accepts no data.
    let _ = stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await;
}

async fn is_answered(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"app") {
        answer.push(timeout(PATIENCE, stream.read_u8()).await.expect("an answer").unwrap());
    }
}

async fn cut(service: &Service, rule: &Value) {
    let (status, answer) = service.api("PUT", "/v1/faults/cut", rule).await;
    assert_eq!(status, 201, "{answer}");
    eventually("new connections are cut off", || async { !answers(service).await }).await;
}

/// Whether the first proxy answers a new connection.
async fn answers(service: &Service) -> bool {
    let stock = service.proxy("stock").await;
    let Ok(Ok(mut stream)) = timeout(SILENCE, TcpStream::connect(stock)).await else { return false };
    asks(&mut stream, "/").await;
    timeout(SILENCE, stream.read_u8()).await.is_ok_and(|read| read.is_ok())
}

/// Asserts that the other listeners work, and that the first proxy works again after the rule has ended.
async fn heals(service: &Service, stock: std::net::SocketAddr) {
    let pay = service.proxy("pay").await;
    assert_eq!(get(pay, "/").await.status(), 200, "another proxy is not cut");
    assert_eq!(service.get("/healthz").await.status(), 200, "nor is the probe listener");
    assert_eq!(service.api("DELETE", "/v1/faults/cut", &Value::Null).await.0, 200);
    eventually("new connections are answered", || answers(service)).await;
    assert_eq!(get(stock, "/").await.status(), 200);
}

#[tokio::test]
async fn refuse_refuses_new_connections_and_resets_open_ones() {
    let (_backend, service, stock, mut open) = open().await;
    cut(&service, &json!({"target": "stock", "mode": "refuse"})).await;
    assert_eq!(read_to_end(&mut open).await.end, End::Reset);
    let error = TcpStream::connect(stock).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    heals(&service, stock).await;
}

#[tokio::test]
async fn drop_is_silence_and_an_open_connection_goes_on_once_it_heals() {
    let (backend, service, stock, mut open) = open().await;
    cut(&service, &json!({"target": "stock", "mode": "drop"})).await;
    assert!(timeout(SILENCE, TcpStream::connect(stock)).await.is_err(), "an attempt came to an end");
    asks(&mut open, "/late").await;
    assert!(timeout(SILENCE, open.read_u8()).await.is_err(), "an answer came through");
    assert!(backend.messages().iter().all(|message| !message.contains("/late")));
    heals(&service, stock).await;
    is_answered(&mut open).await;
}

#[tokio::test]
async fn reset_from_a_network_accepts_and_resets() {
    let (_backend, service, stock, mut open) = open().await;
    cut(&service, &json!({"target": "stock", "mode": "reset", "from": "127.0.0.0/8"})).await;
    assert_eq!(read_to_end(&mut open).await.end, End::Reset);
    let mut new = TcpStream::connect(stock).await.unwrap();
    assert_eq!(read_to_end(&mut new).await.end, End::Reset);
    heals(&service, stock).await;
}

#[tokio::test]
async fn a_cut_from_other_networks_spares_this_one() {
    let (_backend, service, stock, mut open) = open().await;
    let rule = json!({"target": "stock", "mode": "refuse", "from": "192.0.2.0/24"});
    assert_eq!(service.api("PUT", "/v1/faults/cut", &rule).await.0, 201);
    assert_eq!(get(stock, "/").await.status(), 200);
    asks(&mut open, "/").await;
    is_answered(&mut open).await;
}
