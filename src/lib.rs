//! A probe and fault simulator for Kubernetes.
//!
//! # Layout
//!
//! One pure centre, one stateful shell, adapters around it. A module imports only from rows below its own.
//!
//! | modules | what they do |
//! |---|---|
//! | [`fault`] | rules, plans and the decision; pure |

pub mod fault;
