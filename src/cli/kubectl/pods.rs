//! The Pods that a command is for.

use serde_json::Value;

use super::error::KubectlError;
use super::fields::{list, text};
use super::inject::{ephemeral, stage};
use super::options::Options;
use super::parallel::each;
use super::process::Kubectl;
use crate::fault::{Draws, Seed};
use crate::order;
use crate::predict::manifest::is_own_image;

/// A Pod with a container to steer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) is_ready: bool,
    pub(super) restarts: u64,
    /// The container that runs our service, or why there is none.
    pub(super) container: Result<String, String>,
    /// Where its admin listener is, if not where the container expects it.
    pub(super) admin: Option<String>,
}

/// The Pods of the selection that run, by name.
///
/// # Errors
///
/// kubectl fails, or no such Pod is there.
pub(super) fn find(kubectl: &Kubectl, options: &Options) -> Result<Vec<Pod>, KubectlError> {
    let mut arguments = vec!["get".to_owned(), "pods".to_owned()];
    arguments.extend(options.pods.iter().cloned());
    arguments.extend(options.selector.iter().map(|selector| format!("--selector={selector}")));
    arguments.push("--output=json".to_owned());
    let answer = kubectl.json(&arguments)?;
    let mut pods = read(&answer, options.container.as_deref());
    if options.selector.is_none() && options.pods.is_empty() {
        // Of a whole namespace, only those that are ours.
        pods.retain(|pod| pod.container.is_ok());
    }
    sort(&mut pods);
    find_injections(kubectl, &mut pods);
    if pods.is_empty() { Err(KubectlError::NoPod(selection(options))) } else { Ok(pods) }
}

/// Reads where the admin listeners of injections are: each has a free port of its own.
fn find_injections(kubectl: &Kubectl, pods: &mut [Pod]) {
    let known: &[Pod] = pods;
    let found = each(known.len(), &|position| {
        let Pod { namespace, name, container: Ok(container), .. } = &known[position] else { return None };
        ephemeral::port(container)?;
        stage::admin(kubectl, namespace, name, container)
    });
    for (pod, admin) in pods.iter_mut().zip(found) {
        pod.admin = admin;
    }
}

/// The selection, as it was asked for.
pub(super) fn selection(options: &Options) -> String {
    match &options.selector {
        Some(selector) => format!("-l {selector}"),
        None if options.pods.is_empty() => "--all".to_owned(),
        None => options.pods.join(", "),
    }
}

/// `percent` of the Pods that are Ready, rounded up: the same for the same seed and the same Pods, by name.
pub(super) fn share(pods: Vec<Pod>, percent: f64, seed: Seed) -> Vec<Pod> {
    let mut ready: Vec<Pod> = pods.into_iter().filter(|pod| pod.is_ready).collect();
    // A hair less, so that 30 % of 10 is 3 in floating point, too.
    let wanted = (ready.len() as f64 * percent / 100.0 - 1e-9).ceil() as usize;
    order::sort_by_key(&mut ready, |pod| Draws::of(seed.for_pod(&pod.name), "kubectl pods").at(0));
    ready.truncate(wanted);
    sort(&mut ready);
    ready
}

/// Sorts by namespace and name.
fn sort(pods: &mut Vec<Pod>) {
    order::sort_by(pods, |a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
}

fn read(answer: &Value, container: Option<&str>) -> Vec<Pod> {
    let items = match answer["items"].as_array() {
        Some(items) => items.iter().collect(),
        // One Pod by its name is no list.
        None => vec![answer],
    };
    let is_there = |pod: &&Value| {
        pod["status"]["phase"] == "Running" && pod["metadata"].get("deletionTimestamp").is_none()
    };
    items.into_iter().filter(is_there).map(|pod| read_pod(pod, container)).collect()
}

/// A Pod of the API server's answer. Without a name of its container, the one that is ours is looked for.
pub(super) fn read_pod(pod: &Value, container: Option<&str>) -> Pod {
    let status = &pod["status"];
    let is_ready = list(&status["conditions"])
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let restarts =
        ["containerStatuses", "initContainerStatuses"].iter().flat_map(|field| list(&status[*field]));
    Pod {
        namespace: text(&pod["metadata"]["namespace"]),
        name: text(&pod["metadata"]["name"]),
        is_ready,
        restarts: restarts.filter_map(|status| status["restartCount"].as_u64()).sum(),
        container: match container {
            Some(name) => Ok(name.to_owned()),
            None => own_container(&pod["spec"]).or_else(|error| injection(pod).ok_or(error)),
        },
        admin: None,
    }
}

/// The container of the injection that runs, if there is one alone.
fn injection(pod: &Value) -> Option<String> {
    match ephemeral::current(pod).as_slice() {
        [(name, _)] => Some(name.clone()),
        _ => None,
    }
}

/// The one container that goes on running and has our image.
fn own_container(spec: &Value) -> Result<String, String> {
    let sidecars =
        list(&spec["initContainers"]).iter().filter(|container| container["restartPolicy"] == "Always");
    let own = list(&spec["containers"])
        .iter()
        .chain(sidecars)
        .filter(|container| container["image"].as_str().is_some_and(is_own_image))
        .filter_map(|container| container["name"].as_str());
    match own.collect::<Vec<_>>().as_slice() {
        [name] => Ok((*name).to_owned()),
        [] => Err("no container has the image kube-probesim; name one with --container".to_owned()),
        names => Err(format!(
            "several containers run kube-probesim ({}); choose with --container",
            names.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, is_ready: bool) -> Pod {
        let (namespace, container) = ("shop".to_owned(), Ok("web".to_owned()));
        Pod { namespace, name: name.to_owned(), is_ready, restarts: 0, container, admin: None }
    }

    fn fleet(count: usize) -> Vec<Pod> {
        (0..count).map(|i| pod(&format!("web-{i}"), true)).collect()
    }

    #[test]
    fn a_share_of_the_ready_pods_is_rounded_up() {
        for (count, percent, expected) in
            [(10, 30.0, 3), (10, 31.0, 4), (3, 1.0, 1), (7, 100.0, 7), (0, 50.0, 0), (1000, 0.1, 1)]
        {
            assert_eq!(share(fleet(count), percent, Seed(1)).len(), expected, "{percent} % of {count}");
        }
        let mut pods = fleet(4);
        pods[2].is_ready = false;
        let chosen = share(pods, 100.0, Seed(1));
        assert_eq!(
            chosen.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(),
            ["web-0", "web-1", "web-3"]
        );
    }

    #[test]
    fn a_seed_picks_the_same_pods_again_in_any_order_and_another_seed_picks_others() {
        let picked = |seed| share(fleet(50), 20.0, Seed(seed));
        let reversed = share(fleet(50).into_iter().rev().collect(), 20.0, Seed(7));
        assert_eq!(picked(7), reversed);
        assert_ne!(picked(7), picked(8));
    }

    #[test]
    fn the_container_is_the_one_with_our_image() {
        let container = |spec| own_container(&spec);
        let ours = json!({"name": "probesim", "image": "registry.example:5000/a/kube-probesim:1@sha256:00"});
        let app = json!({"name": "app", "image": "nginx"});
        let sidecar = json!({"name": "side", "image": "kube-probesim", "restartPolicy": "Always"});
        let init = json!({"name": "wait", "image": "kube-probesim"});
        assert_eq!(
            container(json!({"containers": [app, ours], "initContainers": [init]})),
            Ok("probesim".into())
        );
        assert_eq!(container(json!({"containers": [app], "initContainers": [sidecar]})), Ok("side".into()));
        let error = container(json!({"containers": [ours], "initContainers": [sidecar]})).unwrap_err();
        assert!(error.contains("probesim, side"), "{error}");
        assert!(container(json!({"containers": [app]})).is_err());
    }

    #[test]
    fn pods_that_end_or_do_not_run_yet_are_left_out() {
        let of = |name: &str, phase: &str| json!({"metadata": {"name": name}, "status": {"phase": phase}});
        let mut leaving = of("leaving", "Running");
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let list = json!({"items": [of("a", "Running"), of("b", "Pending"), of("c", "Succeeded"), leaving]});
        assert_eq!(read(&list, None).iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(read(&of("one", "Running"), Some("x"))[0].container, Ok("x".to_owned()));
    }
}
