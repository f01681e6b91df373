//! How far an ephemeral container has come.

use serde_json::Value;

use crate::cli::kubectl::fields::{list, text};
use crate::cli::kubectl::process::Kubectl;

/// Reasons for which the kubelet tries again without an end, or not at all.
const HOPELESS: [&str; 7] = [
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "ImageInspectError",
];

/// What the Pod says about the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is not created yet, with the kubelet's reason.
    Waiting {
        reason: String,
        is_hopeless: bool,
    },
    Running,
    /// With its exit code and its message.
    Ended {
        code: i64,
        message: String,
    },
}

pub(super) fn of(pod: &Value, container: &str) -> Stage {
    let statuses = list(&pod["status"]["ephemeralContainerStatuses"]);
    let status = statuses.iter().find(|status| status["name"] == container);
    let Some(state) = status.map(|status| &status["state"]) else {
        return Stage::Waiting { reason: "the kubelet has not seen it yet".to_owned(), is_hopeless: false };
    };
    if state.get("running").is_some() {
        return Stage::Running;
    }
    if let Some(ended) = state.get("terminated") {
        let message = match (text(&ended["message"]), text(&ended["reason"])) {
            (message, reason) if message.is_empty() => reason,
            (message, _) => message,
        };
        return Stage::Ended { code: ended["exitCode"].as_i64().unwrap_or_default(), message };
    }
    let (reason, message) = (text(&state["waiting"]["reason"]), text(&state["waiting"]["message"]));
    let is_hopeless = HOPELESS.contains(&reason.as_str());
    let reason = if message.is_empty() { reason } else { format!("{reason}: {message}") };
    Stage::Waiting { reason, is_hopeless }
}

/// What `attach` prints under this key: the last such object in its output.
pub(super) fn object(text: &str, key: &str) -> Option<Value> {
    text.lines().rev().filter(|line| line.starts_with('{')).find_map(|line| {
        let value: Value = serde_json::from_str(line).ok()?;
        value.get(key).cloned()
    })
}

/// What a container has printed; nothing if it cannot be read.
pub(super) fn log(kubectl: &Kubectl, namespace: &str, pod: &str, container: &str) -> String {
    let arguments = [
        "logs".to_owned(),
        pod.to_owned(),
        format!("--container={container}"),
        format!("--namespace={namespace}"),
    ];
    let output = kubectl.run(&arguments, None);
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// The address of the admin listener of an injection, as its log has it.
pub(in crate::cli::kubectl) fn admin(
    kubectl: &Kubectl,
    namespace: &str,
    pod: &str,
    container: &str,
) -> Option<String> {
    let attached = object(&log(kubectl, namespace, pod, container), "attached")?;
    attached["admin"].as_str().map(str::to_owned)
}
