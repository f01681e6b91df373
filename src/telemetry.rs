//! Observability of the process: metrics and the log.

pub mod cgroup;
pub mod log;
pub mod metrics;
