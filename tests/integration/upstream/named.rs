//! The life of named proxies.

use serde_json::{Value, json};

use super::backend::{Backend, OK};
use super::count;
use crate::support::{Service, eventually, exchange, get, kubelet_request};
use tokio::net::TcpStream;
use tokio::time::Duration;

#[tokio::test]
async fn a_proxy_is_a_target_with_its_own_counters() {
    let (stock, db) = (Backend::answering(OK).await, Backend::answering(OK).await);
    let proxies = format!("stock=:0->{}, db=:0->{}", stock.url(), db.url());
    let plan =
        "{faults: [{name: no-items, target: stock, match: {path: /items/*}, mode: status, status: 503}]}";
    let service = Service::start(&[("PROXIES", &proxies), ("FAULTS", plan)]).await;
    let (to_stock, to_db) = (service.proxy("stock").await, service.proxy("db").await);
    assert_eq!(get(to_stock, "/items/7").await.status(), 503);
    assert_eq!(get(to_stock, "/users").await.body(), "app");
    assert_eq!(get(to_db, "/items/7").await.body(), "app");
    assert_eq!((stock.count(), db.count()), (1, 1));
    // A rule that does not name its clients spares the kubelet.
    assert_eq!(exchange(to_stock, kubelet_request("/items/7")).await.body(), "app");
    for (labels, expected) in [
        (vec!["target=\"stock\"", "code=\"503\""], 1),
        (vec!["target=\"stock\"", "code=\"200\"", "client=\"other\""], 1),
        (vec!["target=\"stock\"", "client=\"kubelet\""], 1),
        (vec!["target=\"db\""], 1),
        (vec!["target=\"traffic\""], 0),
    ] {
        assert_eq!(count(&service, "probesim_requests_total", &labels).await, expected, "{labels:?}");
    }
    let injected = ["fault=\"no-items\"", "target=\"stock\""];
    assert_eq!(count(&service, "probesim_faults_injected_total", &injected).await, 1);
    assert_eq!(count(&service, "probesim_upstream_requests_total", &["proxy=\"db\""]).await, 1);
    let (_, state) = service.api("GET", "/v1/state", &Value::Null).await;
    let targets = state["targets"].as_array().unwrap();
    let shown = targets.iter().find(|target| target["name"] == "stock").unwrap();
    assert_eq!(*shown, json!({"name": "stock", "up": true, "requests": {"kubelet": 1, "other": 2}}));
    service.stop().await;
}

#[tokio::test]
async fn proxies_are_added_and_removed_at_run_time_and_counts_continue() {
    let (first, second) = (Backend::answering(OK).await, Backend::answering(OK).await);
    let service = Service::start(&[]).await;
    let put = |backend: &Backend| json!({"listen": "127.0.0.1:0", "upstream": backend.url()});
    assert_eq!(service.api("PUT", "/v1/proxies/stock", &put(&first)).await.0, 201);
    let at = service.proxy("stock").await;
    assert_eq!(get(at, "/").await.body(), "app");
    assert_eq!(service.api("PUT", "/v1/proxies/stock", &put(&second)).await.0, 200);
    assert_eq!(service.proxy("stock").await, at, "another upstream takes no other port");
    assert_eq!(get(at, "/").await.body(), "app");
    assert_eq!((first.count(), second.count()), (1, 1));

    let rule = json!({"target": "stock", "mode": "status", "status": 502});
    assert_eq!(service.api("PUT", "/v1/faults/down", &rule).await.0, 201);
    assert_eq!(get(at, "/").await.status(), 502);
    assert_eq!(service.api("POST", "/v1/reset", &Value::Null).await.0, 200);
    assert_eq!(get(at, "/").await.status(), 200, "a reset takes the rule and leaves the proxy");

    assert_eq!(service.api("DELETE", "/v1/proxies/stock", &Value::Null).await.0, 200);
    eventually("nobody listens there", || async { get(at, "/").await.ok_status().is_none() }).await;
    assert_eq!(service.api("DELETE", "/v1/proxies/stock", &Value::Null).await.0, 404);
    assert_eq!(service.api("PUT", "/v1/proxies/stock", &put(&first)).await.0, 201);
    assert_eq!(get(service.proxy("stock").await, "/").await.body(), "app");
    assert_eq!(count(&service, "probesim_requests_total", &["target=\"stock\""]).await, 5);
    service.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_an_error_and_the_previous_plan_stays_in_force() {
    let backend = Backend::answering(OK).await;
    let service =
        Service::start(&[("FAULTS", "{faults: [{name: a, target: liveness, mode: status}]}")]).await;
    let proxy =
        json!({"name": "stock", "listen": backend.addr.to_string(), "upstream": "http://127.0.0.1:1"});
    let (status, problem) = service.api("PUT", "/v1/proxies/stock", &proxy).await;
    assert_eq!(status, 422, "{problem}");
    let message = problem["errors"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with(&format!("proxy stock: listen=\"{}\": cannot listen on", backend.addr)),
        "{message}"
    );
    let own = json!({"listen": service.probe.to_string(), "upstream": "http://127.0.0.1:1"});
    let (status, problem) = service.api("PUT", "/v1/proxies/stock", &own).await;
    assert_eq!(status, 422, "{problem}");
    assert!(problem.to_string().contains("is also the port of PORT or ADMIN_ADDRESS"), "{problem}");
    assert_eq!(service.api("GET", "/v1/proxies", &Value::Null).await.1, json!({"proxies": []}));
    assert_eq!(service.get("/healthz").await.status(), 500);
    let itself = json!({"listen": "127.0.0.1:0", "upstream": format!("http://{}", service.probe)});
    assert_eq!(service.api("PUT", "/v1/proxies/loop", &itself).await.0, 201);
    assert_eq!(get(service.proxy("loop").await, "/").await.status(), 502, "one of our own listeners");
    service.stop().await;
}

#[tokio::test]
async fn a_stop_releases_requests_that_a_rule_holds_on_a_proxy() {
    let backend = Backend::answering(OK).await;
    let proxies = format!("stock=:0->{}", backend.url());
    let plan = "{faults: [{name: late, target: stock, delay: 1h}, {name: held, target: stock, mode: hang}]}";
    let service = Service::start(&[("PROXIES", &proxies), ("FAULTS", plan)]).await;
    let at = service.proxy("stock").await;
    let held = tokio::spawn(async move { get(at, "/").await });
    let counted =
        || async { count(&service, "probesim_faults_eligible_total", &["fault=\"late\""]).await == 1 };
    eventually("the request waits", counted).await;
    assert_eq!(count(&service, "probesim_proxy_connections", &["proxy=\"stock\""]).await, 1);
    assert_eq!(service.api("POST", "/v1/stop", &Value::Null).await.0, 200);
    assert_eq!(held.await.unwrap().status(), 200);
    assert_eq!(get(at, "/").await.status(), 200);
    service.stop().await;
}

#[tokio::test]
async fn proxies_accept_until_the_grace_is_over() {
    let backend = Backend::answering(OK).await;
    let proxies = format!("stock=:0->{}", backend.url());
    let service = Service::start(&[("PROXIES", &proxies), ("SHUTDOWN_GRACE", "1500ms")]).await;
    let (at, probe) = (service.proxy("stock").await, service.probe);
    let ends = tokio::spawn(service.stop());
    eventually("the probe listener is gone", || async { TcpStream::connect(probe).await.is_err() }).await;
    assert_eq!(get(at, "/").await.status(), 200);
    let took = ends.await.unwrap();
    assert!(took >= Duration::from_millis(1500), "{took:?}");
    assert!(TcpStream::connect(at).await.is_err());
}
