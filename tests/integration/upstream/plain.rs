//! Plain requests, which are forwarded without hyper, and those that hyper continues.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::backend::Backend;
use super::{count, in_front_of};

const GET: &[u8] = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
const DATED: &[u8] = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\napp";

/// Sends a request and reads up to the end of its answer.
async fn ask(stream: &mut TcpStream, request: &[u8], end: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    read_to(stream, end).await
}

async fn read_to(stream: &mut TcpStream, end: &[u8]) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        let byte = timeout(Duration::from_secs(10), stream.read_u8()).await;
        bytes.push(byte.expect("no end").unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&bytes))));
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn fields_keep_their_order_even_between_equal_names() {
    const ANSWER: &str =
        "HTTP/1.1 404 Nothing Here\r\nX-b: 1\r\nDate: now\r\nx-A: 2\r\nX-b: 3\r\nContent-Length: 3\r\n";
    let backend = Backend::serving(|mut stream, notes, _| async move {
        while notes.read_request(&mut stream).await.is_some() {
            stream.write_all(format!("{ANSWER}Connection: keep-alive\r\n\r\napp").as_bytes()).await.unwrap();
        }
    })
    .await;
    let service = in_front_of(&backend, &[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    let request = "GET /a?b=%20c HTTP/1.1\r\nX-b: 1\r\nHost: shop:80\r\nx-A:2 \r\nX-b: 3\r\nConnection: keep-alive\r\n\r\n";
    for _ in 0..3 {
        assert_eq!(ask(&mut stream, request.as_bytes(), b"app").await, format!("{ANSWER}\r\napp"));
    }
    let sent = backend.last();
    let (as_sent, added) = sent.split_once("X-b: 3\r\n").unwrap();
    assert_eq!(as_sent, "GET /a?b=%20c HTTP/1.1\r\nX-b: 1\r\nHost: shop:80\r\nx-A: 2\r\n");
    let (forwarded, marked) = added.split_once("cdn-loop: ").unwrap();
    assert_eq!(
        forwarded,
        "x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: shop:80\r\n"
    );
    assert!(marked.starts_with("kube-probesim-") && marked.lines().count() == 2, "{marked}");
    assert_eq!(backend.connections(), 1);
    assert_eq!(count(&service, "probesim_upstream_requests_total", &["code=\"404\""]).await, 3);
    let labels = ["target=\"traffic\"", "code=\"404\""];
    assert_eq!(count(&service, "probesim_requests_total", &labels).await, 3);
}

#[tokio::test]
async fn a_client_that_asks_to_close_gets_its_answer_and_the_end() {
    let backend = Backend::answering(DATED).await;
    let service = in_front_of(&backend, &[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("connection: close\r\n\r\napp"), "{answer}");
    assert!(!backend.last().contains("lose"), "{}", backend.last());
}

#[tokio::test]
async fn an_answer_in_pieces_is_whole_for_its_client() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        while notes.read_request(&mut stream).await.is_some() {
            for piece in DATED.chunks(20) {
                stream.write_all(piece).await.unwrap();
                sleep(Duration::from_millis(10)).await;
            }
        }
    })
    .await;
    let service = in_front_of(&backend, &[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    for _ in 0..2 {
        assert_eq!(ask(&mut stream, GET, b"app").await.as_bytes(), DATED);
    }
    assert_eq!((backend.count(), backend.connections()), (2, 1));
}

#[tokio::test]
async fn an_answer_that_hyper_continues_is_not_asked_for_twice() {
    let large =
        format!("HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 40000\r\n\r\n{}", "x".repeat(40_000));
    let large: &'static str = large.leak();
    for (answer, end) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\napp", "\r\n\r\napp"),
        (
            "HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding: chunked\r\n\r\n3\r\napp\r\n0\r\n\r\n",
            "3\r\napp\r\n0\r\n\r\n",
        ),
        (
            "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\napp",
            "\r\n\r\napp",
        ),
        ("HTTP/1.1 200 OK\r\nDate: now\r\nConnection: close\r\nContent-Length: 3\r\n\r\napp", "\r\n\r\napp"),
        (large, "xxx"),
    ] {
        let backend = Backend::answering(answer.as_bytes()).await;
        let service = in_front_of(&backend, &[]).await;
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        for number in 1..=3 {
            let mut got = ask(&mut stream, GET, end.as_bytes()).await;
            while answer == large && got.split("\r\n\r\n").last().is_some_and(|body| body.len() < 40_000) {
                got += &read_to(&mut stream, b"x").await;
            }
            assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
            assert_eq!(backend.count(), number, "{answer}");
        }
        assert_eq!(count(&service, "probesim_upstream_requests_total", &["code=\"200\""]).await, 3);
        assert_eq!(count(&service, "probesim_upstream_requests_total", &["code=\"none\""]).await, 0);
        assert_eq!(count(&service, "probesim_requests_total", &["target=\"traffic\""]).await, 3);
    }
}

#[tokio::test]
async fn a_client_may_send_ahead_while_its_plain_request_waits() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        while notes.read_request(&mut stream).await.is_some() {
            sleep(Duration::from_millis(200)).await;
            stream.write_all(DATED).await.unwrap();
        }
    })
    .await;
    let service = in_front_of(&backend, &[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(GET).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    stream.write_all(b"GET /second HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    for _ in 0..2 {
        assert!(read_to(&mut stream, b"app").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    let messages = backend.messages();
    assert_eq!(messages.len(), 2);
    assert!(messages[0].starts_with("GET /x ") && messages[1].starts_with("GET /second "), "{messages:?}");
}

#[tokio::test]
async fn bytes_that_follow_an_answer_never_reach_another_request() {
    // With the answer, and later while the connection is idle.
    for pause in [0, 50] {
        let backend = Backend::serving(move |mut stream, notes, number| async move {
            notes.read_request(&mut stream).await;
            let answer = format!("HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\n{number:03}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(pause)).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 4\r\n\r\nevil").await;
            notes.read_request(&mut stream).await;
        })
        .await;
        let service = in_front_of(&backend, &[]).await;
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        for number in 0..3 {
            let end = format!("\r\n\r\n{number:03}");
            assert!(ask(&mut stream, GET, end.as_bytes()).await.starts_with("HTTP/1.1 200 OK\r\n"));
            sleep(Duration::from_millis(150)).await;
        }
        assert_eq!(backend.count(), 3, "each has a connection of its own");
    }
}

#[tokio::test]
async fn a_plain_request_is_sent_once_more_if_an_idle_connection_has_ended() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        notes.read_request(&mut stream).await;
        stream.write_all(DATED).await.unwrap();
        notes.read_request(&mut stream).await;
    })
    .await;
    let service = in_front_of(&backend, &[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&mut stream, GET, b"app").await.as_bytes(), DATED);
    }
    // The second and the third request were sent twice.
    assert_eq!((backend.count(), backend.connections()), (5, 3));
}

#[tokio::test]
async fn a_new_connection_that_ends_without_an_answer_is_502_after_one_try() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        notes.read_request(&mut stream).await;
    })
    .await;
    let service = in_front_of(&backend, &[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    let answer = ask(&mut stream, GET, b"\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert_eq!(backend.count(), 1);
    assert_eq!(count(&service, "probesim_upstream_errors_total", &["reason=\"closed\""]).await, 1);
    assert_eq!(count(&service, "probesim_upstream_requests_total", &[]).await, 1);
}

#[tokio::test]
async fn a_plain_and_another_request_of_a_client_share_a_connection_of_the_only_one_allowed() {
    const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
    let backend = Backend::answering(DATED).await;
    let service = in_front_of(&backend, &[("UPSTREAM_CONNECTIONS", "1")]).await;
    let mut one = TcpStream::connect(service.probe).await.unwrap();
    ask(&mut one, GET, b"app").await;
    ask(&mut one, POST, b"app").await;
    assert_eq!(backend.connections(), 1);
    // Others may not have used the connection of a POST, so the idle one makes room.
    let mut other = TcpStream::connect(service.probe).await.unwrap();
    ask(&mut other, GET, b"app").await;
    let mut third = TcpStream::connect(service.probe).await.unwrap();
    ask(&mut third, POST, b"app").await;
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn an_idle_connection_of_hyper_does_not_keep_plain_requests_with_hyper() {
    const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    let backend = Backend::answering(DATED).await;
    let service = in_front_of(&backend, &[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    ask(&mut stream, GET, b"app").await;
    // It takes the only connection, which is hyper's from then on.
    ask(&mut stream, POST, b"app").await;
    assert_eq!(backend.connections(), 1);
    let ordered = b"GET / HTTP/1.1\r\nX-b: 1\r\nhost: a\r\nx-A: 2\r\nX-b: 3\r\n\r\n";
    let mut other = TcpStream::connect(service.probe).await.unwrap();
    for _ in 0..3 {
        ask(&mut other, ordered, b"app").await;
        assert!(
            backend.last().contains("x-A: 2\r\nX-b: 3\r\n"),
            "hyper has forwarded it: {}",
            backend.last()
        );
    }
    // Both connections are used from then on.
    ask(&mut stream, POST, b"app").await;
    assert_eq!(backend.connections(), 2);
}
