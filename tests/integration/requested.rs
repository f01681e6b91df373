//! Faults that a request asks for.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ffi::OsString;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::{End, Reply, Service, exchange};

async fn service(more: &[(&str, &str)]) -> Service {
    let mut vars = vec![("REQUEST_FAULTS", "true")];
    vars.extend(more);
    Service::start(&vars).await
}

async fn ask(service: &Service, path: &str, headers: &str) -> Reply {
    let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
    exchange(service.probe, head).await
}

async fn count(service: &Service, name: &str, labels: &[&str]) -> u64 {
    service.metric(name, labels).await as u64
}

#[tokio::test]
async fn a_request_gets_the_fault_of_its_header_or_query() {
    let service = service(&[]).await;
    let began = Instant::now();
    let reply = ask(&service, "/healthz", "X-Probesim-Fault: mode=status; status=503; delay=200ms\r\n").await;
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    assert_eq!((reply.status(), reply.header("x-probesim-fault").as_deref()), (503, Some("request")));
    let reply = ask(&service, "/healthz?probesim-fault=mode%3Dreset", "").await;
    assert_eq!((reply.bytes.as_slice(), reply.end), (&b""[..], End::Reset));
    assert_eq!(ask(&service, "/healthz", "").await.body(), "ok");
    for (name, labels, expected) in [
        ("probesim_faults_eligible_total", vec!["fault=\"request\"", "target=\"liveness\""], 2),
        ("probesim_faults_injected_total", vec!["fault=\"request\"", "mode=\"status\""], 1),
        ("probesim_faults_injected_total", vec!["fault=\"request\"", "mode=\"reset\""], 1),
        ("probesim_requests_total", vec!["code=\"503\""], 1),
    ] {
        assert_eq!(count(&service, name, &labels).await, expected, "{name} {labels:?}");
    }
}

#[tokio::test]
async fn headers_of_envoy_delay_abort_and_throttle() {
    let service = service(&[]).await;
    let began = Instant::now();
    let headers = "x-envoy-fault-delay-request: 200\r\nx-envoy-fault-abort-request: 429\r\n";
    assert_eq!(ask(&service, "/healthz", headers).await.status(), 429);
    assert!(began.elapsed() >= Duration::from_millis(200));
    let reply = ask(&service, "/healthz", "x-envoy-fault-abort-grpc-request: 14\r\n").await;
    assert_eq!((reply.status(), reply.header("grpc-status").as_deref()), (200, Some("14")));
    let reply = ask(&service, "/healthz", "x-envoy-fault-throughput-response: 1\r\n").await;
    assert_eq!((reply.status(), reply.body().as_str()), (200, "ok"));
    let injected = "probesim_faults_injected_total";
    for mode in ["status", "grpc", "throttle"] {
        assert_eq!(count(&service, injected, &["request", &format!("mode=\"{mode}\"")]).await, 1, "{mode}");
    }
}

#[tokio::test]
async fn a_wrong_value_gets_400_that_names_it_and_no_fault_is_counted() {
    let service = service(&[]).await;
    for (path, headers, line) in [
        ("/healthz", "x-probesim-fault: mode=stauts\r\n", "did you mean \"status\"?"),
        ("/healthz", "x-probesim-fault: mode=drop\r\n", "only target listener has it"),
        ("/healthz", "x-probesim-fault: delay=2m\r\n", "delay: \"2m\" is above 1m"),
        ("/healthz?probesim-fault=", "", "the rule has no effect"),
        (
            "/healthz",
            "x-envoy-fault-abort-request: ten\r\n",
            "x-envoy-fault-abort-request: \"ten\" is not a whole number",
        ),
    ] {
        let reply = ask(&service, path, headers).await;
        assert_eq!(reply.status(), 400, "{path} {headers}");
        assert!(reply.body().contains(line), "{headers}: {}", reply.body());
    }
    assert_eq!(count(&service, "probesim_faults_eligible_total", &["request"]).await, 0);
    assert_eq!(count(&service, "probesim_requests_total", &["code=\"400\""]).await, 5);
}

#[tokio::test]
async fn requested_faults_are_off_by_default() {
    let service = Service::start(&[]).await;
    let headers = "x-probesim-fault: mode=status\r\nx-envoy-fault-abort-request: 503\r\n";
    assert_eq!(ask(&service, "/healthz?probesim-fault=mode%3Dstatus", headers).await.body(), "ok");
    assert_eq!(count(&service, "probesim_faults_eligible_total", &["request"]).await, 0);
}

#[tokio::test]
async fn a_requested_fault_is_the_first_rule_and_ends_with_a_stop() {
    let plan = "{faults: [{name: down, target: liveness, mode: status, status: 500}, {name: slow, target: liveness, delay: 200ms}]}";
    let service = service(&[("FAULTS", plan)]).await;
    let began = Instant::now();
    let reply = ask(&service, "/healthz", "x-probesim-fault: mode=status; status=418\r\n").await;
    assert_eq!(reply.status(), 418);
    assert!(began.elapsed() >= Duration::from_millis(200), "delays of other rules add up");
    assert_eq!(count(&service, "probesim_faults_eligible_total", &["fault=\"down\""]).await, 0);
    assert_eq!(ask(&service, "/healthz", "").await.status(), 500);
    let stop = "POST /v1/stop HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(exchange(service.admin, stop).await.status(), 200);
    assert_eq!(ask(&service, "/healthz", "x-probesim-fault: mode=status\r\n").await.body(), "ok");
    assert_eq!(count(&service, "probesim_faults_eligible_total", &["fault=\"request\""]).await, 1);
}

#[tokio::test]
async fn a_share_hits_the_same_requests_for_the_same_seed() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let service = service(&[]).await;
        let mut hits = Vec::new();
        for _ in 0..100 {
            let reply = ask(&service, "/healthz", "x-probesim-fault: mode=status; rate=30%\r\n").await;
            hits.push(reply.status() == 500);
        }
        let seen = hits.iter().filter(|hit| **hit).count() as u64;
        assert!((15..45).contains(&seen), "{seen}");
        assert_eq!(count(&service, "probesim_faults_injected_total", &["request"]).await, seen);
        assert_eq!(count(&service, "probesim_faults_eligible_total", &["request"]).await, 100);
        runs.push(hits);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn the_name_request_is_reserved() {
    let plan = "{faults: [{name: request, target: liveness, mode: hang}]}";
    let vars = std::iter::once((OsString::from("FAULTS"), OsString::from(plan)));
    let errors = kube_probesim::env::load(vars).unwrap_err().to_string();
    assert!(errors.contains("is reserved for requested faults"), "{errors}");
}
