//! Whom a client trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

use crate::file::{self, FileError, Links};

/// Where systems keep the certificates of those whom they trust; Go looks in the same places.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The largest file of certificates that is read, in bytes: the bundles of systems have a quarter of a MiB.
const MAX_FILE: usize = 4 << 20;

/// Whom a client trusts.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Whoever answers, as the kubelet does: any certificate will do.
    #[default]
    Anyone,
    /// Servers whose certificates one of these issued for their name.
    Roots(Arc<RootCertStore>),
}

/// Why a file of certificates cannot be taken. The message says what would be right.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("{} {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: FileError,
    },
    /// The file is larger than any bundle.
    #[error("{} is larger than {} MiB; it has to be a bundle of certificates in PEM", .0.display(), MAX_FILE >> 20)]
    TooLarge(PathBuf),
    /// The file has no certificate.
    #[error(
        "{} has no certificate; it has to be a bundle in PEM, with -----BEGIN CERTIFICATE----- before each",
        .0.display()
    )]
    Empty(PathBuf),
    /// The system has no bundle where systems have them.
    #[error("no certificates of trusted authorities are at the usual places; name a file in SSL_CERT_FILE")]
    NoBundle,
    /// A name that no certificate could have.
    #[error("{0:?} is not a name that a certificate could have")]
    Name(String),
}

impl Trust {
    /// Trusts the authorities of a file in PEM. Certificates in it that cannot be read are passed over, as Go does.
    pub fn of_file(path: &Path) -> Result<Self, TrustError> {
        Ok(Self::Roots(Arc::new(roots(path)?)))
    }

    /// Trusts the authorities that the system trusts: those of `file` (the value of `SSL_CERT_FILE`), else of the first
    /// of the usual places that exists.
    pub fn of_system(file: Option<&Path>) -> Result<Self, TrustError> {
        let usual = || BUNDLES.into_iter().map(Path::new).find(|path| path.is_file());
        Self::of_file(file.or_else(usual).ok_or(TrustError::NoBundle)?)
    }
}

fn roots(path: &Path) -> Result<RootCertStore, TrustError> {
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
        assert_eq!(roots(&path).unwrap().len(), 2);
    }

    #[test]
    fn a_file_without_certificates_is_refused_with_what_would_be_right() {
        for content in ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let (_folder, path) = file(content);
            let error = Trust::of_file(&path).unwrap_err().to_string();
            assert!(error.contains("has no certificate; it has to be a bundle in PEM"), "{error}");
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
