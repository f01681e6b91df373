//! Why a sidecar cannot be added or removed.

use thiserror::Error;

/// What stands in the way, and what would be right.
#[derive(Debug, Error, PartialEq, Eq)]
pub(in crate::cli::kubectl) enum SidecarError {
    #[error("{0} is a {1}: a sidecar can be added to a Deployment, StatefulSet or DaemonSet")]
    Kind(String, String),
    #[error("it has no container named {0:?}: it has {1}")]
    NoContainer(String, String),
    #[error("it has a container named probesim already")]
    Exists,
    #[error("its Pods use the network of the node, where port {0} may belong to something else")]
    HostNetwork(u16),
    #[error("its container {0:?} uses port {1}, which the sidecar needs")]
    PortTaken(String, u16),
    #[error("the container has no port named {0:?}, and it is no number from 1 to 65535")]
    Port(String),
    #[error(
        "which port shall the proxy stand in front of? No port, probe or Service names one: --port NUMBER"
    )]
    NoPort,
    #[error("which port shall the proxy stand in front of? --port with one of {0}")]
    Ports(String),
    #[error(
        "its sidecar was not added by this command, since the annotation probesim.io/original is not there or not readable: \
         remove it where it was added"
    )]
    NotOurs,
}
