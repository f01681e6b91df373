//! A probe and fault simulator for Kubernetes.
//!
//! # Layout
//!
//! One pure centre, one stateful shell, adapters around it. A module imports only from rows below its own.
//!
//! | modules | what they do |
//! |---|---|
//! | [`cli`] | verbs, signals, exit codes |
//! | [`server`], [`predict`] | binds, supervises, drains; runs the Pods of a manifest on a virtual clock |
//! | [`admin`], [`http`] | the admin API; routes, and the layer that applies decisions |
//! | [`grpc`] | the health service of gRPC |
//! | [`proxy`] | forwards requests and connections to an upstream |
//! | [`attach`] | takes over the port of an application that is already running |
//! | [`sources`] | merges files, annotation, API and saved state into the plan in force |
//! | [`listener`], [`prober`] | sockets: accept loop, partitions, faults below HTTP; one kubelet-faithful attempt |
//! | [`cluster`] | a client of the Kubernetes API: lists and watches objects, and evaluates conditions on them |
//! | [`telemetry`] | metrics and the log |
//! | [`engine`] | the active plan, counters of rules, events |
//! | [`mod@env`], [`plan`] | environment to configuration; plans: read, checked, written |
//! | [`kubelet`] | a model of the kubelet on a virtual clock; imports only `fault` |
//! | [`units`], [`clock`] | parsing and formatting of durations, percentages and sizes; wall clock and precise timers |
//! | `rpc` | gRPC for client and server: framing and messages of health checks |
//! | [`tls`] | TLS: trust of clients, certificates of servers |
//! | [`mod@file`] | files, opened without blocking and read up to a limit |
//! | `order` | sorting, without code for each type |
//! | `task` | tasks of tokio, without a type of their own |
//! | [`fault`] | rules, plans and the decision; pure |

#![warn(clippy::print_stdout, clippy::print_stderr)] // They panic where the stream is closed.

pub mod admin;
pub mod attach;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod engine;
pub mod env;
pub mod fault;
pub mod file;
pub mod grpc;
pub mod http;
pub mod kubelet;
pub mod listener;
mod order;
pub mod plan;
pub mod predict;
pub mod prober;
pub mod proxy;
mod rpc;
pub mod server;
pub mod sources;
mod task;
pub mod telemetry;
mod text;
pub mod tls;
pub mod units;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The source revision of this build; `unknown` if the build did not set it.
pub const REVISION: &str = match option_env!("PROBESIM_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
