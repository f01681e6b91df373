//! Open connections in the metrics.

use std::sync::Arc;

use crate::telemetry::metrics::ListenerMetrics;

/// An open connection in the metrics, until it is dropped.
pub(super) struct CountedConnection(Arc<ListenerMetrics>);

impl CountedConnection {
    pub(super) fn new(metrics: Arc<ListenerMetrics>) -> Self {
        metrics.add_connections(1);
        Self(metrics)
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.add_connections(-1);
    }
}
