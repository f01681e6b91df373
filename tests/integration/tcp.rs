//! Proxies in front of servers of any protocol.

mod faults;
pub(crate) mod peer;
mod tls;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Service, eventually};
use peer::{Peer, hash, pattern};
use std::net::SocketAddr;
use std::time::Duration;

/// A service with a proxy `db` in front of `upstream`, and the proxy's address.
async fn in_front_of(upstream: SocketAddr, plan: &str) -> (Service, SocketAddr) {
    let proxies = format!("db=:0->{upstream}");
    let service =
        Service::start(&[("PROXIES", &proxies), ("FAULTS", plan), ("SHUTDOWN_GRACE", "100ms")]).await;
    let db = service.proxy("db").await;
    (service, db)
}

/// A counter of the service, a whole number.
async fn count(service: &Service, name: &str, labels: &[&str]) -> u64 {
    service.metric(name, labels).await as u64
}

async fn ended(service: &Service, result: &str) -> u64 {
    let label = format!("result=\"{result}\"");
    count(service, "probesim_proxy_connections_total", &["proxy=\"db\"", &label]).await
}

#[tokio::test]
async fn bytes_pass_in_both_directions_and_are_counted() {
    let peer = Peer::echo().await;
    let (service, db) = in_front_of(peer.addr, "{seed: 7}").await;
    let sent = pattern(3 << 20);
    let mut client = TcpStream::connect(db).await.unwrap();
    let (mut read, mut write) = client.split();
    let mut received = Vec::new();
    let writing = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    tokio::join!(writing, async { read.read_to_end(&mut received).await.unwrap() });
    assert_eq!(hash(&received), hash(&sent));
    eventually("the connection is over", || async { ended(&service, "completed").await == 1 }).await;
    for stream in ["stream=\"upstream\"", "stream=\"downstream\""] {
        let bytes = count(&service, "probesim_proxy_bytes_total", &["proxy=\"db\"", stream]).await;
        assert_eq!(bytes, sent.len() as u64, "{stream}");
    }
    assert_eq!(count(&service, "probesim_proxy_connections", &["proxy=\"db\""]).await, 0);
    service.stop().await;
}

#[tokio::test]
async fn a_server_may_speak_first_and_a_half_close_keeps_the_other_direction_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (service, db) = in_front_of(listener.local_addr().unwrap(), "{seed: 7}").await;
    let mut client = TcpStream::connect(db).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    server.write_all(b"220 hello\r\n").await.unwrap();
    let mut greeting = [0; 11];
    client.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220 hello\r\n");
    client.write_all(b"QUIT").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"QUIT");
    server.write_all(b"221 bye").await.unwrap();
    drop(server);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"221 bye");
    service.stop().await;
}

#[tokio::test]
async fn a_reset_of_one_side_is_a_reset_of_the_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (service, db) = in_front_of(listener.local_addr().unwrap(), "{seed: 7}").await;
    let mut client = TcpStream::connect(db).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    server.write_all(b"hi").await.unwrap();
    assert_eq!(peer::read(&mut client, 2).await, b"hi");
    peer::reset(server);
    let error = client.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    eventually("it is counted", || async { ended(&service, "upstream_reset").await == 1 }).await;
    let client = TcpStream::connect(db).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    peer::reset(client);
    let error = server.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    eventually("it is counted", || async { ended(&service, "client_reset").await == 1 }).await;
    service.stop().await;
}

#[tokio::test]
async fn an_upstream_that_is_not_reached_is_counted_by_reason_and_resets_the_client() {
    let free = peer::free_port().await;
    let (service, db) = in_front_of(free, "{seed: 7}").await;
    let mut client = TcpStream::connect(db).await.unwrap();
    let error = client.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let labels = ["proxy=\"db\"", "reason=\"refused\""];
    assert_eq!(count(&service, "probesim_upstream_errors_total", &labels).await, 1);
    assert_eq!(ended(&service, "upstream_error").await, 1);
    // One of our own listeners is never connected to.
    let proxy = json!({"listen": "127.0.0.1:0", "upstream": db.to_string()});
    assert_eq!(service.api("PUT", "/v1/proxies/loop", &proxy).await.0, 201);
    let mut client = TcpStream::connect(service.proxy("loop").await).await.unwrap();
    assert!(client.read(&mut [0; 8]).await.is_err());
    let labels = ["proxy=\"loop\"", "reason=\"own_listener\""];
    assert_eq!(count(&service, "probesim_upstream_errors_total", &labels).await, 1);
    service.stop().await;
}

#[tokio::test]
async fn a_proxy_moves_to_another_upstream_keeps_its_protocol_and_drains_when_it_goes() {
    let (first, second) = (Peer::greeting(b"first").await, Peer::greeting(b"second").await);
    let (service, db) = in_front_of(first.addr, "{seed: 7}").await;
    let mut held = TcpStream::connect(db).await.unwrap();
    assert_eq!(peer::read(&mut held, 5).await, b"first");
    let put = |upstream: String| json!({"listen": "127.0.0.1:0", "upstream": upstream});
    let (status, answer) = service.api("PUT", "/v1/proxies/db", &put(second.addr.to_string())).await;
    assert_eq!(status, 200, "{answer}");
    let mut other = TcpStream::connect(service.proxy("db").await).await.unwrap();
    assert_eq!(peer::read(&mut other, 6).await, b"second");
    let (status, problem) = service.api("PUT", "/v1/proxies/db", &put("http://a:1".to_owned())).await;
    assert_eq!(status, 422, "{problem}");
    let message = problem["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("has another protocol"), "{message}");
    assert_eq!(service.api("DELETE", "/v1/proxies/db", &Value::Null).await.0, 200);
    eventually("nobody listens there", || async { TcpStream::connect(db).await.is_err() }).await;
    held.write_all(b"still").await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(50), held.read(&mut [0; 8])).await;
    assert!(silence.is_err(), "what is open goes on for a while");
    let open = count(&service, "probesim_proxy_connections", &["proxy=\"db\""]).await;
    assert_eq!(open, 2, "a proxy that is gone stays in the metrics");
    service.stop().await;
}

#[tokio::test]
async fn idle_connections_hold_no_buffers_and_buffers_of_slow_readers_are_in_the_budget() {
    let peer = Peer::greeting(b"hi").await;
    let (service, db) = in_front_of(peer.addr, "{seed: 7}").await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = TcpStream::connect(db).await.unwrap();
        assert_eq!(peer::read(&mut client, 2).await, b"hi");
        clients.push(client);
    }
    assert_eq!(count(&service, "probesim_proxy_connections", &["proxy=\"db\""]).await, 100);
    drop(clients);
    eventually("all are over", || async { ended(&service, "completed").await == 100 }).await;
    service.stop().await;
}
