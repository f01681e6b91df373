//! Why nothing is injected.

use thiserror::Error;

use crate::cli::kubectl::sidecar::error::SidecarError;
use crate::cli::text::OneLine;

/// What stands in the way, and what would be right.
#[derive(Debug, Error, PartialEq, Eq)]
pub(in crate::cli::kubectl) enum InjectError {
    #[error(
        "namespace {0} belongs to Kubernetes itself, which needs its Pods: inject into a namespace of your own"
    )]
    System(String),
    #[error(
        "namespace {0} does not allow it: kubectl label namespace {0} probesim.io/inject=allowed, or insist with \
         --yes-namespace {0}"
    )]
    Namespace(String),
    #[error(
        "the labels of namespace {0} cannot be read ({error}): insist with --yes-namespace {0}",
        error = OneLine(.1)
    )]
    NamespaceUnread(String, String),
    #[error("--yes-namespace {0:?} is not the namespace of these Pods, which is {1}")]
    OtherNamespace(String, String),
    #[error("{0} has no label selector: name a Pod, a Deployment, StatefulSet, DaemonSet or Service")]
    NoSelector(String),
    #[error("it belongs to {0}, not to {1}, whose selector it matches: name it with pod/NAME if it is meant")]
    Foreign(String, String),
    #[error(
        "the kubelet runs it from a file of its node: the API server takes no ephemeral container for it"
    )]
    Mirror,
    #[error("it does not run ({0}): wait until it does")]
    NotRunning(String),
    #[error("it uses the network of its node, where others would be hit: give it a network of its own")]
    HostNetwork,
    #[error("it runs Windows: only Linux has what this needs")]
    Windows,
    #[error("it has no container named {0:?}: --container with one of {1}")]
    NoContainer(String, String),
    #[error("its container {0:?} does not run ({1}): wait until it does")]
    ContainerNotRunning(String, String),
    #[error("{0}")]
    Port(SidecarError),
    #[error("none of its containers has a port named {0:?}, and it is no number from 1 to 65535")]
    PortName(String),
    #[error("port {0} is declared as {1}: only TCP can be taken over")]
    Protocol(u16, String),
    #[error(
        "port {0} is named {1:?}, so that it is taken over as TCP, and the rule cannot act on TCP ({2}): use another rule, \
         or insist with --protocol http"
    )]
    NoHttp(u16, String, String),
    #[error(
        "port {0} is taken over already, by its container {1}: end that first, with kubectl probesim inject --stop"
    )]
    Taken(u16, String),
    #[error(
        "its container {1} does not start ({reason}), but would take over port {0} if it did; ephemeral containers cannot \
         be removed, so delete the Pod", reason = OneLine(.2)
    )]
    Waiting(u16, String, String),
    #[error(
        "you may not add ephemeral containers: {message}; manifests/inject has the Role that is needed",
        message = OneLine(.0)
    )]
    Rights(String),
    #[error("{}", OneLine(.0))]
    Refused(String),
    #[error(
        "this API server does not support ephemeral containers (Kubernetes 1.23 or later does): add the proxy to the manifest \
         instead"
    )]
    OldServer,
    #[error("the Pod was replaced by another one of the same name: run the command again")]
    Replaced,
    #[error(
        "the API server takes no container with the rights that are needed, and the user of the application is not \
         known: --run-as UID:GID names it ({})", OneLine(.0)
    )]
    UnknownUser(String),
}
