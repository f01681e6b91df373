//! Odd names, odd values, and what ends with a proxy.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Api, echo};
use crate::support::eventually;
use crate::tcp::peer::Peer;

/// Whether a connection ends within a few seconds.
async fn ends(client: &mut TcpStream) -> bool {
    let read = timeout(Duration::from_secs(5), client.read(&mut [0; 8])).await;
    read.is_ok_and(|read| !matches!(read, Ok(1..)))
}

#[tokio::test]
async fn names_of_any_text_are_kept_apart() {
    let api = Api::start(&[]).await;
    for (name, path) in
        [("a_b", "a_b"), ("a.b", "a%2Eb"), ("a/b", "a%2Fb"), ("A b", "A%20b"), ("ü%", "%C3%BC%25")]
    {
        let proxy = json!({"name": name, "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"});
        assert_eq!(api.call("POST", "/proxies", proxy.clone()).await.0, 201, "{name}");
        assert_eq!(api.call("POST", "/proxies", proxy).await.0, 409, "{name}");
        assert_eq!(api.call("GET", &format!("/proxies/{path}"), Value::Null).await.1["name"], name);
        let toxic = json!({"name": name, "type": "latency", "attributes": {"latency": 1}});
        assert_eq!(
            api.call("POST", &format!("/proxies/{path}/toxics"), toxic.clone()).await.0,
            200,
            "{name}"
        );
        assert_eq!(api.call("POST", &format!("/proxies/{path}/toxics"), toxic).await.0, 409, "{name}");
        let of_toxic = format!("/proxies/{path}/toxics/{path}");
        assert_eq!(api.call("GET", &of_toxic, Value::Null).await.1["name"], name);
        assert_eq!(api.call("DELETE", &of_toxic, Value::Null).await.0, 204, "{name}");
    }
    let (_, all) = api.call("GET", "/proxies", Value::Null).await;
    let names: Vec<&str> = all.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["A b", "a.b", "a/b", "a_b", "ü%"], "by name");
    for path in ["/proxies/", "/proxies/a_b/", "/proxies/a_b/toxics/", "//proxies"] {
        let reply = api.raw("GET", path, "", &Value::Null).await;
        assert_eq!((reply.status(), reply.body().as_str()), (404, "404 page not found\n"), "{path}");
    }
    api.service.stop().await;
}

#[tokio::test]
async fn odd_values_are_refused_or_act_as_the_nearest_that_can() {
    let peer = Peer::echo().await;
    let api = Api::start(&[]).await;
    let db = api.in_front_of(&peer).await;
    for (kind, fields, status) in [
        ("latency", json!({"attributes": {"latency": -5, "jitter": -5}}), 200),
        ("latency", json!({"attributes": {"latency": i64::MAX}, "toxicity": -1}), 200),
        ("latency", json!({"attributes": {"latency": 1.5}}), 400),
        ("latency", json!({"attributes": {"latency": u64::MAX}}), 400),
        ("latency", json!({"attributes": {"unknown": 1}}), 200),
        ("latency", json!({"attributes": null, "toxicity": null, "stream": null}), 200),
        ("latency", json!({"attributes": []}), 400),
        ("latency", json!({"stream": ""}), 400),
        ("latency", json!({"stream": "UPSTREAM"}), 200),
        ("latency", json!({"toxicity": 1.5}), 200),
        ("latency", json!({"toxicity": 1e39}), 400),
        ("latency", json!({"toxicity": true}), 400),
        ("bandwidth", json!({"attributes": {"rate": i64::MAX}}), 200),
        ("slicer", json!({"attributes": {"average_size": i64::MAX, "size_variation": i64::MAX}}), 200),
        ("slicer", json!({"attributes": {"average_size": -1, "size_variation": -1, "delay": -1}}), 200),
        ("slow_close", json!({"attributes": {"delay": i64::MAX}, "toxicity": 0}), 200),
        ("timeout", json!({"attributes": {"timeout": i64::MAX}, "toxicity": 0}), 200),
        ("limit_data", json!({"attributes": {"bytes": 67_108_864}}), 200),
        ("limit_data", json!({"attributes": {"bytes": 67_108_865}}), 400),
        ("noop", json!({"attributes": {"any": "thing"}}), 200),
    ] {
        let mut toxic = fields;
        (toxic["type"], toxic["name"]) = (kind.into(), "odd".into());
        let (answered, answer) = api.call("POST", "/proxies/db_main/toxics", toxic.clone()).await;
        assert_eq!(answered, status, "{toxic}: {answer}");
        if status == 200 {
            let mut client = TcpStream::connect(db).await.unwrap();
            assert_eq!(echo(&mut client, b"x").await.unwrap(), b"x", "{toxic}");
            assert_eq!(api.call("DELETE", "/proxies/db_main/toxics/odd", Value::Null).await.0, 204);
        }
    }
    for (method, path, body, status) in [
        ("PATCH", "/proxies/db_main", json!(null), 400),
        ("PATCH", "/proxies/db_main", json!({}), 200),
        ("PATCH", "/proxies/db_main", json!({"enabled": 1}), 400),
        ("PATCH", "/proxies/db_main", json!({"upstream": "nowhere"}), 400),
        ("PATCH", "/proxies/db_main", json!({"listen": "127.0.0.1:99999"}), 500),
        ("POST", "/proxies", json!({"Name": "case", "UPSTREAM": ":9", "listen": "127.0.0.1:0"}), 201),
        ("POST", "/populate", json!([null]), 400),
        ("POST", "/populate", json!([]), 201),
    ] {
        assert_eq!(api.call(method, path, body.clone()).await.0, status, "{method} {path} {body}");
    }
    assert_eq!(echo(&mut TcpStream::connect(db).await.unwrap(), b"x").await.unwrap(), b"x");
    api.service.stop().await;
}

#[tokio::test]
async fn connections_end_when_their_proxy_moves_or_is_removed_but_not_when_a_change_fails_or_changes_nothing()
{
    let (first, second) = (Peer::echo().await, Peer::echo().await);
    let api = Api::start(&[]).await;
    let db = api.in_front_of(&first).await;
    let mut client = TcpStream::connect(db).await.unwrap();
    echo(&mut client, b"x").await.unwrap();
    let same = json!({"listen": db.to_string(), "upstream": first.addr.to_string()});
    assert_eq!(api.call("PATCH", "/proxies/db_main", same).await.0, 200);
    assert_eq!(echo(&mut client, b"x").await.unwrap(), b"x");

    let (status, answer) =
        api.call("PATCH", "/proxies/db_main", json!({"upstream": second.addr.to_string()})).await;
    assert_eq!((status, &answer["enabled"]), (200, &json!(true)), "{answer}");
    assert!(ends(&mut client).await);
    let mut client = TcpStream::connect(db).await.unwrap();
    assert_eq!(echo(&mut client, b"x").await.unwrap(), b"x");

    let occupied = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let move_there = json!({"listen": occupied.local_addr().unwrap().to_string()});
    assert_eq!(api.call("PATCH", "/proxies/db_main", move_there).await.0, 500);
    let (_, proxy) = api.call("GET", "/proxies/db_main", Value::Null).await;
    assert_eq!((&proxy["listen"], &proxy["enabled"]), (&json!(db.to_string()), &json!(true)));
    let mut client = TcpStream::connect(db).await.unwrap();
    assert_eq!(echo(&mut client, b"x").await.unwrap(), b"x");

    assert_eq!(api.raw("DELETE", "/proxies/db_main", "", &Value::Null).await.status(), 204);
    assert!(ends(&mut client).await);
    eventually("nobody listens there", || async { TcpStream::connect(db).await.is_err() }).await;
    api.service.stop().await;
}

#[tokio::test]
async fn populate_answers_with_what_came_before_the_error() {
    let api = Api::start(&[]).await;
    let occupied = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy =
        |name: &str, listen: String| json!({"name": name, "listen": listen, "upstream": "127.0.0.1:9"});
    let all = json!([
        proxy("first", "127.0.0.1:0".to_owned()),
        proxy("second", occupied.local_addr().unwrap().to_string()),
        proxy("third", "127.0.0.1:0".to_owned()),
    ]);
    let (status, answer) = api.call("POST", "/populate", all).await;
    assert_eq!((status, &answer["status"]), (500, &json!(500)), "{answer}");
    assert_eq!(answer["proxies"].as_array().map(Vec::len), Some(1), "{answer}");
    let (_, all) = api.call("GET", "/proxies", Value::Null).await;
    assert_eq!(all.as_object().unwrap().keys().collect::<Vec<_>>(), ["first"]);
    // The one of its own address is kept, twice.
    let same = json!([proxy("first", all["first"]["listen"].as_str().unwrap().to_owned())]);
    for _ in 0..2 {
        let (status, answer) = api.call("POST", "/populate", same.clone()).await;
        assert_eq!((status, &answer["proxies"][0]), (201, &all["first"]));
    }
    api.service.stop().await;
}

#[tokio::test]
async fn a_file_that_is_missing_empty_or_wrong_does_not_prevent_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let twice = json!([
        {"name": "db", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:8"},
        {"name": "db", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"},
    ]);
    for (name, content, proxies) in
        [("missing", None, 0), ("empty", Some(String::new()), 0), ("twice", Some(twice.to_string()), 1)]
    {
        let path = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let api = Api::start(&[("TOXIPROXY_CONFIG", path.to_str().unwrap())]).await;
        let (_, all) = api.call("GET", "/proxies", Value::Null).await;
        assert_eq!(all.as_object().unwrap().len(), proxies, "{name}: {all}");
        if proxies > 0 {
            assert_eq!(all["db"]["upstream"], "127.0.0.1:9", "the last one counts");
        }
        api.service.stop().await;
    }
}
