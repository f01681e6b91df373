//! Calls of `Watch`.

use super::*;

#[tokio::test]
async fn watch_reports_when_all_requests_of_its_class_start_and_stop_failing() {
    let service = Service::start(&[]).await;
    let mut client = Client::connect(&service).await;
    let (mut all, mut other) = (client.watch("").await, client.watch("startup").await);
    assert_eq!((next(&mut all).await, next(&mut other).await), (SERVING.into(), SERVING.into()));
    let rule = r#"{"target": "readiness", "mode": "close"}"#;
    steer(&service, "PUT", "/v1/faults/some", r#"{"target": "readiness", "mode": "status", "rate": "50%"}"#)
        .await;
    assert!(is_silent(&mut all).await, "some requests fail");
    steer(&service, "PUT", "/v1/faults/all", rule).await;
    assert_eq!(next(&mut all).await, NOT_SERVING);
    steer(&service, "PUT", "/v1/faults/none", r#"{"target": "liveness", "mode": "close"}"#).await;
    assert!(is_silent(&mut all).await && is_silent(&mut other).await, "nothing changes for them");
    steer(&service, "DELETE", "/v1/faults/all", "").await;
    assert_eq!(next(&mut all).await, SERVING);
    steer(
        &service,
        "PUT",
        "/v1/faults/kubelet",
        r#"{"target": "readiness", "mode": "close", "client": "kubelet"}"#,
    )
    .await;
    assert!(is_silent(&mut all).await, "it fails for others");
    let mut unknown = client.watch("orders").await;
    assert_eq!(next(&mut unknown).await, SERVICE_UNKNOWN);
    assert!(is_silent(&mut unknown).await);
    assert_eq!(service.metric("probesim_requests_total", &["readiness", "code=\"200\""]).await, 1.0);
}

#[tokio::test]
async fn watch_follows_windows_in_time_and_in_requests() {
    let plan = "{faults: [{name: timed, target: liveness, mode: hang, when: {after: 1s, for: 1s}}, \
                 {name: counted, target: startup, mode: status, when: {requests: {after: 2, for: 2}}}]}";
    let service = Service::start(&[("FAULTS", plan)]).await;
    let mut client = Client::connect(&service).await;
    let (mut timed, mut counted) = (client.watch("liveness").await, client.watch("startup").await);
    for serving in [SERVING, NOT_SERVING, SERVING] {
        assert_eq!(next(&mut timed).await, serving);
    }
    assert_eq!(next(&mut counted).await, SERVING);
    // The stream was the first request.
    for (request, serving) in [(2, Some(NOT_SERVING)), (3, None), (4, Some(SERVING))] {
        client.check("startup").await;
        match serving {
            Some(serving) => assert_eq!(next(&mut counted).await, serving, "{request}"),
            None => assert!(is_silent(&mut counted).await, "{request}"),
        }
    }
}

#[tokio::test]
async fn a_watch_that_a_rule_fails_stays_not_serving_until_something_changes() {
    let plan = "{seed: 1, faults: [{name: drill, target: startup, mode: status, rate: 99.9%}]}";
    let service = Service::start(&[("FAULTS", plan)]).await;
    let mut stream = Client::connect(&service).await.watch("startup").await;
    assert_eq!(next(&mut stream).await, NOT_SERVING);
    assert!(is_silent(&mut stream).await);
    steer(&service, "POST", "/v1/stop", "").await;
    assert_eq!(next(&mut stream).await, SERVING);
}

#[tokio::test]
async fn watch_streams_end_with_the_drain() {
    let service = Service::start(&[("SHUTDOWN_DELAY", "300ms"), ("SHUTDOWN_GRACE", "20s")]).await;
    let mut client = Client::connect(&service).await;
    let (mut readiness, mut liveness) = (client.watch("").await, client.watch("liveness").await);
    assert_eq!((next(&mut readiness).await, next(&mut liveness).await), (SERVING.into(), SERVING.into()));
    let stopping = tokio::spawn(service.stop());
    assert_eq!(next(&mut readiness).await, NOT_SERVING);
    assert_eq!((end(&mut readiness).await, end(&mut liveness).await), ("14".to_owned(), "14".to_owned()));
    let took = stopping.await.unwrap();
    assert!(took < Duration::from_secs(5), "no stream holds up the end: {took:?}");
}

#[tokio::test]
async fn at_most_a_thousand_watch_streams_are_open_and_one_that_ends_makes_room() {
    let service = Service::start(&[]).await;
    let mut clients = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut client = Client::connect(&service).await;
        for _ in 0..100 {
            let mut stream = client.watch("liveness").await;
            assert_eq!(next(&mut stream).await, SERVING);
            streams.push(stream);
        }
        clients.push(client);
    }
    let mut client = Client::connect(&service).await;
    let answer = client.call(WATCH, &message("liveness")).await;
    assert_eq!(refused(&answer), ("8", "the limit of 1000 Watch streams is reached"));
    assert_eq!(service.metric("probesim_limits_hit_total", &["watches"]).await, 1.0);
    assert!(is_whole(&client.check("liveness").await, SERVING), "other calls go on");
    streams.pop();
    // The client resets the stream with the next thing that it sends.
    clients[9].check("liveness").await;
    eventually("there is room for another", || async {
        let mut client = Client::connect(&service).await;
        let request = call(WATCH).body(()).unwrap();
        let answer = client.post(request, &message("liveness")).await.unwrap();
        !answer.headers().contains_key("grpc-status")
    })
    .await;
}
