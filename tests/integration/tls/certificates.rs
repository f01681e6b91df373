//! Certificates of listeners.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use kube_probesim::tls::{CertificateFiles, Validity, validity};
use rcgen::CertificateParams;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::*;

/// A mounted Secret, which the kubelet updates by replacing the link `..data`.
struct Secret {
    folder: tempfile::TempDir,
    updates: u32,
}

impl Secret {
    fn new(files: &[(&str, &str)]) -> Self {
        let mut secret = Self { folder: tempfile::tempdir().unwrap(), updates: 0 };
        secret.update(files);
        for (name, _) in files {
            symlink(Path::new("..data").join(name), secret.path(name)).unwrap();
        }
        secret
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn update(&mut self, files: &[(&str, &str)]) {
        self.updates += 1;
        let version = format!("..2026_11_27_12_00_00.{:09}", self.updates);
        std::fs::create_dir(self.path(&version)).unwrap();
        for (name, content) in files {
            std::fs::write(self.path(&version).join(name), content).unwrap();
        }
        symlink(&version, self.path("..data_tmp")).unwrap();
        std::fs::rename(self.path("..data_tmp"), self.path("..data")).unwrap();
    }
}

pub(super) async fn reloads(service: &Service, result: &str) -> f64 {
    service.metric("probesim_tls_certificate_reloads_total", &["\"probe\"", result]).await
}

/// The certificates that the probe listener shows.
async fn shown(service: &Service) -> Vec<CertificateDer<'static>> {
    let stream = connect(service.probe, &[]).await;
    stream.get_ref().1.peer_certificates().unwrap().to_vec()
}

#[tokio::test]
async fn the_certificate_of_a_secret_is_replaced_and_a_bad_one_is_not_taken() {
    let authority = Authority::new();
    let issue = |change: fn(&mut CertificateParams)| authority.pem(&["localhost"], change);
    let (good, other) = (issue(|_| {}), issue(|_| {}));
    let expired = issue(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let early = issue(|params| params.not_before = rcgen::date_time_ymd(2040, 1, 1));
    let never = issue(|params| {
        params.not_before = rcgen::date_time_ymd(2040, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let both = |chain: &str, key: &str| [("tls.crt", chain.to_owned()), ("tls.key", key.to_owned())];
    let mut secret = Secret::new(&[("tls.crt", &good.0), ("tls.key", &good.1)]);
    let (chain, key) = (secret.path("tls.crt"), secret.path("tls.key"));
    let files = [("TLS_CERT_FILE", chain.to_str().unwrap()), ("TLS_KEY_FILE", key.to_str().unwrap())];
    let service = Service::start(&files).await;
    let first = shown(&service).await;
    let halves = [good.0.len() / 2, good.1.len() / 2];
    for (refused, [(_, chain), (_, key)]) in [
        both(&good.0, &other.1),
        both(&expired.0, &expired.1),
        both(&early.0, &early.1),
        both(&never.0, &never.1),
        both("", ""),
        both(&other.0[..halves[0]], &other.1),
        both(&other.0, &other.1[..halves[1]]),
        both(&other.1, &other.0),
    ]
    .into_iter()
    .enumerate()
    {
        secret.update(&[("tls.crt", &chain), ("tls.key", &key)]);
        eventually("the certificate is refused", || async {
            reloads(&service, "error").await > refused as f64
        })
        .await;
        assert_eq!(shown(&service).await, first, "{chain}{key}");
    }
    // The files are removed; then directories are in their place.
    secret.update(&[]);
    eventually("missing files are refused", || async { reloads(&service, "error").await >= 9.0 }).await;
    for path in [&chain, &key] {
        std::fs::remove_file(path).unwrap();
        std::fs::create_dir(path).unwrap();
    }
    eventually("directories are refused", || async { reloads(&service, "error").await >= 10.0 }).await;
    assert_eq!((shown(&service).await, reloads(&service, "ok").await), (first.clone(), 0.0));
    for path in [&chain, &key] {
        std::fs::remove_dir(path).unwrap();
        symlink(Path::new("..data").join(path.file_name().unwrap()), path).unwrap();
    }
    secret.update(&[("tls.crt", &other.0), ("tls.key", &other.1)]);
    eventually("the good certificate is shown", || async { shown(&service).await != first }).await;
    assert_eq!(reloads(&service, "ok").await, 1.0);
}

/// A service that shows a certificate of this authority, and the files of the certificate and of its key.
async fn served(authority: &Authority) -> (Service, PathBuf, PathBuf) {
    let (chain, key) = authority.pem_files(&["localhost"]);
    let files = [("TLS_CERT_FILE", chain.to_str().unwrap()), ("TLS_KEY_FILE", key.to_str().unwrap())];
    (Service::start(&files).await, chain, key)
}

#[tokio::test]
async fn a_certificate_and_its_key_may_be_written_one_after_the_other() {
    let authority = Authority::new();
    let (service, chain, key) = served(&authority).await;
    let first = shown(&service).await;
    let (next, next_key) = authority.pem(&["localhost"], |_| {});
    for part in 1..=10 {
        std::fs::write(&chain, &next[..next.len() * part / 10]).unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    std::fs::write(&key, next_key).unwrap();
    eventually("the new certificate is shown", || async { shown(&service).await != first }).await;
    // Of the same certificate, its chain alone may change.
    let before = shown(&service).await;
    std::fs::write(&chain, next + &std::fs::read_to_string(authority.file()).unwrap()).unwrap();
    eventually("the longer chain is shown", || async { shown(&service).await.len() == 2 }).await;
    assert_eq!(shown(&service).await[0], before[0]);
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_is_used_once_it_is() {
    let authority = Authority::new();
    let (service, chain, key) = served(&authority).await;
    let first = shown(&service).await;
    let soon = time::OffsetDateTime::now_utc() + Duration::from_secs(6);
    let (next, next_key) = authority.pem(&["localhost"], |params| params.not_before = soon);
    std::fs::write(&chain, next).unwrap();
    std::fs::write(&key, next_key).unwrap();
    eventually("it is refused at first", || async { reloads(&service, "error").await >= 1.0 }).await;
    let refused = reloads(&service, "error").await;
    assert_eq!(shown(&service).await, first);
    eventually("it is shown later", || async { shown(&service).await != first }).await;
    assert!(time::OffsetDateTime::now_utc() >= soon - Duration::from_secs(1), "before its time");
    assert_eq!(reloads(&service, "error").await, refused, "counted once");
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
