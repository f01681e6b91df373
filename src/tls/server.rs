//! TLS of servers: the certificate, which can be replaced at run time, and faulty certificates.

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};

use super::authority::{Authority, Flaw, IssueError};
use super::certificate::{names, not_after};
use super::verified::Verified;
use crate::order;

/// Name of the authority that issues the server's certificate.
const AUTHORITY_NAME: &str = "kube-probesim CA";

/// TLS of a server. Clones share the certificate.
#[derive(Clone)]
pub struct ServerTls(Arc<Shared>);

struct Shared {
    provider: Arc<CryptoProvider>,
    alpn: Vec<Vec<u8>>,
    /// Host names and IP addresses of the server.
    names: Vec<String>,
    /// The issuer of the self-signed certificate and of faulty ones.
    authority: OnceLock<Authority>,
    current: RwLock<Certificate>,
}

/// A certificate in use.
struct Certificate {
    config: Arc<ServerConfig>,
    /// Authorities for client certificates; `None` if clients need none.
    client_roots: Option<Arc<RootCertStore>>,
    /// Its DNS names.
    names: Vec<String>,
    /// When it expires, in seconds since 1970.
    not_after: u64,
    /// Configurations with a faulty certificate by [`Flaw`], created on first use.
    flawed: [Option<Arc<ServerConfig>>; 3],
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Creates a server with a certificate. It accepts the protocols of `alpn`. With `client_roots`, it rejects clients
    /// without a certificate of one of these authorities. `names` are the host names and IP addresses of the server.
    ///
    /// # Errors
    ///
    /// `client_roots` is empty.
    pub fn new(
        certified: CertifiedKey,
        client_roots: Option<Arc<RootCertStore>>,
        alpn: &[&str],
        names: Vec<String>,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let alpn: Vec<Vec<u8>> = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let current = RwLock::new(certificate(&provider, client_roots, &alpn, certified)?);
        let authority = OnceLock::new();
        Ok(Self(Arc::new(Shared { provider, alpn, names, authority, current })))
    }

    /// Creates a server with a generated certificate for `names`.
    ///
    /// # Errors
    ///
    /// A name is invalid, or the system has no randomness.
    pub fn self_signed(
        client_roots: Option<Arc<RootCertStore>>,
        alpn: &[&str],
        names: Vec<String>,
    ) -> Result<Self, IssueError> {
        let authority = Authority::new(AUTHORITY_NAME)?;
        let tls = Self::new(authority.issue(&names, None)?, client_roots, alpn, names)?;
        let _ = tls.0.authority.set(authority);
        Ok(tls)
    }

    /// Returns the configuration for the next connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current().config.clone()
    }

    /// Returns when the current certificate expires, in seconds since 1970.
    pub fn not_after(&self) -> u64 {
        self.current().not_after
    }

    /// Replaces the certificate for new connections.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn replace(&self, certified: CertifiedKey) -> Result<(), rustls::Error> {
        let Shared { provider, alpn, .. } = &*self.0;
        let client_roots = self.current().client_roots.clone();
        let next = certificate(provider, client_roots, alpn, certified)?;
        *self.current_mut() = next;
        Ok(())
    }

    /// Replaces the authorities for client certificates of new connections. Returns false if they are the same as before.
    ///
    /// # Errors
    ///
    /// `roots` is empty.
    pub fn replace_client_roots(&self, roots: &Arc<RootCertStore>) -> Result<bool, rustls::Error> {
        let Shared { provider, alpn, .. } = &*self.0;
        let resolver = {
            let current = self.current();
            if current.client_roots.as_ref().is_some_and(|known| known.roots == roots.roots) {
                return Ok(false);
            }
            current.config.cert_resolver.clone()
        };
        let config = settings(provider, Some(roots), alpn, resolver)?;
        let mut current = self.current_mut();
        (current.config, current.client_roots) = (config, Some(roots.clone()));
        current.flawed = Default::default();
        Ok(true)
    }

    /// Returns the configuration for a connection with a faulty certificate. Except for the flaw, the certificate is valid
    /// for the same hosts. If the server's own certificate was generated, the same authority issues the faulty one, so
    /// clients that trust it see only the flaw.
    ///
    /// # Errors
    ///
    /// The system has no randomness.
    pub fn flawed(&self, flaw: Flaw) -> Result<Arc<ServerConfig>, IssueError> {
        let mut names = self.0.names.clone();
        let (flawless, client_roots) = {
            let current = self.current();
            if let Some(config) = &current.flawed[flaw as usize] {
                return Ok(config.clone());
            }
            names.extend(current.names.iter().cloned());
            (current.config.clone(), current.client_roots.clone())
        };
        order::sort(&mut names);
        names.dedup();
        let certified = match flaw {
            Flaw::Untrusted => Authority::new("kube-probesim unknown CA")?.issue(&names, None)?,
            flaw => self.authority()?.issue(&names, Some(flaw))?,
        };
        let Shared { provider, alpn, .. } = &*self.0;
        let config = certificate(provider, client_roots, alpn, certified)?.config;
        let mut current = self.current_mut();
        // Unless the certificate has been replaced meanwhile.
        if Arc::ptr_eq(&current.config, &flawless) {
            current.flawed[flaw as usize] = Some(config.clone());
        }
        Ok(config)
    }

    fn current_mut(&self) -> RwLockWriteGuard<'_, Certificate> {
        self.0.current.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> RwLockReadGuard<'_, Certificate> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn authority(&self) -> Result<&Authority, IssueError> {
        if let Some(authority) = self.0.authority.get() {
            return Ok(authority);
        }
        let authority = Authority::new(AUTHORITY_NAME)?;
        Ok(self.0.authority.get_or_init(|| authority))
    }
}

fn certificate(
    provider: &Arc<CryptoProvider>,
    client_roots: Option<Arc<RootCertStore>>,
    alpn: &[Vec<u8>],
    certified: CertifiedKey,
) -> Result<Certificate, rustls::Error> {
    let (names, not_after) = (names(&certified), not_after(&certified));
    let resolver = Arc::new(SingleCertAndKey::from(certified));
    let config = settings(provider, client_roots.as_ref(), alpn, resolver)?;
    Ok(Certificate { config, client_roots, names, not_after, flawed: Default::default() })
}

fn settings(
    provider: &Arc<CryptoProvider>,
    client_roots: Option<&Arc<RootCertStore>>,
    alpn: &[Vec<u8>],
    resolver: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match client_roots {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            builder.with_client_cert_verifier(Arc::new(Verified::client(provider.clone(), roots)?))
        }
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = alpn.to_vec();
    // No resumption: a resumed connection shows no certificate, so a faulty one would go unnoticed.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
