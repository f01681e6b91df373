//! The event stream.

use super::*;

#[tokio::test]
async fn a_thousand_event_streams_that_never_read_leave_the_metrics_reachable() {
    let service = Service::start(&[("FAILURE_RATE", "100")]).await;
    let mut listeners = Vec::new();
    for _ in 0..1_000 {
        let Ok(Ok(mut stream)) = timeout(Duration::from_secs(2), TcpStream::connect(service.admin)).await
        else {
            continue;
        };
        let ask = "GET /v1/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";
        let _ = stream.write_all(ask.as_bytes()).await;
        listeners.push(stream);
    }
    let before = service.metric("process_resident_memory_bytes", &[]).await;
    for _ in 0..300 {
        service.get("/healthz").await;
        service.ask("POST", "/v1/reset", Value::Null).await;
    }
    assert_eq!(get(service.admin, "/metrics").await.status(), 200);
    let after = service.metric("process_resident_memory_bytes", &[]).await;
    assert!(after < before + 8e6, "{before} became {after}");
    drop(listeners);
    eventually("a place is free again", || async { stream_of(&service, "").await.is_some() }).await;
}

/// A stream of events, unless there are too many.
async fn stream_of(service: &Service, header: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(service.admin).await.ok()?;
    let ask =
        format!("GET /v1/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{header}\r\n");
    stream.write_all(ask.as_bytes()).await.ok()?;
    let mut head = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut head)).await.ok()?.ok()?;
    (&head == b"HTTP/1.1 200").then_some(stream)
}

/// Reads a stream until it holds each of `wanted`.
async fn read_until(stream: &mut TcpStream, wanted: &[&str]) -> String {
    let mut text = String::new();
    let mut buffer = vec![0; 65_536];
    while !wanted.iter().all(|wanted| text.contains(wanted)) {
        let count = timeout(PATIENCE, stream.read(&mut buffer)).await;
        let count = count.unwrap_or_else(|_| panic!("{wanted:?} never came: {text}")).unwrap();
        assert!(count > 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}

#[tokio::test]
async fn events_report_changes_windows_and_injections_as_they_happen() {
    let service = Service::start(&[]).await;
    let mut stream = stream_of(&service, "").await.unwrap();
    let rule = json!({"target": "liveness", "mode": "status", "when": {"after": "200ms", "for": "200ms"}});
    service.ask("PUT", "/v1/faults/window", rule).await;
    service.ask("PUT", "/v1/faults/down", down()).await;
    service.get("/readyz").await;
    service.ask("PUT", "/v1/faults/down", json!({"target": "x"})).await;
    let text = read_until(
        &mut stream,
        &[
            "event: plan\ndata: {\"id\":\"",
            "\"change\":\"put fault window\"",
            "event: injection\n",
            "\"fault\":\"down\",\"target\":\"readiness\",\"client\":\"other\",\"number\":1,\"mode\":\"status\"",
            "event: refused\n",
            "\"kind\":\"window\",\"fault\":\"window\",\"open\":true",
            "\"kind\":\"window\",\"fault\":\"window\",\"open\":false",
        ],
    )
    .await;
    assert!(text.contains("content-type: text/event-stream") || text.contains("200"), "{text}");
    let (status, page) = service.ask("GET", "/v1/events?after=1&limit=2", Value::Null).await;
    let ids: Vec<_> =
        page["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect();
    let (process, _) = ids[0].split_once('-').unwrap();
    let id = |number: u64| format!("{process}-{number}");
    assert_eq!((status, &ids, &page["next"]), (200, &vec![id(2).as_str(), &id(3)], &json!(id(3))));
    let mut again = stream_of(&service, &format!("last-event-id: {}\r\n", id(1))).await.unwrap();
    let replayed = read_until(&mut again, &[&format!("id: {}\n", id(2)), &format!("id: {}\n", id(3))]).await;
    assert!(!replayed.contains(&format!("id: {}\n", id(1))), "{replayed}");
    // A client with the id of the thousandth event of an earlier process misses no event of this one.
    let mut restarted = stream_of(&service, "last-event-id: 19a2b3c4d5e-1000\r\n").await.unwrap();
    read_until(&mut restarted, &[&format!("id: {}\n", id(1)), &format!("id: {}\n", id(2))]).await;
    service.ask("DELETE", "/v1/faults/down", Value::Null).await;
    read_until(&mut restarted, &["\"change\":\"delete fault down\""]).await;
    assert!(service.stop().await < Duration::from_secs(3), "listeners hold up the end");
}
