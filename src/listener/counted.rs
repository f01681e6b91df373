//! Open connections in the metrics.

use std::sync::Arc;

use crate::telemetry::metrics::Metrics;

/// One open connection in the metrics, until it is dropped.
pub(super) struct Counted(Arc<Metrics>);

impl Counted {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        metrics.connections(1);
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections(-1);
    }
}
