//! Reads certificates and the authorities of clients again when their files change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tracing::{error, info};

use super::{TlsError, Variables, client_roots, invalid};
use crate::telemetry::metrics::Metrics;
use crate::tls::{CertificateFiles, ServerTls, Validity, validity};

/// How long a certificate and its key may mismatch while they are replaced one after the other.
const EXCHANGE: Duration = Duration::from_secs(1);

/// Interval of attempts to use a certificate that is not valid yet.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Files of a listener, which are read again when they change.
#[derive(Debug)]
pub(super) struct WatchedFiles {
    listener: &'static str,
    tls: ServerTls,
    content: WatchedContent,
    /// The last error, which is logged and counted once.
    error: Option<String>,
    /// When to read a certificate again that was not valid yet.
    retry_at: Option<Instant>,
}

#[derive(Debug)]
enum WatchedContent {
    /// A certificate and its key, with the chain in use.
    Certificate { files: CertificateFiles, variables: Variables, chain: Vec<CertificateDer<'static>> },
    /// The authorities for client certificates.
    ClientAuthorities(PathBuf),
}

/// Why changed files are not used.
#[derive(Debug, Error)]
enum ReloadError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{variable}: the certificate in {} {why}", .file.display())]
    Invalid { variable: &'static str, file: PathBuf, why: String },
    /// It becomes valid without another change of the file.
    #[error("{variable}: the certificate in {} {why}, and will be used from then on", .file.display())]
    Early { variable: &'static str, file: PathBuf, why: String },
}

impl ReloadError {
    const fn is_early(&self) -> bool {
        matches!(self, Self::Early { .. })
    }
}

impl WatchedFiles {
    pub(super) fn certificate(
        listener: &'static str,
        files: &CertificateFiles,
        variables: Variables,
        chain: Vec<CertificateDer<'static>>,
        tls: ServerTls,
    ) -> Self {
        let content = WatchedContent::Certificate { files: files.clone(), variables, chain };
        Self { listener, tls, content, error: None, retry_at: None }
    }

    pub(super) fn client_authorities(listener: &'static str, file: PathBuf, tls: ServerTls) -> Self {
        Self { listener, tls, content: WatchedContent::ClientAuthorities(file), error: None, retry_at: None }
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        match &self.content {
            WatchedContent::Certificate { files, .. } => vec![files.chain.clone(), files.key.clone()],
            WatchedContent::ClientAuthorities(file) => vec![file.clone()],
        }
    }

    /// Reads the files, and uses their content for new connections if it is valid. Returns whether to try again without
    /// another change.
    pub(super) fn reload(&mut self, metrics: &Metrics) -> bool {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return true;
        }
        let mut applied = self.apply();
        if applied.as_ref().is_err_and(|error| !error.is_early()) {
            std::thread::sleep(EXCHANGE);
            applied = self.apply();
        }
        self.retry_at = None;
        let error = match applied {
            Ok(is_new) => {
                self.error = None;
                if is_new {
                    metrics.tls().reloaded(self.listener, true);
                    let (what, file) = self.content.described();
                    info!(listener = self.listener, file, "new connections use the changed {what}");
                }
                return false;
            }
            Err(error) => error,
        };
        let text = error.to_string();
        if self.error.as_ref() != Some(&text) {
            metrics.tls().reloaded(self.listener, false);
            let (what, _) = self.content.described();
            error!("{text}; new connections still use the old {what}");
            self.error = Some(text);
        }
        self.retry_at = error.is_early().then(|| Instant::now() + RETRY_INTERVAL);
        error.is_early()
    }

    /// Returns whether the content is new.
    fn apply(&mut self) -> Result<bool, ReloadError> {
        match &mut self.content {
            WatchedContent::Certificate { files, variables, chain } => {
                let certified = variables.load(files)?;
                if certified.cert == *chain {
                    return Ok(false);
                }
                check(&certified, *variables, files)?;
                let new = certified.cert.clone();
                self.tls.replace(certified).map_err(TlsError::from)?;
                *chain = new;
                Ok(true)
            }
            WatchedContent::ClientAuthorities(file) => {
                let roots = client_roots(file)?;
                Ok(self.tls.replace_client_roots(&Arc::new(roots)).map_err(TlsError::from)?)
            }
        }
    }
}

impl WatchedContent {
    fn described(&self) -> (&'static str, String) {
        match self {
            Self::Certificate { files, .. } => ("certificate", files.chain.display().to_string()),
            Self::ClientAuthorities(file) => ("client authorities", file.display().to_string()),
        }
    }
}

fn check(
    certified: &CertifiedKey,
    variables: Variables,
    files: &CertificateFiles,
) -> Result<(), ReloadError> {
    let Some(why) = invalid(certified) else { return Ok(()) };
    let (variable, file) = (variables.chain, files.chain.clone());
    Err(match validity(certified, UnixTime::now()) {
        Validity::NotYetValid(_) => ReloadError::Early { variable, file, why },
        _ => ReloadError::Invalid { variable, file, why },
    })
}
