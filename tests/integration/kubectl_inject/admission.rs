//! What the API server checks when an ephemeral container is added: the rules of validation and of Pod Security.

use serde_json::Value;

/// Fields that an ephemeral container may have. Not among them: ports, probes, resources, lifecycle and restart policy.
const FIELDS: [&str; 17] = [
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "envFrom",
    "env",
    "volumeMounts",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "targetContainerName",
];

/// Capabilities that the level `baseline` lets a container add.
const BASELINE: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// A level of Pod Security.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Level {
    #[default]
    Privileged,
    Baseline,
    Restricted,
}

pub(super) fn list<'a>(pod: &'a Value, field: &str) -> &'a [Value] {
    pod["spec"][field].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Why the Pod that was sent is not valid in place of the one that is there.
pub(super) fn invalid(pod: &Value, sent: &Value) -> Option<String> {
    if sent["kind"] != "Pod"
        || sent["apiVersion"] != "v1"
        || sent["metadata"]["name"] != pod["metadata"]["name"]
    {
        return Some("it is not this Pod".to_owned());
    }
    if pod["metadata"]["annotations"].get("kubernetes.io/config.mirror").is_some() {
        return Some("Forbidden: static pods do not support ephemeral containers".to_owned());
    }
    let (before, after) = (list(pod, "ephemeralContainers"), list(sent, "ephemeralContainers"));
    if !after.starts_with(before) {
        return Some("existing ephemeral containers may not be changed or removed".to_owned());
    }
    let named =
        |field: &str, name: &Value| list(sent, field).iter().filter(|each| each["name"] == *name).count();
    for (index, container) in after.iter().enumerate().skip(before.len()) {
        let place = format!("spec.ephemeralContainers[{index}]");
        for field in container.as_object().into_iter().flat_map(|fields| fields.keys()) {
            if !FIELDS.contains(&field.as_str()) {
                return Some(format!("{place}.{field}: Forbidden: cannot be set for an Ephemeral Container"));
            }
        }
        let name = &container["name"];
        let is_label = |text: &str| {
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            (1..=63).contains(&text.len())
                && text.bytes().all(|byte| is_plain(byte) || byte == b'-')
                && text.starts_with(|first: char| is_plain(first as u8))
                && text.ends_with(|last: char| is_plain(last as u8))
        };
        if !name.as_str().is_some_and(is_label) {
            return Some(format!("{place}.name: Invalid value: {name}"));
        }
        let fields = ["containers", "initContainers", "ephemeralContainers"];
        if fields.iter().map(|field| named(field, name)).sum::<usize>() != 1 {
            return Some(format!("{place}.name: Duplicate value: {name}"));
        }
        if !container["image"].as_str().is_some_and(|image| !image.is_empty() && image.trim() == image) {
            return Some(format!("{place}.image: Required value"));
        }
        let target = &container["targetContainerName"];
        if !target.is_null() && named("containers", target) + named("initContainers", target) == 0 {
            return Some(format!("{place}.targetContainerName: Not found: {target}"));
        }
    }
    None
}

/// What in the Pod violates a level, as the message of the API server has it.
pub(super) fn violations(level: Level, pod: &Value) -> Option<String> {
    let mut found = Vec::new();
    let all = ["initContainers", "containers", "ephemeralContainers"].map(|field| list(pod, field)).concat();
    for container in &all {
        let (name, context) = (&container["name"], &container["securityContext"]);
        let of = |field: &str| match &context[field] {
            Value::Null => &pod["spec"]["securityContext"][field],
            own => own,
        };
        let added = context["capabilities"]["add"].as_array().cloned().unwrap_or_default();
        let allowed: &[&str] = match level {
            Level::Privileged => return None,
            Level::Baseline => &BASELINE,
            Level::Restricted => &["NET_BIND_SERVICE"],
        };
        if let Some(other) = added.iter().find(|name| !allowed.iter().any(|allowed| *name == allowed)) {
            found.push(format!(
                "non-default capabilities (container {name} must not include {other} in securityContext.capabilities.add)"
            ));
        }
        if level == Level::Baseline {
            continue;
        }
        let drops = context["capabilities"]["drop"].as_array().cloned().unwrap_or_default();
        let checks = [
            (context["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation != false"),
            (drops.contains(&"ALL".into()), "unrestricted capabilities"),
            (*of("runAsNonRoot") == true, "runAsNonRoot != true"),
            (*of("runAsUser") != 0, "runAsUser=0"),
            (
                ["RuntimeDefault", "Localhost"].iter().any(|kind| of("seccompProfile")["type"] == *kind),
                "seccompProfile",
            ),
        ];
        found.extend(
            checks.iter().filter(|(holds, _)| !holds).map(|(_, what)| format!("{what} (container {name})")),
        );
    }
    let level = if level == Level::Baseline { "baseline" } else { "restricted" };
    (!found.is_empty()).then(|| format!("violates PodSecurity \"{level}:latest\": {}", found.join(", ")))
}
