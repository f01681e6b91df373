//! Verifies certificates against trusted ones.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use webpki::anchor_from_trusted_cert;

/// Accepts peers with a certificate of a trusted authority, and peers that show a certificate with the subject and key of
/// that authority. `openssl req -x509` makes such a certificate, and webpki rejects it. Its extended key usage is not
/// checked.
#[derive(Debug)]
pub(super) struct Verified<V: ?Sized> {
    by_authority: Arc<V>,
    roots: Arc<RootCertStore>,
}

impl Verified<WebPkiServerVerifier> {
    pub(super) fn server(provider: Arc<CryptoProvider>, roots: &Arc<RootCertStore>) -> Result<Self, Error> {
        let by_authority = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider).build();
        let by_authority = by_authority.map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { by_authority, roots: roots.clone() })
    }
}

impl Verified<dyn ClientCertVerifier> {
    pub(super) fn client(provider: Arc<CryptoProvider>, roots: &Arc<RootCertStore>) -> Result<Self, Error> {
        let by_authority = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider).build();
        let by_authority = by_authority.map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { by_authority, roots: roots.clone() })
    }
}

/// Whether an error is only that the certificate is an authority's, and an authority with its subject and key is trusted.
/// Not one with name constraints: they would not be applied to the names of the certificate itself.
fn is_trusted_itself(error: &Error, certificate: &CertificateDer<'_>, roots: &RootCertStore) -> bool {
    matches!(error, Error::InvalidCertificate(error) if is_of_authority(error))
        && anchor_from_trusted_cert(certificate)
            .is_ok_and(|anchor| anchor.name_constraints.is_none() && roots.roots.contains(&anchor.to_owned()))
}

/// Whether a certificate is rejected since it is an authority's. Its dates have been checked before.
pub(super) fn is_of_authority(error: &CertificateError) -> bool {
    let CertificateError::Other(other) = error else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

impl ServerCertVerifier for Verified<WebPkiServerVerifier> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.by_authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(error) if is_trusted_itself(&error, end_entity, &self.roots) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Verified<dyn ClientCertVerifier> {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by_authority.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.by_authority.verify_client_cert(end_entity, intermediates, now) {
            Err(error) if is_trusted_itself(&error, end_entity, &self.roots) => {
                Ok(ClientCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}
