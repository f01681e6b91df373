//! Whether a namespace allows injections.

use serde_json::Value;

use super::error::InjectError;
use crate::cli::kubectl::process::Kubectl;

/// The label that allows them, and its value.
const LABEL: (&str, &str) = ("probesim.io/inject", "allowed");

/// Checks the namespace. One that is insisted on needs no label.
///
/// # Errors
///
/// It belongs to Kubernetes, has no label that allows it, or cannot be read.
pub(super) fn check(kubectl: &Kubectl, namespace: &str, insisted: Option<&str>) -> Result<(), InjectError> {
    if namespace.starts_with("kube-") {
        return Err(InjectError::System(namespace.to_owned()));
    }
    match insisted {
        Some(name) if name == namespace => return Ok(()),
        Some(other) => return Err(InjectError::OtherNamespace(other.to_owned(), namespace.to_owned())),
        None => {}
    }
    let arguments = ["get", "namespace", namespace, "--output=json"].map(str::to_owned);
    let unread = |reason: String| InjectError::NamespaceUnread(namespace.to_owned(), reason);
    let output = kubectl.run(&arguments, None).map_err(|error| unread(error.to_string()))?;
    if !output.status.success() {
        return Err(unread(kubectl.message(&output)));
    }
    let read: Value = serde_json::from_slice(&output.stdout).map_err(|error| unread(error.to_string()))?;
    let (label, value) = LABEL;
    if read["metadata"]["labels"][label] == value {
        Ok(())
    } else {
        Err(InjectError::Namespace(namespace.to_owned()))
    }
}
