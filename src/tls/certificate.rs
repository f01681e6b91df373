//! The certificate of a server, as two files in PEM have it.

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

/// The largest file of a certificate or key that is read, in bytes.
const MAX_FILE: usize = 1 << 20;

/// A certificate in a file, with the key in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the server's own certificate first.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why a certificate cannot be taken. The message says what would be right.
#[derive(Debug, Error)]
pub enum CertificateFileError {
    /// A file cannot be read.
    #[error("{} {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: FileError,
    },
    /// There is no certificate in the file.
    #[error("{} has no certificate; it has to be a chain in PEM, the server's own certificate first", .0.display())]
    NoCertificate(PathBuf),
    /// There is no private key in the file.
    #[error("{} has no private key; it has to be one in PEM (PKCS #8, PKCS #1 or SEC 1), not encrypted", .0.display())]
    NoKey(PathBuf),
    /// The text is no PEM.
    #[error("{} is not PEM: {error}", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        error: pem::Error,
    },
    /// The certificate cannot be read.
    #[error("the first certificate in {} cannot be read: {error}", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        error: Error,
    },
    /// The key is of a kind that is not supported.
    #[error("the key in {} cannot be used: {error}; RSA of 2048 bits or more, ECDSA P-256 or P-384, or Ed25519 can", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        error: Error,
    },
    /// The key belongs to another certificate.
    #[error("the key in {} does not fit the first certificate in {}", .key.display(), .chain.display())]
    Mismatch {
        /// The file of the certificate.
        chain: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
}

/// How the time stands to a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Between its two dates.
    Valid,
    /// After the later one, in seconds since 1970.
    Expired(u64),
    /// Before the earlier one, in seconds since 1970.
    NotYetValid(u64),
}

impl CertificateFiles {
    /// Reads both files, and checks that they go together.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or has something else in it, or they do not go together.
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
        let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| match error {
            pem::Error::NoItemsFound => CertificateFileError::NoKey(key.clone()),
            error => CertificateFileError::Pem { path: key.clone(), error },
        })?;
        CertifiedKey::from_der(certificates, private, &ring::default_provider()).map_err(
            |error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    CertificateFileError::Mismatch { chain: chain.clone(), key: key.clone() }
                }
                error => CertificateFileError::Key { path: key.clone(), error },
            },
        )
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateFileError> {
    file::read(path, MAX_FILE, Links::Follow)
        .map_err(|error| CertificateFileError::Read { path: path.to_owned(), error })
}

/// Whether a server's certificate is valid at `now`.
pub fn validity(certified: &CertifiedKey, now: UnixTime) -> Validity {
    let Some(Ok(parsed)) = certified.cert.first().map(ParsedCertificate::try_from) else {
        return Validity::Valid;
    };
    // Nobody is trusted, so it fails; dates are looked at before trust is.
    let (nobody, algorithms) =
        (RootCertStore::empty(), ring::default_provider().signature_verification_algorithms);
    match verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], now, algorithms.all) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Validity::Expired(not_after.as_secs())
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
            Validity::NotYetValid(not_before.as_secs())
        }
        _ => Validity::Valid,
    }
}

/// When a server's certificate expires, in seconds since 1970.
pub(super) fn not_after(certified: &CertifiedKey) -> u64 {
    // The last second that the date of a certificate can have (RFC 5280, section 4.1.2.5).
    const LAST: u64 = 253_402_300_799;
    match validity(certified, UnixTime::since_unix_epoch(Duration::from_secs(LAST))) {
        Validity::Expired(not_after) => not_after,
        _ => LAST,
    }
}

/// The names of hosts that a server's certificate is for.
pub(super) fn names(certified: &CertifiedKey) -> Vec<String> {
    let Some(Ok(parsed)) = certified.cert.first().map(webpki::EndEntityCert::try_from) else {
        return Vec::new();
    };
    parsed.valid_dns_names().map(str::to_owned).collect()
}
