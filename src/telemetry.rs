//! What leaves the process for those who watch it: metrics and the log.

pub mod cgroup;
pub mod log;
pub mod metrics;
