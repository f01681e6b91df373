//! HTTP/2 over TLS: modes of requests, and the gRPC health service.

use super::floods::{GET, frame};
use super::*;
use crate::tls::{TlsEnd, connect, read_bytes};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;

/// The frames of stream 1 by type, flags and payload, and how the connection ended.
async fn exchanged(service: &Service) -> (Vec<(u8, u8, Vec<u8>)>, TlsEnd) {
    let mut stream = connect(service.probe, &["h2"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stream.write_all(&[HELLO, &frame(HEADERS, 5, 1, GET)].concat()).await.unwrap();
    let (bytes, end) = read_bytes(&mut stream).await;
    let (mut frames, mut rest) = (Vec::new(), &bytes[..]);
    while let [a, b, c, kind, flags, _, _, _, id, after @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((payload, next)) = after.split_at_checked(length) else { break };
        if *id == 1 {
            frames.push((*kind, *flags, payload.to_vec()));
        }
        rest = next;
    }
    (frames, end)
}

async fn service(fields: &str) -> Service {
    let plan = format!("{{faults: [{{name: drill, target: liveness, {fields}}}]}}");
    Service::start(&[("TLS", "self-signed"), ("FAULTS", &plan)]).await
}

async fn over_tls(service: &Service) -> Client {
    Client::over(connect(service.probe, &["h2"]).await, &h2::client::Builder::new()).await
}

#[tokio::test]
async fn modes_of_a_stream_leave_the_connection_open() {
    // The reason of RST_STREAM, bytes of the body, and whether it ends.
    for (fields, reset, body, is_complete) in [
        ("mode: close", Some(8), 0, false),
        ("mode: reset", Some(2), 0, false),
        ("mode: hang", None, 0, false),
        ("mode: truncate, body: 5, status: 200", None, 5, true),
        ("mode: body-reset, body: 5, status: 200", Some(2), 5, false),
        ("mode: body-hang, body: 5, status: 200", None, 5, false),
        ("mode: drip, drip: 50ms, body: 5, status: 200", None, 5, true),
        ("mode: corrupt, body_text: wrong", None, 5, true),
        ("mode: status, status: 503, body_text: gone", None, 4, true),
    ] {
        let service = service(fields).await;
        let (frames, end) = exchanged(&service).await;
        assert_eq!(end, TlsEnd::Silence, "{fields}: {frames:?}");
        let resets: Vec<u8> =
            frames.iter().filter(|frame| frame.0 == RST_STREAM).map(|frame| frame.2[3]).collect();
        assert_eq!(resets, Vec::from_iter(reset), "{fields}: {frames:?}");
        let data = || frames.iter().filter(|frame| frame.0 == DATA);
        assert_eq!(data().map(|frame| frame.2.len()).sum::<usize>(), body, "{fields}: {frames:?}");
        let ends = frames.iter().any(|frame| frame.0 <= HEADERS && frame.1 & 1 == 1);
        assert_eq!(ends, is_complete, "{fields}: {frames:?}");
        assert_eq!(service.metric("probesim_faults_injected_total", &["drill"]).await, 1.0, "{fields}");
    }
}

#[tokio::test]
async fn throttle_sends_a_body_at_its_speed_and_leaves_other_streams_alone() {
    let text = "0123456789".repeat(100);
    let service = service(&format!("mode: throttle, speed: 2000B/s, body_text: '{text}'")).await;
    let mut client = over_tls(&service).await;
    let began = tokio::time::Instant::now();
    let slow = client.head("/healthz").await.unwrap();
    assert_eq!(slow.status(), StatusCode::OK);
    assert_eq!(client.get("/readyz").await.unwrap().body, b"ok");
    assert!(began.elapsed() < Duration::from_millis(450), "{:?}", began.elapsed());
    let answer = read(slow).await;
    assert!(began.elapsed() >= Duration::from_millis(490), "{:?}", began.elapsed());
    assert!(answer.body == text.as_bytes() && answer.end.unwrap().is_none());
    assert_eq!(service.metric("probesim_faults_injected_total", &["drill"]).await, 1.0);
}

#[tokio::test]
async fn modes_of_the_connection_end_it_below_tls_or_within_it() {
    for (fields, body, expected) in [
        ("mode: close, connection: true", 0, TlsEnd::Notified),
        ("mode: reset, connection: true", 0, TlsEnd::Reset),
        ("mode: truncate, connection: true, body: 5, status: 200", 5, TlsEnd::Fin),
        ("mode: body-reset, connection: true, body: 5, status: 200", 5, TlsEnd::Reset),
        ("mode: garbage", 0, TlsEnd::Notified),
        ("mode: malformed", 0, TlsEnd::Notified),
    ] {
        let service = service(fields).await;
        let (frames, end) = exchanged(&service).await;
        assert_eq!(end, expected, "{fields}: {frames:?}");
        let data = frames.iter().filter(|frame| frame.0 == DATA);
        assert_eq!(data.map(|frame| frame.2.len()).sum::<usize>(), body, "{fields}: {frames:?}");
        assert!(!frames.iter().any(|frame| frame.0 == RST_STREAM), "{fields}: {frames:?}");
        assert_eq!(service.metric("probesim_faults_injected_total", &["drill"]).await, 1.0, "{fields}");
    }
}

#[tokio::test]
async fn the_health_service_answers_check_list_and_watch_until_the_drain() {
    let vars = [("TLS", "self-signed"), ("FAULTS", "{faults: [{name: a, target: startup, mode: status}]}")];
    let service = Service::start(&vars).await;
    let mut client = over_tls(&service).await;
    assert_eq!(client.check("liveness").await.body, health::SERVING);
    assert_eq!(client.check("startup").await.body, health::NOT_SERVING);
    let answer = client.call("List", b"\0\0\0\0\0").await;
    let names = ["liveness", "readiness", "startup", "dependency"];
    let text = String::from_utf8_lossy(&answer.body);
    assert!(names.iter().all(|name| text.contains(name)), "{answer:?}");
    let trailers = answer.end.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    let mut states = client.watch("liveness").await;
    assert_eq!(health::next(&mut states).await, health::SERVING);
    let stopping = tokio::spawn(service.stop());
    assert_eq!(health::end(&mut states).await, "14", "UNAVAILABLE");
    drop((client, states));
    stopping.await.unwrap();
}
