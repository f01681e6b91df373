//! Taking any certificate, as the kubelet does.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// Takes any certificate. That the server holds its key is still checked, as Go does, if the kind of key is known here.
#[derive(Debug)]
pub(super) struct Unverified(Arc<CryptoProvider>);

impl Unverified {
    pub(super) const fn new(provider: Arc<CryptoProvider>) -> Self {
        Self(provider)
    }
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let checked = verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms);
        unless_wrong(&checked, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let checked = verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms);
        unless_wrong(&checked, dss)
    }

    /// Those that Go offers, in its order. Of them, ring does not know P-521.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        use SignatureScheme as S;
        vec![
            S::RSA_PSS_SHA256,
            S::ECDSA_NISTP256_SHA256,
            S::ED25519,
            S::RSA_PSS_SHA384,
            S::RSA_PSS_SHA512,
            S::RSA_PKCS1_SHA256,
            S::RSA_PKCS1_SHA384,
            S::RSA_PKCS1_SHA512,
            S::ECDSA_NISTP384_SHA384,
            S::ECDSA_NISTP521_SHA512,
        ]
    }
}

/// Passes over what cannot be checked here and can in Go: certificates of version 1, and keys that ring does not take.
fn unless_wrong(
    checked: &Result<HandshakeSignatureValid, Error>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    match checked {
        Err(Error::InvalidCertificate(CertificateError::BadSignature)) if !is_short_rsa(dss) => {
            Err(Error::General("invalid signature by the server certificate".to_owned()))
        }
        _ => Ok(HandshakeSignatureValid::assertion()),
    }
}

/// Whether the key is of RSA with less than 2048 bits: a signature is as long as its key.
fn is_short_rsa(dss: &DigitallySignedStruct) -> bool {
    use SignatureScheme as S;
    let is_rsa = matches!(
        dss.scheme,
        S::RSA_PSS_SHA256
            | S::RSA_PSS_SHA384
            | S::RSA_PSS_SHA512
            | S::RSA_PKCS1_SHA256
            | S::RSA_PKCS1_SHA384
            | S::RSA_PKCS1_SHA512
    );
    is_rsa && dss.signature().len() < 256
}
