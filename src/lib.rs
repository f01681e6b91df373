//! A probe and fault simulator for Kubernetes.
//!
//! # Layout
//!
//! One pure centre, one stateful shell, adapters around it. A module imports only from rows below its own.
//!
//! | modules | what they do |
//! |---|---|
//! | [`cli`] | what the command's verbs do |
//! | [`prober`] | one kubelet-faithful attempt of a probe |
//! | [`config`] | from the environment to a checked configuration |
//! | [`fault`] | rules, plans and the decision; pure |
//! | [`units`] | durations, percentages and sizes as people write them |

pub mod cli;
pub mod config;
pub mod engine;
pub mod fault;
pub mod http;
pub mod log;
pub mod metrics;
pub mod prober;
pub mod server;
pub mod units;
pub mod wire;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The source revision of this build; `unknown` where the build was not told.
pub const REVISION: &str = match option_env!("PROBESIM_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
