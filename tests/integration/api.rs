//! The admin API over real connections.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

mod callers;
mod events;

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
async fn a_rule_is_added_shown_changed_and_deleted_and_a_reset_restores_the_original_plan() {
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
async fn the_plan_from_get_is_accepted_by_put() {
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
async fn a_rule_with_a_ttl_expires() {
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
async fn errors_name_their_field_and_nothing_changes() {
    let service = Service::start(&[]).await;
    let plan = json!({"faults": [{"name": "a", "target": "read_iness", "mode": "hang"}, {"name": "a", "target": "traffic", "rate": "120%"}]});
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
            "1 error",
        ),
        ("PUT", "/v1/faults/down", json!([1]), 422, "1 error"),
        ("PATCH", "/v1/faults/nobody", json!({}), 404, "no rule in force is named \"nobody\""),
        ("DELETE", "/v1/faults/nobody", Value::Null, 404, "no rule in force"),
        ("GET", "/v1/faults/nobody", Value::Null, 404, "no rule in force"),
        ("GET", "/v1/events?limit=0", Value::Null, 400, "limit=\"0\" is not a whole number from 1 to 512"),
        ("GET", "/v1/events?after=x", Value::Null, 400, "after=\"x\" is not a whole number"),
        ("POST", "/v1/reset", json!({"all": true}), 422, "the body is not"),
        ("POST", "/v1/stop", json!({"for": "1m"}), 422, "this call takes no fields"),
        ("DELETE", "/v1/faults/nobody", json!({"for": "1m"}), 422, "this call takes no fields"),
        (
            "GET",
            "/v1/events?since=1",
            Value::Null,
            400,
            "\"since\" is unknown; this call takes after and limit",
        ),
        ("GET", "/v1/events?limit=1&limit=2", Value::Null, 400, "\"limit\" is there twice"),
        ("GET", "/v1/events?limit", Value::Null, 400, "limit=\"\" is not a whole number"),
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
async fn an_unknown_query_parameter_is_refused_by_each_call_and_nothing_changes() {
    let service = Service::start(&[]).await;
    for (method, path) in [
        ("GET", "/v1/plan"),
        ("PUT", "/v1/plan"),
        ("GET", "/v1/faults"),
        ("PUT", "/v1/faults/down"),
        ("PATCH", "/v1/faults/down"),
        ("DELETE", "/v1/faults/down"),
        ("GET", "/v1/proxies"),
        ("PUT", "/v1/proxies/db"),
        ("POST", "/v1/preview"),
        ("POST", "/v1/reset"),
        ("POST", "/v1/stop"),
        ("POST", "/v1/resume"),
        ("GET", "/v1/targets"),
        ("GET", "/v1/state"),
    ] {
        let (status, problem) = service.ask(method, &format!("{path}?for=1m"), down()).await;
        assert_eq!(status, 400, "{method} {path}: {problem}");
        let told = "the query parameter \"for\" is unknown; this call takes no query parameters";
        assert_eq!(problem["detail"], told, "{method} {path}");
    }
    let state = service.state().await;
    assert_eq!((&state["generation"], &state["stop"]), (&1.into(), &Value::Null));
    assert_eq!(service.ask("GET", "/v1/state?", Value::Null).await.0, 200, "an empty query");
}

#[tokio::test]
async fn the_second_of_two_changes_for_one_generation_gets_412() {
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
    // A client that is still sending may see the reset first.
    assert!(reply.ok_status() == Some(413) || reply.end == End::Reset, "{:?}", reply.text());
    assert_eq!(service.ask("GET", "/v1/plan", Value::Null).await.0, 200);
}

#[tokio::test]
async fn concurrent_requests_above_the_limit_get_503() {
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
async fn the_description_of_the_api_has_exactly_the_fields_of_a_rule() {
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
    assert_eq!(paths.len(), 12);
    let head = exchange(service.admin, request("HEAD", "/v1/state", &[], &Value::Null)).await;
    assert_eq!((head.status(), head.body().as_str()), (200, ""));
}
