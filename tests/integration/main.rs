//! Behaviour over real sockets and files, one module per subject.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in test helpers, a panic is the failure")]

mod api;
mod decisions;
mod delays;
mod endpoints;
mod fault_command;
mod fuzz_seeds;
mod kubelet;
mod limits;
mod manifest;
mod monitoring;
mod original;
mod partition;
mod predict;
mod predict_command;
mod probe;
mod probe_signals;
mod prober_grpc;
mod prober_http;
mod process;
mod readme;
mod rust_version;
mod scenarios;
mod scripted;
mod slow_clients;
mod sources;
mod state;
mod stop;
mod support;
mod unprivileged;
mod verdicts;
mod watch;
mod wire;
