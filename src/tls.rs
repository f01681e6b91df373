//! TLS 1.2 and 1.3: trust of clients, certificates of servers, and sessions of both.

mod authority;
mod certificate;
mod client;
mod messages;
mod server;
pub(crate) mod session;
mod trust;
mod unverified;
mod verified;

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::{Resumption, WantsClientCert};
use rustls::{ConfigBuilder, crypto::CryptoProvider, crypto::ring};

pub use authority::{Flaw, IssueError};
pub use certificate::{CertificateFileError, CertificateFiles, Validity, validity};
pub use client::{ClientStream, ClientTls, Connector, HandshakeError};
pub use messages::{reason, server_name};
pub use server::ServerTls;
pub use session::Negotiated;
pub use trust::{Trust, TrustError};
use unverified::Unverified;
use verified::Verified;

/// Returns the configuration of a client with this trust. It offers the protocols of `alpn`, the preferred one first.
/// Sessions are not resumed.
pub fn client_config(trust: &Trust, alpn: &[&str]) -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let mut config = with_trust(provider, trust).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn with_trust(provider: Arc<CryptoProvider>, trust: &Trust) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    #[allow(clippy::expect_used, reason = "it fails only if the provider has no suite of these versions")]
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has suites of TLS 1.2 and 1.3");
    match trust {
        Trust::Anyone => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified::new(provider)))
        }
        Trust::Roots(roots) => match Verified::server(provider, roots) {
            Ok(verified) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verified)),
            // Only without any authority, which then trusts nobody.
            Err(_) => builder.with_root_certificates(Arc::clone(roots)),
        },
    }
}
