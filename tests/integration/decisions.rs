//! Decisions of a plan: rates, bursts, delays, combinations of rules, windows, readiness and the listener.

// Helpers outside the test functions unwrap, too.
#![allow(clippy::unwrap_used)]

mod bursts;
mod combination;
mod delays;
mod draft;
mod golden;
mod independence;
mod listener;
mod process;
mod rates;
mod readiness;
mod replicas;
mod statistics;
mod windows;
