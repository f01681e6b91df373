//! The fields of containers in the Kubernetes API, to detect misspelt ones.

use super::findings::Findings;
use super::mapping::{Mapping, shown};
use crate::plan::error::nearest;

const CONTAINER: &[&str] = &[
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "restartPolicyRules",
    "securityContext",
    "startupProbe",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
];

const PROBE: &[&str] = &[
    "exec",
    "failureThreshold",
    "grpc",
    "httpGet",
    "initialDelaySeconds",
    "periodSeconds",
    "successThreshold",
    "tcpSocket",
    "terminationGracePeriodSeconds",
    "timeoutSeconds",
];

/// The fields of each handler of a probe.
const HANDLERS: [(&str, &[&str]); 4] = [
    ("exec", &["command"]),
    ("grpc", &["port", "service"]),
    ("httpGet", &["host", "httpHeaders", "path", "port", "scheme"]),
    ("tcpSocket", &["host", "port"]),
];

/// Warns of unknown fields of a container, its variables and its probes.
pub(super) fn check(container: &Mapping) -> Findings {
    Findings::collect(|found| {
        found.add(fields(container, CONTAINER));
        // Values that are not mappings are reported elsewhere.
        for variable in container.mappings("env").value {
            found.add(fields(&variable, &["name", "value", "valueFrom"]));
        }
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            let Some(probe) = container.mapping(probe).value else { continue };
            found.add(fields(&probe, PROBE));
            for (name, known) in HANDLERS {
                let Some(handler) = probe.mapping(name).value else { continue };
                found.add(fields(&handler, known));
                for header in handler.mappings("httpHeaders").value {
                    found.add(fields(&header, &["name", "value"]));
                }
            }
        }
    })
}

fn fields(fields: &Mapping, known: &[&'static str]) -> Findings {
    Findings::collect(|found| {
        for (name, _) in fields.entries().filter(|(name, _)| !known.contains(name)) {
            let meant = match nearest(name, known) {
                Some(nearest) => format!("; did you mean {nearest}?"),
                None => String::new(),
            };
            found.warn(format!("{}: unknown field {}, ignored{meant}", fields.path(), shown(name)));
        }
    })
}
