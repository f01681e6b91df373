//! Conditions of objects to wait for.

use std::fmt;

use serde_json::Value;
use thiserror::Error;

use super::jsonpath::{JsonPath, JsonPathError, comparable};
use super::object::{condition, number, one_line, text};
use super::rollout::{count, rolled_out, unobserved};
use super::tracked::State;

/// A condition of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The condition `Ready` is true, or all replicas are ready.
    Ready,
    /// The condition `Available` is true, or all replicas are available.
    Available,
    /// The Job or Pod has succeeded.
    Complete,
    /// The object exists.
    Exists,
    /// The latest change has reached all Pods.
    RolledOut,
    /// The Service has a ready endpoint.
    HasEndpoints,
    /// An entry of `status.conditions`.
    Type {
        /// Its type, case-insensitive.
        name: String,
        /// The expected status, by default `True`.
        status: String,
    },
    /// A value in the object.
    Path {
        /// The text that was parsed.
        text: String,
        /// The path to the value.
        path: JsonPath,
        /// The expected value; `None` accepts any value.
        value: Option<String>,
    },
}

/// Why a text is not a condition. The message says what is expected.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConditionError {
    /// Not a valid name.
    #[error(
        "is not a condition: write ready, available, complete, exists, rolled-out, has-endpoints, the type of a condition such as Progressing, or jsonpath={{.status.phase}}=Running"
    )]
    Name,
    /// `delete`, which kubectl waits for.
    #[error(
        "is not supported: wait blocks until objects are ready; `kubectl wait --for=delete` blocks until they are gone"
    )]
    Delete,
    /// Not a valid path.
    #[error(transparent)]
    Path(#[from] JsonPathError),
}

impl Condition {
    /// Parses a condition. The prefix `condition=` of kubectl is accepted.
    pub fn parse(condition: &str) -> Result<Self, ConditionError> {
        let condition = condition.trim();
        let condition = condition.strip_prefix("condition=").unwrap_or(condition);
        if let Some(path) = condition.strip_prefix("jsonpath=") {
            return Self::of_path(path);
        }
        Ok(match condition.to_ascii_lowercase().as_str() {
            "ready" => Self::Ready,
            "available" => Self::Available,
            "complete" | "completed" => Self::Complete,
            "exists" | "create" => Self::Exists,
            "rolled-out" => Self::RolledOut,
            "has-endpoints" => Self::HasEndpoints,
            "delete" => return Err(ConditionError::Delete),
            _ => {
                let (name, status) = condition.split_once('=').unwrap_or((condition, "True"));
                let is_name = |text: &str| {
                    !text.is_empty()
                        && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_./".contains(&c))
                };
                if !is_name(name) || !is_name(status) {
                    return Err(ConditionError::Name);
                }
                Self::Type { name: name.to_owned(), status: status.to_owned() }
            }
        })
    }

    fn of_path(text: &str) -> Result<Self, ConditionError> {
        let unquoted = text.trim_matches('\'');
        // The value follows the closing brace; without braces, it follows the last `=` outside brackets.
        let (path, value) =
            match (unquoted.starts_with('{'), unquoted.find("}'=").or_else(|| unquoted.find("}="))) {
                (true, Some(end)) => {
                    let value = unquoted[end + 1..].trim_start_matches('\'');
                    (&unquoted[..=end], value.strip_prefix('='))
                }
                (true, None) => (unquoted, None),
                (false, _) => match unquoted
                    .rsplit_once('=')
                    .filter(|(path, _)| !path.contains("?(") || path.contains(')'))
                {
                    Some((path, value)) => (path, Some(value)),
                    None => (unquoted, None),
                },
            };
        let value = value.map(|value| value.trim_matches(['\'', '"']).to_owned());
        Ok(Self::Path { text: text.to_owned(), path: JsonPath::parse(path)?, value })
    }

    /// Returns the default condition of a resource (in the plural).
    pub fn default_of(resource: &str) -> Self {
        match resource {
            "pods" => Self::Ready,
            "deployments" => Self::Available,
            "statefulsets" | "daemonsets" => Self::RolledOut,
            "jobs" => Self::Complete,
            "services" => Self::HasEndpoints,
            _ => Self::Exists,
        }
    }

    /// Whether all parts of the object are needed.
    pub(super) const fn needs_whole_object(&self) -> bool {
        matches!(self, Self::Path { .. })
    }

    /// Evaluates the condition for an object of this resource.
    pub(super) fn evaluate(&self, resource: &str, object: &Value) -> State {
        match (self, resource) {
            (Self::Exists | Self::HasEndpoints, _) => State::Ready,
            (Self::Ready, "deployments" | "statefulsets" | "replicasets") => {
                unobserved(object).unwrap_or_else(|| count(object, "/status/readyReplicas", "ready"))
            }
            (Self::Ready | Self::Available, "daemonsets") | (Self::RolledOut, _) => {
                rolled_out(resource, object)
            }
            (Self::Ready, "pods") => pod_ready(object),
            (Self::Ready, _) => typed(object, "Ready", "True"),
            (Self::Available, "statefulsets" | "replicasets") => {
                unobserved(object).unwrap_or_else(|| count(object, "/status/availableReplicas", "available"))
            }
            (Self::Available, "deployments") => deployment_available(object),
            (Self::Available, _) => typed(object, "Available", "True"),
            (Self::Complete, "jobs") => job_complete(object),
            (Self::Complete, "pods") => pod_complete(object),
            (Self::Complete, _) => typed(object, "Complete", "True"),
            (Self::Type { name, status }, _) => typed(object, name, status),
            (Self::Path { text, path, value }, _) => at_path(object, text, path, value.as_deref()),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Available => f.write_str("available"),
            Self::Complete => f.write_str("complete"),
            Self::Exists => f.write_str("exists"),
            Self::RolledOut => f.write_str("rolled-out"),
            Self::HasEndpoints => f.write_str("has-endpoints"),
            Self::Type { name, status } if status.eq_ignore_ascii_case("true") => f.write_str(name),
            Self::Type { name, status } => write!(f, "{name}={status}"),
            Self::Path { text, .. } => write!(f, "jsonpath={text}"),
        }
    }
}

fn missing(reason: impl Into<String>) -> State {
    State::Missing(reason.into())
}

/// Evaluates an entry of `status.conditions`. If the entry has a generation, it must be the current one.
fn typed(object: &Value, name: &str, wanted: &str) -> State {
    if let Some(unseen) = unobserved(object) {
        return unseen;
    }
    let Some(found) = condition(object, name) else {
        return missing(format!("has no condition {name} yet"));
    };
    let observed = number(found, "/observedGeneration");
    if let (Some(observed), Some(generation)) = (observed, number(object, "/metadata/generation"))
        && observed < generation
    {
        return missing("the last change is not observed yet");
    }
    let status = text(found, "/status");
    if status.eq_ignore_ascii_case(wanted) {
        return State::Ready;
    }
    let reasons = [text(found, "/reason"), text(found, "/message")];
    let reasons: Vec<String> = reasons.into_iter().filter(|part| !part.is_empty()).map(one_line).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(": ")) };
    missing(format!("{name} is {}{reasons}", one_line(status)))
}

fn deployment_available(object: &Value) -> State {
    match typed(object, "Available", "True") {
        State::Missing(reason) if reason.starts_with("Available is") => {
            let wanted = number(object, "/spec/replicas").unwrap_or(1);
            let available = number(object, "/status/availableReplicas").unwrap_or(0);
            missing(format!("{available} of {wanted} replicas are available"))
        }
        state => state,
    }
}

fn pod_ready(object: &Value) -> State {
    let phase = text(object, "/status/phase");
    if matches!(phase, "Succeeded" | "Failed") {
        return ended(object, " and cannot become ready again");
    }
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return missing("the Pod is being deleted");
    }
    let state = typed(object, "Ready", "True");
    let waiting = |list: &str| {
        let statuses = object.pointer(list)?.as_array()?;
        statuses.iter().find_map(|status| {
            let reason = text(status, "/state/waiting/reason");
            (!reason.is_empty()).then(|| format!("{}: {}", text(status, "/name"), one_line(reason)))
        })
    };
    match (state, waiting("/status/containerStatuses").or_else(|| waiting("/status/initContainerStatuses"))) {
        (State::Ready, _) => State::Ready,
        (_, Some(waiting)) => missing(format!("{phase}, container {waiting}")),
        (state, None) => state,
    }
}

/// Controllers whose new Pods have new names. Others, such as a StatefulSet, may create a Pod with the same name again.
const RENAMING: [&str; 4] = ["ReplicaSet", "ReplicationController", "DaemonSet", "Job"];

/// The state of a Pod that has ended: its phase does not change any more.
fn ended(object: &Value, consequence: &str) -> State {
    let details: Vec<String> = ["phase", "reason", "message"]
        .map(|field| one_line(text(object, &format!("/status/{field}"))))
        .into_iter()
        .filter(|detail| !detail.is_empty())
        .collect();
    let reason = format!("the Pod has ended ({}){consequence}", details.join(": "));
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    if owners.into_iter().flatten().all(|owner| RENAMING.contains(&text(owner, "/kind"))) {
        State::Failed(reason)
    } else {
        State::Missing(reason)
    }
}

fn pod_complete(object: &Value) -> State {
    match text(object, "/status/phase") {
        "Succeeded" => State::Ready,
        "Failed" => ended(object, ""),
        "" => missing("has no phase yet"),
        phase => missing(format!("the phase is {}", one_line(phase))),
    }
}

fn job_complete(object: &Value) -> State {
    let is = |name: &str| condition(object, name).filter(|found| text(found, "/status") == "True");
    if is("Complete").is_some() {
        return State::Ready;
    }
    if let Some(failed) = is("Failed") {
        let (reason, message) = (one_line(text(failed, "/reason")), one_line(text(failed, "/message")));
        return State::Failed(format!("the Job has failed ({reason}: {message})"));
    }
    let status = |name: &str| number(object, &format!("/status/{name}")).unwrap_or(0);
    let wanted = number(object, "/spec/completions").unwrap_or(1);
    let (succeeded, failed) = (status("succeeded"), status("failed"));
    missing(format!("{succeeded} of {wanted} completions, {failed} failed Pods"))
}

fn at_path(object: &Value, written: &str, path: &JsonPath, wanted: Option<&str>) -> State {
    let found = path.find(object);
    match wanted {
        _ if found.is_empty() => missing(format!("no value at {written}")),
        None => State::Ready,
        Some(wanted) => match found.iter().map(|value| comparable(value)).find(|value| value != wanted) {
            None => State::Ready,
            Some(other) => missing(format!("the value is {:?}, not {wanted:?}", one_line(&other))),
        },
    }
}

#[cfg(test)]
mod tests;
