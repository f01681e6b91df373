//! Content of faulted answers, and modes that act on a whole answer, as a raw client sees them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{End, Reply, Service, exchange, request};

/// One rule on liveness, as YAML flow.
async fn service(fields: &str) -> Service {
    let plan = format!("{{seed: 7, faults: [{{name: drill, target: liveness, {fields}}}]}}");
    Service::start(&[("FAULTS", &plan)]).await
}

/// The answer to a liveness request; asserts that the injection was counted once.
async fn reply_to(fields: &str) -> (Service, Reply) {
    let service = service(fields).await;
    let reply = service.get("/healthz").await;
    assert_eq!(service.metric("probesim_faults_injected_total", &["fault=\"drill\""]).await, 1.0);
    (service, reply)
}

#[tokio::test]
async fn a_failing_answer_has_the_headers_and_the_body_of_its_rule() {
    let fields = "mode: status, status: 503, body_text: '{\"error\":\"busy\"}', \
                  headers: {Retry-After: 5, Content-Type: application/json, Set-Cookie: [a=1, b=2]}";
    let (service, reply) = reply_to(fields).await;
    assert_eq!((reply.status(), reply.body().as_str()), (503, "{\"error\":\"busy\"}"));
    let head = reply.head();
    for line in ["retry-after: 5", "content-type: application/json", "set-cookie: a=1", "set-cookie: b=2"] {
        assert_eq!(head.lines().filter(|given| *given == line).count(), 1, "{line}\n{head}");
    }
    assert_eq!(head.matches("content-type").count(), 1, "{head}");
    assert_eq!(reply.header("content-length").unwrap(), "16");
    assert_eq!(service.metric("probesim_requests_total", &["code=\"503\""]).await, 1.0);
}

#[tokio::test]
async fn answers_written_to_the_socket_carry_the_headers_of_the_rule() {
    let (_service, reply) =
        reply_to("mode: truncate, body: 3, headers: {Retry-After: 5, Content-Type: a/b}").await;
    let head: Vec<String> =
        reply.head().lines().filter(|line| !line.starts_with("date")).map(str::to_owned).collect();
    assert_eq!(
        head,
        [
            "HTTP/1.1 500 Internal Server Error",
            "retry-after: 5",
            "content-type: a/b",
            "x-probesim-fault: drill",
            "content-length: 1027"
        ]
    );
    assert_eq!((reply.body().as_str(), reply.end), ("...", End::Fin));
}

#[tokio::test]
async fn a_body_fault_breaks_off_the_text_of_its_rule_before_the_last_byte() {
    for (fields, body, end) in [
        ("mode: truncate, body: 5", "{\"err", End::Fin),
        ("mode: truncate, body: 100", "{\"error\":\"busy\"", End::Fin),
        ("mode: truncate, body: 0", "", End::Fin),
        ("mode: body-reset, body: 5", "{\"err", End::Reset),
        ("mode: body-hang, body: 5", "{\"err", End::Silence),
    ] {
        let (service, reply) = reply_to(&format!("{fields}, body_text: '{{\"error\":\"busy\"}}'")).await;
        assert_eq!((reply.status(), reply.body().as_str(), reply.end), (500, body, end), "{fields}");
        assert_eq!(reply.header("content-length").unwrap(), "16", "{fields}");
        assert_eq!(service.metric("probesim_requests_total", &["code=\"500\""]).await, 1.0, "{fields}");
    }
    let (_service, reply) = reply_to("mode: malformed, body: 5, body_text: '0123456789'").await;
    assert_eq!((reply.body().as_str(), reply.end), ("5\r\n01234\r\nnot a size\r\n", End::Fin));
}

#[tokio::test]
async fn a_long_text_is_reset_after_exactly_its_bytes() {
    let text = "0123456789".repeat(6_000);
    let (_service, reply) = reply_to(&format!("mode: body-reset, body: 50000, body_text: '{text}'")).await;
    assert_eq!((reply.body().as_str(), reply.end), (&text[..50_000], End::Reset));
}

#[tokio::test]
async fn throttle_sends_the_whole_body_at_its_speed() {
    let text = "0123456789".repeat(100);
    let fields = format!("mode: throttle, speed: 2000B/s, body_text: '{text}'");
    let began = Instant::now();
    let (service, reply) = reply_to(&fields).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert_eq!((reply.status(), reply.body(), reply.end), (200, text, End::Fin));
    assert_eq!(service.metric("probesim_requests_total", &["code=\"200\""]).await, 1.0);
}

#[tokio::test]
async fn throttle_and_corrupt_act_on_our_own_answer() {
    let began = Instant::now();
    let (_service, reply) = reply_to("mode: throttle, speed: 4").await;
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!((reply.status(), reply.body().as_str()), (200, "ok"));
    let (_service, reply) = reply_to("mode: corrupt, status: 418").await;
    let body = &reply.bytes[reply.bytes.len() - 2..];
    assert_eq!(reply.status(), 418);
    assert_eq!(differing(body, b"ok"), 1, "{body:?}");
}

/// How many bytes differ, each in one bit.
fn differing(body: &[u8], text: &[u8]) -> usize {
    assert_eq!(body.len(), text.len());
    let different: Vec<_> =
        body.iter().zip(text).map(|(a, b)| (a ^ b).count_ones()).filter(|ones| *ones > 0).collect();
    assert!(different.iter().all(|ones| *ones == 1), "{different:?}");
    different.len()
}

#[tokio::test]
async fn corrupt_changes_its_share_of_the_bytes_and_the_same_seed_changes_the_same_bytes() {
    let text = "0123456789".repeat(1_000);
    let fields = format!("mode: corrupt, share: 10%, body_text: '{text}'");
    let of = |reply: &Reply| reply.bytes[reply.bytes.len() - text.len()..].to_vec();
    let (first, second) = (service(&fields).await, service(&fields).await);
    let mut bodies = Vec::new();
    for service in [&first, &second] {
        for _ in 0..2 {
            let reply = service.get("/healthz").await;
            assert_eq!(reply.header("content-length").unwrap(), "10000");
            bodies.push(of(&reply));
        }
        assert_eq!(service.metric("probesim_faults_injected_total", &["corrupt"]).await, 2.0);
    }
    for body in &bodies {
        let changed = differing(body, text.as_bytes());
        assert!((900..1_100).contains(&changed), "{changed}");
    }
    assert_eq!(bodies[..2], bodies[2..], "the same numbers get the same bytes");
    assert_ne!(bodies[0], bodies[1], "another number gets other ones");
}

#[tokio::test]
async fn grpc_answers_with_its_status_in_the_head_only() {
    let (service, reply) = reply_to("mode: grpc, grpc_message: 'für 100 %'").await;
    assert_eq!((reply.status(), reply.body().as_str(), reply.end), (200, "", End::Fin));
    assert_eq!(reply.header("content-type").unwrap(), "application/grpc");
    assert_eq!(reply.header("grpc-status").unwrap(), "14");
    assert_eq!(reply.header("grpc-message").unwrap(), "f%C3%BCr 100 %25");
    assert_eq!(service.metric("probesim_faults_injected_total", &["mode=\"grpc\""]).await, 1.0);
    let (_service, reply) = reply_to("mode: grpc, grpc_status: aborted, headers: {retry-after: 1}").await;
    assert_eq!(reply.header("grpc-status").unwrap(), "10");
    assert_eq!(reply.header("grpc-message").unwrap(), "fault drill: grpc");
    assert_eq!(reply.header("retry-after").unwrap(), "1");
}

#[tokio::test]
async fn an_answer_without_a_body_is_unchanged_and_not_counted() {
    let service = service("mode: throttle, speed: 1, status: 500, headers: {x-struck: yes}").await;
    let head = request("/healthz").replacen("GET", "HEAD", 1);
    let reply = exchange(service.probe, head).await;
    assert_eq!(
        (reply.status(), reply.header("x-struck"), reply.header("x-probesim-fault")),
        (200, None, None)
    );
    assert_eq!(service.metric("probesim_faults_injected_total", &[]).await, 0.0);
    assert_eq!(service.metric("probesim_faults_eligible_total", &["drill"]).await, 1.0);
}

#[tokio::test]
async fn variables_set_throttle_corrupt_and_grpc() {
    let service = Service::start(&[
        ("FAILURE_RATE", "100"),
        ("FAILURE_MODE", "grpc"),
        ("FAILURE_GRPC_STATUS", "RESOURCE_EXHAUSTED"),
        ("READINESS_FAILURE_MODE", "throttle"),
        ("READINESS_FAILURE_SPEED", "10B/s"),
        ("STARTUP_FAILURE_MODE", "corrupt"),
        ("STARTUP_FAILURE_SHARE", "100%"),
    ])
    .await;
    assert_eq!(service.get("/healthz").await.header("grpc-status").unwrap(), "8");
    let began = Instant::now();
    assert_eq!(service.get("/readyz").await.body(), "ok");
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    let reply = service.get("/startupz").await;
    assert_eq!(differing(&reply.bytes[reply.bytes.len() - 2..], b"ok"), 2);
}
