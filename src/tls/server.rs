//! TLS of a server: its certificate, which can be exchanged while it serves, and those that are wrong on purpose.

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};

use super::authority::{Authority, Flaw, IssueError};
use super::certificate::{names, not_after};
use crate::order;

/// The name of the authority whose certificates are good.
const NAME: &str = "kube-probesim CA";

/// The settings of a server's TLS. Clones share them.
#[derive(Clone)]
pub struct ServerTls(Arc<Shared>);

struct Shared {
    provider: Arc<CryptoProvider>,
    /// Those who issue certificates of clients; `None` where clients are asked for none.
    client_roots: Option<Arc<RootCertStore>>,
    alpn: Vec<Vec<u8>>,
    /// The hosts and addresses of the server.
    names: Vec<String>,
    /// Who has issued the present certificate, or issues what is wrong on purpose.
    authority: OnceLock<Authority>,
    present: RwLock<Present>,
}

struct Present {
    config: Arc<ServerConfig>,
    /// What the certificate is for.
    names: Vec<String>,
    /// When it expires, in seconds since 1970.
    not_after: u64,
    /// By [`Flaw`], made when they are first needed.
    flawed: [Option<Arc<ServerConfig>>; 3],
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl ServerTls {
    /// A server with a certificate of its own. Clients may choose among the protocols of `alpn`; without a certificate of
    /// one of `client_roots`, where they are given, a client is refused. `names` are the hosts and addresses of the server.
    ///
    /// # Errors
    ///
    /// The roots are none.
    pub fn new(
        certified: CertifiedKey,
        client_roots: Option<Arc<RootCertStore>>,
        alpn: &[&str],
        names: Vec<String>,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let alpn: Vec<Vec<u8>> = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let present = RwLock::new(present(&provider, client_roots.as_ref(), &alpn, certified)?);
        let authority = OnceLock::new();
        Ok(Self(Arc::new(Shared { provider, client_roots, alpn, names, authority, present })))
    }

    /// A server with a certificate that is made here, for `names`.
    ///
    /// # Errors
    ///
    /// A name is none, or the system has no randomness.
    pub fn self_signed(
        client_roots: Option<Arc<RootCertStore>>,
        alpn: &[&str],
        names: Vec<String>,
    ) -> Result<Self, IssueError> {
        let authority = Authority::new(NAME)?;
        let tls = Self::new(authority.issue(&names, None)?, client_roots, alpn, names)?;
        let _ = tls.0.authority.set(authority);
        Ok(tls)
    }

    /// The settings for the next connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.present().config.clone()
    }

    /// When the present certificate expires, in seconds since 1970.
    pub fn not_after(&self) -> u64 {
        self.present().not_after
    }

    /// Takes another certificate for connections from now on.
    ///
    /// # Errors
    ///
    /// None that did not show when the server was made.
    pub fn replace(&self, certified: CertifiedKey) -> Result<(), rustls::Error> {
        let Shared { provider, client_roots, alpn, .. } = &*self.0;
        let next = present(provider, client_roots.as_ref(), alpn, certified)?;
        *self.0.present.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// The settings for a connection that gets a wrong certificate: but for its flaw, one for the same hosts. Where the
    /// server's own certificate was made here, clients that trust its authority see that flaw alone.
    ///
    /// # Errors
    ///
    /// The system has no randomness.
    pub fn flawed(&self, flaw: Flaw) -> Result<Arc<ServerConfig>, IssueError> {
        let mut names = self.0.names.clone();
        {
            let present = self.present();
            if let Some(made) = &present.flawed[flaw as usize] {
                return Ok(made.clone());
            }
            names.extend(present.names.iter().cloned());
        }
        order::sort(&mut names);
        names.dedup();
        let certified = match flaw {
            Flaw::Untrusted => Authority::new("kube-probesim unknown CA")?.issue(&names, None)?,
            flaw => self.authority()?.issue(&names, Some(flaw))?,
        };
        let Shared { provider, client_roots, alpn, .. } = &*self.0;
        let made = present(provider, client_roots.as_ref(), alpn, certified)?.config;
        self.0.present.write().unwrap_or_else(PoisonError::into_inner).flawed[flaw as usize] =
            Some(made.clone());
        Ok(made)
    }

    fn present(&self) -> RwLockReadGuard<'_, Present> {
        self.0.present.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn authority(&self) -> Result<&Authority, IssueError> {
        if let Some(authority) = self.0.authority.get() {
            return Ok(authority);
        }
        let authority = Authority::new(NAME)?;
        Ok(self.0.authority.get_or_init(|| authority))
    }
}

fn present(
    provider: &Arc<CryptoProvider>,
    client_roots: Option<&Arc<RootCertStore>>,
    alpn: &[Vec<u8>],
    certified: CertifiedKey,
) -> Result<Present, rustls::Error> {
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match client_roots {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| rustls::Error::General(error.to_string()))?,
            )
        }
    };
    let (names, not_after) = (names(&certified), not_after(&certified));
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = alpn.to_vec();
    // Each connection makes a full handshake: a resumed one shows no certificate, so a wrong one would go unnoticed.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Present { config: Arc::new(config), names, not_after, flawed: Default::default() })
}
