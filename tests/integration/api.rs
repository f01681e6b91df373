//! The admin API over real connections.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::support::{End, PATIENCE, Reply, Service, eventually, exchange, get};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

/// A request with a JSON body, as a client on loopback makes it.
fn request(method: &str, path: &str, headers: &[&str], body: &Value) -> String {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = body.len();
    let headers: String = headers.iter().flat_map(|header| [*header, "\r\n"]).collect();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{kind}{headers}content-length: {length}\r\n\r\n{body}"
    )
}

trait Api {
    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value);
    async fn state(&self) -> Value;
    async fn names(&self) -> Vec<String>;
}

impl Api for Service {
    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let reply = exchange(self.admin, request(method, path, &[], &body)).await;
        (reply.status(), json_of(&reply))
    }

    async fn state(&self) -> Value {
        self.ask("GET", "/v1/state", Value::Null).await.1
    }

    /// Names and sources of the rules in force.
    async fn names(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let state = self.state().await;
        let rules = state["rules"].as_array().unwrap();
        rules.iter().map(|rule| format!("{}:{}", text(&rule["name"]), text(&rule["source"]))).collect()
    }
}

fn json_of(reply: &Reply) -> Value {
    serde_json::from_str(&reply.body()).unwrap_or_default()
}

fn down() -> Value {
    json!({"target": "readiness", "mode": "status", "status": 503})
}

#[tokio::test]
async fn a_rule_is_put_seen_changed_and_deleted_and_a_reset_brings_back_what_was() {
    let service = Service::start(&[("LIVENESS_FAIL_AFTER_TIME", "1h")]).await;
    assert_eq!(service.ask("PUT", "/v1/faults/down", down()).await, (201, json!({"generation": 2})));
    assert_eq!(service.get("/readyz").await.status(), 503);
    assert_eq!(service.ask("PUT", "/v1/faults/down", down()).await, (200, json!({"generation": 3})));
    let rule = json!({"name": "down", "target": ["readiness"], "mode": "status", "status": 503});
    assert_eq!(service.ask("GET", "/v1/faults/down", Value::Null).await, (200, rule));
    let patch = json!({"status": null, "rate": "0%"});
    assert_eq!(service.ask("PATCH", "/v1/faults/down", patch).await.0, 200);
    let rule = json!({"name": "down", "target": ["readiness"], "rate": "0%", "mode": "status"});
    assert_eq!(service.ask("GET", "/v1/faults/down", Value::Null).await.1, rule);
    assert_eq!(service.get("/readyz").await.status(), 200);
    assert_eq!(service.ask("DELETE", "/v1/faults/liveness-time", Value::Null).await.0, 200);
    assert_eq!(service.ask("DELETE", "/v1/faults/liveness-time", Value::Null).await.0, 404);
    assert_eq!(service.names().await, ["down:api"]);
    assert_eq!(
        service.state().await["hidden"],
        json!([{"name": "liveness-time", "source": "environment", "by": "api"}])
    );
    assert_eq!(service.ask("POST", "/v1/reset", Value::Null).await, (200, json!({"generation": 6})));
    assert_eq!(service.names().await, ["liveness-time:environment"]);
    assert_eq!(service.metric("probesim_plan_generation", &[]).await, 6.0);
}

#[tokio::test]
async fn a_plan_that_was_got_can_be_put() {
    let service = Service::start(&[("FAILURE_RATE", "20"), ("LATENCY", "5")]).await;
    let (status, plan) = service.ask("GET", "/v1/plan", Value::Null).await;
    assert_eq!((status, plan["seed"].as_u64()), (200, Some(42)));
    assert_eq!(service.ask("PUT", "/v1/plan", plan.clone()).await.0, 200);
    assert_eq!(service.ask("GET", "/v1/plan", Value::Null).await.1, plan);
    let faults = service.ask("GET", "/v1/faults", Value::Null).await.1;
    assert_eq!(faults["faults"], plan["faults"]);
    assert!(service.names().await.iter().all(|name| name.ends_with(":api")));
}

#[tokio::test]
async fn a_rule_with_a_ttl_ends_by_itself() {
    let service = Service::start(&[]).await;
    let mut rule = down();
    rule["ttl"] = "300ms".into();
    service.ask("PUT", "/v1/faults/down", rule).await;
    let began = Instant::now();
    assert_eq!(service.get("/readyz").await.status(), 503);
    let shown = service.ask("GET", "/v1/faults/down", Value::Null).await.1;
    assert!(shown["ttl"].as_str().unwrap().ends_with("ms"), "{shown}");
    eventually("the rule is gone", || async { service.get("/readyz").await.status() == 200 }).await;
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(service.ask("GET", "/v1/faults/down", Value::Null).await.0, 404);
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_field_and_nothing_changes() {
    let service = Service::start(&[]).await;
    let plan = json!({"faults": [{"name": "a", "target": "readines", "mode": "hang"}, {"name": "a", "target": "traffic", "rate": "120%"}]});
    let (status, problem) = service.ask("PUT", "/v1/plan", plan).await;
    assert_eq!((status, problem["status"].as_u64()), (422, Some(422)));
    let fields: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["target", "rate", ""]);
    assert!(problem["errors"][0]["reason"].as_str().unwrap().contains("did you mean \"readiness\"?"));
    for (method, path, body, status, told) in [
        ("PUT", "/v1/faults/Down", down(), 422, "DNS label"),
        (
            "PUT",
            "/v1/faults/down",
            json!({"name": "up", "target": "traffic", "mode": "hang"}),
            422,
            "1 thing is wrong",
        ),
        ("PUT", "/v1/faults/down", json!([1]), 422, "1 thing is wrong"),
        ("PATCH", "/v1/faults/nobody", json!({}), 404, "no rule in force is called \"nobody\""),
        ("DELETE", "/v1/faults/nobody", Value::Null, 404, "no rule in force"),
        ("GET", "/v1/faults/nobody", Value::Null, 404, "no rule in force"),
        ("GET", "/v1/events?limit=0", Value::Null, 400, "limit=\"0\" is not a whole number from 1 to 512"),
        ("GET", "/v1/events?after=x", Value::Null, 400, "after=\"x\" is not a whole number"),
        ("POST", "/v1/reset", json!({"all": true}), 422, "the body is not"),
        ("GET", "/v1/nothing", Value::Null, 404, "/openapi.json lists"),
        ("GET", "/v1", Value::Null, 404, "/openapi.json lists"),
    ] {
        let (got, problem) = service.ask(method, path, body).await;
        assert_eq!(got, status, "{method} {path}: {problem}");
        assert!(problem.to_string().replace("\\\"", "\"").contains(told), "{method} {path}: {problem}");
    }
    let malformed = "PUT /v1/plan HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\r\n{\"a\":";
    assert_eq!(exchange(service.admin, malformed).await.status(), 400);
    let form = "PUT /v1/plan HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(exchange(service.admin, form).await.status(), 415);
    let post = exchange(service.admin, request("POST", "/v1/plan", &[], &json!({}))).await;
    assert_eq!((post.status(), post.header("allow").as_deref()), (405, Some("GET, HEAD, PUT")));
    assert_eq!(post.header("content-type").as_deref(), Some("application/problem+json"));
    assert_eq!(service.state().await["generation"], 1);
    assert_eq!(service.metric("probesim_plan_reloads_total", &["api", "error"]).await, 4.0);
}

#[tokio::test]
async fn of_two_writers_of_one_generation_one_is_told_to_look_again() {
    let service = Service::start(&[]).await;
    let put = |name: &str| {
        exchange(service.admin, request("PUT", &format!("/v1/faults/{name}"), &["if-match: \"1\""], &down()))
    };
    let (a, b) = tokio::join!(put("a"), put("b"));
    let mut statuses = [a.status(), b.status()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 412]);
    let refused = if a.status() == 412 { a } else { b };
    assert_eq!(refused.header("etag").as_deref(), Some("\"2\""));
    assert_eq!(service.names().await.len(), 1);
    for (tag, status) in
        [("*", 200), ("\"7\", \"2\"", 200), ("\"1\"", 412), ("3", 200), ("W/\"3\"", 400), ("x", 400)]
    {
        let header = format!("if-match: {tag}");
        let reply = exchange(service.admin, request("POST", "/v1/reset", &[&header], &json!({}))).await;
        assert_eq!(reply.status(), if tag.starts_with("\"7") { 412 } else { status }, "{tag}");
    }
}

#[tokio::test]
async fn ten_thousand_changes_under_load_leave_no_gap_and_no_trace() {
    let service = Service::start_process(&[]).await;
    let probe = service.probe;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let stopped = stopped.clone();
        load.spawn(async move {
            let mut count = 0;
            while !*stopped.borrow() {
                let status = get(probe, "/readyz").await.status();
                assert!(matches!(status, 200 | 503), "{status}");
                count += 1;
            }
            count
        });
    }
    let memory = || async { service.metric("process_resident_memory_bytes", &[]).await };
    let files = || async { service.metric("process_open_fds", &[]).await };
    let mut stream = TcpStream::connect(service.admin).await.unwrap();
    let mut generation = 1;
    let mut between = (0.0, 0.0);
    for i in 0..10_000_u64 {
        if i == 2_000 {
            between = (memory().await, files().await);
        }
        let body =
            json!({"target": "readiness", "mode": "status", "status": 503, "rate": format!("{}%", i % 100)});
        let text = request("PUT", "/v1/faults/down", &[], &body).replace("connection: close\r\n", "");
        stream.write_all(text.as_bytes()).await.unwrap();
        let answer = one_answer(&mut stream).await;
        generation += 1;
        assert!(answer.ends_with(&format!("{{\"generation\":{generation}}}\n")), "{answer}");
    }
    stop.send_replace(true);
    let answered = load.join_all().await.into_iter().sum::<u32>();
    assert!(answered > 100, "{answered}");
    let after = (memory().await, files().await);
    assert!(after.0 < between.0 + 4e6, "{between:?} became {after:?}");
    assert!(after.1 <= between.1 + 8.0, "{between:?} became {after:?}");
    assert_eq!(service.state().await["generation"], 10_001);
    let eligible = service.metric("probesim_faults_eligible_total", &["down", "readiness"]).await;
    assert!(eligible > 0.0 && eligible <= f64::from(answered), "{eligible} of {answered}");
}

/// One answer with a length on a connection that stays open.
async fn one_answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(count > 0, "the connection ended");
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() >= length.parse::<usize>().unwrap() {
            return text;
        }
    }
}

#[tokio::test]
async fn a_token_is_needed_by_everybody_and_may_change_in_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "first\n").unwrap();
    let service = Service::start(&[("ADMIN_TOKEN_FILE", file.to_str().unwrap())]).await;
    let with = |header: &str| {
        let text = request("GET", "/v1/state", &[header], &Value::Null)
            .replace("host: localhost", "host: web-0.example");
        exchange(service.admin, text)
    };
    let missing = with("x: y").await;
    assert_eq!(
        (missing.status(), missing.header("www-authenticate").as_deref()),
        (401, Some("Bearer realm=\"probesim\""))
    );
    for (header, status) in [
        ("authorization: Bearer first", 200),
        ("authorization: bearer first", 200),
        ("x-probesim-token: first", 200),
        ("x-probesim-token: firs", 401),
        ("authorization: Bearer firs", 401),
        ("authorization: Bearer first1", 401),
        ("authorization: Basic first", 401),
        ("authorization: Bearer", 401),
    ] {
        assert_eq!(with(header).await.status(), status, "{header}");
    }
    std::fs::write(&file, "second").unwrap();
    assert_eq!(with("authorization: Bearer first").await.status(), 401);
    assert_eq!(with("authorization: Bearer second").await.status(), 200);
    for broken in ["", "\n"] {
        std::fs::write(&file, broken).unwrap();
        assert_eq!(with("authorization: Bearer ").await.status(), 503);
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(with("authorization: Bearer second").await.status(), 503);
    assert_eq!(get(service.admin, "/metrics").await.status(), 200);
    assert_eq!(get(service.admin, "/openapi.json").await.status(), 200);
}

/// An address of this machine that is not loopback, if it has one.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the kernel only chooses the address it would send from.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[tokio::test]
async fn without_a_token_only_loopback_is_answered_under_a_name_that_leads_there() {
    let service = Service::start(&[("ADMIN_ADDRESS", ":0")]).await;
    let ask = |addr: SocketAddr, host: &str, more: &str| {
        exchange(addr, format!("GET /v1/state HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n"))
    };
    let port = service.admin.port();
    for (host, more, status) in [
        ("localhost", "", 200),
        (&*format!("127.0.0.1:{port}"), "", 200),
        ("[::1]:8081", "", 200),
        ("probesim.example", "", 403),
        ("localhost.example", "", 403),
        ("localhost", "origin: http://localhost\r\n", 200),
        ("localhost:1", "origin: http://localhost:2\r\n", 403),
        ("localhost", "origin: https://evil.example\r\n", 403),
        ("localhost", "origin: null\r\n", 403),
    ] {
        assert_eq!(ask(service.admin, host, more).await.status(), status, "{host} {more}");
    }
    for host in ["", "host: localhost\r\n"] {
        let old = exchange(service.admin, format!("GET /v1/state HTTP/1.0\r\n{host}\r\n")).await;
        assert!(old.text().starts_with("HTTP/1.0 403"), "{host}: {}", old.text());
    }
    for sign in
        ["x-forwarded-for: 10.0.0.1", "forwarded: for=10.0.0.1", "via: 1.1 proxy", "x-real-ip: 10.0.0.1"]
    {
        let reply = ask(service.admin, "localhost", &format!("{sign}\r\n")).await;
        assert_eq!(reply.status(), 403, "{sign}");
        assert!(reply.body().contains("shows a reverse proxy"), "{}", reply.body());
    }
    let reply = ask(service.admin, "localhost", "host: localhost\r\n").await;
    assert_eq!(reply.status(), 400, "two Host headers");
    assert_eq!(ask(service.admin, "a@localhost", "").await.status(), 400);
    let from = |source: [u8; 4], target: [u8; 4]| async move {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        let mut stream = socket.connect((target, port).into()).await.unwrap();
        let head = "GET /v1/state HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
        text.get(9..12).unwrap().to_owned()
    };
    assert_eq!(from([127, 0, 0, 1], [127, 0, 0, 1]).await, "200");
    assert_eq!(
        from([127, 0, 0, 6], [127, 0, 0, 1]).await,
        "403",
        "a mesh delivers foreign requests from there"
    );
    assert_eq!(from([127, 0, 0, 1], [127, 0, 0, 2]).await, "403");
    let Some(own) = own_address() else {
        println!("this machine has loopback alone: foreign peers are not tried");
        return;
    };
    let foreign = ask(SocketAddr::new(own, port), "localhost", "").await;
    assert_eq!(foreign.status(), 403);
    assert!(foreign.body().contains("only loopback callers are answered"), "{}", foreign.body());
    assert_eq!(get(SocketAddr::new(own, port), "/metrics").await.status(), 200);
}

#[tokio::test]
async fn without_loopback_and_without_a_token_nobody_steers() {
    let service = Service::start(&[("ADMIN_LOOPBACK", "false")]).await;
    let (status, problem) = service.ask("GET", "/v1/state", Value::Null).await;
    assert_eq!(status, 403);
    assert!(problem["detail"].as_str().unwrap().contains("set ADMIN_TOKEN or ADMIN_TOKEN_FILE"), "{problem}");
    assert_eq!(get(service.admin, "/metrics").await.status(), 200);
}

#[tokio::test]
async fn a_body_of_ten_megabytes_is_refused_before_it_is_read() {
    let service = Service::start(&[]).await;
    let head = "PUT /v1/plan HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10485760\r\n\r\n";
    let reply = exchange(service.admin, head).await;
    assert_eq!(reply.status(), 413);
    let mut chunked = b"PUT /v1/plan HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..20 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend(std::iter::repeat_n(b' ', 0x10000));
        chunked.extend_from_slice(b"\r\n");
    }
    let reply = exchange(service.admin, chunked).await;
    // The client that still sends may see the reset first.
    assert!(reply.ok_status() == Some(413) || reply.end == End::Reset, "{:?}", reply.text());
    assert_eq!(service.ask("GET", "/v1/plan", Value::Null).await.0, 200);
}

#[tokio::test]
async fn more_requests_at_once_than_are_allowed_are_told_to_come_again() {
    let service = Service::start(&[]).await;
    let mut waiting = Vec::new();
    for _ in 0..32 {
        let mut stream = TcpStream::connect(service.admin).await.unwrap();
        let head = "PUT /v1/plan HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    let ask = || exchange(service.admin, request("GET", "/v1/plan", &[], &Value::Null));
    eventually("all places are taken", || async { ask().await.status() == 503 }).await;
    assert_eq!(ask().await.header("retry-after").as_deref(), Some("1"));
    assert_eq!(get(service.admin, "/metrics").await.status(), 200);
    for stream in &mut waiting {
        stream.write_all(b"{}").await.unwrap();
    }
    eventually("the places are free again", || async { ask().await.status() == 200 }).await;
}

#[tokio::test]
async fn a_thousand_listeners_that_never_read_leave_the_metrics_in_reach() {
    let service = Service::start(&[("FAILURE_RATE", "100")]).await;
    let mut listeners = Vec::new();
    for _ in 0..1_000 {
        let Ok(Ok(mut stream)) = timeout(Duration::from_secs(2), TcpStream::connect(service.admin)).await
        else {
            continue;
        };
        let ask = "GET /v1/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";
        let _ = stream.write_all(ask.as_bytes()).await;
        listeners.push(stream);
    }
    let before = service.metric("process_resident_memory_bytes", &[]).await;
    for _ in 0..300 {
        service.get("/healthz").await;
        service.ask("POST", "/v1/reset", Value::Null).await;
    }
    assert_eq!(get(service.admin, "/metrics").await.status(), 200);
    let after = service.metric("process_resident_memory_bytes", &[]).await;
    assert!(after < before + 8e6, "{before} became {after}");
    drop(listeners);
    eventually("a place is free again", || async { stream_of(&service, "").await.is_some() }).await;
}

/// A stream of events, if there is a place.
async fn stream_of(service: &Service, header: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(service.admin).await.ok()?;
    let ask =
        format!("GET /v1/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{header}\r\n");
    stream.write_all(ask.as_bytes()).await.ok()?;
    let mut head = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut head)).await.ok()?.ok()?;
    (&head == b"HTTP/1.1 200").then_some(stream)
}

/// Reads a stream until it holds each of `wanted`.
async fn read_until(stream: &mut TcpStream, wanted: &[&str]) -> String {
    let mut text = String::new();
    let mut buffer = vec![0; 65_536];
    while !wanted.iter().all(|wanted| text.contains(wanted)) {
        let count = timeout(PATIENCE, stream.read(&mut buffer)).await;
        let count = count.unwrap_or_else(|_| panic!("{wanted:?} never came: {text}")).unwrap();
        assert!(count > 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}

#[tokio::test]
async fn events_tell_of_changes_windows_and_injections_as_they_happen() {
    let service = Service::start(&[]).await;
    let mut stream = stream_of(&service, "").await.unwrap();
    let rule = json!({"target": "liveness", "mode": "status", "when": {"after": "200ms", "for": "200ms"}});
    service.ask("PUT", "/v1/faults/window", rule).await;
    service.ask("PUT", "/v1/faults/down", down()).await;
    service.get("/readyz").await;
    service.ask("PUT", "/v1/faults/down", json!({"target": "x"})).await;
    let text = read_until(
        &mut stream,
        &[
            "event: plan\ndata: {\"id\":\"",
            "\"change\":\"put fault window\"",
            "event: injection\n",
            "\"fault\":\"down\",\"target\":\"readiness\",\"client\":\"other\",\"number\":1,\"mode\":\"status\"",
            "event: refused\n",
            "\"kind\":\"window\",\"fault\":\"window\",\"open\":true",
            "\"kind\":\"window\",\"fault\":\"window\",\"open\":false",
        ],
    )
    .await;
    assert!(text.contains("content-type: text/event-stream") || text.contains("200"), "{text}");
    let (status, page) = service.ask("GET", "/v1/events?after=1&limit=2", Value::Null).await;
    let ids: Vec<_> =
        page["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect();
    let (process, _) = ids[0].split_once('-').unwrap();
    let id = |number: u64| format!("{process}-{number}");
    assert_eq!((status, &ids, &page["next"]), (200, &vec![id(2).as_str(), &id(3)], &json!(id(3))));
    let mut again = stream_of(&service, &format!("last-event-id: {}\r\n", id(1))).await.unwrap();
    let replayed = read_until(&mut again, &[&format!("id: {}\n", id(2)), &format!("id: {}\n", id(3))]).await;
    assert!(!replayed.contains(&format!("id: {}\n", id(1))), "{replayed}");
    // A reader that has seen a thousand events of an earlier process misses none of this one.
    let mut restarted = stream_of(&service, "last-event-id: 19a2b3c4d5e-1000\r\n").await.unwrap();
    read_until(&mut restarted, &[&format!("id: {}\n", id(1)), &format!("id: {}\n", id(2))]).await;
    service.ask("DELETE", "/v1/faults/down", Value::Null).await;
    read_until(&mut restarted, &["\"change\":\"delete fault down\""]).await;
    assert!(service.stop().await < Duration::from_secs(3), "listeners hold up the end");
}

#[tokio::test]
async fn a_change_takes_effect_at_once_and_nothing_else_fails_meanwhile() {
    let service = Service::start(&[("MAX_CONNECTIONS", "4096")]).await;
    let probe = service.probe;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let stopped = stopped.clone();
        load.spawn(async move {
            let mut stream = TcpStream::connect(probe).await.unwrap();
            let mut others = 0;
            while !*stopped.borrow() {
                stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                let status = one_answer(&mut stream).await;
                others +=
                    usize::from(!status.starts_with("HTTP/1.1 200") && !status.starts_with("HTTP/1.1 503"));
                sleep(Duration::from_millis(200)).await;
            }
            others
        });
    }
    let mut delays = Vec::new();
    for round in 0..10 {
        let began = Instant::now();
        let (method, code) = if round % 2 == 0 { ("PUT", 503) } else { ("DELETE", 200) };
        let body = if round % 2 == 0 { down() } else { Value::Null };
        assert!(service.ask(method, "/v1/faults/down", body).await.0 < 300);
        let answered = Instant::now();
        assert_eq!(service.get("/readyz").await.status(), code, "the change is in force once it is answered");
        delays.push(answered - began);
    }
    stop.send_replace(true);
    assert_eq!(load.join_all().await.into_iter().sum::<usize>(), 0);
    delays.sort();
    // The client shares the machine with a thousand others.
    assert!(delays[5] < Duration::from_millis(500), "{delays:?}");
}

#[tokio::test]
async fn the_description_knows_every_field_of_a_rule_and_no_other() {
    let service = Service::start(&[]).await;
    let (_, openapi) = service.ask("GET", "/openapi.json", Value::Null).await;
    let fields = |schema: &str| -> Vec<String> {
        let mut names: Vec<String> = openapi["components"]["schemas"][schema]["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        names.sort();
        names
    };
    // The error of an unknown kind of rule lists all fields there are.
    let (_, problem) = service.ask("PUT", "/v1/plan", json!({"faults": [5]})).await;
    let told = problem["errors"][0]["reason"].as_str().unwrap().to_owned();
    let mut known: Vec<String> =
        told.strip_prefix("is not a mapping with ").unwrap().split(", ").map(str::to_owned).collect();
    known.push("ttl".to_owned());
    known.sort();
    assert_eq!(fields("Rule"), known);
    known.retain(|name| name != "name");
    assert_eq!(fields("Patch"), known);
    let paths: Vec<&String> = openapi["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths.len(), 8);
    let head = exchange(service.admin, request("HEAD", "/v1/state", &[], &Value::Null)).await;
    assert_eq!((head.status(), head.body().as_str()), (200, ""));
}
