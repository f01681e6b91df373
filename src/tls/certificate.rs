//! Reads the certificate and key of a server from PEM files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};
use thiserror::Error;

use crate::file::{self, FileError, Links};

/// Size limit of a certificate or key file, in bytes.
const MAX_FILE: usize = 1 << 20;

/// A certificate file and its key file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate chain, the server's own certificate first.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why a certificate cannot be used. The message says what is expected.
#[derive(Debug, Error)]
pub enum CertificateFileError {
    /// A file cannot be read.
    #[error("{} {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: FileError,
    },
    /// The file contains no certificate.
    #[error("{} contains no certificate; a chain in PEM is expected, the server's own certificate first", .0.display())]
    NoCertificate(PathBuf),
    /// The file contains no private key.
    #[error("{} contains no private key; an unencrypted one in PEM is expected (PKCS #8, PKCS #1 or SEC 1)", .0.display())]
    NoKey(PathBuf),
    /// The file is not valid PEM.
    #[error("{} is not valid PEM: {error}", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: pem::Error,
    },
    /// The first certificate cannot be parsed.
    #[error("cannot parse the first certificate in {}: {error}", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: Error,
    },
    /// The key type is not supported.
    #[error("the key in {} is not supported: {error}; use RSA with at least 2048 bits, ECDSA P-256 or P-384, or Ed25519", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: Error,
    },
    /// The key belongs to another certificate.
    #[error("the key in {} does not match the first certificate in {}", .key.display(), .chain.display())]
    Mismatch {
        /// The certificate file.
        chain: PathBuf,
        /// The key file.
        key: PathBuf,
    },
}

/// Whether a certificate is valid at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Between its two dates.
    Valid,
    /// Expired at this time, in seconds since 1970.
    Expired(u64),
    /// Valid from this time on, in seconds since 1970.
    NotYetValid(u64),
}

impl CertificateFiles {
    /// Reads both files, and checks that the key matches the certificate.
    ///
    /// # Errors
    ///
    /// A file cannot be read or parsed, or the key does not match.
    pub fn load(&self) -> Result<CertifiedKey, CertificateFileError> {
        let (chain, key) = (&self.chain, &self.key);
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(chain)?)
            .collect::<Result<_, _>>()
            .map_err(|error| CertificateFileError::Pem { path: chain.clone(), error })?;
        let Some(first) = certificates.first() else {
            return Err(CertificateFileError::NoCertificate(chain.clone()));
        };
        ParsedCertificate::try_from(first)
            .map_err(|error| CertificateFileError::Certificate { path: chain.clone(), error })?;
        let private_key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| match error {
            pem::Error::NoItemsFound => CertificateFileError::NoKey(key.clone()),
            error => CertificateFileError::Pem { path: key.clone(), error },
        })?;
        CertifiedKey::from_der(certificates, private_key, &ring::default_provider()).map_err(|error| {
            match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    CertificateFileError::Mismatch { chain: chain.clone(), key: key.clone() }
                }
                error => CertificateFileError::Key { path: key.clone(), error },
            }
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateFileError> {
    file::read(path, MAX_FILE, Links::Follow)
        .map_err(|error| CertificateFileError::Read { path: path.to_owned(), error })
}

/// Returns the validity of a server's certificate at `now`.
pub fn validity(certified: &CertifiedKey, now: UnixTime) -> Validity {
    let Some(Ok(parsed)) = certified.cert.first().map(ParsedCertificate::try_from) else {
        return Validity::Valid;
    };
    // The empty store makes verification fail, but the dates are checked first.
    let (no_roots, algorithms) =
        (RootCertStore::empty(), ring::default_provider().signature_verification_algorithms);
    match verify_server_cert_signed_by_trust_anchor(&parsed, &no_roots, &[], now, algorithms.all) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Validity::Expired(not_after.as_secs())
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
            Validity::NotYetValid(not_before.as_secs())
        }
        _ => Validity::Valid,
    }
}

/// Returns when a server's certificate expires, in seconds since 1970.
pub(super) fn not_after(certified: &CertifiedKey) -> u64 {
    // The latest date that a certificate can contain (RFC 5280, section 4.1.2.5).
    const LAST: u64 = 253_402_300_799;
    match validity(certified, UnixTime::since_unix_epoch(Duration::from_secs(LAST))) {
        Validity::Expired(not_after) => not_after,
        _ => LAST,
    }
}

/// Returns the DNS names of a server's certificate.
pub(super) fn names(certified: &CertifiedKey) -> Vec<String> {
    let Some(Ok(parsed)) = certified.cert.first().map(webpki::EndEntityCert::try_from) else {
        return Vec::new();
    };
    parsed.valid_dns_names().map(str::to_owned).collect()
}
