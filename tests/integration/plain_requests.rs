//! Plain requests, which are answered without hyper: no client can tell the difference.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{End, Reply, Service, exchange, read_until_silent};

/// A field that plain requests do not have.
const FURTHER: &str = "x-other: a\r\n";

/// A request for liveness with these further header fields.
fn get(fields: &str) -> String {
    format!("GET /healthz HTTP/1.1\r\nhost: test\r\n{fields}\r\n")
}

/// Sends each part after a pause, and returns what comes back until the connection is silent.
async fn exchange_in_parts(service: &Service, parts: &[&str]) -> Reply {
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for part in parts {
        stream.write_all(part.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    read_until_silent(&mut stream, Duration::from_millis(300)).await
}

/// The answers, without the time of day.
fn without_date(reply: &Reply) -> Vec<String> {
    reply.text().split("\r\n").filter(|line| !line.starts_with("date: ")).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_plain_request_gets_the_bytes_that_hyper_would_send() {
    let service = Service::start(&[]).await;
    for fields in ["", "connection: close\r\n"] {
        let plain = exchange_in_parts(&service, &[&get(fields)]).await;
        let other = exchange_in_parts(&service, &[&get(&format!("{fields}{FURTHER}"))]).await;
        assert_eq!(without_date(&plain), without_date(&other));
        let is_closed = !fields.is_empty();
        assert_eq!((plain.end == End::Fin, other.end == End::Fin), (is_closed, is_closed));
        assert_eq!(plain.header("date").unwrap().len(), other.header("date").unwrap().len());
        assert_eq!((plain.status(), plain.body().as_str()), (200, "ok"));
    }
    assert_eq!(
        service.metric("probesim_requests_total", &["target=\"liveness\"", "code=\"200\""]).await,
        4.0
    );
    assert_eq!(
        service.metric("probesim_request_duration_seconds_count", &["target=\"liveness\""]).await,
        4.0
    );
}

#[tokio::test]
async fn a_plain_request_that_fails_gets_the_bytes_that_hyper_would_send() {
    for (mode, target, path, status) in [
        ("mode: status", "liveness", "/healthz", 500),
        ("mode: status, status: 429", "liveness", "/healthz", 429),
        ("mode: status, status: 599", "liveness", "/healthz", 599),
        ("mode: status, status: 204", "liveness", "/healthz", 204),
        ("mode: status, status: 304", "liveness", "/healthz", 304),
        ("mode: status, status: 503, body_text: gone", "liveness", "/healthz", 503),
        ("mode: status, status: 503, headers: {retry-after: '1'}", "liveness", "/healthz", 503),
        ("mode: status, delay: 1ms", "liveness", "/healthz", 500),
        ("mode: grpc, grpc_status: UNAVAILABLE", "liveness", "/healthz", 200),
        ("mode: status", "dependency", "/dependency", 500),
        ("mode: status, status: 503", "dependency", "/readyz", 500),
        ("mode: truncate", "dependency", "/readyz", 500),
    ] {
        let faults = format!("{{faults: [{{name: down, target: {target}, {mode}}}]}}");
        let service = Service::start(&[("FAULTS", faults.as_str())]).await;
        for fields in ["", "connection: close\r\n"] {
            let get = |fields: &str| get(fields).replace("/healthz", path);
            let plain = exchange_in_parts(&service, &[&get(fields)]).await;
            let other = exchange_in_parts(&service, &[&get(&format!("{fields}{FURTHER}"))]).await;
            assert_eq!(without_date(&plain), without_date(&other), "{faults}");
            assert_eq!((plain.status(), plain.end), (status, other.end), "{faults}");
        }
        assert_eq!(
            service.metric("probesim_faults_injected_total", &["fault=\"down\""]).await,
            4.0,
            "{faults}"
        );
        let code = format!("code=\"{status}\"");
        assert_eq!(service.metric("probesim_requests_total", &[&code]).await, 4.0, "{faults}");
    }
}

#[tokio::test]
async fn requests_on_one_connection_may_be_plain_or_not_whole_or_in_parts() {
    let service = Service::start(&[]).await;
    let (plain, other) = (get(""), get(FURTHER));
    let (start, end) = plain.split_at(10);
    let two = plain.repeat(2);
    for parts in [
        vec![plain.as_str(), &plain, &plain],
        vec![&plain, &other, &plain],
        vec![&two, &plain],
        vec![&plain, start, end, &plain],
    ] {
        let wanted = parts.concat().matches("GET").count();
        let reply = exchange_in_parts(&service, &parts).await;
        assert_eq!(reply.text().matches("HTTP/1.1 200 OK").count(), wanted, "{parts:?}");
    }
}

#[tokio::test]
async fn a_rule_added_later_acts_on_the_next_plain_request_of_a_connection() {
    let service = Service::start(&[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    for (rules, status) in [
        (json!({"faults": []}), 200),
        (json!({"faults": [{"name": "down", "target": "liveness", "mode": "status"}]}), 500),
        (json!({"faults": []}), 200),
        (json!({"faults": [{"name": "down", "target": "readiness", "mode": "status"}]}), 200),
    ] {
        let (answered, body) = service.api("PUT", "/v1/plan", &rules).await;
        assert_eq!(answered, 200, "{body}");
        stream.write_all(get("").as_bytes()).await.unwrap();
        let reply = read_until_silent(&mut stream, Duration::from_millis(200)).await;
        assert_eq!((reply.status(), reply.end), (status, End::Silence), "{rules}");
    }
    for (code, count) in [("code=\"200\"", 3.0), ("code=\"500\"", 1.0)] {
        assert_eq!(service.metric("probesim_requests_total", &["target=\"liveness\"", code]).await, count);
    }
}

/// The status of each of so many requests in a row on one connection.
async fn statuses(plan: &str, fields: &str, count: usize) -> (Service, Vec<u16>) {
    let service = Service::start(&[("FAULTS", plan)]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    let mut statuses = Vec::new();
    for _ in 0..count {
        stream.write_all(get(fields).as_bytes()).await.unwrap();
        statuses.push(read_until_silent(&mut stream, Duration::from_millis(60)).await.status());
    }
    (service, statuses)
}

#[tokio::test]
async fn rules_draw_the_same_for_plain_requests_as_for_others() {
    let rules = "{seed: 7, faults: [{name: half, target: liveness, mode: status, rate: 50%}, \
                {name: window, target: liveness, mode: status, status: 503, when: {requests: {after: 8, for: 4}}}, \
                {name: matched, target: liveness, client: kubelet, match: {path: /healthz}, mode: status}]}";
    let (service, plain) = statuses(rules, "", 20).await;
    let (other_service, other) = statuses(rules, FURTHER, 20).await;
    assert_eq!(plain, other);
    for status in [200, 500, 503] {
        assert!(plain.contains(&status), "{plain:?}");
    }
    for service in [&service, &other_service] {
        let failed = plain.iter().filter(|status| **status != 200).count() as f64;
        assert_eq!(service.metric("probesim_faults_injected_total", &[]).await, failed);
        assert_eq!(service.metric("probesim_requests_total", &["target=\"liveness\""]).await, 20.0);
    }
}

#[tokio::test]
async fn readiness_fails_by_its_dependency_for_plain_requests_too() {
    let plan = "{faults: [{name: database, target: dependency, mode: status}]}";
    let service = Service::start(&[("FAULTS", plan)]).await;
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    assert_eq!(exchange(service.probe, request("/readyz")).await.status(), 500);
    assert_eq!(exchange(service.probe, request("/healthz")).await.status(), 200);
}

#[tokio::test]
async fn a_plain_request_with_a_wrong_host_is_refused() {
    let service = Service::start(&[]).await;
    for host in ["", "host: a b\r\n", "host: a\r\nhost: a\r\n"] {
        let reply = exchange(service.probe, format!("GET /healthz HTTP/1.1\r\n{host}\r\n")).await;
        assert_eq!(reply.status(), 400, "{host:?}");
    }
}
