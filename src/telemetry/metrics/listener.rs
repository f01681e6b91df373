//! What the metrics say about one listener.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// The counters of one listener. Its connections hold it while they are open.
#[derive(Debug, Default)]
pub struct ListenerMetrics {
    connections: AtomicI64,
    is_up: AtomicBool,
}

impl ListenerMetrics {
    /// Counts a connection that opens (1) or closes (−1).
    pub fn add_connections(&self, change: i64) {
        self.connections.fetch_add(change, Ordering::Relaxed);
    }

    /// How many connections are open.
    pub fn connections(&self) -> i64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Says whether the listener takes connections.
    pub fn set_up(&self, is_up: bool) {
        self.is_up.store(is_up, Ordering::Relaxed);
    }

    /// Whether the listener takes connections.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }
}
