//! A probe and fault simulator for Kubernetes.
//!
//! # Layout
//!
//! One pure centre, one stateful shell, adapters around it. A module imports only from rows below its own.
//!
//! | modules | what they do |
//! |---|---|
//! | [`cli`] | verbs, signals, exit codes |
//! | [`server`], [`predict`] | binds, watches windows, drains; runs the Pods of a manifest on a virtual clock |
//! | [`http`], [`control`] | routes, and the layer that obeys a decision; plan changes |
//! | [`wire`], [`prober`] | sockets: accept loop, partitions, faults below HTTP; one kubelet-faithful attempt |
//! | [`engine`], [`config`], [`metrics`], [`timer`] | counts and asks; environment and plans; what Prometheus sees; exact waits |
//! | [`events`] | what happened, for those who watch |
//! | [`kubelet`] | a model of the kubelet on a virtual clock; imports `fault` alone |
//! | [`units`] | durations, percentages and sizes as people write them |
//! | [`fault`] | rules, plans and the decision; pure |

pub mod cli;
pub mod config;
pub mod control;
pub mod engine;
pub mod events;
pub mod fault;
pub mod http;
pub mod kubelet;
pub mod log;
pub mod metrics;
pub mod predict;
pub mod prober;
pub mod server;
pub mod timer;
pub mod units;
pub mod wire;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The source revision of this build; `unknown` where the build was not told.
pub const REVISION: &str = match option_env!("PROBESIM_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
