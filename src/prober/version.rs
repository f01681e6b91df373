//! The version that is followed.

/// The Kubernetes version whose kubelet is followed.
pub const KUBERNETES_VERSION: &str = "1.36";
