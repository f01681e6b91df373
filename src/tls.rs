//! TLS 1.2 and 1.3: whom a client trusts, what a server shows, and the settings of both.

mod authority;
mod certificate;
mod client;
mod server;
pub(crate) mod session;
mod trust;
mod unverified;
mod words;

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::{Resumption, WantsClientCert};
use rustls::{ConfigBuilder, crypto::CryptoProvider, crypto::ring};

pub use authority::{Flaw, IssueError};
pub use certificate::{CertificateFileError, CertificateFiles, Validity, validity};
pub use client::{ClientStream, ClientTls, Connector, HandshakeError};
pub use server::ServerTls;
pub use session::Negotiated;
pub use trust::{Trust, TrustError};
use unverified::Unverified;
pub use words::{reason, server_name};

/// The settings of a client that trusts as `trust` says and offers the protocols of `alpn`, the preferred one first.
/// Nothing is kept from one connection to the next.
pub fn client_config(trust: &Trust, alpn: &[&str]) -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let mut config = with_trust(provider, trust).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn with_trust(provider: Arc<CryptoProvider>, trust: &Trust) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    // The versions are those that the provider has suites for, so this cannot fail.
    #[allow(clippy::expect_used, reason = "the provider is a constant of ours")]
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has suites of TLS 1.2 and 1.3");
    match trust {
        Trust::Anyone => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified::new(provider)))
        }
        Trust::Roots(roots) => builder.with_root_certificates(Arc::clone(roots)),
    }
}
