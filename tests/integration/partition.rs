//! Partitions, as clients of the cut listener see them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::io;
use std::time::Duration;

use crate::support::{
    End, PATIENCE, SILENCE, Service, eventually, exchange, kubelet_request, read_to_end, request,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

fn plan(mode: &str, fields: &str) -> String {
    format!("{{faults: [{{name: cut, target: listener, mode: {mode}, {fields}}}]}}")
}

/// A partition from 1 s to 3 s.
const WINDOW: &str = "when: {after: 1s, for: 2s}";

async fn service(mode: &str, fields: &str) -> Service {
    Service::start(&[("FAULTS", &plan(mode, fields))]).await
}

async fn is_cut(service: &Service, cut: bool) {
    eventually("the window changes", || async {
        (service.metric("probesim_fault_active", &["cut"]).await == 1.0) == cut
            && (service.metric("probesim_listener_up", &[]).await == 0.0) == cut
    })
    .await;
}

async fn connect(service: &Service) -> Option<io::Result<TcpStream>> {
    timeout(SILENCE, TcpStream::connect(service.probe)).await.ok()
}

#[tokio::test]
async fn drop_makes_connection_attempts_time_out_until_it_heals() {
    let service = service("drop", WINDOW).await;
    assert_eq!(service.get("/healthz").await.status(), 200);
    is_cut(&service, true).await;
    for _ in 0..3 {
        assert!(connect(&service).await.is_none(), "an attempt came to an end");
    }
    assert_eq!(service.metric("probesim_target_up", &["liveness"]).await, 0.0);
    is_cut(&service, false).await;
    assert_eq!(service.get("/healthz").await.status(), 200);
    let active = service.metric("probesim_fault_active_seconds_total", &["cut"]).await;
    assert!((active - 2.0).abs() < 1e-6, "{active}");
}

#[tokio::test]
async fn a_request_sent_during_drop_is_answered_when_it_heals() {
    let service = service("drop", WINDOW).await;
    let mut idle = TcpStream::connect(service.probe).await.unwrap();
    let mut half = TcpStream::connect(service.probe).await.unwrap();
    half.write_all(&request("/healthz").as_bytes()[..20]).await.unwrap();
    is_cut(&service, true).await;
    let began = Instant::now();
    idle.write_all(request("/healthz").as_bytes()).await.unwrap();
    half.write_all(&request("/healthz").as_bytes()[20..]).await.unwrap();
    for stream in [&mut idle, &mut half] {
        timeout(PATIENCE, stream.readable()).await.unwrap().unwrap();
        assert_eq!(read_to_end(stream).await.status(), 200);
    }
    assert!(began.elapsed() > Duration::from_millis(500), "it was never silent");
    assert_eq!(service.metric("probesim_faults_injected_total", &["cut", "mode=\"drop\""]).await, 2.0);
}

#[tokio::test]
async fn a_client_that_leaves_during_drop_frees_its_connection() {
    let service = service("drop", "when: {after: 500ms, for: 60s}").await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(TcpStream::connect(service.probe).await.unwrap());
    }
    eventually("they are accepted", || async { service.metric("probesim_connections", &[]).await == 10.0 })
        .await;
    is_cut(&service, true).await;
    for stream in &mut streams {
        stream.write_all(request("/healthz").as_bytes()).await.unwrap();
    }
    drop(streams);
    eventually("they are freed", || async { service.metric("probesim_connections", &[]).await == 0.0 }).await;
}

#[tokio::test]
async fn refuse_refuses_new_connections_and_resets_open_ones() {
    let service = service("refuse", WINDOW).await;
    let mut open = TcpStream::connect(service.probe).await.unwrap();
    is_cut(&service, true).await;
    assert_eq!(read_to_end(&mut open).await.end, End::Reset);
    for _ in 0..3 {
        let error = connect(&service).await.expect("an answer").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    other.set_reuse_address(true).unwrap();
    let taken = other.bind(&service.probe.into());
    assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse, "somebody else got the port");
    is_cut(&service, false).await;
    assert_eq!(service.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn reset_accepts_and_resets() {
    let service = service("reset", WINDOW).await;
    let mut open = TcpStream::connect(service.probe).await.unwrap();
    is_cut(&service, true).await;
    assert_eq!(read_to_end(&mut open).await.end, End::Reset);
    let mut new = connect(&service).await.expect("an answer").expect("a connection");
    assert_eq!(read_to_end(&mut new).await.end, End::Reset);
    is_cut(&service, false).await;
    assert_eq!(service.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_partition_cuts_metrics_and_index_of_the_probe_listener_but_not_the_admin_listener() {
    let service = service("reset", "when: {for: 60s}").await;
    for path in ["/metrics", "/", "/healthz"] {
        assert_eq!(service.get(path).await.end, End::Reset, "{path}");
    }
    assert_eq!(crate::support::get(service.admin, "/metrics").await.status(), 200);
}

#[tokio::test]
async fn a_partition_of_other_networks_spares_this_one() {
    let cut = service("reset", "from: [127.0.0.0/8]").await;
    assert_eq!(cut.get("/healthz").await.end, End::Reset);
    let spared = service("reset", "from: [127.0.0.0/8, '!127.0.0.1']").await;
    assert_eq!(spared.get("/healthz").await.status(), 200);
    assert_eq!(spared.metric("probesim_listener_up", &[]).await, 1.0);
    let elsewhere = service("drop", "from: [10.0.0.0/8]").await;
    assert_eq!(elsewhere.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_partition_of_other_clients_spares_the_kubelet() {
    for (mode, end) in [("drop", End::Silence), ("reset", End::Reset), ("refuse", End::Reset)] {
        let service = service(mode, "client: other").await;
        assert_eq!(service.get("/readyz").await.end, end, "{mode}");
        assert_eq!(
            crate::support::exchange(service.probe, kubelet_request("/readyz")).await.status(),
            200,
            "{mode}"
        );
    }
}

#[tokio::test]
async fn a_request_held_by_a_partition_of_its_class_is_answered_when_it_heals() {
    let service = service("drop", "client: other, when: {for: 2s}").await;
    let began = Instant::now();
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(request("/readyz").as_bytes()).await.unwrap();
    timeout(PATIENCE, stream.readable()).await.unwrap().unwrap();
    assert_eq!(read_to_end(&mut stream).await.status(), 200);
    assert!(began.elapsed() > Duration::from_millis(500), "it was never held");
}

/// Twice as many clients as connections: half of them idle, half with a request under way.
async fn with_a_thousand(mode: &str) {
    // Opening all of them takes a while on a loaded machine.
    let service = Service::start_process(&[
        ("FAULTS", &format!(
            "{{faults: [{{name: cut, target: listener, mode: {mode}, when: {{after: 4s, for: 2s}}}}, {{name: slow, target: liveness, delay: 5s}}]}}"
        )),
    ])
    .await;
    let open_files = || async { service.metric("process_open_fds", &[]).await };
    let before = open_files().await;
    let mut idle = Vec::new();
    let mut busy = Vec::new();
    for _ in 0..1000 {
        idle.push(TcpStream::connect(service.probe).await.unwrap());
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        stream.write_all(request("/healthz").as_bytes()).await.unwrap();
        busy.push(stream);
    }
    assert_eq!(service.metric("probesim_fault_active", &["cut"]).await, 0.0, "too slow to open them");
    is_cut(&service, true).await;
    is_cut(&service, false).await;
    let expect_reset = mode != "drop";
    for stream in &mut busy {
        let _ = timeout(PATIENCE, stream.readable()).await.expect("its end");
        let reply = read_to_end(stream).await;
        if expect_reset {
            assert_eq!((reply.bytes.len(), reply.end), (0, End::Reset));
        } else {
            assert_eq!((reply.status(), reply.end), (200, End::Fin));
        }
    }
    for stream in &mut idle {
        if expect_reset {
            assert_eq!(read_to_end(stream).await.end, End::Reset);
        } else {
            stream.write_all(request("/readyz").as_bytes()).await.unwrap();
            assert_eq!(read_to_end(stream).await.status(), 200);
        }
    }
    assert_eq!(service.metric("probesim_faults_injected_total", &["cut"]).await, 2000.0);
    drop((idle, busy));
    eventually("all connections are closed", || async {
        service.metric("probesim_connections", &[]).await == 0.0
    })
    .await;
    eventually("all descriptors are closed", || async { open_files().await <= before + 2.0 }).await;
}

#[tokio::test]
async fn drop_loses_none_of_a_thousand_connections_and_requests() {
    with_a_thousand("drop").await;
}

#[tokio::test]
async fn refuse_ends_each_of_a_thousand_connections_and_requests() {
    with_a_thousand("refuse").await;
}

#[tokio::test]
async fn reset_ends_each_of_a_thousand_connections_and_requests() {
    with_a_thousand("reset").await;
}

#[tokio::test]
async fn the_listener_works_after_a_hundred_partitions_of_ten_milliseconds() {
    for mode in ["drop", "refuse", "reset"] {
        let service = service(mode, "when: {after: 20ms, for: 10ms, every: 20ms}").await;
        // Clients keep connecting during the partition.
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut answered = 0;
        while Instant::now() < deadline {
            let attempt = async {
                let mut stream = TcpStream::connect(service.probe).await.ok()?;
                stream.write_all(request("/healthz").as_bytes()).await.ok()?;
                read_to_end(&mut stream).await.ok_status()
            };
            answered += usize::from(timeout(SILENCE, attempt).await.ok().flatten() == Some(200));
        }
        assert!(answered > 0, "{mode}: nothing was answered");
        let active = service.metric("probesim_fault_active_seconds_total", &["cut"]).await;
        assert!(active > 0.8, "{mode}: {active}");
        assert!(service.stop().await < Duration::from_secs(2), "{mode}");
    }
}

#[tokio::test]
async fn the_service_ends_at_once_during_a_partition() {
    for mode in ["drop", "refuse", "reset"] {
        let service = service(mode, "when: {after: 500ms, for: 60s}").await;
        let mut streams = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(service.probe).await.unwrap();
            stream.write_all(&request("/healthz").as_bytes()[..10]).await.unwrap();
            streams.push(stream);
        }
        is_cut(&service, true).await;
        let took = service.stop().await;
        assert!(took < Duration::from_secs(1), "{mode}: {took:?}");
    }
}

#[tokio::test]
async fn listen_delay_binds_at_once_and_listens_later() {
    let service = Service::start(&[("LISTEN_DELAY", "1")]).await;
    let error = TcpStream::connect(service.probe).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    sleep(Duration::from_millis(1200)).await;
    assert_eq!(service.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn the_environment_cuts_the_network_in_minutes() {
    for (mode, kind) in [("refuse", Some(io::ErrorKind::ConnectionRefused)), ("drop", None)] {
        // A unit overrides the minutes of the bare number.
        let service =
            Service::start(&[("PARTITION_MODE", mode), ("PARTITION_AFTER", "500ms"), ("PARTITION_FOR", "1")])
                .await;
        eventually("it is cut", || async { service.metric("probesim_listener_up", &[]).await == 0.0 }).await;
        let attempt = connect(&service).await.map(|result| result.unwrap_err().kind());
        assert_eq!(attempt, kind, "{mode}");
    }
}

#[tokio::test]
async fn a_service_listens_again_on_a_port_with_connections_that_have_just_closed() {
    let first = Service::start(&[]).await;
    let port = first.probe.port().to_string();
    // The side that closes first keeps the port's name for a minute.
    for _ in 0..20 {
        assert_eq!(first.get("/healthz").await.status(), 200);
    }
    first.stop().await;
    let second = Service::start(&[("PORT", &port)]).await;
    assert_eq!(second.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_stop_lifts_a_partition_and_a_resume_brings_it_back() {
    for mode in ["drop", "refuse"] {
        let service = Service::start(&[(
            "FAULTS",
            &format!("{{faults: [{{name: cut, target: listener, mode: {mode}}}]}}"),
        )])
        .await;
        is_cut(&service, true).await;
        let call = async |call: &str| {
            let request = format!(
                "POST /v1/{call} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            );
            assert_eq!(exchange(service.admin, request).await.status(), 200, "{mode} {call}");
        };
        let is_reached = async || connect(&service).await.is_some_and(|connected| connected.is_ok());
        assert!(!is_reached().await, "{mode}");
        call("stop").await;
        eventually("the partition ends", async || service.metric("probesim_listener_up", &[]).await == 1.0)
            .await;
        assert_eq!(service.get("/healthz").await.status(), 200, "{mode}");
        assert_eq!(service.metric("probesim_stopped", &[]).await, 1.0);
        call("resume").await;
        eventually("the partition is back", async || !is_reached().await).await;
        assert_eq!(service.metric("probesim_listener_up", &[]).await, 0.0);
    }
}
