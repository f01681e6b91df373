//! The Pods that an object or a selection means.

use serde_json::Value;

use super::error::InjectError;
use crate::cli::kubectl::error::KubectlError;
use crate::cli::kubectl::fields::{list, text};
use crate::cli::kubectl::options::Options;
use crate::cli::kubectl::pods;
use crate::cli::kubectl::process::Kubectl;
use crate::fault::Seed;
use crate::order;

/// The Pods that are meant.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By name, as the API server has them.
    pub(super) pods: Vec<Value>,
    /// Pods that match the selector of a workload and do not belong to it.
    pub(super) foreign: Vec<(String, InjectError)>,
}

/// Finds the Pods of an object, or of the options.
///
/// # Errors
///
/// kubectl fails, no such Pod is there, or the object selects none.
pub(super) fn find(
    kubectl: &Kubectl,
    options: &Options,
    object: Option<&str>,
) -> Result<Found, KubectlError> {
    let get = |words: &[String]| {
        let arguments = ["get".to_owned()].into_iter().chain(words.iter().cloned());
        kubectl.json(&arguments.chain(["--output=json".to_owned()]).collect::<Vec<_>>())
    };
    let of_selector = |selector: &str| get(&["pods".to_owned(), format!("--selector={selector}")]);
    let named = |answer: Value| match answer["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![answer],
    };
    let mut owner = None;
    let mut found = match (object, &options.selector) {
        (Some(object), _) => {
            let answer = get(&[object.to_owned()])?;
            if answer["kind"] == "Pod" {
                return Ok(Found { pods: vec![answer], ..Found::default() });
            }
            let selector = selector(&answer["spec"]["selector"])
                .ok_or_else(|| InjectError::NoSelector(object.to_owned()))?;
            let pods = named(of_selector(&selector)?);
            // A Service owns no Pods.
            owner = (answer["kind"] != "Service").then_some((object, answer));
            pods
        }
        (None, Some(selector)) => named(of_selector(selector)?),
        (None, None) => {
            let pods = named(get(&[vec!["pods".to_owned()], options.pods.clone()].concat())?);
            return Ok(Found { pods, ..Found::default() });
        }
    };
    // Of many, those that have ended or do not run yet are not meant.
    found.retain(|pod| {
        pod["status"]["phase"] == "Running" && pod["metadata"].get("deletionTimestamp").is_none()
    });
    if found.is_empty() {
        let selection = object.map_or_else(|| pods::selection(options), str::to_owned);
        return Err(KubectlError::NoPod(selection));
    }
    order::sort_by(&mut found, |a, b| name(a).cmp(name(b)));
    let mut foreign = Vec::new();
    if let Some((object, workload)) = &owner {
        for pod in &found {
            if let Err(reason) = belongs(pod, object, workload) {
                foreign.push((name(pod).to_owned(), reason));
            }
        }
    }
    Ok(Found { pods: found, foreign })
}

/// Those of a share of the Ready ones that a seed picks.
pub(super) fn share(found: Vec<Value>, percent: f64, seed: Seed) -> Vec<Value> {
    let all = found.iter().map(|pod| pods::read_pod(pod, Some(""))).collect();
    let chosen = pods::share(all, percent, seed);
    found.into_iter().filter(|pod| chosen.iter().any(|chosen| chosen.name == name(pod))).collect()
}

pub(super) fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap_or_default()
}

pub(super) fn namespace(pod: &Value) -> &str {
    pod["metadata"]["namespace"].as_str().unwrap_or("default")
}

/// Labels and expressions of an object's selector, as kubectl takes them.
fn selector(selector: &Value) -> Option<String> {
    let fields = selector.as_object()?;
    let is_set = fields.contains_key("matchLabels") || fields.contains_key("matchExpressions");
    let labels = if is_set { &selector["matchLabels"] } else { selector };
    let labels = labels.as_object().into_iter().flatten();
    let mut parts: Vec<String> = labels.map(|(name, value)| format!("{name}={}", text(value))).collect();
    for expression in list(&selector["matchExpressions"]) {
        let (key, values) = (text(&expression["key"]), list(&expression["values"]));
        let values = values.iter().map(text).collect::<Vec<_>>().join(",");
        parts.push(match expression["operator"].as_str()? {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key,
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

/// Whether a Pod is controlled by the workload, if need be through a `ReplicaSet`, whose name has the hash of the template.
fn belongs(pod: &Value, object: &str, workload: &Value) -> Result<(), InjectError> {
    let owners = list(&pod["metadata"]["ownerReferences"]);
    let Some(owner) = owners.iter().find(|owner| owner["controller"] == true) else {
        return Err(InjectError::Foreign("nobody".to_owned(), object.to_owned()));
    };
    let metadata = &workload["metadata"];
    let hash = ["pod-template-hash", "rollouts-pod-template-hash"];
    let hash = hash.iter().find_map(|label| pod["metadata"]["labels"][*label].as_str()).unwrap_or_default();
    let of_template = format!("{}-{hash}", text(&metadata["name"]));
    if owner["uid"] == metadata["uid"]
        || owner["kind"] == "ReplicaSet" && owner["name"] == of_template.as_str()
    {
        return Ok(());
    }
    let by = format!("{}/{}", text(&owner["kind"]).to_lowercase(), text(&owner["name"]));
    Err(InjectError::Foreign(by, object.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_selector_is_written_as_kubectl_takes_it() {
        for (fields, expected) in [
            (json!({"matchLabels": {"app": "web", "tier": "front"}}), Some("app=web,tier=front")),
            (json!({"app": "web"}), Some("app=web")),
            (
                json!({"matchLabels": {"app": "web"}, "matchExpressions": [
                    {"key": "zone", "operator": "In", "values": ["a", "b"]},
                    {"key": "old", "operator": "DoesNotExist"},
                    {"key": "v", "operator": "NotIn", "values": ["1"]},
                    {"key": "new", "operator": "Exists"},
                ]}),
                Some("app=web,zone in (a,b),!old,v notin (1),new"),
            ),
            (json!({}), None),
            (json!({"matchExpressions": [{"key": "x", "operator": "Near"}]}), None),
            (Value::Null, None),
        ] {
            assert_eq!(selector(&fields).as_deref(), expected, "{fields}");
        }
    }

    #[test]
    fn a_pod_of_another_controller_is_foreign() {
        let workload = json!({"metadata": {"name": "web", "uid": "1"}});
        let pod = |kind: &str, name: &str, uid: &str| {
            json!({"metadata": {"labels": {"pod-template-hash": "abc"}, "ownerReferences": [
                {"kind": kind, "name": name, "uid": uid, "controller": true}]}})
        };
        let of = |pod: &Value| belongs(pod, "deployment/web", &workload).map_err(|error| error.to_string());
        assert_eq!(of(&pod("ReplicaSet", "web-abc", "9")), Ok(()));
        assert_eq!(of(&pod("StatefulSet", "web", "1")), Ok(()));
        assert!(
            of(&pod("ReplicaSet", "web-canary-abc", "9")).unwrap_err().contains("replicaset/web-canary-abc")
        );
        assert!(of(&json!({"metadata": {}})).unwrap_err().contains("belongs to nobody"));
    }
}
