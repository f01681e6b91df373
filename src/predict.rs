//! Predicts how the kubelet reacts to the faults of a manifest.
//!
//! Manifests become [`Workload`]s. The [`kubelet`](crate::kubelet) model runs each of their Pods, with the seed that
//! the service would use in that Pod.

pub mod advice;
pub mod budget;
pub mod fail_on;
pub mod fleet;
pub mod manifest;
pub mod name;
mod options;
mod outcome;
pub mod profile;
pub mod progress;
mod reaction;
mod replicas;
pub mod report;
pub mod rollout;
pub mod run;
pub mod runs;
pub mod selection;
pub mod service;
pub mod summary;
pub mod timeline;
pub mod watcher;
pub mod workload;

pub use workload::{ContainerFacts, Disruption, Kind, PodName, Profiled, Rollout, Update, Workload};
