//! TLS with the upstream.

use std::path::Path;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::peer::{self, Peer, hash, pattern};
use super::{count, ended};
use crate::support::authority::Authority;
use crate::support::{Service, eventually};

/// The server names that clients have requested.
type Asked = Arc<Mutex<Vec<Option<String>>>>;

/// A server that greets, echoes, and says good-bye after the client's `close_notify`.
async fn server(config: ServerConfig) -> (Peer, Asked) {
    let (acceptor, asked) = (TlsAcceptor::from(Arc::new(config)), Asked::default());
    let names = asked.clone();
    let peer = Peer::new(move |stream| {
        let (acceptor, names) = (acceptor.clone(), names.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            names.lock().unwrap().push(stream.get_ref().1.server_name().map(ToOwned::to_owned));
            stream.write_all(b"hello").await.unwrap();
            stream.flush().await.unwrap();
            let (mut read, mut write) = tokio::io::split(stream);
            // A side that ends without `close_notify` is an error here.
            if tokio::io::copy(&mut read, &mut write).await.is_ok() {
                write.write_all(b"bye").await.unwrap();
                write.shutdown().await.unwrap();
            }
        }
    })
    .await;
    (peer, asked)
}

/// A proxy of a TLS server on this host, with these additional fields.
fn proxy(peer: &Peer, more: &Value) -> Value {
    let upstream = format!("localhost:{}", peer.addr.port());
    let mut proxy = json!({"name": "db", "listen": "127.0.0.1:0", "upstream": upstream, "tls": true});
    proxy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    proxy
}

/// A service with that proxy.
async fn in_front_of(peer: &Peer, more: &Value, faults: &Value) -> Service {
    let plan = json!({"seed": 7, "proxies": [proxy(peer, more)], "faults": faults}).to_string();
    Service::start(&[("FAULTS", &plan), ("SHUTDOWN_GRACE", "100ms")]).await
}

/// Sends `sent`, closes that direction, and returns the bytes after the greeting.
async fn exchanged(service: &Service, sent: &[u8]) -> Vec<u8> {
    let mut client = TcpStream::connect(service.proxy("db").await).await.unwrap();
    assert_eq!(peer::read(&mut client, 5).await, b"hello", "the server speaks first");
    let (mut read, mut write) = client.split();
    let mut received = Vec::new();
    let writing = async {
        write.write_all(sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    tokio::join!(writing, async { read.read_to_end(&mut received).await.unwrap() });
    received
}

async fn tls_errors(service: &Service) -> u64 {
    count(service, "probesim_upstream_errors_total", &["proxy=\"db\"", "reason=\"tls\""]).await
}

fn ca(path: &Path) -> Value {
    json!({ "ca": path })
}

#[tokio::test]
async fn bytes_go_both_ways_and_half_a_close_is_a_close_notify() {
    let authority = Authority::new();
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let config = authority.config_of(&["localhost"], |_| {}, versions);
        let (peer, asked) = server(config).await;
        let service = in_front_of(&peer, &ca(&authority.file()), &json!([])).await;
        let sent = pattern(3 << 20);
        let received = exchanged(&service, &sent).await;
        let (echo, farewell) = received.split_at(received.len() - 3);
        assert_eq!(hash(echo), hash(&sent));
        assert_eq!(farewell, b"bye");
        assert_eq!(*asked.lock().unwrap(), [Some("localhost".to_owned())]);
        eventually("the connection is over", || async { ended(&service, "completed").await == 1 }).await;
        let labels = ["proxy=\"db\"", "stream=\"upstream\""];
        let bytes = count(&service, "probesim_proxy_bytes_total", &labels).await;
        assert_eq!(bytes, sent.len() as u64, "bytes are counted as the client sends them");
        service.stop().await;
    }
}

#[tokio::test]
async fn a_proxy_of_the_variable_speaks_tls_and_trusts_the_authority_of_the_variables() {
    let authority = Authority::new();
    let (peer, _) = server(authority.config(&["localhost"], |_| {})).await;
    let proxies = format!("db=127.0.0.1:0->tls://localhost:{}", peer.addr.port());
    let ca = authority.file();
    let service = Service::start(&[("PROXIES", &proxies), ("UPSTREAM_CA_FILE", ca.to_str().unwrap())]).await;
    let sent = pattern(1 << 10);
    assert_eq!(exchanged(&service, &sent).await, [&sent[..], b"bye"].concat());
    service.stop().await;
}

#[tokio::test]
async fn rules_act_on_bytes_within_tls() {
    let authority = Authority::new();
    let (peer, _) = server(authority.config(&["localhost"], |_| {})).await;
    let faults = json!([
        {"name": "slices", "target": "db", "mode": "slice", "piece": "1KiB", "pause": "0ms", "stream": "both"},
        {"name": "slow", "target": "db", "delay": "5ms", "stream": "both"},
    ]);
    let service = in_front_of(&peer, &ca(&authority.file()), &faults).await;
    let sent = pattern(1 << 20);
    let received = exchanged(&service, &sent).await;
    assert_eq!(hash(&received[..received.len() - 3]), hash(&sent));
    assert_eq!(service.api("DELETE", "/v1/faults/slices", &Value::Null).await.0, 200);
    assert_eq!(service.api("DELETE", "/v1/faults/slow", &Value::Null).await.0, 200);
    let cut = json!({"target": "db", "mode": "truncate", "body": "100", "stream": "upstream"});
    assert!(service.api("PUT", "/v1/faults/cut", &cut).await.0 < 300);
    let mut client = TcpStream::connect(service.proxy("db").await).await.unwrap();
    client.write_all(&sent[..4000]).await.unwrap();
    // The end of the connection may overtake the echo.
    let _ = client.read_to_end(&mut Vec::new()).await;
    eventually("the rule ended it", || async { ended(&service, "fault").await == 1 }).await;
    let bytes = count(&service, "probesim_proxy_bytes_total", &["proxy=\"db\"", "stream=\"upstream\""]).await;
    assert_eq!(bytes, sent.len() as u64 + 100);
    service.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_resets_the_client_and_is_counted() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (config, certificate) in [
        (other.config(&["localhost"], |_| {}), "of another authority"),
        (authority.config(&["stock"], |_| {}), "for another host"),
    ] {
        let (peer, asked) = server(config).await;
        let service = in_front_of(&peer, &ca(&authority.file()), &json!([])).await;
        let db = service.proxy("db").await;
        let mut client = TcpStream::connect(db).await.unwrap();
        let error = client.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{certificate}");
        eventually("it is counted", || async { ended(&service, "upstream_error").await == 1 }).await;
        assert_eq!(tls_errors(&service).await, 1, "{certificate}");
        assert!(asked.lock().unwrap().is_empty(), "no byte is sent to a server that is not trusted");
        // From now on, the same proxy accepts any certificate.
        let any = proxy(&peer, &json!({"insecure": true}));
        assert_eq!(service.api("PUT", "/v1/proxies/db", &any).await.0, 200);
        assert_eq!(exchanged(&service, b"x").await, b"xbye", "{certificate}");
        assert_eq!(tls_errors(&service).await, 1);
        service.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_counted_and_one_that_breaks_off_resets_the_client() {
    let peer = Peer::greeting(b"220 hello\r\n").await;
    let service = in_front_of(&peer, &json!({"insecure": true}), &json!([])).await;
    let mut client = TcpStream::connect(service.proxy("db").await).await.unwrap();
    assert!(client.read(&mut [0; 8]).await.is_err());
    eventually("it is counted", || async { tls_errors(&service).await == 1 }).await;
    let acceptor = TlsAcceptor::from(Arc::new(Authority::new().config(&["localhost"], |_| {})));
    let cut = Peer::new(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            stream.write_all(b"half").await.unwrap();
            stream.flush().await.unwrap();
            // FIN alone, without `close_notify`.
            let (mut tcp, _tls) = stream.into_inner();
            tcp.shutdown().await.unwrap();
        }
    })
    .await;
    let moved = proxy(&cut, &json!({"insecure": true}));
    assert_eq!(service.api("PUT", "/v1/proxies/db", &moved).await.0, 200);
    let mut client = TcpStream::connect(service.proxy("db").await).await.unwrap();
    let error = client.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "nobody takes it for complete");
    eventually("it is counted", || async { ended(&service, "upstream_reset").await == 1 }).await;
    service.stop().await;
}

#[tokio::test]
async fn the_name_of_the_server_is_asked_for_and_the_api_shows_what_is_set() {
    let authority = Authority::new();
    let (peer, asked) = server(authority.config(&["stock"], |_| {})).await;
    let service = Service::start(&[("SHUTDOWN_GRACE", "100ms")]).await;
    let ca = authority.file();
    let wanted = proxy(&peer, &json!({"ca": ca, "server_name": "stock"}));
    assert_eq!(service.api("PUT", "/v1/proxies/db", &wanted).await.0, 201);
    assert_eq!(exchanged(&service, b"x").await, b"xbye");
    assert_eq!(*asked.lock().unwrap(), [Some("stock".to_owned())]);
    let (_, shown) = service.api("GET", "/v1/proxies/db", &Value::Null).await;
    let fields = ["protocol", "tls", "ca", "server_name"].map(|field| shown[field].clone());
    assert_eq!(fields, [json!("tcp"), json!(true), json!(ca), json!("stock")]);
    service.stop().await;
}

#[tokio::test]
async fn wrong_fields_of_tls_are_named() {
    let service = Service::start(&[]).await;
    for (upstream, more, error) in [
        ("db:1", json!({"ca": "ca.pem"}), "ca: needs tls: true"),
        ("db:1", json!({"tls": false, "insecure": true}), "insecure: needs tls: true"),
        ("db:1", json!({"tls": "yes"}), "tls=\"yes\": is not true or false"),
        ("db:1", json!({"tls": true, "ca": "/nowhere/ca.pem"}), "ca: /nowhere/ca.pem is not there"),
        ("db:1", json!({"tls": true, "insecure": true, "ca": "ca.pem"}), "ca: does not go with insecure"),
        ("http://db:1", json!({"tls": true}), "tls: needs an upstream with https://"),
        ("https://db:1", json!({"tls": false}), "tls: does not go with an upstream with https://"),
    ] {
        let mut proxy = json!({"listen": "127.0.0.1:0", "upstream": upstream});
        proxy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, problem) = service.api("PUT", "/v1/proxies/db", &proxy).await;
        let told = problem.to_string().replace("\\\"", "\"");
        assert!((400..=422).contains(&status) && told.contains(error), "{error}: {told}");
    }
}
