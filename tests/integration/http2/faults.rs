//! The effect of each mode on a stream or its connection.

use super::*;

async fn service(fields: &str) -> Service {
    let plan = format!(
        "{{faults: [{{name: drill, target: liveness, {fields}}}, {{name: wait, target: startup, mode: hang}}]}}"
    );
    Service::start(&[("FAULTS", &plan)]).await
}

async fn none(service: &Service, target: &str) -> f64 {
    service.metric("probesim_requests_total", &[target, "code=\"none\""]).await
}

#[tokio::test]
async fn close_and_reset_end_only_their_stream() {
    for (mode, reason) in [("close", Reason::CANCEL), ("reset", Reason::INTERNAL_ERROR)] {
        let service = service(&format!("mode: {mode}")).await;
        let mut client = Client::connect(&service).await;
        for _ in 0..3 {
            assert_eq!(client.reset("/healthz").await, reason, "{mode}");
            assert_eq!(client.get("/readyz").await.unwrap().head.status(), StatusCode::OK);
        }
        assert_eq!(none(&service, "liveness").await, 3.0);
        assert_eq!(service.metric("probesim_clients_gone_total", &[]).await, 0.0);
        assert_eq!(service.metric("probesim_connections", &[]).await, 1.0);
    }
}

#[tokio::test]
async fn status_redirect_and_drip_answer_as_over_http_1() {
    for (fields, status, size) in [
        ("mode: status, status: 503", 503, None),
        ("mode: redirect", 302, None),
        ("mode: drip, status: 200, drip: 300ms, body: 5000", 200, Some(5000)),
    ] {
        let service = service(fields).await;
        let answer = Client::connect(&service).await.get("/healthz").await.unwrap();
        assert_eq!(answer.head.status(), status, "{fields}");
        assert_eq!(answer.head.headers()["x-probesim-fault"], "drill");
        assert!(size.is_none_or(|size| answer.body.len() == size) && answer.end.is_ok(), "{fields}");
    }
}

#[tokio::test]
async fn truncate_ends_the_stream_early() {
    let service = service("mode: truncate, status: 200, body: 10000").await;
    let mut client = Client::connect(&service).await;
    let answer = client.get("/healthz").await.unwrap();
    assert_eq!((answer.head.status(), answer.body.len()), (StatusCode::OK, 10_000));
    assert_eq!(answer.head.headers()["content-length"], "11024");
    // The client compares the received length with the announced one.
    let error = answer.end.unwrap_err();
    assert!(!error.is_remote() && error.reason() == Some(Reason::PROTOCOL_ERROR), "{error:?}");
    assert_eq!(client.get("/readyz").await.unwrap().head.status(), StatusCode::OK);
}

#[tokio::test]
async fn body_reset_resets_the_stream_after_the_bytes() {
    let service = service("mode: body-reset, status: 200, body: 10000").await;
    let mut client = Client::connect(&service).await;
    let answer = client.get("/healthz").await.unwrap();
    assert_eq!((answer.head.status(), answer.body.len()), (StatusCode::OK, 10_000));
    let error = answer.end.unwrap_err();
    assert!(error.is_reset() && error.is_remote(), "{error:?}");
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    assert_eq!(client.get("/readyz").await.unwrap().head.status(), StatusCode::OK);
    assert_eq!(service.metric("probesim_requests_total", &["liveness", "code=\"200\""]).await, 1.0);
}

#[tokio::test]
async fn hang_and_body_hang_last_until_all_rules_are_stopped() {
    let service = service("mode: body-hang, status: 200, body: 30").await;
    let mut client = Client::connect(&service).await;
    let waiting = client.send(request("/startupz")).await.unwrap();
    let mut partial = client.head("/healthz").await.unwrap().into_body();
    assert_eq!(timeout(PATIENCE, partial.data()).await.unwrap().unwrap().unwrap().len(), 30);
    assert!(timeout(Duration::from_millis(400), partial.data()).await.is_err(), "nothing more comes");
    let stop = "POST /v1/stop HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(exchange(service.admin, stop).await.status(), 200);
    let error = timeout(PATIENCE, waiting).await.unwrap().unwrap_err();
    assert_eq!((error.is_remote(), error.reason()), (true, Some(Reason::CANCEL)));
    let error = timeout(PATIENCE, partial.data()).await.unwrap().unwrap().unwrap_err();
    assert_eq!((error.is_remote(), error.reason()), (true, Some(Reason::CANCEL)));
    assert_eq!(none(&service, "startup").await, 1.0);
}

#[tokio::test]
async fn garbage_and_malformed_end_the_connection_and_count_each_lost_stream_once() {
    for (mode, reason) in [("garbage", Reason::FRAME_SIZE_ERROR), ("malformed", Reason::PROTOCOL_ERROR)] {
        let service = service(&format!("mode: {mode}")).await;
        let mut client = Client::connect(&service).await;
        let waiting = client.send(request("/startupz")).await.unwrap();
        let error = client.head("/healthz").await.unwrap_err();
        assert!(!error.is_remote() && error.reason() == Some(reason), "{mode}: {error:?}");
        assert!(waiting.await.is_err());
        assert_eq!(client.ended().await.unwrap_err().reason(), Some(reason), "{mode}");
        eventually("each stream is counted", || async {
            none(&service, "liveness").await == 1.0 && none(&service, "startup").await == 1.0
        })
        .await;
        assert_eq!(service.metric("probesim_clients_gone_total", &[]).await, 0.0, "{mode}");
    }
}

#[tokio::test]
async fn with_connection_true_the_connection_ends_and_each_lost_stream_counts_once() {
    for (fields, body) in [
        ("mode: close", None),
        ("mode: reset", None),
        ("mode: truncate, status: 200, body: 30", Some(30)),
        ("mode: body-reset, status: 200, body: 30", Some(30)),
        ("mode: truncate, status: 200, body: 5, body_text: drilled", Some(5)),
    ] {
        let service = service(&format!("{fields}, connection: true")).await;
        let mut client = Client::connect(&service).await;
        let waiting = client.send(request("/startupz")).await.unwrap();
        let error = if let Some(size) = body {
            let answer = client.get("/healthz").await.unwrap();
            assert_eq!((answer.head.status(), answer.body.len()), (StatusCode::OK, size), "{fields}");
            answer.end.unwrap_err()
        } else {
            client.head("/healthz").await.unwrap_err()
        };
        assert!(!error.is_reset(), "{fields}: the stream has no end of its own: {error:?}");
        assert!(waiting.await.is_err(), "{fields}");
        let ended = client.ended().await;
        assert_eq!(ended.is_err(), fields.contains("reset"), "{fields}: {ended:?}");
        eventually("each stream is counted", || async {
            let answered = service.metric("probesim_requests_total", &["liveness", "code=\"200\""]).await;
            none(&service, "startup").await == 1.0
                && (answered, none(&service, "liveness").await)
                    == if body.is_some() { (1.0, 0.0) } else { (0.0, 1.0) }
        })
        .await;
        assert_eq!(service.metric("probesim_clients_gone_total", &[]).await, 0.0, "{fields}");
        assert_eq!(
            service.metric("probesim_faults_injected_total", &["fault=\"drill\""]).await,
            1.0,
            "{fields}"
        );
    }
}

#[tokio::test]
async fn over_http_1_connection_true_changes_nothing() {
    for (fields, end) in [
        ("mode: close", End::Fin),
        ("mode: reset", End::Reset),
        ("mode: truncate, body: 3", End::Fin),
        ("mode: body-reset, body: 3", End::Reset),
    ] {
        let service = service(&format!("{fields}, connection: true")).await;
        assert_eq!(service.get("/healthz").await.end, end, "{fields}");
    }
}

#[tokio::test]
async fn head_requests_have_no_body_to_cut() {
    let service = service("mode: body-reset, status: 200, body: 10").await;
    let mut client = Client::connect(&service).await;
    let head = Request::head("http://probesim.test/healthz").body(()).unwrap();
    let answer = read(client.send(head).await.unwrap().await.unwrap()).await;
    assert_eq!((answer.head.status(), answer.body.len()), (StatusCode::OK, 0));
    assert_eq!(answer.end.unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn a_partition_of_one_class_of_clients_ends_the_connection_at_its_first_request() {
    let plan = "{faults: [{name: cut, target: listener, mode: reset, client: other}]}";
    let service = Service::start(&[("FAULTS", plan)]).await;
    let mut kubelet = Client::connect(&service).await;
    let mut probe = request("/healthz");
    probe.headers_mut().insert("user-agent", "kube-probe/1.30".parse().unwrap());
    let answer = kubelet.send(probe).await.unwrap().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut other = Client::connect(&service).await;
    let error = other.head("/healthz").await.unwrap_err();
    assert!(error.is_io(), "{error:?}");
    assert_eq!(service.metric("probesim_faults_injected_total", &["fault=\"cut\""]).await, 1.0);
}

#[tokio::test]
async fn a_partition_freezes_streams_until_it_heals() {
    let plan = "{faults: [{name: cut, target: listener, mode: drop, when: {after: 1s, for: 1500ms}}]}";
    let service = Service::start(&[("FAULTS", plan)]).await;
    let mut client = Client::connect(&service).await;
    client.get("/healthz").await.unwrap();
    eventually("the cut begins", || async { service.metric("probesim_listener_up", &[]).await == 0.0 }).await;
    let answer = client.send(request("/healthz")).await.unwrap();
    tokio::pin!(answer);
    assert!(timeout(Duration::from_millis(300), &mut answer).await.is_err(), "nothing comes through");
    assert_eq!(timeout(PATIENCE, answer).await.unwrap().unwrap().status(), StatusCode::OK);
}

/// Modes with a body of their own strike that one.
#[tokio::test]
async fn body_modes_break_off_the_text_of_the_rule() {
    let text = "body_text: \"0123456789\"";
    for (fields, bytes, reason) in [
        ("mode: truncate, status: 200, body: 4", 4, None),
        ("mode: body-reset, status: 200, body: 4", 4, Some(Reason::INTERNAL_ERROR)),
    ] {
        let service = service(&format!("{fields}, {text}")).await;
        let mut client = Client::connect(&service).await;
        let answer = client.get("/healthz").await.unwrap();
        assert_eq!((answer.head.status(), answer.body.len()), (StatusCode::OK, bytes), "{fields}");
        let error = answer.end.unwrap_err();
        assert!(reason.is_none() || error.reason() == reason, "{fields}: {error:?}");
        assert_eq!(error.is_remote(), reason.is_some(), "{fields}: {error:?}");
        assert_eq!(client.get("/readyz").await.unwrap().head.status(), StatusCode::OK);
    }
}
