//! Faults below HTTP, as a raw client and curl see them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::time::Duration;

use crate::support::{End, PATIENCE, Reply, Service, eventually, read_to_end, request, tools};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// One rule on liveness, as YAML flow.
fn rule(fields: &str) -> String {
    format!("{{faults: [{{name: drill, target: liveness, {fields}}}]}}")
}

async fn service(fields: &str) -> Service {
    Service::start(&[("FAULTS", &rule(fields))]).await
}

/// The answer to a liveness request; asserts that the injection was counted.
async fn reply_to(fields: &str) -> (Service, Reply) {
    let service = service(fields).await;
    let reply = service.get("/healthz").await;
    assert!(service.metric("probesim_faults_injected_total", &["fault=\"drill\""]).await >= 1.0);
    (service, reply)
}

#[tokio::test]
async fn hang_sends_nothing_until_the_client_gives_up() {
    let (service, reply) = reply_to("mode: hang").await;
    assert_eq!((reply.bytes.as_slice(), reply.end), (&b""[..], End::Silence));
    eventually("the client is counted as gone", || async {
        service.metric("probesim_clients_gone_total", &["liveness"]).await >= 1.0
    })
    .await;
    assert_eq!(service.metric("probesim_requests_total", &["code=\"none\""]).await, 1.0);
    eventually("its connection is closed", || async {
        service.metric("probesim_connections", &[]).await == 0.0
    })
    .await;
}

#[tokio::test]
async fn close_sends_fin_without_a_response() {
    let (service, reply) = reply_to("mode: close").await;
    assert_eq!((reply.bytes.as_slice(), reply.end), (&b""[..], End::Fin));
    assert_eq!(service.metric("probesim_requests_total", &["code=\"none\""]).await, 1.0);
    assert_eq!(service.metric("probesim_clients_gone_total", &[]).await, 0.0);
}

#[tokio::test]
async fn reset_sends_rst_without_a_response() {
    let (service, reply) = reply_to("mode: reset").await;
    assert_eq!((reply.bytes.as_slice(), reply.end), (&b""[..], End::Reset));
    assert_eq!(service.metric("probesim_requests_total", &["code=\"none\""]).await, 1.0);
}

#[tokio::test]
async fn garbage_sends_bytes_that_are_not_http() {
    let (service, reply) = reply_to("mode: garbage").await;
    assert!(!reply.bytes.is_empty() && !reply.bytes.starts_with(b"HTTP"), "{:?}", reply.text());
    assert_eq!(reply.end, End::Fin);
    assert_eq!(service.metric("probesim_requests_total", &["code=\"none\""]).await, 1.0);
}

/// The faulted head without its date, then the body.
fn head_and_body(reply: &Reply) -> (Vec<String>, String) {
    let head = reply.head().lines().filter(|line| !line.starts_with("date: ")).map(str::to_owned).collect();
    (head, reply.body())
}

#[tokio::test]
async fn truncate_sends_a_part_of_the_announced_body_and_fin() {
    let (service, reply) = reply_to("mode: truncate, status: 200, body: 5").await;
    let (head, body) = head_and_body(&reply);
    assert_eq!(
        head,
        [
            "HTTP/1.1 200 OK",
            "content-type: text/plain; charset=utf-8",
            "x-probesim-fault: drill",
            "content-length: 1029"
        ]
    );
    assert_eq!((body.as_str(), reply.end), (".....", End::Fin));
    assert_eq!(service.metric("probesim_requests_total", &["code=\"200\""]).await, 1.0);
}

#[tokio::test]
async fn body_hang_sends_a_part_and_then_nothing() {
    let (_service, reply) = reply_to("mode: body-hang, status: 200, body: 5").await;
    assert_eq!((reply.body().as_str(), reply.end), (".....", End::Silence));
    assert_eq!(reply.header("content-length").unwrap(), "1029");
}

#[tokio::test]
async fn body_reset_sends_a_part_and_rst() {
    for body in [0_usize, 5, 200_000] {
        let (_service, reply) = reply_to(&format!("mode: body-reset, status: 503, body: {body}")).await;
        assert_eq!(reply.status(), 503);
        assert_eq!((reply.body().len(), reply.end), (body, End::Reset));
    }
}

#[tokio::test]
async fn malformed_sends_an_invalid_chunk_after_the_part() {
    let (_service, reply) = reply_to("mode: malformed, status: 200, body: 26").await;
    assert_eq!(reply.header("transfer-encoding").unwrap(), "chunked");
    assert_eq!(reply.body(), format!("1a\r\n{}\r\nnot a size\r\n", ".".repeat(26)));
    assert_eq!(reply.end, End::Fin);
}

#[tokio::test]
async fn drip_sends_a_whole_body_over_its_time() {
    let began = Instant::now();
    let (_service, reply) = reply_to("mode: drip, status: 200, body: 7, drip: 700ms").await;
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    assert_eq!(reply.body(), format!("{}0\r\n\r\n", "1\r\n.\r\n".repeat(7)));
    assert_eq!(reply.end, End::Fin);
}

#[tokio::test]
async fn a_body_can_be_longer_than_what_the_kubelet_reads() {
    let (_service, reply) = reply_to("mode: body-hang, status: 200, body: 11KiB").await;
    assert_eq!((reply.body().len(), reply.end), (11 * 1024, End::Silence));
}

#[tokio::test]
async fn a_delay_comes_before_the_fault() {
    for mode in ["close", "reset", "garbage", "truncate"] {
        let service = service(&format!("mode: {mode}, delay: 300ms")).await;
        let began = Instant::now();
        let reply = service.get("/healthz").await;
        assert!(began.elapsed() >= Duration::from_millis(300), "{mode}: {:?}", began.elapsed());
        assert_ne!(reply.end, End::Silence, "{mode}");
    }
}

#[tokio::test]
async fn head_requests_get_the_head_and_then_the_fault() {
    let service = service("mode: truncate, status: 200").await;
    let reply = crate::support::exchange(service.probe, request("/healthz").replacen("GET", "HEAD", 1)).await;
    assert_eq!((reply.status(), reply.body().as_str(), reply.end), (200, "", End::Fin));
}

/// Two ordinary requests, and one for each mode that ends the connection.
#[tokio::test]
async fn a_fault_hits_its_own_request_of_a_connection_that_is_kept_alive() {
    for (mode, end) in
        [("close", End::Fin), ("reset", End::Reset), ("truncate", End::Fin), ("hang", End::Silence)]
    {
        let service = service(&format!("mode: {mode}, when: {{requests: {{after: 2}}}}")).await;
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        for _ in 0..2 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let reply = read_to_end(&mut stream).await;
            assert_eq!(
                (reply.status(), reply.body().as_str(), reply.end),
                (200, "ok", End::Silence),
                "{mode}"
            );
        }
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(read_to_end(&mut stream).await.end, end, "{mode}");
        // Other connections are unaffected.
        assert_eq!(service.get("/readyz").await.status(), 200);
    }
}

#[tokio::test]
async fn requests_before_the_faulted_one_of_a_pipeline_are_answered_first() {
    for (mode, end) in
        [("close", End::Fin), ("reset", End::Reset), ("garbage", End::Fin), ("hang", End::Silence)]
    {
        let service = service(&format!("mode: {mode}, when: {{requests: {{after: 3}}}}")).await;
        let pipeline = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n".repeat(5);
        let reply = crate::support::exchange(service.probe, pipeline).await;
        let text = reply.text();
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3, "{mode}: {text}");
        assert_eq!(reply.end, end, "{mode}");
    }
}

#[tokio::test]
async fn a_client_that_closes_a_hanging_pipeline_frees_its_connection() {
    let service = service("mode: hang").await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n".repeat(9).as_bytes()).await.unwrap();
    eventually("it hangs", || async { service.metric("probesim_connections", &[]).await == 1.0 }).await;
    drop(stream);
    eventually("it is freed", || async { service.metric("probesim_connections", &[]).await == 0.0 }).await;
}

#[tokio::test]
async fn the_service_ends_within_a_second_in_each_mode() {
    for mode in [
        "hang",
        "close",
        "reset",
        "garbage",
        "truncate",
        "body-hang",
        "body-reset",
        "malformed",
        "drip, drip: 60s",
    ] {
        let service = service(
            &format!("mode: {mode}, status: 200").replace("drip, status", "drip, drip: 60s, status").replace(
                ", status: 200",
                if mode.starts_with(['h', 'c', 'r', 'g']) { "" } else { ", status: 200" },
            ),
        )
        .await;
        let mut streams = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(service.probe).await.unwrap();
            stream.write_all(request("/healthz").as_bytes()).await.unwrap();
            streams.push(stream);
        }
        eventually("all are injected", || async {
            service.metric("probesim_faults_injected_total", &["drill"]).await == 20.0
        })
        .await;
        let took = service.stop().await;
        assert!(took < Duration::from_secs(1), "{mode}: {took:?}");
        for mut stream in streams {
            let ended = tokio::time::timeout(PATIENCE, read_to_end(&mut stream)).await.unwrap();
            assert_ne!(ended.end, End::Silence, "{mode}");
        }
    }
}

/// Exit codes are those of curl(1).
#[tokio::test]
async fn curl_reports_each_mode_with_its_exit_code() {
    if !tools::are_there(&["curl"]) {
        return;
    }
    for (fields, code) in [
        ("mode: status", 22),
        ("mode: hang", 28),
        ("mode: close", 52),
        ("mode: reset", 56),
        ("mode: garbage", 1),
        ("mode: truncate, status: 200", 18),
        ("mode: body-hang, status: 200", 28),
        ("mode: body-reset, status: 200", 56),
        ("mode: malformed, status: 200", 56),
        ("mode: drip, status: 200, drip: 60s", 28),
        ("mode: drip, status: 200, drip: 100ms", 0),
        ("mode: redirect", 0),
    ] {
        let service = service(fields).await;
        let url = format!("http://{}/healthz", service.probe);
        let curl = tokio::process::Command::new("curl")
            .args(["--silent", "--fail", "--max-time", "2", "--output", "/dev/null", &url])
            .status()
            .await
            .unwrap();
        assert_eq!(curl.code(), Some(code), "{fields}");
    }
}

/// Reads at most `most` bytes of a faulted body of 64 MiB, then closes the connection.
async fn leave_within_the_body(service: &Service, most: usize) {
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(request("/healthz").as_bytes()).await.unwrap();
    let mut bytes = vec![0; most];
    stream.read_exact(&mut bytes).await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_within_a_body_counts_as_answered() {
    for mode in ["truncate", "body-hang", "body-reset", "malformed"] {
        let service = service(&format!("mode: {mode}, status: 200, body: 64MiB")).await;
        leave_within_the_body(&service, 10_000).await;
        eventually("it is noticed", || async { service.metric("probesim_connections", &[]).await == 0.0 })
            .await;
        assert_eq!(service.metric("probesim_requests_total", &["code=\"200\""]).await, 1.0, "{mode}");
        assert_eq!(service.metric("probesim_clients_gone_total", &[]).await, 0.0, "{mode}");
    }
}

#[tokio::test]
async fn a_client_that_half_closes_gets_an_answer_that_is_ready_at_once() {
    let service = Service::start(&[]).await;
    for (requests, answers) in [(1, 1), (5, 5)] {
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        let pipeline = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n".repeat(requests);
        stream.write_all(pipeline.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let reply = read_to_end(&mut stream).await;
        assert_eq!((reply.text().matches("HTTP/1.1 200 OK").count(), reply.end), (answers, End::Fin));
    }
    assert_eq!(service.metric("probesim_requests_total", &["code=\"200\""]).await, 6.0);
}

#[tokio::test]
async fn a_client_that_half_closes_while_its_request_waits_counts_as_gone() {
    for requests in [1, 3] {
        let service = service("delay: 60s").await;
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        let pipeline = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n".repeat(requests);
        stream.write_all(pipeline.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut stream).await.end, End::Fin);
        assert_eq!(service.metric("probesim_requests_total", &["code=\"none\""]).await, 1.0);
        assert_eq!(service.metric("probesim_clients_gone_total", &["liveness"]).await, 1.0);
    }
}
