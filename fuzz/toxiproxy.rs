//! Requests to toxiproxy's API.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use hyper::Request;
use kube_probesim::env;
use kube_probesim::fault::Rule;
use kube_probesim::plan::document;
use kube_probesim::proxy::Toxiproxy;
use serde_json::Value;

use super::{control, holds, variables};

/// Limit of an answer, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// Lines of `METHOD PATH BODY`. Each answer has a status and a body of toxiproxy's API, a refused change leaves no trace,
/// and nothing remains once all proxies are deleted.
pub fn toxiproxy(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(requests(data));
}

async fn requests(data: &[u8]) {
    let loaded =
        env::load(variables(b"LIVENESS_FAILURE_RATE=20\nSEED=1\nPOD_NAME=web-1")).expect("a configuration");
    let (engine, control) = control(&loaded.config);
    let first: Vec<Rule> = engine.active().plan.rules().cloned().collect();
    let api = Toxiproxy::new(control, Vec::new());
    for line in data.split(|byte| *byte == b'\n').take(50) {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let mut words = line.splitn(3, ' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let body = words.next().unwrap_or_default();
        if asks_dns(body) {
            continue;
        }
        let before = engine.active();
        let Some((status, answer)) = call(&api, method, path, body).await else { continue };
        assert!([200, 201, 204, 400, 404, 405, 409, 500].contains(&status), "{line}: {status} {answer}");
        let is_error = answer.get("error").is_some();
        if is_error && !path.starts_with("/proxies/") {
            assert_eq!(answer["status"], status, "{line}: {answer}");
        }
        // `/populate` keeps the proxies before the first error.
        if status >= 400 && path != "/populate" {
            assert!(Arc::ptr_eq(&before, &engine.active()), "a refused change left a trace: {line}");
        }
        engine.active().plan.rules().for_each(holds);
    }
    let (_, proxies) = call(&api, "GET", "/proxies", "").await.expect("a list");
    for (name, proxy) in proxies.as_object().expect("an object") {
        assert_eq!(proxy["name"], name.as_str());
        let (status, answer) =
            call(&api, "DELETE", &format!("/proxies/{}", encoded(name)), "").await.expect("an answer");
        assert_eq!(status, 204, "{name:?}: {answer}");
    }
    assert_eq!(engine.active().plan.rules().cloned().collect::<Vec<_>>(), first);
}

/// The status and the JSON of an answer; `None` if the words are not an HTTP request.
async fn call(api: &Toxiproxy, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
    let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).ok()?;
    let response = api.respond(request, "fuzz").await;
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), MAX_ANSWER).await.expect("a body");
    Some((status, serde_json::from_slice(&bytes).unwrap_or_default()))
}

/// Whether a proxy listens on a host name: resolving it would ask the network.
fn asks_dns(body: &str) -> bool {
    let Ok(value) = document::parse_json(body.as_bytes(), document::MAX_PLAN) else { return false };
    let items = value.as_array().map_or_else(|| vec![&value], |items| items.iter().collect());
    items.into_iter().filter_map(|item| item.get("listen")?.as_str()).any(|listen| {
        let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        !host.is_empty() && host.parse::<IpAddr>().is_err()
    })
}

fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |path, byte| path + &format!("%{byte:02X}"))
}
