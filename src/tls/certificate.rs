//! Reads the certificate and key of a server from PEM files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore};
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
    /// The private key is encrypted.
    #[error("the key in {} is encrypted; decrypt it: openssl pkey -in {} -out …", .0.display(), .0.display())]
    Encrypted(PathBuf),
    /// The file contains no private key.
    #[error("{} contains no private key; an unencrypted one in PEM is expected (PKCS #8, PKCS #1 or SEC 1)", .0.display())]
    NoKey(PathBuf),
    /// The file is not valid PEM.
    #[error("{} is not valid PEM: {why}", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The cause.
        why: &'static str,
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
    #[error("the key in {} is not supported; use RSA with 2048 to 8192 bits, ECDSA P-256 or P-384, or Ed25519", .0.display())]
    Key(PathBuf),
    /// The key belongs to another certificate.
    #[error("the key in {} does not match the first certificate in {}{}", .key.display(), .chain.display(), order(*.position))]
    Mismatch {
        /// The certificate file.
        chain: PathBuf,
        /// The key file.
        key: PathBuf,
        /// Which certificate of the chain it matches, if any; the first is 1.
        position: Option<usize>,
    },
}

fn order(position: Option<usize>) -> String {
    position.map_or_else(String::new, |position| {
        format!(", but number {position}; the server's own certificate comes first")
    })
}

impl CertificateFileError {
    /// Whether the file of the key is at fault, or does not fit the other one.
    pub fn is_of_key(&self, files: &CertificateFiles) -> bool {
        match self {
            Self::Read { path, .. } | Self::Pem { path, .. } => *path == files.key && *path != files.chain,
            Self::Encrypted(_) | Self::NoKey(_) | Self::Key(_) => true,
            Self::Mismatch { position, .. } => position.is_none(),
            Self::NoCertificate(_) | Self::Certificate { .. } => false,
        }
    }
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
    /// Never: its end is before its start.
    Never,
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
            .map_err(|error| invalid_pem(chain, &error))?;
        let Some(first) = certificates.first() else {
            return Err(CertificateFileError::NoCertificate(chain.clone()));
        };
        ParsedCertificate::try_from(first)
            .map_err(|error| CertificateFileError::Certificate { path: chain.clone(), error })?;
        let content = read(key)?;
        let private_key = PrivateKeyDer::from_pem_slice(&content).map_err(|error| match error {
            _ if is_encrypted(&content) => CertificateFileError::Encrypted(key.clone()),
            pem::Error::NoItemsFound => CertificateFileError::NoKey(key.clone()),
            error => invalid_pem(key, &error),
        })?;
        let signer = ring::default_provider()
            .key_provider
            .load_private_key(private_key)
            .map_err(|_| CertificateFileError::Key(key.clone()))?;
        let fits = |certificate: &CertificateDer<'static>| {
            CertifiedKey::new(vec![certificate.clone()], signer.clone()).keys_match().is_ok()
        };
        match certificates.iter().position(fits) {
            Some(0) => Ok(CertifiedKey::new(certificates, signer)),
            other => Err(CertificateFileError::Mismatch {
                chain: chain.clone(),
                key: key.clone(),
                position: other.map(|index| index + 1),
            }),
        }
    }
}

/// Whether a file contains an encrypted key: of PKCS #8, or in the form that OpenSSL used before.
fn is_encrypted(pem: &[u8]) -> bool {
    [&b"-----BEGIN ENCRYPTED PRIVATE KEY-----"[..], b"Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| pem.windows(mark.len()).any(|part| part == *mark))
}

fn invalid_pem(path: &Path, error: &pem::Error) -> CertificateFileError {
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => "it ends within a section, before its -----END line",
        pem::Error::IllegalSectionStart { .. } => "a -----BEGIN line is malformed",
        pem::Error::Base64Decode(_) => "a section is not Base64",
        _ => "it cannot be parsed",
    };
    CertificateFileError::Pem { path: path.to_owned(), why }
}

/// Reads a file without the byte order mark that some editors write.
fn read(path: &Path) -> Result<Vec<u8>, CertificateFileError> {
    let mut content = file::read(path, MAX_FILE, Links::Follow)
        .map_err(|error| CertificateFileError::Read { path: path.to_owned(), error })?;
    if content.starts_with(b"\xef\xbb\xbf") {
        content.drain(..3);
    }
    Ok(content)
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
        // Without the dates: they contradict each other.
        Err(Error::InvalidCertificate(CertificateError::Expired)) => Validity::Never,
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
