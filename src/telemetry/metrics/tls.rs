//! Metrics of TLS on listeners.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::proto::MetricFamily;

use super::family::Family;
use crate::tls::ServerTls;

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeResult {
    /// Both sides agreed.
    Completed,
    /// They did not: an alert of either side, or what is no handshake.
    Failed,
    /// The client left within it.
    Gone,
    /// It took longer than `HEAD_TIMEOUT`.
    Late,
    /// The server had no memory for it, or an error of its own.
    Refused,
    /// A rule took its place.
    Fault,
}

impl HandshakeResult {
    const ALL: [Self; 6] =
        [Self::Completed, Self::Failed, Self::Gone, Self::Late, Self::Refused, Self::Fault];

    /// The metric label.
    const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::Late => "late",
            Self::Refused => "refused",
            Self::Fault => "fault",
        }
    }
}

/// The counters of handshakes, and the certificates that listeners show.
#[derive(Debug, Default)]
pub struct TlsMetrics {
    handshakes: [AtomicU64; HandshakeResult::ALL.len()],
    listeners: Mutex<Vec<ShownListener>>,
}

/// A listener that speaks TLS.
#[derive(Debug)]
struct ShownListener {
    name: &'static str,
    tls: ServerTls,
    /// Changed files that were taken, and those that were refused.
    reloads: [u64; 2],
}

impl TlsMetrics {
    /// Counts a handshake that has ended.
    pub fn handshake(&self, result: HandshakeResult) {
        self.handshakes[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Shows the certificate of a listener from now on.
    pub fn show(&self, listener: &'static str, tls: ServerTls) {
        self.listeners().push(ShownListener { name: listener, tls, reloads: [0; 2] });
    }

    /// Counts changed files of a listener, which are used if `is_ok`.
    pub fn reloaded(&self, listener: &'static str, is_ok: bool) {
        for shown in self.listeners().iter_mut().filter(|shown| shown.name == listener) {
            shown.reloads[usize::from(!is_ok)] += 1;
        }
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<ShownListener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing where no listener speaks TLS.
    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        let listeners = self.listeners();
        if listeners.is_empty() {
            return Vec::new();
        }
        let mut handshakes = Family::counter(
            "probesim_tls_handshakes_total",
            "TLS handshakes that have ended, on all listeners, by result.",
        );
        for result in HandshakeResult::ALL {
            let count = self.handshakes[result as usize].load(Ordering::Relaxed);
            handshakes.add(&[("result", result.name())], count as f64);
        }
        let mut expiry = Family::gauge(
            "probesim_tls_certificate_expiry_timestamp_seconds",
            "When the certificate of a listener expires, in seconds since 1970.",
        );
        let mut reloads = Family::counter(
            "probesim_tls_certificate_reloads_total",
            "Changes of the files of certificates and client authorities, by listener and result.",
        );
        for ShownListener { name, tls, reloads: counts } in &*listeners {
            expiry.add(&[("listener", name)], tls.not_after() as f64);
            for (result, count) in ["ok", "error"].into_iter().zip(counts) {
                reloads.add(&[("listener", name), ("result", result)], *count as f64);
            }
        }
        vec![handshakes.done(), expiry.done(), reloads.done()]
    }
}
