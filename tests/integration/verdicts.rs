//! The kubelet's result for each fault: `probe` against the service itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::time::Duration;

use crate::support::Service;
use kube_probesim::prober::{Outcome, Probe, ProbeResult};

/// One attempt on liveness under a rule, with a timeout of a second.
async fn attempt(fields: &str) -> Outcome {
    let plan = format!("{{faults: [{{name: drill, target: liveness, {fields}}}]}}");
    let service = Service::start(&[("FAULTS", &plan)]).await;
    on(&service, "/healthz").await
}

async fn on(service: &Service, path: &str) -> Outcome {
    let probe = Probe::parse(&format!("http://{}{path}", service.probe), Vec::new()).unwrap();
    probe.attempt(Duration::from_secs(1)).await
}

#[tokio::test]
async fn each_mode_has_the_result_that_the_kubelet_gives_it() {
    use ProbeResult::{Error, Failure, Success, Warning};
    for (fields, result) in [
        ("mode: status, status: 200", Success),
        ("mode: status, status: 299", Success),
        ("mode: status, status: 304", Warning),
        ("mode: status, status: 400", Failure),
        ("mode: status, status: 503", Failure),
        ("mode: redirect", Warning),
        ("mode: redirect, location: /healthz", Failure),
        ("mode: hang", Failure),
        ("mode: close", Failure),
        ("mode: reset", Failure),
        ("mode: garbage", Failure),
        ("mode: truncate, status: 200", Error),
        ("mode: truncate, status: 500", Error),
        ("mode: body-hang, status: 200", Error),
        ("mode: body-hang, status: 500", Error),
        ("mode: body-reset, status: 200", Error),
        ("mode: body-reset, status: 500", Error),
        ("mode: malformed, status: 200", Error),
        ("mode: malformed, status: 500", Error),
        ("mode: drip, status: 200, drip: 200ms", Success),
        ("mode: drip, status: 503, drip: 200ms", Failure),
        ("mode: drip, status: 200, drip: 10s", Error),
        ("delay: 10s", Failure),
        ("delay: 10s, mode: status, status: 200", Failure),
    ] {
        let outcome = attempt(fields).await;
        assert_eq!(outcome.result, result, "{fields}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_fault_beyond_the_ten_kibibytes_that_the_kubelet_reads_leaves_the_result_to_the_status() {
    for mode in ["truncate", "body-hang", "body-reset"] {
        for (status, result) in [(200, ProbeResult::Success), (500, ProbeResult::Failure)] {
            let outcome = attempt(&format!("mode: {mode}, status: {status}, body: 11KiB")).await;
            assert_eq!(outcome.result, result, "{mode}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_redirect_to_another_path_of_the_host_is_followed() {
    let service = Service::start(&[(
        "FAULTS",
        "{faults: [{name: moved, target: startup, mode: redirect, location: /readyz}, {name: down, target: readiness, mode: status}]}",
    )])
    .await;
    let outcome = on(&service, "/startupz").await;
    assert_eq!((outcome.result, outcome.status), (ProbeResult::Failure, Some(500)), "{outcome:?}");
    assert_eq!(service.metric("probesim_requests_total", &["kubelet", "startup", "302"]).await, 1.0);
}

#[tokio::test]
async fn a_redirect_to_itself_makes_ten_requests_of_one_probe() {
    let service = Service::start(&[(
        "FAULTS",
        "{faults: [{name: loop, target: liveness, mode: redirect, location: /healthz}]}",
    )])
    .await;
    assert_eq!(on(&service, "/healthz").await.result, ProbeResult::Failure);
    assert_eq!(service.metric("probesim_requests_total", &["kubelet", "liveness", "302"]).await, 10.0);
}

#[tokio::test]
async fn each_partition_is_a_failure_for_the_kubelet_and_a_timeout_or_a_refusal_for_a_connection() {
    for (mode, connects) in [("drop", false), ("refuse", false), ("reset", true)] {
        let plan = format!("{{faults: [{{name: cut, target: listener, mode: {mode}}}]}}");
        let service = Service::start(&[("FAULTS", &plan)]).await;
        assert_eq!(on(&service, "/healthz").await.result, ProbeResult::Failure, "{mode}");
        let tcp = Probe::parse(&format!("tcp://{}", service.probe), Vec::new()).unwrap();
        let outcome = tcp.attempt(Duration::from_secs(1)).await;
        let expected = if connects { ProbeResult::Success } else { ProbeResult::Failure };
        assert_eq!(outcome.result, expected, "{mode}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_partition_of_other_clients_is_a_success_for_the_kubelet() {
    let service =
        Service::start(&[("FAULTS", "{faults: [{name: cut, target: listener, client: other, mode: drop}]}")])
            .await;
    assert_eq!(on(&service, "/readyz").await.result, ProbeResult::Success);
}
