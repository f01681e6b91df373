//! The simulated Kubernetes version.

/// The Kubernetes version whose kubelet is simulated.
pub const KUBERNETES_VERSION: &str = "1.36";
