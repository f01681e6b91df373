//! Invalid requests, and slow clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::time::Duration;

use crate::support::{End, PATIENCE, Service, eventually, exchange, get, read_to_end, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Sends until the server stops reading, then reads its answer.
async fn flood(service: &Service, start: &str, filling: &str, total: usize) -> String {
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    let mut sent = start.len();
    let mut alive = stream.write_all(start.as_bytes()).await.is_ok();
    while alive && sent < total {
        alive = matches!(timeout(PATIENCE, stream.write_all(filling.as_bytes())).await, Ok(Ok(())));
        sent += filling.len();
    }
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 4096];
    while let Ok(Ok(count @ 1..)) = timeout(PATIENCE, stream.read(&mut buffer)).await {
        bytes.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_and_counted() {
    let service = Service::start(&[]).await;
    let megabyte =
        flood(&service, "GET /healthz HTTP/1.1\r\nhost: a\r\nx: ", &"y".repeat(10_000), 1 << 20).await;
    assert!(megabyte.starts_with("HTTP/1.1 431"), "{megabyte:?}");
    let line = flood(&service, "GET /", &"x".repeat(10_000), 1 << 20).await;
    assert!(line.starts_with("HTTP/1.1 4"), "{line:?}");
    let path = exchange(service.probe, request(&format!("/{}", "p".repeat(100_000)))).await;
    assert!([400, 414, 431].contains(&path.status()), "{:?}", path.text());
    assert_eq!(service.metric("probesim_limits_hit_total", &["head_size"]).await, 3.0);
    assert_eq!(service.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn trailers_above_16_kib_are_refused_even_where_larger_heads_are_allowed() {
    let service = Service::start(&[("MAX_HEAD_SIZE", "1MiB")]).await;
    for (lines, status) in [(10, 200), (20, 400)] {
        let trailers = format!("x: {}\r\n", "y".repeat(1000)).repeat(lines);
        let head = "PUT /v1/plan HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        let coding = "transfer-encoding: chunked\r\nconnection: close\r\n\r\n";
        let body = "d\r\n{\"faults\":[]}\r\n0\r\n";
        let reply = exchange(service.admin, format!("{head}{coding}{body}{trailers}\r\n")).await;
        assert_eq!(reply.status(), status, "{lines}: {}", reply.text());
    }
    // A head may have more.
    let head = format!(
        "GET /healthz HTTP/1.1\r\nhost: a\r\nx: {}\r\nconnection: close\r\n\r\n",
        "y".repeat(500_000)
    );
    assert_eq!(exchange(service.probe, head).await.status(), 200);
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let service = Service::start(&[]).await;
    for bytes in [
        "\r\n\r\nhello\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03",
        "GET /healthz HTTP/1.1\r\nbad header\r\n\r\n",
    ] {
        let reply = exchange(service.probe, bytes).await;
        assert_eq!((reply.status(), reply.end), (400, End::Fin), "{bytes:?}");
    }
    assert_eq!(service.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn an_unexpected_request_body_is_ignored() {
    let service = Service::start(&[]).await;
    let with_body = "GET /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n";
    let answer = flood(&service, with_body, &"b".repeat(10_000), 1_000_000).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer:?}");
    let chunked =
        "POST /healthz HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(exchange(service.probe, chunked).await.status(), 200);
    assert_eq!(service.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn an_unfinished_head_is_ended_by_the_head_timeout() {
    let service = Service::start(&[("HEAD_TIMEOUT", "1s")]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nho").await.unwrap();
    let began = Instant::now();
    timeout(PATIENCE, stream.readable()).await.unwrap().unwrap();
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
    let reply = read_to_end(&mut stream).await;
    assert_eq!((reply.status(), reply.end), (408, End::Fin));
    assert_eq!(service.metric("probesim_limits_hit_total", &["head_time"]).await, 1.0);
    // Slow sending does not help: the limit is for the whole head.
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    let began = Instant::now();
    for byte in request("/healthz").bytes() {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(100)).await;
        if began.elapsed() > Duration::from_secs(3) {
            break;
        }
    }
    assert_eq!(service.metric("probesim_limits_hit_total", &["head_time"]).await, 2.0);
}

#[tokio::test]
async fn an_idle_connection_is_ended_by_the_idle_timeout() {
    let service = Service::start(&[("IDLE_TIMEOUT", "500ms")]).await;
    let mut never_used = TcpStream::connect(service.probe).await.unwrap();
    let mut used = TcpStream::connect(service.probe).await.unwrap();
    used.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    for stream in [&mut never_used, &mut used] {
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("it is ended").unwrap();
    }
    assert_eq!(service.metric("probesim_limits_hit_total", &["idle_time"]).await, 2.0);
    // A client that waits for a slow answer is not idle.
    let slow = Service::start(&[("IDLE_TIMEOUT", "300ms"), ("LATENCY", "1000")]).await;
    let mut stream = TcpStream::connect(slow.probe).await.unwrap();
    stream.write_all(request("/healthz").as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_reset_by_the_write_timeout() {
    let rules: Vec<String> =
        (0..100).map(|rule| format!("{{name: r{rule}, target: liveness, mode: status, rate: 1%}}")).collect();
    let faults = format!("{{faults: [{}]}}", rules.join(","));
    let service = Service::start(&[("FAULTS", &faults), ("IDLE_TIMEOUT", "500ms")]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    // More than the buffers of both sockets.
    stream.write_all("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n".repeat(500).as_bytes()).await.unwrap();
    eventually("it is cut off", || async { service.metric("probesim_connections", &[]).await == 0.0 }).await;
    assert_eq!(service.metric("probesim_limits_hit_total", &["write_time"]).await, 1.0);
    assert_eq!(read_to_end(&mut stream).await.end, End::Reset);
}

#[tokio::test]
async fn connections_above_the_limit_are_reset_and_counted_while_all_others_are_busy() {
    let service = Service::start(&[("MAX_CONNECTIONS", "10"), ("READINESS_LATENCY", "60s")]).await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        stream.write_all(request("/readyz").as_bytes()).await.unwrap();
        streams.push(stream);
    }
    eventually("they wait", || async {
        service.metric("probesim_faults_eligible_total", &["readiness"]).await == 10.0
    })
    .await;
    assert_eq!(service.get("/healthz").await.end, End::Reset);
    assert_eq!(service.metric("probesim_limits_hit_total", &["connections"]).await, 1.0);
    drop(streams.pop());
    eventually("there is room again", || async { service.get("/healthz").await.ok_status() == Some(200) })
        .await;
}

#[tokio::test]
async fn a_connection_without_a_request_gives_up_its_place_for_another_one() {
    let service = Service::start(&[("MAX_CONNECTIONS", "10")]).await;
    let hello = ["\x16\x03\x01", "PRI * HTTP/2.0", "GET /healthz HTTP/1.1\r\nho", ""];
    let mut crowd = Vec::new();
    for position in 0..100 {
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        let _ = stream.write_all(hello[position % 4].as_bytes()).await;
        crowd.push(stream);
        if position % 10 == 9 {
            assert_eq!(service.get("/healthz").await.status(), 200, "{position}");
        }
    }
    eventually("those in excess are counted", || async {
        service.metric("probesim_limits_hit_total", &["connections"]).await >= 90.0
    })
    .await;
    let mut kept = TcpStream::connect(service.probe).await.unwrap();
    let ask = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    for _ in 0..5 {
        kept.write_all(ask.as_bytes()).await.unwrap();
        read_answers(&mut kept, 1).await;
        crowd.push(TcpStream::connect(service.probe).await.unwrap());
    }
}

#[tokio::test]
async fn a_refused_client_that_goes_on_sending_holds_no_memory_of_a_request() {
    let service = Service::start(&[]).await;
    let refused = "POST / HTTP/1.1\r\nhost: a\r\nhost: b\r\ncontent-length: 1000000\r\n\r\n";
    let held = || async { service.metric("probesim_client_memory_bytes", &[]).await };
    let before = held().await;
    let mut crowd = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        stream.write_all(refused.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(status, *b"HTTP/1.1 400");
        crowd.push(stream);
    }
    // Their requests would take 26 KiB each.
    let grown = held().await - before;
    assert!(grown < 20.0 * 12.0 * 1024.0, "{grown} bytes");
}

#[tokio::test]
async fn many_pipelined_requests_are_all_answered() {
    let service = Service::start(&[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n".repeat(500).as_bytes()).await.unwrap();
    let reply = read_to_end(&mut stream).await;
    assert_eq!(reply.text().matches("HTTP/1.1 200 OK").count(), 500);
    assert_eq!(service.metric("probesim_requests_total", &["code=\"200\""]).await, 500.0);
}

/// Longer than the idle time after which a connection's buffers are released.
const REST: Duration = Duration::from_millis(1500);

async fn read_answers(stream: &mut TcpStream, count: usize) -> String {
    let mut text = String::new();
    let mut buffer = vec![0; 4096];
    while text.matches("\r\n\r\nok").count() < count {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0, "{text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    text
}

#[tokio::test]
async fn a_connection_still_serves_after_a_long_idle_time() {
    let service = Service::start(&[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    for _ in 0..2 {
        sleep(REST).await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let answer = read_answers(&mut stream, 1).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer:?}");
    }
    assert_eq!(service.metric("probesim_connections", &[]).await, 1.0);
    drop(stream);
    eventually("it is closed", || async { service.metric("probesim_connections", &[]).await == 0.0 }).await;
}

#[tokio::test]
async fn a_head_that_arrived_with_the_previous_request_is_not_lost() {
    let service = Service::start(&[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\nGET /livez HT").await.unwrap();
    read_answers(&mut stream, 1).await;
    sleep(REST).await;
    stream.write_all(b"TP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let answer = read_answers(&mut stream, 1).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer:?}");
}

#[tokio::test]
async fn an_idle_connection_ends_with_the_service() {
    let service = Service::start(&[]).await;
    let mut unused = TcpStream::connect(service.probe).await.unwrap();
    let mut used = TcpStream::connect(service.probe).await.unwrap();
    used.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    read_answers(&mut used, 1).await;
    sleep(REST).await;
    assert!(service.stop().await < PATIENCE / 8);
    for stream in [&mut unused, &mut used] {
        assert_eq!(read_to_end(stream).await.end, End::Fin);
    }
}

/// Connects from an address of the machine's own.
async fn connect_from(source: [u8; 4], to: std::net::SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn connections_to_the_admin_port_do_not_lock_out_loopback_callers() {
    for sent in [
        "",
        "GET /healthz HTTP/1.1\r\nhost: lo",
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "PUT /v1/plan HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{",
    ] {
        lock_out(sent).await;
    }
}

/// Holds many connections that have sent these bytes, and measures requests of other clients.
async fn lock_out(sent: &str) {
    let service = Service::start(&[]).await;
    // Three foreign addresses and loopback, each with more connections than there are places.
    for source in [[127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 4], [127, 0, 0, 1]] {
        let mut crowd = Vec::new();
        for _ in 0..100 {
            let mut stream = connect_from(source, service.admin).await;
            let _ = stream.write_all(sent.as_bytes()).await;
            crowd.push(stream);
        }
        for _ in 0..10 {
            let reply = get(service.admin, "/healthz").await;
            assert_eq!(reply.status(), 200, "{source:?} {sent:?}");
        }
        drop(crowd);
    }
    assert!(
        service.metric("probesim_limits_hit_total", &["\"connections\""]).await >= 4.0 * 36.0,
        "{sent:?}"
    );
}

#[tokio::test]
async fn one_remote_address_cannot_take_all_connections_of_the_admin_port() {
    let service = Service::start(&[]).await;
    let mut held = Vec::new();
    let mut answered = 0;
    for _ in 0..64 {
        let mut stream = connect_from([127, 0, 0, 2], service.admin).await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut buffer = [0; 12];
        answered += u32::from(stream.read_exact(&mut buffer).await.is_ok());
        held.push(stream);
    }
    assert_eq!(answered, 64);
    let mut open = 0;
    for stream in &mut held {
        open += u32::from(timeout(Duration::from_millis(50), read_to_end(stream)).await.is_err());
    }
    assert_eq!(open, 24, "each of the others has given up its place for a later one");
    let mut other = connect_from([127, 0, 0, 3], service.admin).await;
    other.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut other).await.status(), 200);
    assert_eq!(get(service.admin, "/healthz").await.status(), 200);
    assert_eq!(service.metric("probesim_limits_hit_total", &["\"connections\""]).await, 40.0);
}

#[tokio::test]
async fn a_connection_to_the_admin_port_without_a_request_ends_soon() {
    let service = Service::start(&[]).await;
    let mut silent = TcpStream::connect(service.admin).await.unwrap();
    let began = Instant::now();
    let ended = timeout(PATIENCE, silent.read(&mut [0])).await.expect("it is ended").unwrap();
    assert_eq!(ended, 0);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
