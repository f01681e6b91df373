//! Certificates of a test authority.

use std::path::PathBuf;
use std::sync::Arc;

use kube_probesim::tls::{Trust, client_config};
use rcgen::{Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};

/// A test authority, as a PEM file.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A server for these names, valid as `params` says.
    pub(crate) fn config(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
        self.config_of(names, change, rustls::DEFAULT_VERSIONS)
    }

    pub(crate) fn config_of(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        let (certificate, key) = self.issue(names, change);
        config_with(certificate.der().clone(), &key, versions)
    }

    fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (Certificate, KeyPair) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A certificate for these names and its key, in PEM.
    pub(crate) fn pem(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> (String, String) {
        let (certificate, key) = self.issue(names, change);
        (certificate.pem(), key.serialize_pem())
    }

    /// Files with a certificate for these names and with its key.
    pub(crate) fn pem_files(&self, names: &[&str]) -> (PathBuf, PathBuf) {
        let (chain, key) = self.pem(names, |_| {});
        let files = (self.path("tls.crt"), self.path("tls.key"));
        std::fs::write(&files.0, chain).unwrap();
        std::fs::write(&files.1, key).unwrap();
        files
    }

    /// A client with a certificate for these names, which verifies no server.
    pub(crate) fn client_config(&self, names: &[&str]) -> Arc<ClientConfig> {
        let mut config = (*client_config(&Trust::Anyone, &[])).clone();
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(self.certified(names, |_| {})));
        Arc::new(config)
    }

    /// A certificate for these names, with its key.
    pub(crate) fn certified(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertifiedKey {
        let (certificate, key) = self.issue(names, change);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        CertifiedKey::from_der(vec![certificate.der().clone()], key, &ring::default_provider()).unwrap()
    }

    /// A place for a file beside its own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

pub(crate) fn config_with(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}
