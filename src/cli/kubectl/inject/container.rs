//! The ephemeral container that takes a port over.

use serde_json::{Map, Value, json};

use super::arguments::{Injection, User};
use super::place::Place;
use crate::cli::kubectl::fields::list;
use crate::cli::kubectl::{EXECUTABLE, IMAGE};
use crate::fault::Protocol;
use crate::units::Show;

/// What the container may do. In the order in which they are tried: the first works on most nodes, and needs a namespace that
/// admits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    /// Root with two capabilities. Yama lets it take the listener of another process.
    Root,
    /// The application's own user and group, without any capability.
    Application(User),
    /// As [`Self::Application`], with all that the Pod Security level `restricted` asks for.
    Restricted(User),
}

impl Rights {
    /// All that can be tried for an application of this user. A user that was named is the only one.
    pub(super) fn candidates(named: Option<User>, known: Option<User>) -> Vec<Self> {
        let root = named.is_none().then_some(Self::Root);
        let own =
            named.or(known).into_iter().flat_map(|user| [Self::Application(user), Self::Restricted(user)]);
        root.into_iter().chain(own).collect()
    }

    /// For a table: the user and the capabilities.
    pub(super) fn row(self) -> [String; 2] {
        let (user, capabilities) = match self {
            Self::Root => (User { user: 0, group: Some(0) }, "SYS_PTRACE, SETUID"),
            Self::Application(user) => (user, "none"),
            Self::Restricted(user) => (user, "none (restricted)"),
        };
        let group = user.group.map(|group| format!(":{group}")).unwrap_or_default();
        [format!("{}{group}", user.user), capabilities.to_owned()]
    }

    /// What the user should know about them.
    pub(super) fn note(self) -> Option<&'static str> {
        match self {
            Self::Root => None,
            Self::Application(_) => Some(
                "without SYS_PTRACE, a node with a seccomp profile or Yama's ptrace_scope refuses it, unless the application \
                 sets SO_REUSEPORT itself",
            ),
            Self::Restricted(_) => Some(
                "the namespace is restricted: only an application that sets SO_REUSEPORT itself can be taken over",
            ),
        }
    }

    /// `seccompProfile` is left to the Pod and the node, but where `restricted` wants one.
    fn context(self, pod: &Value) -> Value {
        let mut context = json!({"readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
        match self {
            Self::Root => {
                context["runAsUser"] = 0.into();
                context["runAsGroup"] = 0.into();
                // The Pod may ask for another user, and then a container of root would not start.
                context["runAsNonRoot"] = false.into();
                context["capabilities"]["add"] = json!(["SYS_PTRACE", "SETUID"]);
            }
            Self::Application(user) | Self::Restricted(user) => {
                context["runAsUser"] = user.user.into();
                if let Some(group) = user.group {
                    context["runAsGroup"] = group.into();
                }
                context["runAsNonRoot"] = (user.user != 0).into();
            }
        }
        if let Self::Restricted(_) = self {
            context["allowPrivilegeEscalation"] = false.into();
            if pod["spec"]["securityContext"].get("seccompProfile").is_none() {
                context["seccompProfile"] = json!({"type": "RuntimeDefault"});
            }
        }
        context
    }
}

/// The user of the application as the kubelet reports it, or as the Pod asks for it.
pub(super) fn user(pod: &Value, container: &str) -> Option<User> {
    let named =
        |all: &Value| list(all).iter().find(|each| each["name"] == container).cloned().unwrap_or_default();
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let linux = &named(&pod["status"]["containerStatuses"])["user"]["linux"];
    if let Some(user) = number(&linux["uid"]) {
        return Some(User { user, group: number(&linux["gid"]) });
    }
    let own = named(&pod["spec"]["containers"]);
    let of = |field: &str| {
        let own = number(&own["securityContext"][field]);
        own.or_else(|| number(&pod["spec"]["securityContext"][field]))
    };
    Some(User { user: of("runAsUser")?, group: of("runAsGroup") })
}

/// The ephemeral container for a Pod.
pub(super) fn container(
    pod: &Value,
    place: &Place,
    (injection, plan): (&Injection, &[Value]),
    rights: Rights,
    name: &str,
    executable: Option<&str>,
) -> Value {
    let mut command = vec![
        executable.unwrap_or(EXECUTABLE).to_owned(),
        "attach".to_owned(),
        format!("--port={}", place.port),
    ];
    let protocol = place.protocol;
    command.push(format!("--for={}", Show(injection.time)));
    if protocol == Protocol::Tcp {
        command.push("--protocol=tcp".to_owned());
    }
    command.extend(injection.flags.iter().chain(&injection.rule).map(|word| literal(word)));
    let is_named = |word: &String| word == "--name" || word.starts_with("--name=");
    if !injection.rule.is_empty() && !injection.rule.iter().any(is_named) {
        // As the dry run shows it.
        command.push("--name=inject".to_owned());
    }
    let variables = [
        ("POD_NAME", "metadata.name"),
        ("POD_NAMESPACE", "metadata.namespace"),
        ("POD_IP", "status.podIP"),
        ("NODE_NAME", "spec.nodeName"),
        // The kubelet probes from there.
        ("NODE_IP", "status.hostIP"),
    ];
    let variable =
        |(name, path): (&str, &str)| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let mut variables: Vec<Value> = variables.into_iter().map(variable).collect();
    if injection.rule.is_empty() {
        // The file is here and not in the Pod.
        let plan = json!({ "faults": plan }).to_string();
        variables.push(json!({"name": "FAULTS", "value": literal(&plan)}));
    }
    json!({
        "name": name,
        "image": injection.image.as_deref().unwrap_or(IMAGE),
        "command": command,
        "env": variables,
        "targetContainerName": place.container,
        "securityContext": rights.context(pod),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

/// A text that Kubernetes leaves as it is: it replaces `$(NAME)` in commands and variables, and makes one dollar of two.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// The Pod with one more ephemeral container, as the API server takes it.
pub(super) fn with(pod: &Value, container: Value) -> Value {
    let mut pod = pod.clone();
    if let Some(spec) = pod["spec"].as_object_mut() {
        let list = spec.entry("ephemeralContainers").or_insert_with(|| Value::Array(Vec::new()));
        if let Some(list) = list.as_array_mut() {
            list.push(container);
        }
    }
    // What the subresource does not look at need not be sent.
    pod.as_object_mut().map(|fields: &mut Map<String, Value>| fields.remove("status"));
    pod
}
