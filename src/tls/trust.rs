//! Authorities that a client trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

use crate::file::{self, FileError, Links};

/// Usual locations of the system's certificate bundle; Go uses the same.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Size limit of a certificate bundle, in bytes. Those of systems are about 256 KiB.
const MAX_FILE: usize = 4 << 20;

/// Servers that a client trusts.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Any server: certificates are not verified, as by the kubelet.
    #[default]
    Anyone,
    /// Servers with a certificate for their name, issued by one of these authorities.
    Roots(Arc<RootCertStore>),
}

/// Why a certificate bundle cannot be used. The message says what is expected.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("{} {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: FileError,
    },
    /// The file is too large for a bundle.
    #[error("{} is larger than {} MiB; a certificate bundle in PEM is expected", .0.display(), MAX_FILE >> 20)]
    TooLarge(PathBuf),
    /// The file contains no certificate.
    #[error(
        "{} contains no certificate; a bundle in PEM is expected, with -----BEGIN CERTIFICATE----- before each",
        .0.display()
    )]
    Empty(PathBuf),
    /// The system has no bundle in the usual locations.
    #[error("the system has no bundle of trusted certificates; set SSL_CERT_FILE to one")]
    NoBundle,
    /// The host's name is invalid.
    #[error("{0:?} is not a valid host name for TLS")]
    Name(String),
}

impl Trust {
    /// Trusts the authorities of a PEM file. Invalid certificates in it are ignored, as by Go.
    pub fn of_file(path: &Path) -> Result<Self, TrustError> {
        Ok(Self::Roots(Arc::new(Self::roots_of_file(path)?)))
    }

    /// The authorities of a PEM file. Invalid certificates in it are ignored, as by Go.
    pub fn roots_of_file(path: &Path) -> Result<RootCertStore, TrustError> {
        let pem = file::read(path, MAX_FILE, Links::Follow).map_err(|error| match error {
            FileError::TooLarge(_) => TrustError::TooLarge(path.to_owned()),
            error => TrustError::Read { path: path.to_owned(), error },
        })?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
        if roots.is_empty() {
            return Err(TrustError::Empty(path.to_owned()));
        }
        Ok(roots)
    }

    /// Trusts the system's authorities: those of `file` (the value of `SSL_CERT_FILE`), or else of the first bundle in the
    /// usual locations.
    pub fn of_system(file: Option<&Path>) -> Result<Self, TrustError> {
        let usual = || BUNDLES.into_iter().map(Path::new).find(|path| path.is_file());
        Self::of_file(file.or_else(usual).ok_or(TrustError::NoBundle)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> String {
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem()
    }

    fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn a_bundle_may_have_text_and_broken_certificates_beside_good_ones() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let (_folder, path) = file(&format!("# ours\n{}{broken}{}", certificate(), certificate()));
        assert_eq!(Trust::roots_of_file(&path).unwrap().len(), 2);
    }

    #[test]
    fn a_file_without_certificates_is_rejected_and_the_message_says_what_is_expected() {
        for content in ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let (_folder, path) = file(content);
            let error = Trust::of_file(&path).unwrap_err().to_string();
            assert!(error.contains("contains no certificate; a bundle in PEM is expected"), "{error}");
        }
        let (folder, path) = file("");
        let error = Trust::of_file(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("is a directory"), "{error}");
        let error = Trust::of_file(&path.with_extension("gone")).unwrap_err().to_string();
        assert!(error.contains("ca.gone is not there"), "{error}");
        let (_folder, path) = file(&"x".repeat(MAX_FILE + 1));
        assert!(matches!(Trust::of_file(&path), Err(TrustError::TooLarge(_))));
    }
}
