//! Certificates of clients.

use rcgen::CertificateParams;
use rustls::SupportedProtocolVersion;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::certificates::reloads;
use super::*;

/// Whether a client with this certificate gets an answer.
async fn is_accepted(service: &Service, config: Arc<ClientConfig>) -> bool {
    get_with(service, config).await.is_ok()
}

/// The answer to a client, or how it was refused. In TLS 1.3, it is done with the handshake before it is refused.
async fn get_with(service: &Service, config: Arc<ClientConfig>) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let mut stream = connect_with(service.probe, config).await.map_err(text)?;
    let _ = stream.write_all(request("/healthz").as_bytes()).await;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map_err(text)?;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    Ok(())
}

/// A client of these versions that trusts `authority`.
fn client_of(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    certified: Option<CertifiedKey>,
) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(Trust::roots_of_file(&authority.file()).unwrap())
        .with_no_client_auth();
    if let Some(certified) = certified {
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    }
    Arc::new(config)
}

#[tokio::test]
async fn clients_need_a_valid_certificate_where_their_authority_is_given() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (chain, key) = authority.pem_files(&["localhost"]);
    let service = Service::start(&[
        ("TLS_CERT_FILE", chain.to_str().unwrap()),
        ("TLS_KEY_FILE", key.to_str().unwrap()),
        ("TLS_CLIENT_CA_FILE", authority.file().to_str().unwrap()),
    ])
    .await;
    let issue = |change: fn(&mut CertificateParams)| Some(authority.certified(&["client"], change));
    let expired = issue(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let early = issue(|params| params.not_before = rcgen::date_time_ymd(2040, 1, 1));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (certified, refused) in [
            (issue(|_| {}), None),
            (expired.clone(), Some("CertificateExpired")),
            (early.clone(), Some("CertificateExpired")),
            // Of an authority of the same name, with another key.
            (Some(stranger.certified(&["client"], |_| {})), Some("DecryptError")),
            (None, Some("CertificateRequired")),
        ] {
            let failed = service.metric("probesim_tls_handshakes_total", &["failed"]).await;
            let answered = get_with(&service, client_of(&authority, &[version], certified)).await;
            match (refused, &answered) {
                (None, Ok(())) => continue,
                (Some(alert), Err(error)) => assert!(error.contains(alert), "{version:?}: {error}"),
                _ => panic!("{version:?}, {refused:?}: {answered:?}"),
            }
            eventually("it is counted", || async {
                service.metric("probesim_tls_handshakes_total", &["failed"]).await == failed + 1.0
            })
            .await;
        }
    }
    assert_eq!(service.get("/healthz").await.status(), 200, "plain HTTP goes on");
}

#[tokio::test]
async fn a_self_signed_certificate_of_a_client_may_be_given_itself() {
    let (authority, clients) = (Authority::new(), tempfile::tempdir().unwrap());
    let file = clients.path().join("clients.pem");
    let issue = |until: i32| {
        let mut params = CertificateParams::new(["client".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let signer = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let chain = vec![certificate.der().clone()];
        (certificate.pem(), CertifiedKey::from_der(chain, signer, &ring::default_provider()).unwrap())
    };
    let (good, expired, stranger) = (issue(2040), issue(2001), issue(2040));
    std::fs::write(&file, good.0 + &expired.0).unwrap();
    let (chain, key) = authority.pem_files(&["localhost"]);
    let service = Service::start(&[
        ("TLS_CERT_FILE", chain.to_str().unwrap()),
        ("TLS_KEY_FILE", key.to_str().unwrap()),
        ("TLS_CLIENT_CA_FILE", file.to_str().unwrap()),
    ])
    .await;
    for (certified, accepted) in [(good.1, true), (expired.1, false), (stranger.1, false)] {
        let client = client_of(&authority, rustls::DEFAULT_VERSIONS, Some(certified));
        assert_eq!(get_with(&service, client).await.is_ok(), accepted);
    }
}

#[tokio::test]
async fn the_authorities_of_clients_are_read_again() {
    let (old, new) = (Authority::new(), Authority::new());
    let file = old.file();
    let service = self_signed(&[("TLS_CLIENT_CA_FILE", file.to_str().unwrap())]).await;
    assert!(is_accepted(&service, old.client_config(&["client"])).await);
    assert!(!is_accepted(&service, new.client_config(&["client"])).await);
    std::fs::write(&file, "no certificate").unwrap();
    eventually("nothing is refused", || async { reloads(&service, "error").await == 1.0 }).await;
    assert!(is_accepted(&service, old.client_config(&["client"])).await);
    std::fs::copy(new.file(), &file).unwrap();
    eventually("the new authority is used", || async {
        is_accepted(&service, new.client_config(&["client"])).await
    })
    .await;
    assert!(!is_accepted(&service, old.client_config(&["client"])).await);
    assert_eq!(reloads(&service, "ok").await, 1.0);
}
