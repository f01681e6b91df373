//! Certificates of the listeners: read at the start, and again when their files change.

mod reload;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::UnixTime;
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tracing::warn;

use super::services::{ADMIN, PROBE};
use crate::env::{CertificateSource, Config, TlsOptions};
use crate::listener::Encryption;
use crate::order;
use crate::plan::ConfigError;
use crate::proxy::own_address;
use crate::sources::watch::{self, PollResult, Watcher};
use crate::telemetry::metrics::Metrics;
use crate::tls::{
    CertificateFileError, CertificateFiles, IssueError, ServerTls, Trust, TrustError, Validity, validity,
};
use reload::WatchedFiles;

/// ALPN protocols, in order of preference.
const PROBE_PROTOCOLS: &[&str] = &["h2", "http/1.1"];
const ADMIN_PROTOCOLS: &[&str] = &["http/1.1"];

/// The variables of a certificate and its key.
const PROBE_VARIABLES: Variables = Variables { chain: "TLS_CERT_FILE", key: "TLS_KEY_FILE" };
const ADMIN_VARIABLES: Variables = Variables { chain: "ADMIN_TLS_CERT_FILE", key: "ADMIN_TLS_KEY_FILE" };

/// TLS cannot be configured.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A certificate or its key.
    #[error("{variable}: {error}")]
    Files {
        /// The variable with the file at fault.
        variable: &'static str,
        /// The error.
        error: CertificateFileError,
    },
    /// The authorities for client certificates.
    #[error("TLS_CLIENT_CA_FILE: {0}")]
    ClientCa(TrustError),
    /// The generated certificate.
    #[error("TLS: {0}")]
    Made(#[from] IssueError),
    /// The authorities of the upstream, or its name.
    #[error("{variable}: {error}{remedy}")]
    Upstream {
        /// The variable at fault.
        variable: &'static str,
        /// The error.
        error: TrustError,
        /// What else can be set.
        remedy: &'static str,
    },
    /// Those of the upstream of a proxy.
    #[error("{0}")]
    Proxy(Box<ConfigError>),
    /// An error of the TLS library.
    #[error("TLS: {0}")]
    Settings(#[from] rustls::Error),
}

/// TLS of the listeners.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// The probe listener's, and that of HTTP proxies.
    pub(super) probe: Option<Encryption>,
    /// The admin listener's.
    pub(super) admin: Option<Encryption>,
    watched: Vec<WatchedFiles>,
}

/// The variables with the files of a certificate and its key.
#[derive(Clone, Copy, Debug)]
struct Variables {
    chain: &'static str,
    key: &'static str,
}

impl Variables {
    /// Reads the files. The error names the variable at fault.
    fn load(self, files: &CertificateFiles) -> Result<CertifiedKey, TlsError> {
        files.load().map_err(|error| TlsError::Files {
            variable: if error.is_of_key(files) { self.key } else { self.chain },
            error,
        })
    }
}

impl TlsError {
    /// The error of an upstream; `has_ca_file` says whether `UPSTREAM_CA_FILE` is set.
    pub(super) fn of_upstream(error: TrustError, has_ca_file: bool) -> Self {
        let (variable, remedy) = match &error {
            TrustError::Name(_) => ("UPSTREAM", "; set UPSTREAM_SERVER_NAME"),
            _ if has_ca_file => ("UPSTREAM_CA_FILE", ""),
            TrustError::Read { .. } | TrustError::TooLarge(_) | TrustError::Empty(_)
                if std::env::var_os("SSL_CERT_FILE").is_some() =>
            {
                ("SSL_CERT_FILE", "; or set UPSTREAM_CA_FILE, or UPSTREAM_INSECURE=true")
            }
            _ => ("UPSTREAM", "; or set UPSTREAM_CA_FILE, or UPSTREAM_INSECURE=true"),
        };
        Self::Upstream { variable, error, remedy }
    }
}

impl Certificates {
    /// Reads the configured files.
    pub(super) fn load(config: &Config) -> Result<Self, TlsError> {
        let TlsOptions { certificate, client_ca, is_required, admin, .. } = &config.tls;
        let mut certificates = Self::default();
        if certificate.is_none() && admin.is_none() {
            return Ok(certificates);
        }
        let client_roots = client_ca.as_deref().map(client_roots).transpose()?.map(Arc::new);
        let names = names(config);
        let probe = match certificate {
            Some(CertificateSource::SelfSigned) => {
                Some(ServerTls::self_signed(client_roots, PROBE_PROTOCOLS, names.clone())?)
            }
            Some(CertificateSource::Files(files)) => {
                let make =
                    |certified| ServerTls::new(certified, client_roots, PROBE_PROTOCOLS, names.clone());
                Some(certificates.watched(PROBE, files, PROBE_VARIABLES, make)?)
            }
            None => None,
        };
        if let (Some(tls), Some(file)) = (&probe, client_ca) {
            certificates.watched.push(WatchedFiles::client_authorities(PROBE, file.clone(), tls.clone()));
        }
        certificates.probe = probe.map(|tls| Encryption { tls, is_required: *is_required });
        if let Some(files) = admin {
            let make = |certified| ServerTls::new(certified, None, ADMIN_PROTOCOLS, names);
            let tls = certificates.watched(ADMIN, files, ADMIN_VARIABLES, make)?;
            certificates.admin = Some(Encryption { tls, is_required: true });
        }
        Ok(certificates)
    }

    fn watched(
        &mut self,
        listener: &'static str,
        files: &CertificateFiles,
        variables: Variables,
        make: impl FnOnce(CertifiedKey) -> Result<ServerTls, rustls::Error>,
    ) -> Result<ServerTls, TlsError> {
        let certified = variables.load(files)?;
        if let Some(why) = invalid(&certified) {
            warn!(variable = variables.chain, file = %files.chain.display(), "the certificate {why}; clients that verify it will reject it");
        }
        let chain = certified.cert.clone();
        let tls = make(certified)?;
        self.watched.push(WatchedFiles::certificate(listener, files, variables, chain, tls.clone()));
        Ok(tls)
    }

    /// Shows in the metrics when each certificate expires.
    pub(super) fn show(&self, metrics: &Metrics) {
        for (listener, encryption) in [(PROBE, &self.probe), (ADMIN, &self.admin)] {
            if let Some(encryption) = encryption {
                metrics.tls().show(listener, encryption.tls.clone());
            }
        }
    }

    /// Applies changes of the files until the handle is dropped. `metrics` counts them.
    pub(super) fn watch(self, metrics: Arc<Metrics>) -> io::Result<Watcher> {
        let mut watched = self.watched;
        let (owners, paths): (Vec<usize>, Vec<PathBuf>) = watched
            .iter()
            .enumerate()
            .flat_map(|(owner, files)| files.paths().into_iter().map(move |path| (owner, path)))
            .unzip();
        // The first poll reports each file, so that no change since the start is missed.
        let paths = paths.into_iter().map(|path| (path, PollResult::Missing)).collect();
        watch::spawn(paths, move |index, _| watched[owners[index]].reload(&metrics))
    }
}

/// Reads the authorities for client certificates.
fn client_roots(file: &Path) -> Result<RootCertStore, TlsError> {
    Trust::roots_of_file(file).map_err(TlsError::ClientCa)
}

/// Why a certificate is not valid now, if it is not.
fn invalid(certified: &CertifiedKey) -> Option<String> {
    let shown = |seconds| httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(seconds));
    match validity(certified, UnixTime::now()) {
        Validity::Valid => None,
        Validity::Expired(end) => Some(format!("expired at {}", shown(end))),
        Validity::Never => Some("is never valid: its end is before its start".to_owned()),
        Validity::NotYetValid(begin) => Some(format!("is not valid before {}", shown(begin))),
    }
}

/// The hosts and addresses of this Pod: localhost, its own, and every Service of its namespace.
fn names(config: &Config) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    names.extend([host.trim().to_owned()].into_iter().filter(|host| !host.is_empty()));
    names.extend(config.identity.pod.clone());
    if let Some(namespace) = &config.identity.namespace {
        names.extend(["svc", "svc.cluster.local"].map(|suffix| format!("*.{namespace}.{suffix}")));
    }
    let own = [true, false].into_iter().filter_map(own_address);
    names.extend(own.chain(config.probe_address.ip).map(|ip| ip.to_string()));
    names.extend(config.tls.names.iter().cloned());
    order::sort(&mut names);
    names.dedup();
    names
}
