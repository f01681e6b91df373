//! What the kubelet will do with the faults of a manifest, told beforehand.
//!
//! Manifests become [`Workload`]s; each of their Pods runs under the [`kubelet`](crate::kubelet) model, with the seed that
//! the service would have in it.

pub mod manifest;
pub mod workload;

pub use workload::{Kind, PodName, Rollout, Workload};
