//! The time limits of a client.

use std::time::Duration;

use tokio::time::Instant;

use super::{ClientPhase, ConnectionState};
use crate::env::Limits;
use crate::telemetry::metrics::Limit;

/// Idle time of a connection that uses the memory reserved for the kubelet, which sends its request immediately.
const KUBELET_IDLE: Duration = Duration::from_secs(1);

impl ConnectionState {
    /// When the client's time limit ends, and which limit it is; `first_request` is the limit for its first request
    /// to start.
    pub(in crate::listener) fn deadline(
        &self,
        limits: &Limits,
        first_request: Duration,
    ) -> Option<(Instant, Limit)> {
        let inner = self.lock();
        if inner.tunnelled || (inner.patient && inner.phase == ClientPhase::Waiting) {
            return None;
        }
        if let Some(since) = inner.stalled {
            return Some((since + limits.idle_time, Limit::WriteTime));
        }
        match inner.phase {
            ClientPhase::Idle(since) if inner.only_kubelet => {
                Some((since + limits.idle_time.min(first_request).min(KUBELET_IDLE), Limit::IdleTime))
            }
            ClientPhase::Idle(since) if inner.asked => Some((since + limits.idle_time, Limit::IdleTime)),
            ClientPhase::Idle(since) => Some((since + limits.idle_time.min(first_request), Limit::IdleTime)),
            ClientPhase::Head(since) => Some((since + limits.head_time, Limit::HeadTime)),
            ClientPhase::Leaving => None,
            ClientPhase::Waiting => {
                let stalled = inner.streams.as_ref().and_then(|streams| streams.stalled());
                stalled.map(|since| (since + limits.idle_time, Limit::WriteTime))
            }
        }
    }
}
