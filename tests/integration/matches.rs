//! Rules that act on some requests of a target, over real sockets.

use crate::support::{Service, exchange, get};

const PLAN: &str = "{faults: [
    {name: no-orders, target: traffic, match: {path: /orders/*, method: [POST, PUT]}, mode: status, status: 503},
    {name: blue, target: traffic, match: {headers: {X-Tenant: blue}, query: {debug: '*', user: 42}}, mode: status, status: 502},
    {name: host, target: traffic, match: {host: shop.example}, mode: status, status: 504},
    {name: alive, target: liveness, match: {path: /livez}, mode: status, status: 500}]}";

async fn service(plan: &str) -> Service {
    Service::start(&[("FAULTS", plan), ("TRAFFIC_PATHS", "/orders/*,/users")]).await
}

async fn status(service: &Service, line: &str, headers: &str) -> u16 {
    let request = format!("{line} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
    exchange(service.probe, request).await.status()
}

async fn metric(service: &Service, name: &str, label: &str) -> u64 {
    service.metric(name, &[label]).await as u64
}

async fn injected_by(service: &Service, fault: &str) -> u64 {
    metric(service, "probesim_faults_injected_total", &format!("fault=\"{fault}\"")).await
}

#[tokio::test]
async fn a_rule_acts_only_on_requests_that_match() {
    let service = service(PLAN).await;
    for (line, headers, expected) in [
        ("POST /orders/7", "host: a\r\n", 503),
        ("PUT /orders/7?x=/", "host: a\r\n", 503),
        ("DELETE /orders/7", "host: a\r\n", 200),
        ("GET /orders/7", "host: a\r\n", 200),
        ("POST /users", "host: a\r\n", 200),
        ("GET /users?debug&user=42", "host: a\r\nx-tenant: red\r\nX-TENANT: blue\r\n", 502),
        ("GET /users?debug&user=7&user=42", "host: a\r\nx-tenant: blue\r\n", 502),
        ("GET /users?user=42", "host: a\r\nx-tenant: blue\r\n", 200),
        ("GET /users?debug&user=42", "host: a\r\nx-tenant: Blue\r\n", 200),
        ("GET /users", "host: Shop.example:80\r\n", 504),
        ("GET /users", "host: b.shop.example\r\n", 200),
        ("GET /livez", "host: a\r\n", 500),
        ("GET /healthz", "host: a\r\n", 200),
    ] {
        assert_eq!(status(&service, line, headers).await, expected, "{line} {headers:?}");
    }
    for (fault, injected) in [("no-orders", 2), ("blue", 2), ("host", 1), ("alive", 1)] {
        let label = format!("fault=\"{fault}\"");
        let eligible = metric(&service, "probesim_faults_eligible_total", &label).await;
        assert_eq!((eligible, injected_by(&service, fault).await), (injected, injected), "{fault}");
    }
    assert_eq!(metric(&service, "probesim_target_up", "target=\"traffic\"").await, 1);
    service.stop().await;
}

#[tokio::test]
async fn counters_agree_with_what_clients_saw_among_other_requests() {
    let plan = "{faults: [
        {name: third, target: traffic, match: {path: /orders/x}, mode: status, status: 503, when: {requests: {after: 2, for: 1, every: 3}}},
        {name: some, target: traffic, match: {query: {n: '1'}}, rate: 30%, mode: status, status: 502}]}";
    let service = service(plan).await;
    let (mut third, mut some, mut passed) = (0, 0, 0);
    for round in 0..300 {
        let path = ["/orders/x", "/users?n=1", "/users"][round % 3];
        match get(service.probe, path).await.status() {
            503 => third += 1,
            502 => some += 1,
            _ => passed += 1,
        }
    }
    assert_eq!(third, 33, "every third of a hundred");
    assert!((15..=45).contains(&some), "{some} of a hundred at 30 %");
    assert_eq!(third + some + passed, 300);
    for (fault, injected) in [("third", third), ("some", some)] {
        assert_eq!(injected_by(&service, fault).await, injected, "{fault}");
    }
    service.stop().await;
}
