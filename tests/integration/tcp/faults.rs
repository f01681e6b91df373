//! Effects of rules on connections.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::peer::{self, Peer, hash, pattern};
use super::{count, ended, in_front_of};
use crate::support::{Service, eventually};

const SILENCE: Duration = Duration::from_millis(120);

/// A proxy in front of an echo, with one rule.
async fn with(rule: &str) -> (Peer, Service, std::net::SocketAddr) {
    let peer = Peer::echo().await;
    let plan = format!("{{faults: [{{name: r, target: db, {rule}}}]}}");
    let (service, db) = in_front_of(peer.addr, &plan).await;
    (peer, service, db)
}

/// Sends bytes and reads them back until the end.
async fn echoed(client: &mut TcpStream, sent: &[u8]) -> std::io::Result<Vec<u8>> {
    let (mut read, mut write) = client.split();
    let mut received = Vec::new();
    let writing = async {
        // Ignore write errors: a rule may end the connection.
        let _ = write.write_all(sent).await;
        let _ = write.shutdown().await;
    };
    let ((), read) = tokio::join!(writing, read.read_to_end(&mut received));
    read.map(|_| received)
}

async fn injected(service: &Service) -> [u64; 2] {
    let labels = ["fault=\"r\"", "target=\"db\""];
    [
        count(service, "probesim_faults_eligible_total", &labels).await,
        count(service, "probesim_faults_injected_total", &labels).await,
    ]
}

#[tokio::test]
async fn each_mode_that_ends_a_connection_has_its_effect_and_counts_once() {
    for (rule, error, received) in [
        ("mode: reset", Some(ErrorKind::ConnectionReset), 0),
        ("mode: reset, after: 50ms", Some(ErrorKind::ConnectionReset), 0),
        ("mode: close", None, 0),
        ("mode: refuse, rate: 100%", Some(ErrorKind::ConnectionReset), 0),
        ("mode: truncate, body: 1000", None, 1000),
    ] {
        let (_peer, service, db) = with(rule).await;
        let mut client = TcpStream::connect(db).await.unwrap();
        let sent = pattern(if rule.contains("after") { 0 } else { 5000 });
        let got = if sent.is_empty() {
            client.read(&mut [0; 8]).await.map(|_| Vec::new())
        } else {
            echoed(&mut client, &sent).await
        };
        match (error, got) {
            (Some(expected), Err(error)) => {
                let is_as_expected = error.kind() == expected || error.kind() == ErrorKind::BrokenPipe;
                assert!(is_as_expected, "{rule}: {error}");
            }
            (None, Ok(bytes)) => assert_eq!(hash(&bytes), hash(&sent[..received]), "{rule}"),
            (_, got) => panic!("{rule}: {got:?}"),
        }
        eventually("it is counted", || async { ended(&service, "fault").await == 1 }).await;
        assert_eq!(injected(&service).await, [1, 1], "{rule}");
        let (_, page) = service.api("GET", "/v1/events", &Value::Null).await;
        let injections =
            page["events"].as_array().unwrap().iter().filter(|event| event["kind"] == "injection");
        // A connection has no client class.
        let injections: Vec<Value> = injections
            .map(|event| json!([event["fault"], event["target"], event["number"], event.get("client")]))
            .collect();
        assert_eq!(injections, [json!(["r", "db", 1, null])], "{rule}");
        let (_, report) = service.api("GET", "/v1/targets", &Value::Null).await;
        let target = report["targets"].as_array().unwrap().iter().find(|target| target["name"] == "db");
        let connections = &target.unwrap()["connections"];
        assert_eq!([&connections["open"], &connections["ended"]["fault"]], [0, 1], "{rule}: {connections}");
        service.stop().await;
    }
}

#[tokio::test]
async fn delay_throttle_and_slice_lose_and_reorder_nothing() {
    let sent = pattern(200_000);
    for rule in [
        "delay: 20ms",
        "delay: {fixed: 10ms, jitter: 10ms}, stream: both",
        "mode: throttle, speed: 1MiB, stream: upstream",
        "mode: slice, piece: 900, piece_jitter: 800, pause: 0",
        "mode: slice, piece: 2000, pause: 1ms, delay: {distribution: exponential, mean: 5ms}, stream: both",
        "mode: slow-close, after: 100ms, stream: both",
    ] {
        let (_peer, service, db) = with(rule).await;
        let mut client = TcpStream::connect(db).await.unwrap();
        let received = echoed(&mut client, &sent).await.unwrap();
        assert_eq!(hash(&received), hash(&sent), "{rule}");
        assert_eq!(injected(&service).await, [1, 1], "{rule}");
        service.stop().await;
    }
}

#[tokio::test]
async fn corrupt_changes_its_share_of_the_bytes_and_no_lengths_the_same_for_the_same_seed() {
    let sent = vec![0; 100_000];
    let mut all = Vec::new();
    for _ in 0..2 {
        let (_peer, service, db) = with("mode: corrupt, share: 2%").await;
        let mut client = TcpStream::connect(db).await.unwrap();
        let received = echoed(&mut client, &sent).await.unwrap();
        assert_eq!(received.len(), sent.len());
        let changed = received.iter().filter(|byte| **byte != 0).count();
        assert!((1_700..2_300).contains(&changed), "{changed}");
        all.push(hash(&received));
        service.stop().await;
    }
    assert_eq!(all[0], all[1]);
}

#[tokio::test]
async fn a_delay_is_never_early_and_acts_on_one_direction_only() {
    for (streams, expected) in [("downstream", 50), ("both", 100)] {
        let (_peer, service, db) = with(&format!("delay: 50ms, stream: {streams}")).await;
        let mut client = TcpStream::connect(db).await.unwrap();
        client.set_nodelay(true).unwrap();
        for _ in 0..3 {
            let began = Instant::now();
            client.write_all(b"ping").await.unwrap();
            assert_eq!(peer::read(&mut client, 4).await, b"ping");
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(expected), "{streams}: {took:?}");
            assert!(took < Duration::from_millis(expected + 45), "{streams}: {took:?}");
        }
        service.stop().await;
    }
}

#[tokio::test]
async fn a_throttled_stream_has_its_speed() {
    let (_peer, service, db) = with("mode: throttle, speed: 100KiB").await;
    let mut client = TcpStream::connect(db).await.unwrap();
    let began = Instant::now();
    let received = echoed(&mut client, &pattern(100 << 10)).await.unwrap();
    let took = began.elapsed().as_secs_f64();
    assert_eq!(received.len(), 100 << 10);
    assert!((0.99..1.3).contains(&took), "{took}");
    service.stop().await;
}

#[tokio::test]
async fn a_fault_that_comes_or_goes_acts_on_open_connections_at_once() {
    let (_peer, service, db) = with("mode: hang, rate: 0%").await;
    let mut client = TcpStream::connect(db).await.unwrap();
    let echo = |mut client: TcpStream| async move {
        client.write_all(b"ping").await.unwrap();
        let answer = timeout(SILENCE, client.read_exact(&mut [0; 4])).await.is_ok();
        (client, answer)
    };
    let answers;
    (client, answers) = echo(client).await;
    assert!(answers);
    let hang = json!({"target": "db", "mode": "hang"});
    assert_eq!(service.api("PUT", "/v1/faults/h", &hang).await.0, 201);
    let answers;
    (client, answers) = echo(client).await;
    assert!(!answers, "a hang acts on what is open");
    assert_eq!(service.api("DELETE", "/v1/faults/h", &Value::Null).await.0, 200);
    assert_eq!(peer::read(&mut client, 4).await, b"ping", "what was held comes when it ends");
    assert_eq!(service.api("PUT", "/v1/faults/h", &hang).await.0, 201);
    let answers;
    (client, answers) = echo(client).await;
    assert!(!answers);
    assert_eq!(service.api("POST", "/v1/stop", &Value::Null).await.0, 200);
    assert_eq!(peer::read(&mut client, 4).await, b"ping", "a stop ends it, too");
    assert_eq!(service.api("POST", "/v1/resume", &Value::Null).await.0, 200);
    let reset = json!({"target": "db", "mode": "reset"});
    assert_eq!(service.api("PUT", "/v1/faults/h", &reset).await.0, 200);
    let error = timeout(Duration::from_secs(5), client.read(&mut [0; 8])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    service.stop().await;
}

#[tokio::test]
async fn a_hang_with_a_close_ends_the_connection_then_or_with_its_rule() {
    let (_peer, service, db) = with("mode: hang, close_after: 100ms").await;
    let mut client = TcpStream::connect(db).await.unwrap();
    client.write_all(b"ping").await.unwrap();
    let began = Instant::now();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(began.elapsed() >= Duration::from_millis(90), "{:?}", began.elapsed());
    let hang = json!({"target": "db", "mode": "hang", "close_after": "1h"});
    assert_eq!(service.api("PUT", "/v1/faults/r", &hang).await.0, 200);
    let mut client = TcpStream::connect(db).await.unwrap();
    client.write_all(b"ping").await.unwrap();
    assert!(timeout(SILENCE, client.read(&mut [0; 8])).await.is_err());
    assert_eq!(service.api("DELETE", "/v1/faults/r", &Value::Null).await.0, 200);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    service.stop().await;
}

#[tokio::test]
async fn a_rate_is_drawn_once_for_each_connection_and_is_that_of_the_seed() {
    let mut sequences = Vec::new();
    for _ in 0..2 {
        let (_peer, service, db) = with("mode: close, rate: 30%").await;
        let mut sequence = Vec::new();
        for _ in 0..60 {
            let mut client = TcpStream::connect(db).await.unwrap();
            sequence.push(echoed(&mut client, b"ping").await.unwrap().is_empty());
        }
        let hits = sequence.iter().filter(|hit| **hit).count() as u64;
        assert!((8..32).contains(&hits), "{hits}");
        assert_eq!(injected(&service).await, [60, hits]);
        sequences.push(sequence);
        service.stop().await;
    }
    assert_eq!(sequences[0], sequences[1]);
}

#[tokio::test]
async fn the_first_mode_that_ends_a_connection_decides() {
    let peer = Peer::echo().await;
    let plan = "{faults: [{name: r, target: db, mode: truncate, body: 3}, {name: b, target: db, mode: reset},
                 {name: c, target: db, delay: 30ms}]}";
    let (service, db) = in_front_of(peer.addr, plan).await;
    let mut client = TcpStream::connect(db).await.unwrap();
    let began = Instant::now();
    assert_eq!(echoed(&mut client, b"ping").await.unwrap(), b"pin");
    assert!(began.elapsed() >= Duration::from_millis(30));
    assert_eq!(injected(&service).await, [1, 1]);
    assert_eq!(count(&service, "probesim_faults_eligible_total", &["fault=\"b\""]).await, 0);
    assert_eq!(count(&service, "probesim_faults_injected_total", &["fault=\"c\""]).await, 1);
    service.stop().await;
}

#[tokio::test]
async fn partitions_act_on_the_listeners_of_proxies() {
    let (_peer, service, db) = with("mode: refuse, when: {for: 1h}").await;
    eventually("it is refused", || async {
        TcpStream::connect(db).await.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
    .await;
    for (rule, is_cut) in [
        (json!({"target": "db", "mode": "reset", "from": "127.0.0.1"}), true),
        (json!({"target": "db", "mode": "reset", "from": "10.0.0.0/8"}), false),
        (json!({"target": "db", "mode": "refuse", "from": ["0.0.0.0/0", "!127.0.0.1"]}), false),
    ] {
        assert_eq!(service.api("PUT", "/v1/faults/r", &rule).await.0, 200);
        eventually("it listens", || async {
            !TcpStream::connect(db).await.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        })
        .await;
        let is_reset = match TcpStream::connect(db).await {
            Ok(mut client) => echoed(&mut client, b"ping").await.is_err(),
            Err(_) => true,
        };
        assert_eq!(is_reset, is_cut, "{rule}");
    }
    let mut client = TcpStream::connect(db).await.unwrap();
    client.write_all(b"a").await.unwrap();
    peer::read(&mut client, 1).await;
    let drop = json!({"target": "db", "mode": "drop", "from": "127.0.0.0/8"});
    assert_eq!(service.api("PUT", "/v1/faults/r", &drop).await.0, 200);
    let mut late = TcpStream::connect(db).await.unwrap();
    client.write_all(b"b").await.unwrap();
    late.write_all(b"c").await.unwrap();
    assert!(timeout(SILENCE, client.read(&mut [0; 1])).await.is_err());
    assert!(timeout(SILENCE, late.read(&mut [0; 1])).await.is_err());
    assert_eq!(service.api("DELETE", "/v1/faults/r", &Value::Null).await.0, 200);
    assert_eq!(peer::read(&mut client, 1).await, b"b");
    assert_eq!(peer::read(&mut late, 1).await, b"c");
    service.stop().await;
}

#[tokio::test]
async fn fields_that_do_not_fit_the_protocol_are_errors() {
    let peer = Peer::echo().await;
    let proxies = format!("db=:0->{}, web=:0->http://127.0.0.1:1", peer.addr);
    let service = Service::start(&[("PROXIES", &proxies), ("SHUTDOWN_GRACE", "100ms")]).await;
    for (target, fields, expected) in [
        (
            "db",
            json!({"mode": "status"}),
            "mode: applies to HTTP requests, but this rule acts on a TCP proxy, which sees only connections and bytes; its modes are hang, close, reset, truncate, throttle, corrupt, slow-close, slice, refuse, drop",
        ),
        (
            "db",
            json!({"mode": "hang", "client": "other"}),
            "client: applies to HTTP requests, but this rule acts on a TCP proxy, which sees only connections and bytes; to select peers, use `from`",
        ),
        ("db", json!({"mode": "hang", "match": {"path": "/"}}), "match: applies to HTTP requests"),
        ("db", json!({"mode": "truncate", "status": 503}), "status: applies to HTTP requests"),
        (
            "db",
            json!({"mode": "slice", "piece": 5, "piece_jitter": 5}),
            "piece: `piece` must be at least one byte, and `piece_jitter` must be below `piece`",
        ),
        ("db", json!({"mode": "slice", "piece": 0}), "piece: `piece` must be at least one byte"),
        (
            "db",
            json!({"mode": "hang", "stream": "sideways"}),
            "stream=\"sideways\": is not one of upstream, downstream, both",
        ),
        ("db", json!({"mode": "close", "stream": "both"}), "stream=\"both\": does not go with mode close"),
        (
            "db",
            json!({"mode": "refuse", "from": "10.0.0.0/8", "rate": "5%"}),
            "rate: does not go with a partition of a proxy, which has only time and peers",
        ),
        (
            "web",
            json!({"mode": "slice"}),
            "mode: applies to TCP proxies, but this rule acts on HTTP requests",
        ),
        (
            "web",
            json!({"mode": "hang", "stream": "both"}),
            "stream: applies to TCP proxies, but this rule acts on HTTP requests",
        ),
        ("traffic", json!({"mode": "hang", "stream": "both"}), "stream=\"both\": does not go with mode hang"),
        (
            "liveness",
            json!({"delay": "1s", "stream": "both"}),
            "stream: applies to TCP proxies, but this rule acts on HTTP requests",
        ),
    ] {
        let mut rule = fields.clone();
        rule["target"] = target.into();
        let (status, problem) = service.api("PUT", "/v1/faults/r", &rule).await;
        let message = problem["errors"][0]["message"].as_str().unwrap_or_default();
        assert!(status == 422 && message.contains(expected), "{target} {fields}: {status} {problem}");
    }
    service.proxy("db").await;
    service.stop().await;
}
