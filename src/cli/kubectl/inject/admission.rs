//! Asks the API server to take the ephemeral container: first without a change, then with it.

use serde_json::Value;

use super::arguments::Injection;
use super::container::{self, Rights};
use super::ephemeral;
use super::error::InjectError;
use super::place::{Place, check_free};
use super::target;
use crate::cli::kubectl::process::Kubectl;

/// Attempts while others change the Pod, too.
const TRIES: usize = 5;

/// The first rights that the API server admits for this Pod. Nothing is changed.
///
/// # Errors
///
/// None is admitted, this caller may not ask, or the API server knows no ephemeral containers.
pub(super) fn rights(
    kubectl: &Kubectl,
    pod: &Value,
    place: &Place,
    injection: &Injection,
) -> Result<Rights, InjectError> {
    let known = container::user(pod, &place.container);
    let candidates = Rights::candidates(injection.run_as, known);
    let mut refusals: Vec<String> = Vec::new();
    for rights in &candidates {
        let name = ephemeral::name(place.port, 0);
        let of = (injection, injection.plan.as_slice());
        let container = container::container(pod, place, of, *rights, &name, None);
        match send(kubectl, pod, place, &container, "?dryRun=All") {
            Ok(()) => return Ok(*rights),
            // A webhook that cannot be asked without a change is asked with it.
            Err(InjectError::Refused(refusal)) if refusal.contains("does not support dry run") => {
                return Ok(*rights);
            }
            Err(InjectError::Refused(refusal)) if refusal.contains("cannot update resource") => {
                return Err(InjectError::Rights(refusal));
            }
            Err(InjectError::Refused(refusal)) => refusals.push(refusal),
            Err(other) => return Err(other),
        }
    }
    let first = refusals.first().cloned().unwrap_or_default();
    Err(match candidates.as_slice() {
        [Rights::Root] => InjectError::UnknownUser(first),
        _ => InjectError::Refused(refusals.pop().unwrap_or_default()),
    })
}

/// Adds the container to the Pod.
///
/// # Errors
///
/// The API server refuses it, or the Pod is meanwhile another one or taken over.
pub(super) fn add(
    kubectl: &Kubectl,
    pod: &Value,
    place: &Place,
    container: &Value,
) -> Result<(), InjectError> {
    send(kubectl, pod, place, container, "")
}

/// Sends the Pod with the container, and reads it again while somebody else changes it, as the kubelet does whenever its state
/// changes.
fn send(
    kubectl: &Kubectl,
    pod: &Value,
    place: &Place,
    container: &Value,
    query: &str,
) -> Result<(), InjectError> {
    let (name, namespace) = (target::name(pod), target::namespace(pod));
    let read = ["get", "pod", name, &format!("--namespace={namespace}"), "--output=json"].map(str::to_owned);
    let mut current = pod.clone();
    let mut tries = 0;
    loop {
        let refusal = match put(kubectl, &current, container.clone(), query) {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        if refusal.contains("could not find the requested resource") {
            return Err(InjectError::OldServer);
        }
        if !refusal.contains("(Conflict)") || tries == TRIES {
            return Err(InjectError::Refused(refusal));
        }
        tries += 1;
        current = kubectl.json(&read).map_err(|error| InjectError::Refused(error.to_string()))?;
        if current["metadata"]["uid"] != pod["metadata"]["uid"] {
            return Err(InjectError::Replaced);
        }
        check_free(&current, place.port)?;
    }
}

/// `kubectl patch` and `kubectl edit` know no ephemeral containers, and a raw request works with every version.
fn put(kubectl: &Kubectl, pod: &Value, container: Value, query: &str) -> Result<(), String> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/ephemeralcontainers{query}",
        target::namespace(pod),
        target::name(pod)
    );
    let arguments = ["replace".to_owned(), format!("--raw={path}"), "--filename=-".to_owned()];
    let body = container::with(pod, container).to_string();
    let output = kubectl.run(&arguments, Some(body.as_bytes())).map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(kubectl.message(&output)) }
}
