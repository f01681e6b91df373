//! The fields that a container has in the API of Kubernetes, to find misspelt ones.

use super::node::{Node, Report, shown};
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

/// Warns of fields that a container, its variables or its probes do not have.
pub(super) fn check(container: &Node, report: &mut Report) {
    fields(container, CONTAINER, report);
    // What is no mapping is an error elsewhere.
    let mut ignored = Report::default();
    for variable in container.items("env", &mut ignored) {
        fields(&variable, &["name", "value", "valueFrom"], report);
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.child(probe, &mut ignored) else { continue };
        fields(&probe, PROBE, report);
        for (name, known) in HANDLERS {
            let Some(handler) = probe.child(name, &mut ignored) else { continue };
            fields(&handler, known, report);
            for header in handler.items("httpHeaders", &mut ignored) {
                fields(&header, &["name", "value"], report);
            }
        }
    }
}

fn fields(node: &Node, known: &[&'static str], report: &mut Report) {
    for (name, _) in node.entries().filter(|(name, _)| !known.contains(name)) {
        let meant = match nearest(name, known) {
            Some(nearest) => format!("; did you mean {nearest}?"),
            None => String::new(),
        };
        report.warn(&format!("{}: unknown field {}, ignored{meant}", node.path(), shown(name)));
    }
}
