//! A plan that is read from one service and put in force on another.

use serde_json::{Value, json};

use crate::support::{Service, call};

const NOTHING: &Value = &Value::Null;

async fn plan(service: &Service) -> Value {
    let (status, plan) = service.api("GET", "/v1/plan", NOTHING).await;
    assert_eq!(status, 200, "{plan}");
    plan
}

/// Names and sources of its proxies.
async fn sources(service: &Service) -> Vec<(String, String)> {
    let (_, answer) = service.api("GET", "/v1/proxies", NOTHING).await;
    let text = |proxy: &Value, field: &str| proxy[field].as_str().unwrap().to_owned();
    let proxies = answer["proxies"].as_array().unwrap().iter();
    proxies.map(|proxy| (text(proxy, "name"), text(proxy, "source"))).collect()
}

fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect()
}

/// A service with a proxy from each of three sources and a rule on each.
async fn original() -> Service {
    let rule = json!({"seed": 7, "faults": [{"name": "slow-db", "target": "db", "delay": "30ms", "stream": "both"}]});
    let service = Service::start(&[
        ("PROXIES", "db=:0->postgres:5432"),
        ("FAULTS", &rule.to_string()),
        ("TOXIPROXY_ADDRESS", "0"),
    ])
    .await;
    let shop = json!({"listen": ":0", "upstream": "https://shop:8443", "server_name": "shop.test", "insecure": true});
    assert_eq!(service.api("PUT", "/v1/proxies/shop", &shop).await.0, 201);
    let shop_down = json!({"target": "shop", "mode": "status", "status": 503, "rate": "10%"});
    assert_eq!(service.api("PUT", "/v1/faults/shop-down", &shop_down).await.0, 201);
    let api = service.toxiproxy.unwrap();
    let cache = json!({"name": "my_cache", "listen": "127.0.0.1:0", "upstream": "redis:6379"});
    assert_eq!(call(api, "POST", "/proxies", "", &cache).await.status(), 201);
    for toxic in [
        json!({"type": "slicer", "attributes": {"average_size": 8, "size_variation": 4, "delay": 10}}),
        json!({"type": "reset_peer", "attributes": {"timeout": 500}, "toxicity": 0.5}),
        json!({"type": "limit_data", "stream": "upstream", "attributes": {"bytes": 100}}),
        json!({"type": "timeout", "attributes": {"timeout": 100}}),
    ] {
        assert_eq!(call(api, "POST", "/proxies/my_cache/toxics", "", &toxic).await.status(), 200, "{toxic}");
    }
    let disabled = call(api, "PATCH", "/proxies/my_cache", "", &json!({"enabled": false})).await;
    assert_eq!(disabled.status(), 200);
    service
}

#[tokio::test]
async fn an_exported_plan_gives_another_service_the_same_proxies_and_rules() {
    let from = original().await;
    let exported = plan(&from).await;
    assert_eq!(exported["proxies"].as_array().map(Vec::len), Some(3), "{exported}");
    assert_eq!(exported["faults"].as_array().map(Vec::len), Some(7), "{exported}");

    let to = Service::start(&[("TOXIPROXY_ADDRESS", "0")]).await;
    let gone = json!({"listen": ":0", "upstream": "gone:1"});
    assert_eq!(to.api("PUT", "/v1/proxies/gone", &gone).await.0, 201);
    let (status, answer) = to.api("PUT", "/v1/plan", &exported).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(plan(&to).await, exported);
    assert_eq!(sources(&to).await, named(&[("db", "api"), ("my-cache", "api"), ("shop", "api")]));
    let listed = call(to.toxiproxy.unwrap(), "GET", "/proxies", "", NOTHING).await;
    assert_eq!(listed.body(), "{}", "what was imported belongs to the API");
    from.stop().await;
    to.stop().await;
}

#[tokio::test]
async fn an_import_leaves_proxies_that_are_the_same_with_their_source() {
    let service = original().await;
    let before = sources(&service).await;
    let mut exported = plan(&service).await;
    let (status, answer) = service.api("PUT", "/v1/plan", &exported).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((plan(&service).await, sources(&service).await), (exported.clone(), before.clone()));

    // A proxy that differs is the API's, until another plan is the same again.
    let upstream = exported["proxies"][0]["upstream"].take();
    exported["proxies"][0]["upstream"] = "other:5432".into();
    assert_eq!(service.api("PUT", "/v1/plan", &exported).await.0, 200);
    assert_eq!(sources(&service).await[0], ("db".to_owned(), "api".to_owned()));
    assert_eq!(plan(&service).await, exported);
    exported["proxies"][0]["upstream"] = upstream;
    assert_eq!(service.api("PUT", "/v1/plan", &exported).await.0, 200);
    assert_eq!(sources(&service).await, before);

    // What toxiproxy has created is still its own.
    let api = service.toxiproxy.unwrap();
    assert_eq!(service.api("POST", "/v1/reset", NOTHING).await.0, 200);
    assert_eq!(call(api, "DELETE", "/proxies/my_cache", "", NOTHING).await.status(), 204);
    assert_eq!(sources(&service).await, named(&[("db", "environment"), ("shop", "api")]));
    service.stop().await;
}

#[tokio::test]
async fn an_import_brings_back_a_proxy_that_the_api_had_removed() {
    let service = Service::start(&[("PROXIES", "db=:0->postgres:5432")]).await;
    let exported = plan(&service).await;
    assert_eq!(service.api("DELETE", "/v1/proxies/db", NOTHING).await.0, 200);
    assert_eq!(plan(&service).await["proxies"], json!([]));
    assert_eq!(service.api("PUT", "/v1/plan", &json!({"faults": []})).await.0, 200);
    assert_eq!(sources(&service).await, [], "a plan without `proxies` leaves them as they are");
    assert_eq!(service.api("PUT", "/v1/plan", &exported).await.0, 200);
    assert_eq!(sources(&service).await, named(&[("db", "environment")]));
    service.stop().await;
}
