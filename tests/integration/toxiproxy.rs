//! toxiproxy's API, as its clients use it.

mod odd;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Reply, Service, call, eventually};
use crate::tcp::peer::Peer;

const SILENCE: Duration = Duration::from_millis(120);

/// A service with the API, and a client of the API.
struct Api {
    service: Service,
    address: SocketAddr,
}

impl Api {
    async fn start(vars: &[(&str, &str)]) -> Self {
        let basics = [("TOXIPROXY_ADDRESS", "0"), ("SHUTDOWN_GRACE", "100ms")];
        let service = Service::start(&[&basics, vars].concat()).await;
        let address = service.toxiproxy.unwrap();
        Self { service, address }
    }

    async fn raw(&self, method: &str, path: &str, headers: &str, body: &Value) -> Reply {
        call(self.address, method, path, headers, body).await
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let reply = self.raw(method, path, "", &body).await;
        (reply.status(), serde_json::from_str(&reply.body()).unwrap_or_default())
    }

    /// Adds a proxy `db_main` in front of an echo server, and returns its address.
    async fn in_front_of(&self, peer: &Peer) -> SocketAddr {
        let proxy = json!({"name": "db_main", "listen": "127.0.0.1:0", "upstream": peer.addr.to_string()});
        let (status, answer) = self.call("POST", "/proxies", proxy).await;
        assert_eq!(status, 201, "{answer}");
        answer["listen"].as_str().unwrap().parse().unwrap()
    }

    async fn toxic(&self, toxic: Value) -> Value {
        let (status, answer) = self.call("POST", "/proxies/db_main/toxics", toxic).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

/// Sends bytes and reads as many back.
async fn echo(client: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    client.write_all(bytes).await?;
    let mut read = vec![0; bytes.len()];
    client.read_exact(&mut read).await?;
    Ok(read)
}

#[tokio::test]
async fn proxies_are_created_changed_listed_and_removed() {
    let (first, second) = (Peer::echo().await, Peer::greeting(b"second").await);
    let api = Api::start(&[]).await;
    assert_eq!(api.call("GET", "/proxies", Value::Null).await, (200, json!({})));
    let db = api.in_front_of(&first).await;
    let shown = json!({
        "name": "db_main", "listen": db.to_string(), "upstream": first.addr.to_string(), "enabled": true, "toxics": [],
    });
    assert_eq!(api.call("GET", "/proxies/db_main", Value::Null).await, (200, shown.clone()));
    assert_eq!(api.call("GET", "/proxies", Value::Null).await, (200, json!({"db_main": shown})));
    assert_eq!(echo(&mut TcpStream::connect(db).await.unwrap(), b"hello").await.unwrap(), b"hello");
    for method in ["POST", "PATCH"] {
        for (peer, name) in [(&second, "second"), (&first, "first")] {
            let upstream = peer.addr.to_string();
            let (status, answer) = api.call(method, "/proxies/db_main", json!({"upstream": upstream})).await;
            assert_eq!((status, &answer["upstream"]), (200, &json!(upstream)), "{method} {name}");
            assert_eq!(answer["listen"], db.to_string());
        }
    }
    let (_, proxies) = api.service.api("GET", "/v1/proxies", &Value::Null).await;
    assert_eq!(
        (&proxies["proxies"][0]["name"], &proxies["proxies"][0]["source"]),
        (&json!("db-main"), &json!("toxiproxy"))
    );
    assert_eq!(api.raw("DELETE", "/proxies/db_main", "", &Value::Null).await.status(), 204);
    eventually("nobody listens there", || async { TcpStream::connect(db).await.is_err() }).await;
    assert_eq!(api.call("GET", "/proxies/db_main", Value::Null).await.0, 404);
    api.service.stop().await;
}

#[tokio::test]
async fn errors_have_the_codes_and_texts_of_the_original() {
    let peer = Peer::echo().await;
    let api = Api::start(&[("PROXIES", "file=:0->127.0.0.1:9")]).await;
    let db = api.in_front_of(&peer).await;
    api.toxic(json!({"type": "latency"})).await;
    let upstream = peer.addr.to_string();
    for (method, path, body, status, error) in [
        ("GET", "/proxies/no", Value::Null, 404, "proxy not found"),
        ("GET", "/proxies/file", Value::Null, 404, "proxy not found"),
        ("DELETE", "/proxies/file", Value::Null, 404, "proxy not found"),
        ("POST", "/proxies/no/toxics", json!({}), 404, "proxy not found"),
        ("GET", "/proxies/db_main/toxics/no", Value::Null, 404, "toxic not found"),
        ("DELETE", "/proxies/db_main/toxics/no", Value::Null, 404, "toxic not found"),
        ("PATCH", "/proxies/db_main/toxics/no", json!({}), 404, "toxic not found"),
        ("POST", "/proxies", json!({"upstream": upstream}), 400, "missing required field: name"),
        ("POST", "/proxies", json!({"name": "x"}), 400, "missing required field: upstream"),
        ("POST", "/proxies", json!({"name": "db_main", "upstream": upstream}), 409, "proxy already exists"),
        (
            "POST",
            "/populate",
            json!([{"name": "a", "upstream": upstream}, {"name": "b"}]),
            400,
            "missing required field: upstream at proxy 2",
        ),
        ("POST", "/populate", json!({}), 400, "bad request body: "),
        ("POST", "/proxies", json!([]), 400, "bad request body: "),
        (
            "POST",
            "/proxies",
            json!({"name": "x", "upstream": "nowhere"}),
            400,
            "bad request body: upstream \"nowhere\" ",
        ),
        (
            "POST",
            "/proxies",
            json!({"name": "x", "upstream": upstream, "listen": db.to_string()}),
            500,
            "proxy x",
        ),
        ("POST", "/proxies/db_main/toxics", json!({"type": "latency"}), 409, "toxic already exists"),
        ("POST", "/proxies/db_main/toxics", json!({"type": "fog"}), 400, "invalid toxic type"),
        (
            "POST",
            "/proxies/db_main/toxics",
            json!({"type": "latency", "stream": "both"}),
            400,
            "stream was invalid, can be either upstream or downstream",
        ),
        (
            "POST",
            "/proxies/db_main/toxics",
            json!({"type": "latency", "attributes": {"latency": "long"}}),
            400,
            "bad request body: ",
        ),
    ] {
        let reply = api.raw(method, path, "", &body).await;
        let answer: Value = serde_json::from_str(&reply.body()).unwrap();
        assert_eq!((reply.status(), &answer["status"]), (status, &json!(status)), "{method} {path} {body}");
        let text = answer["error"].as_str().unwrap();
        assert!(text.starts_with(error), "{method} {path} {body}: {text}");
        if path != "/populate" {
            assert_eq!(reply.header("content-type").as_deref(), Some("text/plain; charset=utf-8"));
        }
    }
    assert_eq!(api.raw("POST", "/proxies", "", &Value::Null).await.status(), 400);
    for (method, path, status) in [
        ("PUT", "/proxies", 405),
        ("DELETE", "/reset", 405),
        ("GET", "/populate", 405),
        ("PUT", "/proxies/db_main/toxics/latency_downstream", 405),
        ("GET", "/", 404),
        ("GET", "/proxies/db_main/x", 404),
        ("GET", "/v1/state", 404),
    ] {
        assert_eq!(api.raw(method, path, "", &Value::Null).await.status(), status, "{method} {path}");
    }
    let browser = api.raw("GET", "/proxies", "user-agent: Mozilla/5.0 (X11)\r\n", &Value::Null).await;
    assert_eq!((browser.status(), browser.body().as_str()), (403, "User agent not allowed\n"));
    let version = api.raw("GET", "/version", "", &Value::Null).await;
    assert_eq!(version.body(), "{\"version\": \"2.12.0\"}\n");
    assert_eq!(version.header("content-type").as_deref(), Some("application/json;charset=utf-8"));
    api.service.stop().await;
}

#[tokio::test]
async fn toxics_act_at_once_stack_and_end_when_they_are_removed() {
    let peer = Peer::echo().await;
    let api = Api::start(&[]).await;
    let db = api.in_front_of(&peer).await;
    let mut client = TcpStream::connect(db).await.unwrap();
    echo(&mut client, b"before").await.unwrap();
    let toxic = json!({"name": "slow_down", "type": "latency", "attributes": {"latency": 60}});
    let shown = json!({
        "attributes": {"latency": 60, "jitter": 0}, "name": "slow_down", "type": "latency", "stream": "downstream", "toxicity": 1,
    });
    assert_eq!(api.toxic(toxic).await, shown);
    let up = json!({"type": "latency", "stream": "upstream", "attributes": {"latency": 50}});
    assert_eq!(api.toxic(up).await["name"], "latency_upstream");
    let began = Instant::now();
    echo(&mut client, b"both").await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(110), "{:?}", began.elapsed());
    let (_, list) = api.call("GET", "/proxies/db_main/toxics", Value::Null).await;
    assert_eq!((&list[0]["name"], &list[1]), (&json!("latency_upstream"), &shown), "upstream comes first");
    for method in ["POST", "PATCH"] {
        let change = json!({"attributes": {"jitter": 3}, "toxicity": 0.5, "name": "other"});
        let (status, changed) = api.call(method, "/proxies/db_main/toxics/slow_down", change).await;
        assert_eq!(status, 200);
        assert_eq!(changed["attributes"], json!({"latency": 60, "jitter": 3}));
        assert_eq!((&changed["toxicity"], &changed["name"]), (&json!(0.5), &json!("slow_down")));
    }
    let (_, state) = api.service.api("GET", "/v1/state", &Value::Null).await;
    let rule = |name: &str| {
        state["rules"].as_array().unwrap().iter().find(|rule| rule["name"] == name).cloned().unwrap()
    };
    assert_eq!(rule("db-main-slow-down")["source"], "toxiproxy");
    assert_eq!(rule("db-main-slow-down")["rule"]["rate"], "50%");
    for toxic in ["slow_down", "latency_upstream"] {
        let path = format!("/proxies/db_main/toxics/{toxic}");
        assert_eq!(api.raw("DELETE", &path, "", &Value::Null).await.status(), 204);
        assert_eq!(api.call("GET", &path, Value::Null).await.0, 404);
    }
    let began = Instant::now();
    echo(&mut client, b"after").await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
    api.service.stop().await;
}

#[tokio::test]
async fn a_connection_cut_both_ways_by_two_toxics_is_silent_both_ways() {
    let peer = Peer::greeting(b"hello").await;
    let api = Api::start(&[]).await;
    let db = api.in_front_of(&peer).await;
    for stream in ["upstream", "downstream"] {
        api.toxic(json!({"name": stream, "type": "bandwidth", "stream": stream, "attributes": {"rate": 0}}))
            .await;
    }
    let mut client = TcpStream::connect(db).await.unwrap();
    assert!(timeout(SILENCE, client.read(&mut [0; 8])).await.is_err());
    // Each of them stops only its own stream.
    assert_eq!(api.raw("DELETE", "/proxies/db_main/toxics/downstream", "", &Value::Null).await.status(), 204);
    let mut greeting = [0; 5];
    timeout(Duration::from_secs(5), client.read_exact(&mut greeting)).await.unwrap().unwrap();
    assert_eq!(&greeting, b"hello");
    api.service.stop().await;
}

#[tokio::test]
async fn a_timeout_that_is_removed_closes_its_connections() {
    let peer = Peer::greeting(b"hello").await;
    let api = Api::start(&[]).await;
    let db = api.in_front_of(&peer).await;
    api.toxic(json!({"name": "t", "type": "timeout", "attributes": {"timeout": 0}})).await;
    let mut client = TcpStream::connect(db).await.unwrap();
    assert!(timeout(SILENCE, client.read(&mut [0; 8])).await.is_err());
    assert_eq!(api.raw("DELETE", "/proxies/db_main/toxics/t", "", &Value::Null).await.status(), 204);
    let read = timeout(Duration::from_secs(5), client.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(read, Ok(0)) || read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    api.service.stop().await;
}

#[tokio::test]
async fn a_disabled_proxy_is_down_until_it_is_enabled_or_reset_or_all_rules_are_stopped() {
    let peer = Peer::echo().await;
    let api = Api::start(&[]).await;
    let db = api.in_front_of(&peer).await;
    let disable = || api.call("PATCH", "/proxies/db_main", json!({"enabled": false}));
    let is_up = || async {
        match TcpStream::connect(db).await {
            Ok(mut client) => echo(&mut client, b"x").await.is_ok(),
            Err(_) => false,
        }
    };
    let mut open = TcpStream::connect(db).await.unwrap();
    echo(&mut open, b"x").await.unwrap();
    assert_eq!(disable().await.1["enabled"], false);
    eventually("it is down", || async { !is_up().await }).await;
    assert!(echo(&mut open, b"x").await.is_err(), "open connections end");
    assert_eq!(api.call("PATCH", "/proxies/db_main", json!({"enabled": true})).await.1["enabled"], true);
    eventually("it is up", is_up).await;
    disable().await;
    api.toxic(json!({"type": "timeout"})).await;
    eventually("it is down", || async { !is_up().await }).await;
    assert_eq!(api.raw("POST", "/reset", "", &Value::Null).await.status(), 204);
    eventually("it is up", is_up).await;
    assert_eq!(api.call("GET", "/proxies/db_main/toxics", Value::Null).await.1, json!([]));
    disable().await;
    eventually("it is down", || async { !is_up().await }).await;
    assert_eq!(api.service.api("POST", "/v1/stop", &Value::Null).await.0, 200);
    eventually("a stop ends it", is_up).await;
    api.service.stop().await;
}

#[tokio::test]
async fn populate_keeps_what_is_the_same_and_touches_nothing_of_other_sources() {
    let peer = Peer::echo().await;
    let api = Api::start(&[("PROXIES", "db-main=:0->127.0.0.1:9")]).await;
    let db = api.in_front_of(&peer).await;
    api.toxic(json!({"type": "noop"})).await;
    let same = json!({"name": "db_main", "listen": db.to_string(), "upstream": peer.addr.to_string()});
    let other = json!({"name": "cache", "listen": "127.0.0.1:0", "upstream": "redis:6379", "enabled": false});
    let (status, answer) = api.call("POST", "/populate", json!([same, other])).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(answer["proxies"][0]["toxics"][0]["name"], "noop_downstream", "it keeps its toxics");
    assert_eq!(answer["proxies"][1]["enabled"], false);
    let moved = json!({"name": "db_main", "listen": "127.0.0.1:0", "upstream": peer.addr.to_string()});
    let (_, answer) = api.call("POST", "/populate", json!([moved])).await;
    assert_eq!(answer["proxies"][0]["toxics"], json!([]), "what listens elsewhere is a new one");
    let (_, proxies) = api.service.api("GET", "/v1/proxies", &Value::Null).await;
    let mut names: Vec<(&str, &str)> = proxies["proxies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|proxy| (proxy["name"].as_str().unwrap(), proxy["source"].as_str().unwrap()))
        .collect();
    names.sort_unstable();
    assert_eq!(names, [("cache", "toxiproxy"), ("db-main", "environment"), ("db-main-2", "toxiproxy")]);
    api.service.stop().await;
}

#[tokio::test]
async fn metrics_have_the_names_of_the_original_and_its_labels() {
    let peer = Peer::echo().await;
    let api = Api::start(&[]).await;
    let db = api.in_front_of(&peer).await;
    echo(&mut TcpStream::connect(db).await.unwrap(), b"12345").await.unwrap();
    let metrics = api.raw("GET", "/metrics", "", &Value::Null).await.body();
    for name in ["received", "sent"] {
        let line = format!(
            "toxiproxy_proxy_{name}_bytes_total{{direction=\"downstream\",listener=\"{db}\",proxy=\"db_main\",upstream=\"{}\"}} 5\n",
            peer.addr
        );
        assert!(metrics.contains(&line), "{metrics}");
    }
    assert!(metrics.contains("probesim_plan_generation"));
    api.service.stop().await;
}

#[tokio::test]
async fn a_file_brings_proxies_at_the_start() {
    let peer = Peer::echo().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("toxiproxy.json");
    let config = json!([{"name": "db_main", "listen": "127.0.0.1:0", "upstream": peer.addr.to_string()}]);
    std::fs::write(&path, config.to_string()).unwrap();
    let api = Api::start(&[("TOXIPROXY_CONFIG", path.to_str().unwrap())]).await;
    let (_, proxy) = api.call("GET", "/proxies/db_main", Value::Null).await;
    let db: SocketAddr = proxy["listen"].as_str().unwrap().parse().unwrap();
    assert_eq!(echo(&mut TcpStream::connect(db).await.unwrap(), b"x").await.unwrap(), b"x");
    api.service.stop().await;
}
