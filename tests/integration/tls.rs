//! TLS on listeners, as clients see it.

#![allow(clippy::unwrap_used, clippy::float_cmp)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube_probesim::tls::{Trust, client_config};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::authority::Authority;
use crate::support::{End, PATIENCE, SILENCE, Service, eventually, exchange, read_to_end, request};

/// How a client within TLS saw the connection end.
#[derive(Debug, PartialEq, Eq)]
enum TlsEnd {
    /// `close_notify`, then FIN.
    Notified,
    /// FIN alone.
    Fin,
    Reset,
    Silence,
}

async fn connect_with(addr: SocketAddr, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    timeout(PATIENCE, TlsConnector::from(config).connect(name, stream)).await.unwrap()
}

/// A client that verifies nothing, as the kubelet.
async fn connect(addr: SocketAddr, alpn: &[&str]) -> TlsStream<TcpStream> {
    connect_with(addr, client_config(&Trust::Anyone, alpn)).await.unwrap()
}

async fn read(stream: &mut TlsStream<TcpStream>) -> (String, TlsEnd) {
    let mut bytes = Vec::new();
    let end = loop {
        match timeout(SILENCE, stream.read_buf(&mut bytes)).await {
            Err(_) => break TlsEnd::Silence,
            Ok(Ok(0)) => break TlsEnd::Notified,
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => break TlsEnd::Fin,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => break TlsEnd::Reset,
            Ok(Err(error)) => panic!("{error}"),
        }
    };
    (String::from_utf8_lossy(&bytes).into_owned(), end)
}

async fn get(addr: SocketAddr, path: &str) -> (String, TlsEnd) {
    let mut stream = connect(addr, &[]).await;
    stream.write_all(request(path).as_bytes()).await.unwrap();
    read(&mut stream).await
}

async fn self_signed(more: &[(&str, &str)]) -> Service {
    Service::start(&[&[("TLS", "self-signed")], more].concat()).await
}

#[tokio::test]
async fn one_port_speaks_tls_and_plain_http() {
    let service = self_signed(&[]).await;
    let (answer, end) = get(service.probe, "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok"), "{answer}");
    assert_eq!(end, TlsEnd::Notified);
    assert_eq!(service.get("/healthz").await.status(), 200);
    for (offered, agreed) in
        [(&["h2", "http/1.1"][..], Some(&b"h2"[..])), (&["http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let stream = connect(service.probe, offered).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
    }
    assert_eq!(
        service.metric("probesim_requests_total", &["target=\"liveness\"", "code=\"200\""]).await,
        2.0
    );
}

#[tokio::test]
async fn a_connection_within_tls_is_kept_and_goes_on_after_a_rest() {
    let service = self_signed(&[]).await;
    let mut stream = connect(service.probe, &[]).await;
    for pause in [0, 1300, 0] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let (answer, end) = read(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200") && end == TlsEnd::Silence, "{answer} {end:?}");
    }
}

#[tokio::test]
async fn large_answers_and_bodies_go_through_tls() {
    let body = "x".repeat(300_000);
    let plan = format!(
        "{{faults: [{{name: a, target: liveness, mode: status, status: 200, body_text: {}}}]}}",
        &body[..4000]
    );
    let service = self_signed(&[("FAULTS", &plan)]).await;
    let mut stream = connect(service.probe, &[]).await;
    let head = format!("POST /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let (answer, _) = read(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&body[..4000]));
}

#[tokio::test]
async fn faults_of_the_wire_strike_below_tls_or_within_it() {
    let rules = [
        ("mode: close", "", TlsEnd::Notified),
        ("mode: reset", "", TlsEnd::Reset),
        ("mode: garbage", "", TlsEnd::Notified),
        ("mode: truncate, body: 5, status: 200", ".....", TlsEnd::Fin),
        ("mode: body-reset, body: 5, status: 200", ".....", TlsEnd::Reset),
        ("mode: body-hang, body: 5, status: 200", ".....", TlsEnd::Silence),
        ("mode: malformed, body: 5, status: 200", "", TlsEnd::Notified),
        ("mode: hang", "", TlsEnd::Silence),
        ("mode: drip, drip: 100ms, body: 5, status: 200", "0\r\n\r\n", TlsEnd::Notified),
    ];
    for (fields, body, expected) in rules {
        let plan = format!("{{faults: [{{name: drill, target: liveness, {fields}}}]}}");
        let service = self_signed(&[("FAULTS", &plan)]).await;
        let (answer, end) = get(service.probe, "/healthz").await;
        assert_eq!(end, expected, "{fields}: {answer:?}");
        assert!(answer.ends_with(body), "{fields}: {answer:?}");
        if fields.contains("mode: close") || fields.contains("mode: hang") || fields.contains("mode: reset") {
            assert_eq!(answer, "", "{fields}");
        }
        assert_eq!(
            service.metric("probesim_faults_injected_total", &["fault=\"drill\""]).await,
            1.0,
            "{fields}"
        );
    }
}

#[tokio::test]
async fn tls_only_answers_plain_http_with_400() {
    let service = self_signed(&[("TLS_ONLY", "true")]).await;
    let reply = service.get("/healthz").await;
    assert_eq!((reply.status(), reply.end), (400, End::Fin));
    assert_eq!(reply.body(), "this port speaks TLS alone; ask it with https://\n");
    let reply = exchange(service.probe, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(reply.bytes.last(), Some(&0xc), "GOAWAY with INADEQUATE_SECURITY");
    assert!(get(service.probe, "/healthz").await.0.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_handshake_is_ended_by_the_limit_of_a_head() {
    let service = self_signed(&[("HEAD_TIMEOUT", "300ms")]).await;
    // The header of a record and a part of a ClientHello.
    for start in [&b"\x16"[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        stream.write_all(start).await.unwrap();
        let reply = crate::support::read_until_silent(&mut stream, PATIENCE).await;
        assert_eq!((reply.bytes.len(), reply.end), (0, End::Fin));
    }
    assert_eq!(service.metric("probesim_limits_hit_total", &["head_time"]).await, 2.0);
}

#[tokio::test]
async fn what_is_no_handshake_gets_an_alert() {
    let service = self_signed(&[]).await;
    for bytes in [&b"\x16GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x00\x05\x05\x00\x00\x01\x00"] {
        let reply = exchange(service.probe, bytes).await;
        assert_eq!((&reply.bytes[..1], reply.bytes[5], reply.end), (&b"\x15"[..], 2, End::Fin), "{reply:?}");
    }
    // Where TLS is off, a handshake is a request that cannot be read.
    let plain = Service::start(&[]).await;
    let mut stream = TcpStream::connect(plain.probe).await.unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await.unwrap();
    let reply = read_to_end(&mut stream).await;
    assert_eq!(reply.status(), 400);
}

#[tokio::test]
async fn a_client_that_leaves_within_tls_counts_as_gone() {
    let service = self_signed(&[("FAULTS", "{faults: [{name: a, target: liveness, mode: hang}]}")]).await;
    let mut stream = connect(service.probe, &[]).await;
    stream.write_all(request("/healthz").as_bytes()).await.unwrap();
    eventually("the fault is injected", || async {
        service.metric("probesim_faults_injected_total", &[]).await == 1.0
    })
    .await;
    stream.shutdown().await.unwrap();
    drop(stream);
    eventually("the client is counted as gone", || async {
        service.metric("probesim_clients_gone_total", &["liveness"]).await == 1.0
    })
    .await;
}

fn plan(fields: &str) -> String {
    format!("{{faults: [{{name: drill, target: listener, {fields}}}]}}")
}

async fn connected(addr: SocketAddr) -> io::Result<()> {
    connect_with(addr, client_config(&Trust::Anyone, &[])).await.map(drop)
}

#[tokio::test]
async fn a_handshake_that_hangs_gets_no_answer_until_the_client_gives_up() {
    let faults = plan("mode: tls-hang");
    let service = self_signed(&[("FAULTS", &faults), ("HEAD_TIMEOUT", "100ms")]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await.end, End::Silence);
    drop(stream);
    eventually("the connection is closed", || async {
        service.metric("probesim_connections", &[]).await == 0.0
    })
    .await;
    assert_eq!(service.metric("probesim_limits_hit_total", &[]).await, 0.0);
    assert_eq!(service.get("/healthz").await.status(), 200, "plain HTTP goes on");
    assert_eq!(service.metric("probesim_listener_up", &[]).await, 1.0);
    let labels = ["fault=\"drill\"", "target=\"listener\""];
    assert_eq!(service.metric("probesim_faults_eligible_total", &labels).await, 1.0);
    let labels = ["fault=\"drill\"", "target=\"listener\"", "mode=\"tls-hang\""];
    assert_eq!(service.metric("probesim_faults_injected_total", &labels).await, 1.0);
}

#[tokio::test]
async fn a_handshake_gets_fin_or_an_alert() {
    for (fields, bytes) in [
        ("mode: tls-close", &b""[..]),
        ("mode: tls-alert", b"\x15\x03\x03\x00\x02\x02\x28"),
        ("mode: tls-alert, alert: unknown_ca", b"\x15\x03\x03\x00\x02\x02\x30"),
        ("mode: tls-alert, alert: 70", b"\x15\x03\x03\x00\x02\x02\x46"),
    ] {
        let service = self_signed(&[("FAULTS", &plan(fields))]).await;
        let mut hello = b"\x16\x03\x01\x02\x00".to_vec();
        hello.resize(517, 0);
        let reply = exchange(service.probe, hello).await;
        assert_eq!((reply.bytes.as_slice(), reply.end), (bytes, End::Fin), "{fields}");
    }
}

#[tokio::test]
async fn wrong_certificates_have_one_flaw_each() {
    for (mode, wrong) in [
        ("tls-expired", "certificate expired"),
        ("tls-wrong-name", "not valid for name"),
        ("tls-untrusted", "UnknownIssuer"),
    ] {
        let faults = plan(&format!("mode: {mode}, when: {{after: 1s}}"));
        let service = self_signed(&[("FAULTS", &faults)]).await;
        // The authority of the good certificate is trusted.
        let stream = connect(service.probe, &[]).await;
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(chain.last().unwrap().clone()).unwrap();
        let trusting = client_config(&Trust::Roots(Arc::new(roots)), &[]);
        connect_with(service.probe, trusting.clone()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let error = connect_with(service.probe, trusting).await.unwrap_err().to_string();
        assert!(error.contains(wrong), "{mode}: {error}");
        // A client that verifies nothing, such as the kubelet, gets its answer.
        let (answer, _) = get(service.probe, "/healthz").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{mode}: {answer}");
        assert_eq!(service.metric("probesim_faults_injected_total", &[mode]).await, 2.0);
    }
}

#[tokio::test]
async fn a_rate_draws_by_the_number_of_the_handshake_and_can_be_replayed() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let service = self_signed(&[("FAULTS", &plan("mode: tls-close, rate: 50%"))]).await;
        let mut outcomes = Vec::new();
        for _ in 0..20 {
            // Requests without TLS take no number.
            service.get("/healthz").await;
            outcomes.push(connected(service.probe).await.is_ok());
        }
        let injected = outcomes.iter().filter(|is_ok| !**is_ok).count();
        assert!((3..=17).contains(&injected), "{outcomes:?}");
        assert_eq!(service.metric("probesim_faults_eligible_total", &["drill"]).await, 20.0);
        assert_eq!(service.metric("probesim_faults_injected_total", &["drill"]).await, injected as f64);
        seen.push(outcomes);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn faults_of_the_handshake_can_spare_networks() {
    let service = self_signed(&[("FAULTS", &plan("mode: tls-close, from: [10.0.0.0/8]"))]).await;
    connected(service.probe).await.unwrap();
    assert_eq!(service.metric("probesim_faults_eligible_total", &["drill"]).await, 0.0);
    let service = self_signed(&[("FAULTS", &plan("mode: tls-close, from: [127.0.0.0/8]"))]).await;
    connected(service.probe).await.unwrap_err();
}

#[test]
fn faults_of_the_handshake_need_tls_and_know_no_requests() {
    for (fields, tls, error) in [
        ("mode: tls-hang", "", "drill: mode: tls-hang needs TLS on the probe listener"),
        (
            "mode: tls-hang, client: kubelet",
            "self-signed",
            "`client` does not go with faults of the TLS handshake",
        ),
        ("mode: tls-hang, when: {requests: {for: 3}}", "self-signed", "use `rate` or a window in time"),
        (
            "mode: tls-hang, alert: unknown_ca",
            "self-signed",
            "alert=\"unknown_ca\": does not go with mode tls-hang",
        ),
        ("mode: tls-alert, alert: oops", "self-signed", "alert=\"oops\""),
        ("mode: tls-hang, delay: 3s", "self-signed", "delay"),
        ("mode: tls-hang, status: 500", "self-signed", "status"),
        ("mode: tls-hang, match: {path: /x}", "self-signed", "match"),
    ] {
        let variables = [("FAULTS", plan(fields)), ("TLS", tls.to_owned())];
        let errors =
            kube_probesim::env::load(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        let errors = errors.map(|_| fields).unwrap_err().to_string();
        assert!(errors.contains(error), "{errors}");
    }
    // Requests do not have them.
    let faults = "{faults: [{name: a, target: liveness, mode: tls-hang}]}";
    let errors = kube_probesim::env::load([("FAULTS".into(), faults.into())].into_iter()).unwrap_err();
    assert!(errors.to_string().contains("only target listener has it"), "{errors}");
}

#[tokio::test]
async fn a_certificate_is_read_again_when_its_files_change_and_a_bad_one_is_not_taken() {
    let authority = Authority::new();
    let (chain, key) = (authority.path("tls.crt"), authority.path("tls.key"));
    let write = |pem: &(String, String)| {
        std::fs::write(&chain, &pem.0).unwrap();
        std::fs::write(&key, &pem.1).unwrap();
    };
    let good = authority.pem(&["localhost"], |_| {});
    write(&good);
    let files = [("TLS_CERT_FILE", chain.to_str().unwrap()), ("TLS_KEY_FILE", key.to_str().unwrap())];
    let service = Service::start(&files).await;
    let shown = || async {
        let stream =
            connect_with(service.probe, client_config(&Trust::of_file(&authority.file()).unwrap(), &[]))
                .await
                .unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let first = shown().await;
    // A key that does not fit, an expired certificate, nothing.
    let expired = authority.pem(&["localhost"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    for bad in [(good.0.clone(), expired.1.clone()), expired, (String::new(), String::new())] {
        write(&bad);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(shown().await, first);
    }
    write(&authority.pem(&["localhost"], |_| {}));
    eventually("the new certificate is shown", || async { shown().await != first }).await;
}

#[test]
fn certificates_that_cannot_be_taken_prevent_the_start_and_say_why() {
    let authority = Authority::new();
    let (chain, key) = authority.pem(&["localhost"], |_| {});
    let other = authority.pem(&["localhost"], |_| {}).1;
    let file = |name: &str, content: &str| {
        let path = authority.path(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (good, good_key) = (file("good.crt", &chain), file("good.key", &key));
    let (empty, other) = (file("empty", ""), file("other.key", &other));
    let broken = file("broken", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
    let folder = authority.path("").to_str().unwrap().to_owned();
    let missing = authority.path("missing").to_str().unwrap().to_owned();
    for (chain, key, error) in [
        (&good, &other, "does not fit the first certificate"),
        (&empty, &good_key, "has no certificate; it has to be a chain in PEM"),
        (&good, &empty, "has no private key"),
        (&good, &good, "has no private key"),
        (&broken, &good_key, "is not PEM"),
        (&folder, &good_key, "is a directory"),
        (&good, &missing, "is not there"),
    ] {
        let config = crate::support::config(&[("TLS_CERT_FILE", chain), ("TLS_KEY_FILE", key)]);
        let kept = kube_probesim::sources::start::EarlierStarts::open(config.files.state.as_deref());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bound = runtime.block_on(async { kube_probesim::server::Server::bind(config, kept) });
        let message = bound.unwrap_err().to_string();
        assert!(message.starts_with("TLS_CERT_FILE: ") && message.contains(error), "{message}");
    }
}

#[tokio::test]
async fn clients_need_a_certificate_where_their_authority_is_given() {
    let authority = Authority::new();
    let service = self_signed(&[("TLS_CLIENT_CA_FILE", authority.file().to_str().unwrap())]).await;
    // In TLS 1.3 the client is done before it is refused.
    let mut stream = connect(service.probe, &[]).await;
    let _ = stream.write_all(request("/healthz").as_bytes()).await;
    let mut bytes = Vec::new();
    let error = stream.read_to_end(&mut bytes).await.unwrap_err().to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
    let config = authority.client_config(&["client"]);
    let mut stream = connect_with(service.probe, config).await.unwrap();
    stream.write_all(request("/healthz").as_bytes()).await.unwrap();
    assert!(read(&mut stream).await.0.starts_with("HTTP/1.1 200"));
    // One of another authority.
    let mut stream = connect_with(service.probe, Authority::new().client_config(&["client"])).await.unwrap();
    let _ = stream.write_all(request("/healthz").as_bytes()).await;
    stream.read_to_end(&mut bytes).await.unwrap_err();
    assert_eq!(service.get("/healthz").await.status(), 200, "plain HTTP goes on");
}

#[tokio::test]
async fn the_admin_listener_speaks_tls_alone_where_it_has_a_certificate() {
    let authority = Authority::new();
    let (chain, key) = authority.pem(&["localhost"], |_| {});
    let (chain_file, key_file) = (authority.path("tls.crt"), authority.path("tls.key"));
    std::fs::write(&chain_file, chain).unwrap();
    std::fs::write(&key_file, key).unwrap();
    let files = [
        ("ADMIN_TLS_CERT_FILE", chain_file.to_str().unwrap()),
        ("ADMIN_TLS_KEY_FILE", key_file.to_str().unwrap()),
    ];
    let service = Service::start_unchecked(&files).await;
    let (answer, _) = get(service.admin, "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(crate::support::get(service.admin, "/healthz").await.status(), 400);
    assert_eq!(service.get("/healthz").await.status(), 200, "the probe listener stays as it is");
}

#[tokio::test]
async fn handshakes_are_counted_by_their_ends_and_the_end_of_the_certificate_is_shown() {
    let service = self_signed(&[("HEAD_TIMEOUT", "300ms")]).await;
    connected(service.probe).await.unwrap();
    // One that is none, one that its client leaves, one that stalls.
    exchange(service.probe, b"\x16GET / HTTP/1.1\r\n\r\n").await;
    let mut leaving = TcpStream::connect(service.probe).await.unwrap();
    leaving.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.unwrap();
    drop(leaving);
    let mut stalled = TcpStream::connect(service.probe).await.unwrap();
    stalled.write_all(b"\x16\x03\x01").await.unwrap();
    read_to_end(&mut stalled).await;
    for result in ["completed", "failed", "gone", "late"] {
        eventually(result, || async {
            service.metric("probesim_tls_handshakes_total", &[&format!("\"{result}\"")]).await == 1.0
        })
        .await;
    }
    let expiry = service.metric("probesim_tls_certificate_expiry_timestamp_seconds", &["\"probe\""]).await;
    let days = (expiry - time::OffsetDateTime::now_utc().unix_timestamp() as f64) / 86_400.0;
    assert!((364.0..=365.0).contains(&days), "{days}");
    let faulty = self_signed(&[("FAULTS", &plan("mode: tls-close"))]).await;
    connected(faulty.probe).await.unwrap_err();
    assert_eq!(faulty.metric("probesim_tls_handshakes_total", &["\"fault\""]).await, 1.0);
    let plain = Service::start(&[]).await;
    assert!(!plain.metrics().await.contains("probesim_tls_"), "TLS is off");
}
