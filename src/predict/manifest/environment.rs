//! The environment of a container, as the kubelet creates it.

use std::collections::HashMap;

use serde_json::Value;

use super::error::{MAX_ENVIRONMENT, Problem};
use super::findings::{Findings, Reading};
use super::mapping::{Mapping, shown, wrong};
use super::object::Object;
use crate::env::{VARIABLES, Variable};
use crate::predict::Kind;

/// A placeholder for the Pod's name, which is not known yet. A manifest cannot contain it.
const POD_NAME: &str = "\u{0}metadata.name\u{0}";

const NEEDS_QUOTES: &str = "needs quotes; without them the API server refuses it";

/// A placeholder for the addresses of a running Pod (TEST-NET-1 of RFC 5737).
const SOME_ADDRESS: &str = "192.0.2.1";

/// The objects and fields to which references in a container can refer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sources<'a> {
    /// All objects of the input; references find their `ConfigMap` here.
    pub(super) objects: &'a [Object],
    /// The kind of the object that creates the Pods.
    pub(super) kind: &'a Kind,
    /// The object that creates the Pods.
    pub(super) owner: &'a Object,
    /// The Pod's `metadata`.
    pub(super) metadata: Option<&'a Mapping<'a>>,
    /// The Pod's `spec`.
    pub(super) spec: &'a Mapping<'a>,
    /// The name of the container that is read.
    pub(super) container: &'a str,
    /// Whether all referenced objects must be in the input.
    pub(super) complete: bool,
}

impl<'a> Sources<'a> {
    /// The container's label in assumptions.
    pub(super) fn container_label(&self) -> String {
        format!("container {}", self.container)
    }

    pub(super) fn config_map(&self, name: &str) -> Option<&'a Object> {
        self.object("ConfigMap", name)
    }

    /// An object of the same namespace.
    pub(super) fn object(&self, kind: &str, name: &str) -> Option<&'a Object> {
        let namespace = self.owner.namespace.as_deref();
        self.objects
            .iter()
            .find(|object| object.kind == kind && object.name == name && object.shares_namespace(namespace))
    }
}

/// A container's variables.
#[derive(Debug, Default)]
pub(super) struct Environment {
    values: HashMap<String, String>,
    order: Vec<String>,
    bytes: usize,
}

impl Environment {
    /// Reads `envFrom`, then `env`, which overrides it.
    pub(super) fn read(container: &Mapping, sources: &Sources) -> Reading<Self> {
        Reading::collect(|found| {
            let mut environment = Self::default();
            for source in found.take(container.mappings("envFrom")) {
                found.add(environment.add_source(&source, sources));
            }
            for variable in found.take(container.mappings("env")) {
                found.add(environment.add_variable(&variable, sources));
            }
            if environment.bytes > MAX_ENVIRONMENT {
                found.error(container.field("env"), Problem::EnvironmentTooLong);
            }
            environment
        })
    }

    /// Name and value of each variable, in the order in which they were first set. `name` is the Pod's name.
    pub(super) fn pairs(&self, name: &str) -> impl Iterator<Item = (String, String)> {
        self.order.iter().filter_map(move |variable| {
            self.values.get(variable).map(|value| (variable.clone(), value.replace(POD_NAME, name)))
        })
    }

    /// A variable's value, if it holds the Pod's name and nothing else.
    pub(super) fn is_pod_name(&self, variable: &str) -> bool {
        self.values.get(variable).is_some_and(|value| value == POD_NAME)
    }

    /// The variables of this program whose values contain the Pod's name.
    pub(super) fn with_pod_name(&self) -> impl Iterator<Item = &str> {
        let holds = |name: &&String| self.values.get(*name).is_some_and(|value| value.contains(POD_NAME));
        self.order.iter().filter(|name| is_ours(name)).filter(holds).map(String::as_str)
    }

    fn set(&mut self, name: String, value: String) {
        self.bytes += name.len() + value.len();
        if self.bytes > MAX_ENVIRONMENT {
            return;
        }
        if self.values.insert(name.clone(), value).is_none() {
            self.order.push(name);
        }
    }

    /// One entry of `envFrom`.
    fn add_source(&mut self, source: &Mapping, sources: &Sources) -> Findings {
        Findings::collect(|found| {
            let prefix = found.take(source.string("prefix")).unwrap_or_default();
            if let Some(secret) = found.take(source.mapping("secretRef")) {
                let name = found.take(secret.string("name")).unwrap_or_default();
                let container = sources.container_label();
                found.assume(format!(
                    "{container}: the variables of Secret {name:?} are treated as unset: Secrets are not read"
                ));
            }
            let Some(reference) = found.take(source.mapping("configMapRef")) else { return };
            let Some(name) = found.take(reference.required_string("name")) else { return };
            let optional = found.take(reference.boolean("optional")).unwrap_or(false);
            let Some(config_map) = sources.config_map(name) else {
                if !optional {
                    let container = sources.container_label();
                    found.assume(format!(
                        "{container}: the variables of ConfigMap {name:?} are treated as unset"
                    ));
                }
                return;
            };
            for (key, value) in found.take(config_map_data(config_map)) {
                // The kubelet skips keys that are not valid names.
                if let Some(text) =
                    found.take(config_map_text(config_map, key, value)).filter(|_| !key.contains('='))
                {
                    self.set(format!("{prefix}{key}"), text);
                }
            }
        })
    }

    /// One entry of `env`.
    fn add_variable(&mut self, variable: &Mapping, sources: &Sources) -> Findings {
        Findings::collect(|found| {
            let Some(name) = found.take(variable.required_string("name")) else { return };
            let literal = variable.get("value").and_then(|value| match value {
                Value::String(text) => Some(text.clone()),
                Value::Number(_) | Value::Bool(_) => {
                    found.warn(format!("env {}: the value {value} {NEEDS_QUOTES}", shown(name)));
                    Some(value.to_string())
                }
                value => {
                    found.error(variable.field("value"), wrong("a string", value));
                    None
                }
            });
            let value = match literal.filter(|text| !text.is_empty()) {
                Some(text) => {
                    // The expansion is bounded, since references may multiply its size.
                    let room = MAX_ENVIRONMENT.saturating_sub(self.bytes);
                    expand(&text, room, |name| self.values.get(name).map(String::as_str))
                }
                None => match found.take(variable.mapping("valueFrom")) {
                    Some(source) => match found.take(value_from(name, &source, sources)) {
                        Some(value) => Some(value),
                        // An optional reference without a target leaves an earlier value in place.
                        None => return,
                    },
                    None => Some(String::new()),
                },
            };
            match value {
                Some(value) => self.set(name.to_owned(), value),
                None => self.bytes = MAX_ENVIRONMENT + 1,
            }
        })
    }
}

/// The value that `valueFrom` refers to.
fn value_from(variable: &str, source: &Mapping, sources: &Sources) -> Reading<Option<String>> {
    Reading::collect(|found| {
        if let Some(field) = found.take(source.mapping("fieldRef")) {
            let path = found.take(field.required_string("fieldPath"))?;
            return Some(found.take(pod_field(path, sources)));
        }
        if let Some(reference) = found.take(source.mapping("configMapKeyRef")) {
            let (name, key) =
                (found.take(reference.required_string("name")), found.take(reference.required_string("key")));
            let (name, key) = (name?, key?);
            let optional = found.take(reference.boolean("optional")).unwrap_or(false);
            let Some(config_map) = sources.config_map(name) else {
                if !optional && is_ours(variable) {
                    let container = sources.container_label();
                    found.assume(format!(
                        "{container}: {variable}, from ConfigMap {name:?}, is treated as unset"
                    ));
                }
                return None;
            };
            let entry = found.take(config_map_data(config_map)).into_iter().find(|(known, _)| *known == key);
            if entry.is_none() && !optional {
                let problem = Problem::NoKey { config_map: name.to_owned(), key: key.to_owned() };
                found.error(reference.field("key"), problem);
            }
            return entry.and_then(|(key, value)| found.take(config_map_text(config_map, key, value)));
        }
        let what = if source.contains("secretKeyRef") {
            "Secrets are not read"
        } else {
            "only fields and ConfigMaps are read"
        };
        if is_ours(variable) {
            found.assume(format!("{}: {variable} is treated as unset: {what}", sources.container_label()));
        }
        None
    })
}

/// A label or annotation of the Pod, by a path such as `metadata.annotations['key']`: field, key and value. A missing
/// label has an empty value. `None`: the path is a different one.
pub(super) fn pod_map_entry<'a>(
    path: &'a str,
    sources: &Sources,
) -> Reading<Option<(&'static str, &'a str, String)>> {
    Reading::collect(|found| {
        let (start, key) = path.split_once(['\'', '"'])?;
        let field = match start {
            "metadata.labels[" => "labels",
            "metadata.annotations[" => "annotations",
            _ => return None,
        };
        let key = key.strip_suffix("']").or_else(|| key.strip_suffix("\"]")).unwrap_or(key);
        let entries =
            sources.metadata.map(|metadata| found.take(metadata.string_pairs(field))).unwrap_or_default();
        let entry = entries.into_iter().find(|(known, _)| *known == key);
        Some((field, key, entry.map_or_else(String::new, |(_, text)| text.to_owned())))
    })
}

/// A field of the Pod, by the downward API.
fn pod_field(path: &str, sources: &Sources) -> Reading<String> {
    Reading::collect(|found| match path {
        "metadata.name" => POD_NAME.to_owned(),
        "metadata.namespace" => sources.owner.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        "spec.nodeName" => found.take(sources.spec.string("nodeName")).unwrap_or("node").to_owned(),
        "spec.serviceAccountName" => {
            found.take(sources.spec.string("serviceAccountName")).unwrap_or("default").to_owned()
        }
        "status.podIP" | "status.podIPs" | "status.hostIP" | "status.hostIPs" => SOME_ADDRESS.to_owned(),
        _ => found
            .take(pod_map_entry(path, sources))
            .map_or_else(|| format!("<{path}>"), |(_, _, value)| value),
    })
}

/// The `data` of a ConfigMap.
pub(super) fn config_map_data(config_map: &Object) -> Reading<Vec<(&str, &Value)>> {
    let Reading { value, findings } = config_map.root().mapping("data");
    findings.elsewhere(&config_map.place).with(value.iter().flat_map(Mapping::entries).collect())
}

/// A value of a ConfigMap. A number or boolean without quotes is read as text, with a warning.
pub(super) fn config_map_text(config_map: &Object, key: &str, value: &Value) -> Reading<Option<String>> {
    let mut found = Findings::default();
    let field = format!("data.{}", shown(key));
    let text = match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => {
            found.warn(format!("{field}: the value {value} {NEEDS_QUOTES}"));
            Some(value.to_string())
        }
        value => {
            found.error(field, wrong("a string", value));
            None
        }
    };
    found.elsewhere(&config_map.place).with(text)
}

/// Whether a variable belongs to this program.
pub(super) fn is_ours(name: &str) -> bool {
    VARIABLES.iter().flat_map(Variable::names).any(|known| known == name)
}

/// Expands `$(NAME)` as Kubernetes does: unknown names stay, and `$$` becomes `$`. `None` if the result exceeds
/// `most` bytes.
fn expand<'a>(text: &str, most: usize, value: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            match value(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
        }
        if out.len() > most {
            return None;
        }
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> String {
        let value = |name: &str| (name == "A").then_some("one");
        expand(text, 1000, value).unwrap()
    }

    #[test]
    fn references_are_replaced_as_kubernetes_replaces_them() {
        for (text, result) in [
            ("$(A)", "one"),
            ("x$(A)y$(A)", "xoneyone"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$one"),
            ("$A", "$A"),
            ("$", "$"),
            ("$(A", "$(A"),
            ("$()", "$()"),
            ("a$$", "a$"),
        ] {
            assert_eq!(expanded(text), result, "{text}");
        }
    }

    #[test]
    fn an_expansion_stops_at_its_limit() {
        assert_eq!(expand("$(A)$(A)", 5, |_| Some("four")), None);
    }

    #[test]
    fn variables_of_this_program_are_recognised_with_and_without_a_prefix() {
        for name in ["FAILURE_RATE", "LIVENESS_FAILURE_RATE", "PORT", "FAULTS", "TRAFFIC_LATENCY_P99"] {
            assert!(is_ours(name), "{name}");
        }
        for name in ["LIVENESS_PORT", "HOME", "failure_rate", "LIVENESSFAILURE_RATE"] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
