//! Metrics of a listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// The counters of a listener, held by each of its open connections.
#[derive(Debug, Default)]
pub struct ListenerMetrics {
    connections: AtomicI64,
    /// How many sockets accept connections: two for a moment while a proxy moves to another address.
    accepting: AtomicUsize,
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

    /// Whether the listener accepts connections.
    pub fn is_up(&self) -> bool {
        self.accepting.load(Ordering::Relaxed) > 0
    }
}

/// Records whether one socket of a listener accepts connections, until it is dropped.
#[derive(Debug)]
pub struct SocketState {
    metrics: Arc<ListenerMetrics>,
    accepts: bool,
}

impl SocketState {
    /// A socket that does not accept connections yet.
    pub fn new(metrics: Arc<ListenerMetrics>) -> Self {
        Self { metrics, accepts: false }
    }

    /// Records whether the socket accepts connections.
    pub fn set(&mut self, accepts: bool) {
        match (std::mem::replace(&mut self.accepts, accepts), accepts) {
            (false, true) => self.metrics.accepting.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.metrics.accepting.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
    }
}

impl Drop for SocketState {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_stays_up_when_the_old_one_of_two_sockets_closes() {
        let metrics = Arc::new(ListenerMetrics::default());
        let [mut old, mut new] = [(); 2].map(|()| SocketState::new(metrics.clone()));
        old.set(true);
        new.set(true);
        new.set(true);
        drop(old);
        assert!(metrics.is_up());
        new.set(false);
        assert!(!metrics.is_up());
    }
}
