//! What the listeners of the probes and of the admin API serve, within which limits.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::watch;
use tracing::info;

use crate::env::{ForwardOptions, Limits, UpstreamSettings};
use crate::fault::ListenerId;
use crate::http::{self, App, ProbeUpstream};
use crate::listener::budget::MemoryBudget;
use crate::listener::{Conditions, Encryption, Fairness, ListenerFaults, ListenerService};
use crate::proxy::{Forwarder, OwnListeners};
use crate::telemetry::cgroup;
use crate::telemetry::metrics::{self, Metrics};

/// The name of the probe listener.
pub(super) const PROBE: &str = "probe";

/// The name of the admin listener.
pub(super) const ADMIN: &str = "admin";

/// Limit of connections to the admin listener: low, so that a flood there leaves memory for the probe listener.
const ADMIN_CONNECTIONS: usize = 64;

/// File descriptors reserved for other uses than the probe listener: the admin listener, reading `/proc`, and the filler
/// of a cut.
pub(super) const RESERVED_FILES: usize = ADMIN_CONNECTIONS + 16;

/// Idle timeout of connections to the admin listener, which has few places. It exceeds usual scrape intervals.
const ADMIN_IDLE: Duration = Duration::from_secs(10);

/// Division of the places of the admin listener: some are reserved for the operator, and each other client is limited.
const ADMIN_FAIRNESS: Fairness = Fairness { loopback: 16, per_peer: 24 };

/// Time limit for the first request on a connection to the admin listener.
const ADMIN_FIRST_REQUEST: Duration = Duration::from_secs(2);

/// Metric label of the application behind the probe listener.
const UPSTREAM_NAME: &str = "upstream";

/// The service of the probe listener.
pub(super) fn probe_service(
    app: &Arc<App>,
    limits: Limits,
    budget: MemoryBudget,
    tls: Option<Encryption>,
) -> ListenerService {
    let upstream = app.upstream.as_ref();
    ListenerService {
        name: PROBE.into(),
        listener_metrics: app.metrics.probe_listener().clone(),
        routes: http::probe_routes(app),
        limits,
        budget,
        fairness: None,
        first_request: limits.idle_time,
        files: spare_files(upstream.is_some()),
        transparent: upstream.is_some(),
        metrics: app.metrics.clone(),
        faulted: Some(ListenerFaults { engine: app.engine.clone(), listener: ListenerId::Probe }),
        speaks_http2: true,
        spare_maps: Arc::default(),
        tls,
        pass_through: upstream
            .filter(|upstream| upstream.takes_tls)
            .map(|upstream| upstream.forwarder.pass_through()),
        conditions: app.conditions.clone(),
    }
}

/// The service of the admin listener.
pub(super) fn admin_service(
    app: &Arc<App>,
    api: Router,
    limits: Limits,
    budget: MemoryBudget,
    conditions: watch::Receiver<Conditions>,
) -> ListenerService {
    ListenerService {
        name: ADMIN.into(),
        listener_metrics: Arc::default(),
        routes: http::admin_routes(app, api),
        limits: Limits {
            connections: ADMIN_CONNECTIONS,
            idle_time: limits.idle_time.min(ADMIN_IDLE),
            ..limits
        },
        budget,
        fairness: Some(ADMIN_FAIRNESS),
        first_request: ADMIN_FIRST_REQUEST,
        files: usize::MAX,
        transparent: false,
        metrics: app.metrics.clone(),
        faulted: None,
        speaks_http2: false,
        spare_maps: Arc::default(),
        tls: None,
        pass_through: None,
        conditions,
    }
}

/// The memory budget for clients. `without_limit` is what the process may use where its container has no limit.
pub(super) fn budget(metrics: &Arc<Metrics>, without_limit: Option<u64>) -> MemoryBudget {
    let limit = cgroup::memory_limit().or(without_limit);
    let resident = limit.and_then(|_| metrics::resident_memory()).unwrap_or(0);
    let budget = MemoryBudget::of_container(limit, resident, metrics.clone());
    if budget.limit() < usize::MAX {
        info!(bytes = budget.limit(), "memory limit for clients");
    }
    budget
}

/// Limit of connections of the probe listener. With an upstream, each may need a second descriptor.
pub(super) fn spare_files(behind: bool) -> usize {
    let spare = metrics::spare_files().unwrap_or(usize::MAX);
    let spare = spare - RESERVED_FILES.min(spare / 2);
    (if behind { spare / 2 } else { spare }).max(1)
}

/// The application behind the probe listener. Logs that `/` and `/metrics` belong to it.
pub(super) fn probe_upstream(
    upstream: UpstreamSettings,
    options: ForwardOptions,
    metrics: &Metrics,
    own: OwnListeners,
) -> ProbeUpstream {
    if !upstream.is_attached {
        info!(
            upstream = %upstream.address,
            answers_probes = upstream.answers_probes,
            "an application is behind the probe listener: / and /metrics there belong to it; ours are on the admin listener"
        );
    }
    let metrics = metrics.upstream(UPSTREAM_NAME);
    let forwarder = Forwarder::new(upstream.address, upstream.tls, options, metrics, own);
    ProbeUpstream { forwarder, answers_probes: upstream.answers_probes, takes_tls: upstream.is_attached }
}
