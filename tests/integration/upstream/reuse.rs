//! Which upstream connection a request uses, and when it is retried.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::backend::{Backend, OK};
use super::{count, in_front_of};
use crate::support::{Service, eventually, exchange};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";

/// Sends a request on an open connection and reads its answer, which is `OK` or an error of the proxy.
async fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // The text of an error ends with a line feed alone.
    let is_error = |bytes: &[u8]| bytes.ends_with(b"\n") && !bytes.ends_with(b"\r\n");
    while !bytes.ends_with(b"\r\n\r\napp") && !is_error(&bytes) {
        bytes.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn repeatable_requests_share_connections_and_others_do_not() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[]).await;
    let mut one = TcpStream::connect(service.probe).await.unwrap();
    let mut other = TcpStream::connect(service.probe).await.unwrap();
    ask(&mut one, POST).await;
    ask(&mut one, POST).await;
    ask(&mut one, GET).await;
    assert_eq!(backend.connections(), 1, "a client keeps to its own connection");
    ask(&mut other, POST).await;
    assert_eq!(
        backend.connections(),
        2,
        "a request that must not be sent twice takes none that others have used"
    );
    let mut third = TcpStream::connect(service.probe).await.unwrap();
    for _ in 0..5 {
        ask(&mut third, GET).await;
    }
    assert_eq!(backend.connections(), 2, "one that may be, does");
}

/// Closes each connection after its first answer, when the next request arrives.
async fn ends_at_the_second_request() -> Backend {
    Backend::serving(|mut stream, notes, _| async move {
        notes.read_request(&mut stream).await;
        stream.write_all(OK).await.unwrap();
        notes.read_request(&mut stream).await;
    })
    .await
}

#[tokio::test]
async fn a_repeatable_request_is_retried_once_if_an_idle_connection_has_ended() {
    let backend = ends_at_the_second_request().await;
    let service = in_front_of(&backend, &[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    for _ in 0..3 {
        assert!(ask(&mut stream, GET).await.contains("200 OK"));
    }
    // The second and the third request were sent twice.
    assert_eq!((backend.count(), backend.connections()), (5, 3));
}

#[tokio::test]
async fn other_requests_are_never_sent_twice() {
    let backend = ends_at_the_second_request().await;
    let service = in_front_of(&backend, &[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    assert!(ask(&mut stream, POST).await.contains("200 OK"));
    assert!(ask(&mut stream, POST).await.contains(" 502"));
    assert_eq!(backend.count(), 2);
}

#[tokio::test]
async fn idle_connections_that_the_upstream_closes_disturb_nobody() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        notes.read_request(&mut stream).await;
        stream.write_all(OK).await.unwrap();
    })
    .await;
    let service = in_front_of(&backend, &[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    for number in 0..50 {
        let request = if number % 2 == 0 { GET } else { POST };
        assert!(ask(&mut stream, request).await.contains("200 OK"), "{number}");
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(backend.count(), 50);
}

#[tokio::test]
async fn a_request_is_cancelled_when_its_client_leaves() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        notes.read_request(&mut stream).await;
        // Until the connection ends.
        let _ = stream.read_u8().await;
        notes.note("gone");
    })
    .await;
    let service = in_front_of(&backend, &[]).await;
    let stream = TcpStream::connect(service.probe).await.unwrap();
    stream.try_write(GET.as_bytes()).unwrap();
    eventually("it is asked", || async { backend.count() == 1 }).await;
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    eventually("the upstream is told", || async { backend.last() == "gone" }).await;
    assert_eq!(count(&service, "probesim_upstream_requests_total", &["code=\"none\""]).await, 1);
}

#[tokio::test]
async fn loopback_upstreams_see_the_address_that_the_client_reached() {
    let Some(own) = own_address() else { return };
    let backend = Backend::serving(|mut stream, notes, _| async move {
        let peer = stream.peer_addr().unwrap().ip();
        while notes.read_request(&mut stream).await.is_some() {
            let peer = peer.to_string();
            let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{peer}", peer.len());
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    })
    .await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let service = in_front_of(&backend, &[]).await;
    let reached = std::net::SocketAddr::new(own, service.probe.port());
    assert_eq!(exchange(reached, request).await.body(), own.to_string());
    assert_eq!(exchange(service.probe, request).await.body(), "127.0.0.1");
    assert_eq!(exchange(reached, request).await.body(), own.to_string(), "connections are kept apart");
    let service = in_front_of(&backend, &[("UPSTREAM_SOURCE", "system")]).await;
    let reached = std::net::SocketAddr::new(own, service.probe.port());
    assert_eq!(exchange(reached, request).await.body(), "127.0.0.1");
    let service = in_front_of(&backend, &[("UPSTREAM_SOURCE", "127.0.0.9")]).await;
    assert_eq!(exchange(service.probe, request).await.body(), "127.0.0.9");
}

/// An address of this host that is not loopback.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|local| local.ip()).filter(|ip| !ip.is_loopback())
}

#[tokio::test]
async fn an_upstream_that_closes_at_any_moment_loses_no_get_and_sees_no_request_twice() {
    // It closes up to 3 ms after one to four answers, while clients send requests every 0 to 3 ms.
    let backend = Backend::serving(|mut stream, notes, number| async move {
        for _ in 0..=number % 4 {
            if notes.read_request(&mut stream).await.is_none() {
                return;
            }
            let dated = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\napp";
            stream.write_all(dated).await.unwrap();
        }
        sleep(Duration::from_micros(number as u64 * 700 % 3_100)).await;
    })
    .await;
    let service = in_front_of(&backend, &[]).await;
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..8 {
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        clients.spawn(async move {
            let mut lost = 0;
            for number in 0..150_u64 {
                let is_post = client % 2 == 0 && number % 3 == 0;
                let method = if is_post { "POST" } else { "GET" };
                let length = if is_post { "content-length: 0\r\n" } else { "" };
                let request = format!("{method} /{client}-{number} HTTP/1.1\r\nhost: a\r\n{length}\r\n");
                let answer = ask(&mut stream, &request).await;
                // Without a proxy, such a client would lose it as well.
                lost += usize::from(is_post && answer.contains(" 502"));
                assert!(answer.contains("200 OK") || is_post, "{request}: {answer}");
                sleep(Duration::from_micros(number * 900 % 3_000)).await;
            }
            lost
        });
    }
    let lost: usize = clients.join_all().await.into_iter().sum();
    let mut answered = std::collections::BTreeSet::new();
    let posts = backend.messages().into_iter().filter(|message| message.starts_with("POST"));
    assert!({ posts }.all(|message| answered.insert(message)), "a POST was sent twice");
    assert_eq!(answered.len() + lost, 4 * 50);
    assert_eq!(count(&service, "probesim_upstream_errors_total", &["reason=\"closed\""]).await, lost as u64);
}

/// An application at a Unix socket that answers with its name.
fn at_socket(path: &std::path::Path, name: &'static str) -> tokio::task::JoinHandle<()> {
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        let mut serving = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            serving.spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                    let head = "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\n";
                    stream.write_all(format!("{head}{name}").as_bytes()).await.unwrap();
                }
            });
        }
    })
}

#[tokio::test]
async fn a_socket_that_is_replaced_is_the_upstream_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let service = Service::start(&[("UPSTREAM", &format!("unix:{}", path.display()))]).await;
    let old = at_socket(&path, "old");
    let post = "POST / HTTP/1.1\r\nhost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for _ in 0..2 {
        assert_eq!(service.get("/").await.body(), "old");
        assert_eq!(exchange(service.probe, post).await.body(), "old");
    }
    old.abort();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(service.get("/").await.status(), 502);
    let _new = at_socket(&path, "new");
    for _ in 0..2 {
        assert_eq!(exchange(service.probe, post).await.body(), "new");
        assert_eq!(service.get("/").await.body(), "new");
    }
    assert_eq!(count(&service, "probesim_upstream_errors_total", &[]).await, 1);
}
