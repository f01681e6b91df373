//! A live object and what belongs to it, as a manifest for `predict`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;

use serde_json::Value;

use super::error::KubectlError;
use super::process::Kubectl;
use super::selector::selects;
use crate::cli::predict;

/// How deep the search for references goes; a Pod's specification is less deep.
const MAX_DEPTH: usize = 32;

/// Predicts for a live object: it, the `ConfigMaps` that it names, and the Services and budgets that select its Pods.
/// Secrets are never asked for. Returns the exit code.
///
/// # Errors
///
/// kubectl fails.
pub(super) fn predict(
    kubectl: &Kubectl,
    object: &str,
    options: Vec<OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, KubectlError> {
    let get = |words: &[&str]| {
        let mut arguments = vec!["get".to_owned(), "--output=json".to_owned()];
        arguments.extend(words.iter().map(|word| (*word).to_owned()));
        arguments
    };
    let found = kubectl.json(&get(&[object]))?;
    let mut manifest = found.to_string();
    let mut names = BTreeSet::new();
    config_maps(&found, 0, &mut names);
    if !names.is_empty() {
        let mut words = vec!["configmaps", "--ignore-not-found"];
        words.extend(names.iter().map(String::as_str));
        let output = kubectl.run(&get(&words), None)?;
        // Without the right to read them, they are assumed to be there, as `predict` says.
        if output.status.success() {
            manifest.push_str(&String::from_utf8_lossy(&output.stdout));
        }
    }
    for kind in ["services", "poddisruptionbudgets"] {
        let Ok(list) = kubectl.json(&get(&[kind])) else { continue };
        for item in list["items"].as_array().into_iter().flatten().filter(|item| selects(item, &found)) {
            manifest.push_str(&item.to_string());
        }
    }
    let args = std::iter::once("-".into()).chain(options);
    Ok(predict::run(args, &mut manifest.as_bytes(), &predict::Terminal::default(), out, err))
}

/// The names of all `ConfigMaps` that an object refers to.
fn config_maps(value: &Value, depth: usize, names: &mut BTreeSet<String>) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                if matches!(field.as_str(), "configMap" | "configMapRef" | "configMapKeyRef") {
                    names.extend(value["name"].as_str().map(str::to_owned));
                }
                config_maps(value, depth + 1, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| config_maps(item, depth + 1, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn config_maps_are_found_wherever_a_pod_names_them_and_secrets_are_not() {
        let pod = json!({"spec": {"volumes": [
            {"configMap": {"name": "a"}},
            {"projected": {"sources": [{"configMap": {"name": "b"}}, {"secret": {"name": "s"}}]}},
        ], "containers": [{
            "envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "t"}}],
            "env": [{"valueFrom": {"configMapKeyRef": {"name": "d", "key": "k"}}}],
        }]}});
        let mut names = BTreeSet::new();
        config_maps(&pod, 0, &mut names);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }
}
