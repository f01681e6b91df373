//! The variables as unparsed texts.

use serde::Deserialize;

/// The variables that act on targets: once unprefixed, once for each prefix.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default)]
pub(super) struct FaultVariables {
    pub(super) failure_rate: Option<String>,
    pub(super) failure_burst: Option<String>,
    pub(super) fail_after_time: Option<String>,
    pub(super) fail_for: Option<String>,
    pub(super) fail_every: Option<String>,
    pub(super) fail_after_requests: Option<String>,
    pub(super) fail_count: Option<String>,
    pub(super) fail_requests: Option<String>,
    pub(super) recovery_period: Option<String>,
    pub(super) latency: Option<String>,
    pub(super) latency_jitter: Option<String>,
    pub(super) latency_distribution: Option<String>,
    pub(super) latency_p50: Option<String>,
    pub(super) latency_p90: Option<String>,
    pub(super) latency_p99: Option<String>,
    pub(super) startup_delay: Option<String>,
    pub(super) failure_mode: Option<String>,
    pub(super) failure_status: Option<String>,
    pub(super) failure_body: Option<String>,
    pub(super) failure_drip: Option<String>,
    pub(super) failure_location: Option<String>,
    pub(super) failure_speed: Option<String>,
    pub(super) failure_share: Option<String>,
    pub(super) failure_grpc_status: Option<String>,
    pub(super) failure_grpc_message: Option<String>,
}

/// All other variables.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default)]
pub(super) struct ServiceVariables {
    pub(super) fail_dependency: Option<String>,
    pub(super) partition_after: Option<String>,
    pub(super) disconnect_after: Option<String>,
    pub(super) partition_for: Option<String>,
    pub(super) reconnect_after: Option<String>,
    pub(super) partition_mode: Option<String>,
    pub(super) listen_delay: Option<String>,
    pub(super) faults: Option<String>,
    pub(super) faults_file: Option<String>,
    pub(super) annotation_file: Option<String>,
    pub(super) state_dir: Option<String>,
    pub(super) seed: Option<String>,
    pub(super) seed_scope: Option<String>,
    pub(super) port: Option<String>,
    pub(super) bind_address: Option<String>,
    pub(super) admin_address: Option<String>,
    pub(super) admin_token: Option<String>,
    pub(super) admin_token_file: Option<String>,
    pub(super) admin_loopback: Option<String>,
    pub(super) readiness_checks_dependency: Option<String>,
    pub(super) liveness_paths: Option<String>,
    pub(super) readiness_paths: Option<String>,
    pub(super) startup_paths: Option<String>,
    pub(super) dependency_paths: Option<String>,
    pub(super) traffic_paths: Option<String>,
    pub(super) max_connections: Option<String>,
    pub(super) head_timeout: Option<String>,
    pub(super) idle_timeout: Option<String>,
    pub(super) max_head_size: Option<String>,
    pub(super) shutdown_delay: Option<String>,
    pub(super) shutdown_grace: Option<String>,
    pub(super) worker_threads: Option<String>,
    pub(super) strict: Option<String>,
    pub(super) log_format: Option<String>,
    pub(super) log_level: Option<String>,
    pub(super) pod_name: Option<String>,
    pub(super) pod_namespace: Option<String>,
    pub(super) node_name: Option<String>,
    pub(super) upstream: Option<String>,
    pub(super) upstream_probes: Option<String>,
    pub(super) upstream_source: Option<String>,
    pub(super) upstream_timeout: Option<String>,
    pub(super) upstream_connect_timeout: Option<String>,
    pub(super) upstream_connections: Option<String>,
    pub(super) forwarded_headers: Option<String>,
}
