//! Certificates of listeners and of their clients.

use kube_probesim::tls::{CertificateFiles, Validity, validity};
use rustls::pki_types::UnixTime;

use super::*;

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
    // A key that does not match, an expired certificate, nothing.
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
    let cut = file("cut", &chain[..chain.len() / 2]);
    let wrong_order = file("wrong-order", &(authority.pem(&["localhost"], |_| {}).0 + &chain));
    let key_of = |kind: &str, head: &str| {
        format!("-----BEGIN {kind}PRIVATE KEY-----\n{head}AAAA\n-----END {kind}PRIVATE KEY-----\n")
    };
    let unsupported = file("unsupported", &key_of("", ""));
    let encrypted = file("encrypted", &key_of("ENCRYPTED ", ""));
    let old_head = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n";
    let encrypted_before = file("encrypted-before", &key_of("RSA ", old_head));
    let folder = authority.path("").to_str().unwrap().to_owned();
    let missing = authority.path("missing").to_str().unwrap().to_owned();
    for (chain, key, error) in [
        (&good, &other, "TLS_KEY_FILE: the key in "),
        (&good, &other, "does not match the first certificate"),
        (&wrong_order, &good_key, "TLS_CERT_FILE: the key in "),
        (&wrong_order, &good_key, "but number 2; the server's own certificate comes first"),
        (&empty, &good_key, "contains no certificate; a chain in PEM is expected"),
        (&good, &empty, "contains no private key"),
        (&good, &good, "contains no private key"),
        (&good, &encrypted, "is encrypted; decrypt it: openssl pkey"),
        (&good, &encrypted_before, "is encrypted; decrypt it: openssl pkey"),
        (&good, &unsupported, "is not supported; use RSA with 2048 to 8192 bits, ECDSA"),
        (&broken, &good_key, "is not valid PEM: a section is not Base64"),
        (&cut, &good_key, "is not valid PEM: it ends within a section"),
        (&folder, &good_key, "TLS_CERT_FILE: "),
        (&folder, &good_key, "is a directory"),
        (&good, &missing, "TLS_KEY_FILE: "),
        (&good, &missing, "is not there"),
    ] {
        let config = crate::support::config(&[("TLS_CERT_FILE", chain), ("TLS_KEY_FILE", key)]);
        let kept = kube_probesim::sources::start::EarlierStarts::open(config.files.state.as_deref());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bound = runtime.block_on(async { kube_probesim::server::Server::bind(config, kept) });
        let message = bound.unwrap_err().to_string();
        assert!(message.starts_with("TLS_") && message.contains(error), "{message}");
    }
}

#[test]
fn certificates_may_have_text_around_them_and_come_from_editors_of_windows() {
    let authority = Authority::new();
    let (chain, key) = authority.pem_files(&["localhost"]);
    let (pem, key_pem) = (std::fs::read_to_string(&chain).unwrap(), std::fs::read_to_string(&key).unwrap());
    let files = CertificateFiles { chain, key };
    let windows = |pem: &str| format!("\u{feff}{}", pem.replace('\n', "\r\n"));
    for (chain, key) in [
        (windows(&pem), windows(&key_pem)),
        (format!("\n\nsubject=CN = localhost\n{pem}\nissued to us\n"), format!("{pem}{key_pem}")),
        (format!("{key_pem}{pem}{pem}"), key_pem.clone()),
    ] {
        std::fs::write(&files.chain, &chain).unwrap();
        std::fs::write(&files.key, &key).unwrap();
        assert!(files.load().is_ok(), "{chain}{key}: {}", files.load().unwrap_err());
    }
}

#[test]
fn the_validity_of_a_certificate_is_judged_by_both_dates() {
    let authority = Authority::new();
    let (chain, key) = authority.pem_files(&["localhost"]);
    let files = CertificateFiles { chain, key };
    let dates = |from: i32, until: i32| {
        let (chain, key) = authority.pem(&["localhost"], |params| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
        });
        std::fs::write(&files.chain, chain).unwrap();
        std::fs::write(&files.key, key).unwrap();
        let now = Duration::from_secs(1_800_000_000);
        validity(&files.load().unwrap(), UnixTime::since_unix_epoch(now))
    };
    assert_eq!(dates(2020, 2040), Validity::Valid);
    assert_eq!(dates(2020, 2021), Validity::Expired(1_609_459_200));
    assert_eq!(dates(2039, 2040), Validity::NotYetValid(2_177_452_800));
    assert_eq!(dates(2040, 2020), Validity::Never);
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
    let (chain_file, key_file) = authority.pem_files(&["localhost"]);
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
    // Not a handshake, an abandoned one, and a stalled one.
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
