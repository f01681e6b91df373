//! An application behind the probe listener.

mod backend;
mod both_paths;
mod cut_off;
mod endurance;
mod errors;
mod faults;
mod named;
mod plain;
mod real;
mod reuse;
mod smuggling;
mod smuggling_http2;
mod tls;
mod transparent;
mod upgrade;

use backend::{Backend, OK};

use crate::support::{Service, exchange, get};

/// A counter of the service, a whole number.
async fn count(service: &Service, name: &str, labels: &[&str]) -> u64 {
    service.metric(name, labels).await as u64
}

/// The service in front of a backend.
async fn in_front_of(backend: &Backend, more: &[(&str, &str)]) -> Service {
    let upstream = backend.url();
    let mut vars = vec![("UPSTREAM", upstream.as_str())];
    vars.extend(more);
    Service::start(&vars).await
}

#[tokio::test]
async fn every_path_goes_to_the_application_and_own_paths_are_on_the_admin_listener() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[]).await;
    for path in
        ["/", "/metrics", "/healthz", "/readyz", "/dependency", "/orders/7?x=%2F&y=a%20b", "//a/../b;c=d"]
    {
        assert_eq!(service.get(path).await.body(), "app", "{path}");
        let head = backend.last();
        assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{head}");
    }
    let metrics = service.metrics().await;
    for line in [
        "probesim_upstream_requests_total{proxy=\"upstream\",code=\"200\"} 7\n",
        "probesim_requests_total{target=\"liveness\",client=\"other\",code=\"200\"} 1\n",
        "probesim_requests_total{target=\"traffic\",client=\"other\",code=\"200\"} 4\n",
        "probesim_upstream_errors_total{proxy=\"upstream\",reason=\"refused\"} 0\n",
        "probesim_upstream_duration_seconds_count{proxy=\"upstream\"} 7\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    assert_eq!(get(service.admin, "/healthz").await.body(), "ok");
}

#[tokio::test]
async fn probes_can_be_answered_without_the_application() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[("UPSTREAM_PROBES", "false")]).await;
    assert_eq!(service.get("/healthz").await.body(), "ok");
    assert_eq!(service.get("/").await.body(), "app");
    assert_eq!(backend.count(), 1);
}

#[tokio::test]
async fn a_header_makes_any_path_a_probe_and_is_not_forwarded() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[("LIVENESS_FAILURE_RATE", "100")]).await;
    let ask = |class: &str| {
        let request = format!(
            "GET /app HTTP/1.1\r\nhost: a\r\nX-Probesim-Target: {class}\r\nconnection: close\r\n\r\n"
        );
        exchange(service.probe, request)
    };
    assert_eq!(ask("liveness").await.status(), 500);
    assert_eq!(backend.count(), 0);
    assert_eq!(ask("readiness").await.status(), 200);
    assert!(!backend.last().to_lowercase().contains("probesim-target"), "{}", backend.last());
    let reply = ask("live").await;
    assert_eq!(reply.status(), 400);
    assert!(reply.body().contains("\"live\" is not one of liveness, readiness, startup"), "{}", reply.body());
}

#[tokio::test]
async fn rules_act_on_their_class_without_reaching_the_application() {
    let backend = Backend::answering(OK).await;
    let plan = "{faults: [{name: down, target: traffic, client: other, mode: status, status: 503}]}";
    let service = in_front_of(&backend, &[("FAULTS", plan)]).await;
    let reply = service.get("/orders").await;
    assert_eq!((reply.status(), reply.header("x-probesim-fault")), (503, Some("down".to_owned())));
    assert_eq!(service.get("/healthz").await.body(), "app");
    assert_eq!(backend.count(), 1);
}

#[tokio::test]
async fn unprefixed_variables_do_not_act_on_traffic() {
    let backend = Backend::answering(OK).await;
    let vars = [("FAILURE_RATE", "100"), ("FAIL_DEPENDENCY", "true")];
    let service = in_front_of(&backend, &vars).await;
    assert_eq!(service.get("/healthz").await.status(), 500);
    assert_eq!(service.get("/orders").await.status(), 200);
    let vars = [("FAIL_DEPENDENCY", "true")];
    let service = in_front_of(&backend, &vars).await;
    assert_eq!(service.get("/readyz").await.status(), 200, "the application says what it depends on");
}

#[tokio::test]
async fn any_path_may_be_a_probe_of_the_application() {
    let backend = Backend::answering(OK).await;
    let vars = [("LIVENESS_PATHS", "/,/metrics"), ("LIVENESS_FAILURE_RATE", "100")];
    let service = in_front_of(&backend, &vars).await;
    assert_eq!(service.get("/").await.status(), 500);
    assert_eq!(service.get("/metrics").await.status(), 500);
    assert_eq!(service.get("/x").await.status(), 200);
}

#[tokio::test]
async fn kubelet_probes_that_arrive_as_traffic_are_reported() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[]).await;
    let probe = |path: &str, fields: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nUser-Agent: kube-probe/1.35\r\n{fields}");
        exchange(service.probe, format!("{head}connection: close\r\n\r\n"))
    };
    probe("/healthz", "").await;
    probe("/live", "X-Probesim-Target: liveness\r\n").await;
    service.get("/live").await;
    let request = "GET /v1/state HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let state = || async { exchange(service.admin, request).await.body() };
    assert!(!state().await.contains("notes"));
    probe("/live", "").await;
    let state = state().await;
    let note = r#""notes":["probes of the kubelet arrive as traffic (1 so far): name their paths"#;
    assert!(state.contains(note), "{state}");
}
