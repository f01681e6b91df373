//! A probe and fault simulator for Kubernetes.
//!
//! # Layout
//!
//! One pure centre, one stateful shell, adapters around it. A module imports only from rows below its own.
//!
//! | modules | what they do |
//! |---|---|
//! | [`config`] | from the environment to a checked configuration |
//! | [`fault`] | rules, plans and the decision; pure |
//! | [`units`] | durations, percentages and sizes as people write them |

pub mod config;
pub mod fault;
pub mod units;
