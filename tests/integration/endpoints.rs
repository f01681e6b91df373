//! Answers of the endpoints.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::time::Duration;

use crate::support::{End, Service, eventually, exchange, get, kubelet_request, request, tools};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

#[tokio::test]
async fn every_path_of_a_target_answers_ok() {
    let service = Service::start(&[]).await;
    for path in [
        "/healthz",
        "/livez",
        "/liveness",
        "/readyz",
        "/readiness",
        "/startupz",
        "/dependency",
        "/healthz?a=b",
    ] {
        let reply = service.get(path).await;
        assert_eq!((reply.status(), reply.body().as_str()), (200, "ok"), "{path}");
        assert!(reply.header("content-type").unwrap().starts_with("text/plain"), "{path}");
        assert_eq!(reply.header("x-probesim-fault"), None, "{path}");
    }
    assert_eq!(service.metric("probesim_requests_total", &["liveness", "code=\"200\""]).await, 4.0);
}

#[tokio::test]
async fn more_paths_come_from_the_environment() {
    let service = Service::start(&[
        ("LIVENESS_PATHS", "/alive"),
        ("READINESS_PATHS", "/ready,/prepared"),
        ("TRAFFIC_PATHS", "/api/*,/checkout"),
    ])
    .await;
    for path in ["/alive", "/ready", "/prepared", "/healthz"] {
        assert_eq!(service.get(path).await.body(), "ok", "{path}");
    }
    for path in ["/api/", "/api/a", "/api/a/b?c", "/checkout"] {
        assert_eq!(service.get(path).await.header("content-type").unwrap(), "application/json", "{path}");
    }
    assert_eq!(service.get("/checkout/cart").await.status(), 404);
    assert_eq!(service.metric("probesim_requests_total", &["traffic"]).await, 4.0);
}

#[tokio::test]
async fn traffic_is_answered_with_the_identity_of_the_pod() {
    let service =
        Service::start(&[("TRAFFIC_PATHS", "/*"), ("POD_NAME", "shop-0"), ("POD_NAMESPACE", "drill")]).await;
    let reply = service.get("/anything/at/all").await;
    let json: serde_json::Value = serde_json::from_str(&reply.body()).unwrap();
    assert_eq!((json["pod"].as_str(), json["namespace"].as_str()), (Some("shop-0"), Some("drill")));
    assert_eq!(service.get("/healthz").await.body(), "ok");
}

#[tokio::test]
async fn head_is_answered_like_get_without_a_body() {
    let service = Service::start(&[("LIVENESS_FAILURE_RATE", "100")]).await;
    for (path, status) in [("/healthz", 500), ("/readyz", 200), ("/", 200), ("/metrics", 200)] {
        let reply = exchange(service.probe, request(path).replacen("GET", "HEAD", 1)).await;
        assert_eq!((reply.status(), reply.body().as_str(), reply.end), (status, "", End::Fin), "{path}");
    }
    assert_eq!(service.metric("probesim_requests_total", &["liveness", "code=\"500\""]).await, 1.0);
}

#[tokio::test]
async fn every_method_is_answered_and_faulted_like_get() {
    let service = Service::start(&[("LIVENESS_FAILURE_RATE", "100")]).await;
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        for (path, status) in [("/healthz", 500), ("/readyz", 200), ("/", 200)] {
            let reply = exchange(service.probe, request(path).replacen("GET", method, 1)).await;
            assert_eq!(reply.status(), status, "{method} {path}");
        }
    }
    assert_eq!(service.metric("probesim_requests_total", &["liveness", "code=\"500\""]).await, 9.0);
    // The default check of HAProxy.
    let check = exchange(service.probe, "OPTIONS / HTTP/1.0\r\n\r\n").await;
    assert!(check.text().starts_with("HTTP/1.0 200 "), "{:?}", check.text());
}

#[tokio::test]
async fn a_request_without_one_valid_host_is_refused_on_both_listeners() {
    let service = Service::start(&[]).await;
    for listener in [service.probe, service.admin] {
        for (head, status) in [
            ("GET /healthz HTTP/1.1", 400),
            ("GET /healthz HTTP/1.1\r\nhost: a\r\nhost: a", 400),
            ("GET /healthz HTTP/1.1\r\nhost: user@a", 400),
            ("GET /healthz HTTP/1.1\r\nhost: a b", 400),
            ("GET /healthz HTTP/1.1\r\nhost: a:port", 400),
            ("GET http://user@a/healthz HTTP/1.1\r\nhost: a", 400),
            ("GET /healthz HTTP/1.0\r\nhost: a\r\nhost: b", 400),
            ("GET /healthz HTTP/1.0", 200),
            ("GET /healthz HTTP/1.1\r\nhost:", 200),
            ("GET http://a:80/healthz HTTP/1.1\r\nhost: b", 200),
            ("GET /healthz HTTP/1.1\r\nhost: [::1]:8080", 200),
        ] {
            let reply = exchange(listener, format!("{head}\r\nconnection: close\r\n\r\n")).await;
            let code = reply.text().get(9..12).map(str::to_owned);
            assert_eq!(code, Some(status.to_string()), "{head}");
        }
    }
}

#[tokio::test]
async fn an_unknown_path_gets_404() {
    let service = Service::start(&[("FAILURE_RATE", "100")]).await;
    for path in ["/nothing", "/healthz/", "/Healthz", "/metrics/x", "/v1/plan"] {
        assert_eq!(service.get(path).await.status(), 404, "{path}");
    }
    assert_eq!(service.metric("probesim_requests_total", &[]).await, 0.0);
    assert_eq!(get(service.admin, "/readyz").await.status(), 404);
}

#[tokio::test]
async fn a_failure_names_its_rule() {
    let service = Service::start(&[("LIVENESS_FAILURE_RATE", "100"), ("FAILURE_STATUS", "418")]).await;
    let reply = service.get("/healthz").await;
    assert_eq!(reply.status(), 418);
    assert_eq!(reply.header("x-probesim-fault").unwrap(), "liveness-rate");
    assert_eq!(reply.body(), "fault liveness-rate: status 418");
    let labels = ["fault=\"liveness-rate\"", "target=\"liveness\"", "mode=\"status\""];
    assert_eq!(service.metric("probesim_faults_injected_total", &labels).await, 1.0);
    assert_eq!(service.metric("probesim_target_up", &["liveness"]).await, 0.0);
    assert_eq!(service.metric("probesim_target_up", &["readiness"]).await, 1.0);
}

#[tokio::test]
async fn the_rate_of_a_rule_is_shown_while_its_window_is_open() {
    let vars = [("FAILURE_RATE", "20"), ("READINESS_FAIL_AFTER_TIME", "1h")];
    let metrics = Service::start(&vars).await.metrics().await;
    assert!(metrics.contains("probesim_fault_rate{fault=\"liveness-rate\"} 0.2\n"), "{metrics}");
    assert!(!metrics.contains("probesim_fault_rate{fault=\"readiness-time\"}"), "{metrics}");
}

#[tokio::test]
async fn a_status_without_a_body_has_none() {
    for status in ["204", "304"] {
        let service = Service::start(&[("LIVENESS_FAILURE_RATE", "100"), ("FAILURE_STATUS", status)]).await;
        let reply = service.get("/healthz").await;
        assert_eq!(
            (reply.status().to_string().as_str(), reply.body().as_str(), reply.end),
            (status, "", End::Fin)
        );
    }
}

#[tokio::test]
async fn a_redirect_points_to_its_location() {
    let plan =
        "{faults: [{name: away, target: liveness, mode: redirect, location: 'http://elsewhere.invalid/x'}]}";
    let service = Service::start(&[("FAULTS", plan)]).await;
    let reply = service.get("/healthz").await;
    assert_eq!(
        (reply.status(), reply.header("location").unwrap().as_str()),
        (302, "http://elsewhere.invalid/x")
    );
    // Three hundred and two counts as success for a probe.
    assert_eq!(service.metric("probesim_target_up", &["liveness"]).await, 1.0);
}

#[tokio::test]
async fn verbose_lists_each_check_as_the_api_server_does() {
    let service = Service::start(&[
        ("READINESS_FAIL_AFTER_REQUESTS", "1"),
        ("READINESS_FAIL_REQUESTS", "1"),
        ("LIVENESS_FAIL_AFTER_TIME", "3600"),
    ])
    .await;
    assert_eq!(
        service.get("/livez?verbose").await.body(),
        "[+]ping ok\n[+]liveness-time ok\nlivez check passed\n"
    );
    let well =
        "[+]ping ok\n[+]readiness-requests ok\n[+]dependency ok\n[+]shutdown ok\nreadyz check passed\n";
    assert_eq!(service.get("/readyz?verbose").await.body(), well);
    let failed = service.get("/readyz?verbose=true").await;
    assert_eq!(failed.status(), 500);
    assert_eq!(
        failed.body(),
        "[+]ping ok\n[-]readiness-requests failed: status 500\n[+]dependency ok\n[+]shutdown ok\nreadyz check failed\n"
    );
    assert_eq!(service.get("/readyz?verbose").await.body(), well);
}

#[tokio::test]
async fn readiness_fails_at_once_while_its_dependency_fails() {
    for mode in ["status", "hang", "reset"] {
        let service = Service::start(&[
            ("FAIL_DEPENDENCY", "true"),
            ("DEPENDENCY_FAILURE_MODE", mode),
            ("DEPENDENCY_LATENCY", "60s"),
        ])
        .await;
        let began = Instant::now();
        let reply = service.get("/readyz").await;
        assert!(began.elapsed() < Duration::from_secs(30), "{mode}");
        assert_eq!(reply.status(), 500, "{mode}");
        assert_eq!(reply.header("x-probesim-fault").unwrap(), "dependency-dependency", "{mode}");
        assert!(
            service
                .get("/readyz?verbose")
                .await
                .body()
                .contains("[-]dependency failed: fault dependency-dependency\n")
        );
        assert_eq!(service.metric("probesim_target_up", &["readiness"]).await, 0.0, "{mode}");
    }
    let apart = Service::start(&[("FAIL_DEPENDENCY", "1"), ("READINESS_CHECKS_DEPENDENCY", "false")]).await;
    assert_eq!(apart.get("/dependency").await.status(), 500);
    assert_eq!(apart.get("/readyz").await.status(), 200);
}

#[tokio::test]
async fn delays_are_never_early_and_a_failure_is_as_slow_as_a_success() {
    let service = Service::start(&[("LATENCY", "50"), ("LIVENESS_FAIL_REQUESTS", "10")]).await;
    for path in ["/healthz", "/readyz", "/startupz", "/dependency"] {
        for _ in 0..5 {
            let began = Instant::now();
            let reply = service.get(path).await;
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(50), "{path}: {took:?}");
            assert!(took < Duration::from_secs(5), "{path}: {took:?}");
            assert_eq!(reply.status(), if path == "/healthz" { 500 } else { 200 });
        }
    }
    assert_eq!(service.get("/readyz").await.header("x-probesim-fault").unwrap(), "readiness-latency");
    let quick = "probesim_request_duration_seconds_bucket";
    assert_eq!(service.metric(quick, &["liveness", "le=\"0.025\""]).await, 0.0);
    assert_eq!(service.metric("probesim_request_duration_seconds_count", &["liveness"]).await, 5.0);
}

#[tokio::test]
async fn the_kubelets_requests_are_counted_separately() {
    let service = Service::start(&[("LIVENESS_FAIL_AFTER_REQUESTS", "2")]).await;
    for status in [200, 200, 500, 500] {
        assert_eq!(service.get("/healthz").await.status(), status);
    }
    for status in [200, 200, 500] {
        assert_eq!(exchange(service.probe, kubelet_request("/healthz")).await.status(), status);
    }
    assert_eq!(service.metric("probesim_requests_total", &["client=\"kubelet\"", "code=\"500\""]).await, 1.0);
}

#[tokio::test]
async fn a_rule_for_the_kubelet_does_not_act_on_other_clients() {
    let plan = "{faults: [{name: probes, target: [liveness, readiness], client: kubelet, mode: status, status: 503}]}";
    let service = Service::start(&[("FAULTS", plan)]).await;
    assert_eq!(service.get("/healthz").await.status(), 200);
    assert_eq!(exchange(service.probe, kubelet_request("/healthz")).await.status(), 503);
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_is_counted_as_gone_and_not_as_answered() {
    let service = Service::start(&[("LATENCY", "60000")]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(request("/healthz").as_bytes()).await.unwrap();
    eventually("it waits", || async {
        service.metric("probesim_faults_injected_total", &["liveness-latency"]).await == 1.0
    })
    .await;
    drop(stream);
    eventually("it is gone", || async {
        service.metric("probesim_clients_gone_total", &["liveness"]).await == 1.0
    })
    .await;
    assert_eq!(service.metric("probesim_requests_total", &["code=\"200\""]).await, 0.0);
    assert_eq!(service.metric("probesim_requests_total", &["code=\"none\""]).await, 1.0);
    assert_eq!(service.metric("probesim_request_duration_seconds_count", &["liveness"]).await, 0.0);
}

#[tokio::test]
async fn the_index_shows_identity_seed_targets_and_rules() {
    let service = Service::start(&[
        ("POD_NAME", "web-0"),
        ("SEED_SCOPE", "fleet"),
        ("FAIL_DEPENDENCY", "true"),
        ("LIVENESS_FAIL_AFTER_TIME", "1h"),
    ])
    .await;
    let page = service.get("/").await.body();
    for line in [
        "pod        web-0",
        "seed       42",
        "readiness  down  /readyz /readiness",
        "liveness   up    /healthz",
    ] {
        assert!(page.contains(line), "{line:?} is missing in\n{page}");
    }
    let rule = |name: &str| page.lines().find(|line| line.contains(name)).map(str::to_owned);
    assert!(rule("dependency-dependency").unwrap().starts_with("active"), "{page}");
    assert!(rule("liveness-time").unwrap().starts_with("idle"), "{page}");
}

#[tokio::test]
async fn one_client_and_sixty_four_clients_get_the_same_decisions() {
    let vars = [("LIVENESS_FAILURE_RATE", "30"), ("LIVENESS_FAILURE_BURST", "4"), ("SEED_SCOPE", "fleet")];
    let (alone, crowd) = (Service::start(&vars).await, Service::start(&vars).await);
    let mut expected = 0;
    for _ in 0..1280 {
        expected += usize::from(alone.get("/healthz").await.status() == 500);
    }
    let mut clients = tokio::task::JoinSet::new();
    let probe = crowd.probe;
    for _ in 0..64 {
        clients.spawn(async move {
            let mut failures = 0;
            for _ in 0..20 {
                failures += usize::from(get(probe, "/healthz").await.status() == 500);
            }
            failures
        });
    }
    assert_eq!(clients.join_all().await.into_iter().sum::<usize>(), expected);
    assert!((200..600).contains(&expected), "{expected}");
}

#[tokio::test]
async fn prometheus_accepts_the_metrics() {
    if !tools::are_there(&["promtool"]) {
        return;
    }
    let service =
        Service::start(&[("FAILURE_RATE", "50"), ("LATENCY", "1"), ("PARTITION_AFTER", "60")]).await;
    for path in ["/healthz", "/readyz", "/startupz", "/dependency"] {
        service.get(path).await;
    }
    let metrics = service.metrics().await;
    assert_eq!(metrics.lines().filter(|line| line.starts_with("# TYPE probesim_")).count(), 23, "{metrics}");
    let mut promtool = tokio::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).await.unwrap();
    assert!(promtool.wait().await.unwrap().success());
}
