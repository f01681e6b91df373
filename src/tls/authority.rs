//! Issues certificates: for servers without a configured one, and faulty ones for faults of the handshake.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, Issuer, KeyPair};
use rcgen::{ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use time::OffsetDateTime;

/// Validity before and after the time of issue.
const VALID_BEFORE: Duration = Duration::from_secs(24 * 3600);
const VALID_AFTER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A name that never resolves (RFC 6761).
const WRONG_NAME: &str = "wrong-name.invalid";

/// The flaw of a faulty certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It expired yesterday.
    Expired,
    /// Its only name is one that never resolves.
    WrongName,
    /// Its issuer is unknown to all clients.
    Untrusted,
}

/// A certificate cannot be issued.
#[derive(Debug, Error)]
pub enum IssueError {
    /// A name is invalid, or the system has no randomness.
    #[error("cannot issue a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The key cannot be used.
    #[error("cannot issue a certificate: {0}")]
    Key(#[from] rustls::Error),
}

/// A certificate authority for one server.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    /// Creates an authority. Its key (ECDSA P-256) exists only in this value.
    pub(super) fn new(common_name: &str) -> Result<Self, IssueError> {
        let now = OffsetDateTime::now_utc();
        let mut params = CertificateParams::default();
        params.distinguished_name = name(common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Valid earlier than any certificate that it issues.
        params.not_before = now - 3 * VALID_BEFORE;
        params.not_after = now + VALID_AFTER;
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Issues a certificate for hosts and IP addresses, with a flaw if one is given.
    pub(super) fn issue(&self, names: &[String], flaw: Option<Flaw>) -> Result<CertifiedKey, IssueError> {
        let now = OffsetDateTime::now_utc();
        let names = if flaw == Some(Flaw::WrongName) { vec![WRONG_NAME.to_owned()] } else { names.to_vec() };
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = name("kube-probesim");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = match flaw {
            Some(Flaw::Expired) => (now - 2 * VALID_BEFORE, now - VALID_BEFORE),
            _ => (now - VALID_BEFORE, now + VALID_AFTER),
        };
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![certificate, self.certificate.clone()];
        Ok(CertifiedKey::from_der(chain, key, &ring::default_provider())?)
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}
