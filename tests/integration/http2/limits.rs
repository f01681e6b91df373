//! Clients of HTTP/2 that are slow, too many, or hostile.

use super::*;

pub(super) async fn hits(service: &Service, limit: &str) -> f64 {
    service.metric("probesim_limits_hit_total", &[&format!("limit=\"{limit}\"")]).await
}

#[tokio::test]
async fn an_unfinished_preface_frame_or_head_is_ended_by_the_head_timeout() {
    let service = Service::start(&[("HEAD_TIMEOUT", "1s"), ("IDLE_TIMEOUT", "60s")]).await;
    // HEADERS without END_HEADERS: the client owes a CONTINUATION.
    let open_block = [HELLO, b"\0\0\x01\x01\x01\0\0\0\x01\x82"].concat();
    let half_frame = [HELLO, b"\0\0\x08\x06\0\0\0\0\0abc"].concat();
    for (bytes, hit) in [(&HELLO[..20], 1.0), (&open_block, 2.0), (&half_frame, 3.0)] {
        let mut socket = TcpStream::connect(service.probe).await.unwrap();
        let began = tokio::time::Instant::now();
        socket.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        timeout(PATIENCE, socket.read_to_end(&mut rest)).await.unwrap().unwrap();
        assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!(hits(&service, "head_time").await, hit);
    }
}

#[tokio::test]
async fn a_connection_without_a_stream_gets_goaway_after_the_idle_timeout() {
    let service = Service::start(&[("IDLE_TIMEOUT", "1s")]).await;
    let mut client = Client::connect(&service).await;
    client.get("/healthz").await.unwrap();
    let began = tokio::time::Instant::now();
    let _requests = client.requests;
    timeout(PATIENCE, client.connection).await.unwrap().unwrap().unwrap();
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
    assert_eq!(hits(&service, "idle_time").await, 1.0);
}

#[tokio::test]
async fn a_stream_whose_client_reads_nothing_is_reset_and_its_connection_continues() {
    let plan = "{faults: [{name: drill, target: liveness, mode: drip, drip: 10ms, body: 100000}]}";
    let service = Service::start(&[("IDLE_TIMEOUT", "1s"), ("FAULTS", plan)]).await;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(100);
    let mut client = Client::with(&service, &builder).await;
    let mut body = client.head("/healthz").await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap().len(), 100);
    // The window stays shut.
    let error = timeout(PATIENCE, body.data()).await.unwrap().unwrap().unwrap_err();
    assert!(error.is_reset() && error.is_remote(), "{error:?}");
    assert_eq!(hits(&service, "write_time").await, 1.0);
    assert_eq!(client.get("/readyz").await.unwrap().head.status(), StatusCode::OK);
}

#[tokio::test]
async fn fields_that_are_too_large_are_answered_with_431_and_counted() {
    let service = Service::start(&[("MAX_HEAD_SIZE", "4KiB")]).await;
    let mut client = Client::connect(&service).await;
    let mut large = request("/healthz");
    large.headers_mut().insert("x", "y".repeat(5000).parse().unwrap());
    let answer = client.send(large).await.unwrap().await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(hits(&service, "head_size").await, 1.0);
    assert_eq!(client.get("/healthz").await.unwrap().head.status(), StatusCode::OK);
    // Far larger: hyper answers by itself, and the connection goes on or ends.
    let mut huge = request("/healthz");
    huge.headers_mut().insert("x", "y".repeat(100_000).parse().unwrap());
    if let Ok(answer) = client.send(huge).await.unwrap().await {
        assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    assert_eq!(service.metric("probesim_requests_total", &["code=\"200\""]).await, 1.0);
}

#[tokio::test]
async fn a_client_that_cancels_slow_requests_is_not_a_flood() {
    let service = delayed("1h", &[]).await;
    let mut client = Client::connect(&service).await;
    for _ in 0..4 {
        let mut waiting = Vec::new();
        for _ in 0..60 {
            waiting.push(client.send(request("/healthz")).await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(client.get("/readyz").await.unwrap().head.status(), StatusCode::OK);
    assert_eq!(hits(&service, "http2_flood").await, 0.0);
}

#[tokio::test]
async fn at_most_a_hundred_streams_are_open() {
    let service = delayed("1s", &[]).await;
    let mut client = Client::connect(&service).await;
    let mut waiting = Vec::new();
    client.get("/readyz").await.unwrap();
    assert_eq!(client.requests.current_max_send_streams(), 100);
    let began = tokio::time::Instant::now();
    for _ in 0..150 {
        waiting.push(client.requests.send_request(request("/healthz"), true).unwrap().0);
        client.requests = client.requests.clone().ready().await.unwrap();
    }
    for answer in waiting {
        assert_eq!(timeout(PATIENCE, answer).await.unwrap().unwrap().status(), StatusCode::OK);
    }
    assert!(began.elapsed() > Duration::from_millis(1900), "{:?}", began.elapsed());
}
