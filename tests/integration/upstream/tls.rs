//! Upstreams that speak TLS.

use std::sync::Arc;

use kube_probesim::tls::{Trust, client_config};
use rustls::ServerConfig;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::backend::Backend;
use super::count;
use crate::support::authority::Authority;
use crate::support::{Service, eventually, exchange, get};

/// A server that answers one request per connection with these bytes, with or without `close_notify`.
async fn answering(config: ServerConfig, alpn: &[&str], reply: &'static [u8], says_end: bool) -> Backend {
    let mut config = config;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Backend::serving(move |stream, notes, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read_exact(&mut byte).await.is_err() {
                    return;
                }
                head.push(byte[0]);
            }
            notes.note(&String::from_utf8(head).unwrap());
            stream.write_all(reply).await.unwrap();
            stream.flush().await.unwrap();
            if says_end {
                let _ = stream.shutdown().await;
            }
        }
    })
    .await
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\napp";

fn https(backend: &Backend) -> String {
    format!("https://localhost:{}", backend.addr.port())
}

/// The service in front of an upstream, which trusts an authority.
async fn in_front_of(upstream: &str, authority: &Authority, more: &[(&str, &str)]) -> Service {
    let ca = authority.file();
    let vars = [("UPSTREAM", upstream), ("UPSTREAM_CA_FILE", ca.to_str().unwrap())];
    Service::start(&[&vars, more].concat()).await
}

#[tokio::test]
async fn an_upstream_that_chooses_http_1_gets_it() {
    let authority = Authority::new();
    for alpn in [&["http/1.1"][..], &[]] {
        let backend = answering(authority.config(&["localhost"], |_| {}), alpn, OK, true).await;
        let service = in_front_of(&https(&backend), &authority, &[]).await;
        for path in ["/orders", "/healthz"] {
            assert_eq!(service.get(path).await.body(), "app");
            let head = backend.last();
            assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{head}");
        }
        let host = "GET /x HTTP/1.0\r\n\r\n";
        assert_eq!(exchange(service.probe, host).await.body(), "app");
        let named = format!("host: localhost:{}\r\n", backend.addr.port());
        assert!(backend.last().to_lowercase().contains(&named), "{}", backend.last());
    }
}

#[tokio::test]
async fn an_upstream_that_chooses_http_2_gets_all_requests_over_one_connection() {
    let authority = Authority::new();
    let (certificate, key) = authority.pem(&["localhost"], |_| {});
    let (chain, private) = (authority.path("chain"), authority.path("key"));
    std::fs::write(&chain, certificate).unwrap();
    std::fs::write(&private, key).unwrap();
    let files = [("TLS_CERT_FILE", chain.to_str().unwrap()), ("TLS_KEY_FILE", private.to_str().unwrap())];
    let behind = Service::start(&files).await;
    let upstream = format!("https://localhost:{}", behind.probe.port());
    let service = in_front_of(&upstream, &authority, &[]).await;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let probe = service.probe;
        asked.spawn(async move { get(probe, "/healthz").await });
    }
    while let Some(reply) = asked.join_next().await {
        assert_eq!(reply.unwrap().body(), "ok");
    }
    assert_eq!(count(&behind, "probesim_requests_total", &["target=\"liveness\"", "code=\"200\""]).await, 20);
    assert_eq!(count(&behind, "probesim_connections", &[]).await, 1);
}

#[tokio::test]
async fn a_change_of_protocol_goes_over_http_1() {
    let authority = Authority::new();
    let reply = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nhello";
    let config = authority.config(&["localhost"], |_| {});
    let backend = answering(config, &["h2", "http/1.1"], reply, true).await;
    let service = in_front_of(&https(&backend), &authority, &[]).await;
    let request = "GET /ws HTTP/1.1\r\nhost: a\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n";
    let answer = exchange(service.probe, request).await.text();
    assert!(answer.starts_with("HTTP/1.1 101") && answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_a_502_that_says_why() {
    let (authority, other) = (Authority::new(), Authority::new());
    let yesterday = OffsetDateTime::now_utc() - time::Duration::days(1);
    let cases = [
        (
            other.config(&["localhost"], |_| {}),
            "certificate signed by unknown authority: its issuer is not in ",
        ),
        (authority.config(&["stock"], |_| {}), "certificate is valid for stock, not localhost"),
        (
            authority.config(&["localhost"], |params| params.not_after = yesterday),
            "certificate has expired or is not yet valid",
        ),
    ];
    for (config, why) in cases {
        let backend = answering(config, &[], OK, true).await;
        let service = in_front_of(&https(&backend), &authority, &[]).await;
        let reply = service.get("/orders").await;
        let told = reply.header("x-probesim-upstream-error");
        assert_eq!((reply.status(), told.as_deref()), (502, Some("tls")));
        let line = format!("kube-probesim: the upstream {} failed the TLS handshake: ", https(&backend));
        assert!(reply.body().starts_with(&line) && reply.body().contains(why), "{}", reply.body());
        assert_eq!(count(&service, "probesim_upstream_errors_total", &["reason=\"tls\""]).await, 1);
    }
}

#[tokio::test]
async fn a_server_without_tls_or_that_leaves_in_the_handshake_is_told() {
    let authority = Authority::new();
    let plain = Backend::serving(|mut stream, _, _| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    let leaving = Backend::serving(|mut stream, _, _| async move {
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    for (backend, why) in [
        (&plain, "received record with an unknown version or type"),
        (&leaving, "connection lost during the TLS handshake"),
    ] {
        let service = in_front_of(&https(backend), &authority, &[]).await;
        let reply = service.get("/orders").await;
        assert_eq!(reply.status(), 502);
        assert!(reply.body().contains(why), "{}", reply.body());
    }
}

#[tokio::test]
async fn a_handshake_that_stalls_is_as_late_as_a_connection() {
    let authority = Authority::new();
    let silent = Backend::serving(|stream, _, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let service = in_front_of(&https(&silent), &authority, &[("UPSTREAM_CONNECT_TIMEOUT", "300ms")]).await;
    assert_eq!(service.get("/orders").await.status(), 504);
    let labels = ["reason=\"connect_timeout\""];
    assert_eq!(count(&service, "probesim_upstream_errors_total", &labels).await, 1);
}

#[tokio::test]
async fn another_name_or_any_certificate_can_be_asked_for() {
    let authority = Authority::new();
    let backend = answering(authority.config(&["stock"], |_| {}), &[], OK, true).await;
    let named = in_front_of(&https(&backend), &authority, &[("UPSTREAM_SERVER_NAME", "stock")]).await;
    assert_eq!(named.get("/").await.body(), "app");
    let upstream = https(&backend);
    let insecure = [("UPSTREAM", upstream.as_str()), ("UPSTREAM_INSECURE", "true")];
    assert_eq!(Service::start(&insecure).await.get("/").await.body(), "app");
}

#[tokio::test]
async fn authorities_that_change_are_read_again_and_stay_where_the_new_ones_are_none() {
    let (authority, other) = (Authority::new(), Authority::new());
    let backend = answering(authority.config(&["localhost"], |_| {}), &[], OK, true).await;
    let service = in_front_of(&https(&backend), &authority, &[]).await;
    assert_eq!(service.get("/").await.status(), 200);
    let ours = std::fs::read(authority.file()).unwrap();
    std::fs::write(authority.file(), "none").unwrap();
    assert_eq!(service.get("/").await.status(), 200);
    std::fs::copy(other.file(), authority.file()).unwrap();
    eventually("the other authorities", async || service.get("/").await.status() == 502).await;
    std::fs::write(authority.file(), ours).unwrap();
    eventually("ours again", async || service.get("/").await.status() == 200).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_within_tls_does_not_look_complete() {
    let authority = Authority::new();
    let reply = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart";
    for (says_end, is_complete) in [(true, true), (false, false)] {
        let config = authority.config(&["localhost"], |_| {});
        let backend = answering(config, &[], reply, says_end).await;
        let service = in_front_of(&https(&backend), &authority, &[]).await;
        let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let reply = exchange(service.probe, request).await;
        assert_eq!(reply.text().ends_with("0\r\n\r\n"), is_complete, "{reply:?}");
    }
}

#[tokio::test]
async fn named_proxies_have_authorities_and_names_of_their_own() {
    let authority = Authority::new();
    let backend = answering(authority.config(&["stock"], |_| {}), &[], OK, true).await;
    let service = Service::start(&[]).await;
    let ca = authority.file();
    let at = |upstream: &str, more: Value| {
        let mut proxy = json!({"listen": "127.0.0.1:0", "upstream": upstream});
        proxy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        proxy
    };
    for (upstream, more, error) in [
        (https(&backend), json!({"ca": "/nowhere/ca.pem"}), "ca: /nowhere/ca.pem is not there"),
        (https(&backend), json!({"ca": ""}), "ca"),
        (https(&backend), json!({"server_name": "a b"}), "server_name=\"a b\": is not the name"),
        (https(&backend), json!({"insecure": "yes"}), "insecure=\"yes\": is not true or false"),
        (https(&backend), json!({"insecure": true, "ca": ca}), "ca: does not go with insecure"),
        (backend.url(), json!({"ca": ca}), "ca: needs an upstream with https://"),
        (backend.url(), json!({"insecure": true}), "insecure: needs an upstream with https://"),
    ] {
        let (status, problem) = service.api("PUT", "/v1/proxies/stock", &at(&upstream, more)).await;
        let told = problem.to_string().replace("\\\"", "\"");
        assert!((400..=422).contains(&status) && told.contains(error), "{error}: {told}");
    }
    let proxy = at(&https(&backend), json!({"ca": ca, "server_name": "stock"}));
    assert_eq!(service.api("PUT", "/v1/proxies/stock", &proxy).await.0, 201);
    let (_, shown) = service.api("GET", "/v1/proxies/stock", &Value::Null).await;
    assert_eq!((&shown["ca"], &shown["server_name"]), (&json!(ca), &json!("stock")));
    let proxy_addr = service.proxy("stock").await;
    assert_eq!(get(proxy_addr, "/").await.body(), "app");
    let renamed = at(&https(&backend), json!({"ca": ca}));
    assert_eq!(service.api("PUT", "/v1/proxies/stock", &renamed).await.0, 200);
    assert_eq!(get(proxy_addr, "/").await.status(), 502, "the certificate is for stock");
    service.stop().await;
}

#[tokio::test]
async fn proxies_of_the_variable_trust_as_the_upstream_of_the_variables() {
    let authority = Authority::new();
    let backend = answering(authority.config(&["localhost"], |_| {}), &[], OK, true).await;
    let proxies = format!("stock=:0->{}", https(&backend));
    let ca = authority.file();
    let service = Service::start(&[("PROXIES", &proxies), ("UPSTREAM_CA_FILE", ca.to_str().unwrap())]).await;
    assert_eq!(get(service.proxy("stock").await, "/").await.body(), "app");
}

#[tokio::test]
async fn an_application_is_told_that_its_client_speaks_tls() {
    let backend = Backend::answering(super::OK).await;
    let upstream = backend.url();
    let service = Service::start(&[("UPSTREAM", &upstream), ("TLS", "self-signed")]).await;
    let tcp = TcpStream::connect(service.probe).await.unwrap();
    let connector = TlsConnector::from(client_config(&Trust::Anyone, &[]));
    let mut stream = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
    stream.write_all(b"GET /tls HTTP/1.1\r\nhost: a\r\nforwarded: for=b\r\n\r\n").await.unwrap();
    stream.read_exact(&mut [0; 12]).await.unwrap();
    let head = backend.last().to_lowercase();
    assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
    assert!(head.contains("forwarded: for=b, for=127.0.0.1;proto=https\r\n"), "{head}");
    service.get("/plain").await;
    assert!(backend.last().to_lowercase().contains("x-forwarded-proto: http\r\n"), "{}", backend.last());
}
