//! Metrics of a listener.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// The counters of a listener, held by each of its open connections.
#[derive(Debug, Default)]
pub struct ListenerMetrics {
    connections: AtomicI64,
    is_up: AtomicBool,
}

impl ListenerMetrics {
    /// Counts an opened (1) or closed (−1) connection.
    pub fn add_connections(&self, change: i64) {
        self.connections.fetch_add(change, Ordering::Relaxed);
    }

    /// Number of open connections.
    pub fn connections(&self) -> i64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Records whether the listener accepts connections.
    pub fn set_up(&self, is_up: bool) {
        self.is_up.store(is_up, Ordering::Relaxed);
    }

    /// Whether the listener accepts connections.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }
}
