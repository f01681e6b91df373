//! Manifests to workloads.
//!
//! A container runs this program if its image's repository ends in `kube-probesim`, or, where it gives a `command`, if
//! that is `kube-probesim`. Unknown fields are ignored, since the API server checks them; known ones are checked as far
//! as they are used, with its defaults and ranges.

mod command;
mod container;
mod environment;
mod error;
mod known;
mod node;
mod object;
mod plans;
mod pod;
mod ports;
mod probe;
mod state;
mod volume;

use std::time::Duration;

pub use error::{ManifestError, ManifestErrors, Place, Problem};
pub use object::MAX_INPUT;

use super::workload::{Kind, Rollout, Workload};
use crate::kubelet::RestartPolicy;
use environment::Sources;
use node::{Node, Report};
use object::Object;

/// A text with manifests: YAML or JSON, any number of documents.
#[derive(Clone, Debug)]
pub struct Input {
    /// What errors call it, such as the name of a file.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// What the input describes.
#[derive(Clone, Debug)]
pub struct Manifests {
    /// The objects whose Pods run this program, in their order; at least one.
    pub workloads: Vec<Workload>,
    /// The Services, in their order.
    pub services: Vec<ServiceInfo>,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceInfo {
    /// File and document it stands in.
    pub place: String,
    /// Its name.
    pub name: String,
    /// The labels that it asks of its Pods; without any it selects none.
    pub selector: Vec<(String, String)>,
    /// Whether Pods that are not Ready are endpoints all the same (`publishNotReadyAddresses`).
    pub publishes_not_ready: bool,
    /// The positions of the workloads whose Pods it selects.
    pub workloads: Vec<usize>,
}

/// Reads manifests; otherwise everything that is wrong with them.
pub fn read(inputs: &[Input]) -> Result<Manifests, ManifestErrors> {
    let mut errors = Vec::new();
    let objects = object::objects(inputs, &mut errors);
    let (mut workloads, mut selectable, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for object in &objects {
        let mut report = Report::new(object.place.clone());
        match workload(object, &objects, &mut report) {
            Read::Workload(workload, labels) => {
                workloads.push(*workload);
                selectable.push((object, labels));
            }
            Read::Other(what) => found.push(what),
        }
        for error in report.errors {
            // A ConfigMap that is wrong is so for each workload that reads it.
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
    }
    let mut services = Vec::new();
    for object in objects.iter().filter(|object| object.kind == "Service") {
        let mut report = Report::new(object.place.clone());
        services.push(service(object, &selectable, &mut report));
        errors.append(&mut report.errors);
    }
    if workloads.is_empty() && errors.is_empty() {
        let files: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        let place = Place { file: files.join(", "), ..Place::default() };
        found.dedup();
        errors.push(ManifestError { place, field: String::new(), problem: Problem::NoneOfOurs { found } });
    }
    if errors.is_empty() { Ok(Manifests { workloads, services }) } else { Err(ManifestErrors(errors)) }
}

/// What an object is.
enum Read<'a> {
    /// One whose Pods run this program, and their labels.
    Workload(Box<Workload>, Vec<(&'a str, &'a str)>),
    /// Something else.
    Other(String),
}

fn workload<'a>(object: &'a Object, objects: &'a [Object], report: &mut Report) -> Read<'a> {
    let other = |why: &str| {
        let object = object.place.object.clone().unwrap_or_default();
        Read::Other(if why.is_empty() { object } else { format!("{object} ({why})") })
    };
    let root = object.node();
    let Some((kind, path)) = template_of(object) else { return other("no Pod template") };
    // The object that has `replicas` or `parallelism`: around the template.
    let owner = root.descend(path.split_last().map_or(&[], |(_, names)| names), report);
    let template = root.descend(path, report);
    let Some(spec) = template.as_ref().and_then(|template| template.child("spec", report)) else {
        if report.errors.is_empty() && !matches!(kind, Kind::Other(_)) {
            let field: Vec<&str> = path.iter().copied().chain(["spec"]).collect();
            report.error(&field.join("."), Problem::Missing);
        }
        return other("");
    };
    if !pod::runs_this_program(&spec, report) {
        let images = images(&spec);
        if node::is_template(&images) {
            report.error(&spec.field("containers"), Problem::Template(images.clone()));
        }
        return other(&images);
    }
    match root.child("metadata", report) {
        Some(metadata) if metadata.has("name") || !metadata.has("generateName") => {
            metadata.name("name", report);
        }
        Some(_) => {}
        None => report.error("metadata.name", Problem::Missing),
    }
    let metadata = template.as_ref().and_then(|template| template.child("metadata", report));
    let labels = metadata.as_ref().map(|metadata| metadata.texts("labels", report)).unwrap_or_default();
    let sources = Sources { objects, kind: &kind, owner: object, metadata: metadata.as_ref(), spec: &spec };
    let policy = policy(&kind, &spec, report);
    let (pod, ours) = pod::read(&spec, &sources, policy, report);
    let owner = owner.unwrap_or_else(|| root.clone());
    let suspended = is_suspended(&kind, &root, &owner, report);
    let asked_for = replicas(&kind, &owner, report);
    let replicas = if suspended { 0 } else { asked_for };
    let rollout = rollout(&kind, &owner, report).filter(|_| !suspended);
    if object.kind == "CronJob" {
        report.assume("of a CronJob one run is predicted".to_owned());
    }
    // Without the line: this is a heading, not a place to look at.
    let place = Place {
        document: object.place.document.map(|(number, _)| (number, 0)),
        object: None,
        ..object.place.clone()
    };
    let workload = Workload {
        place: place.to_string(),
        kind,
        name: object.name.clone(),
        replicas,
        pod,
        ours,
        rollout,
        assumptions: std::mem::take(&mut report.assumptions),
        warnings: std::mem::take(&mut report.warnings),
    };
    Read::Workload(Box::new(workload), labels)
}

/// The path of the Pod template, or that of the Pod itself. Kinds that other controllers bring are not listed: any
/// object with containers where a template has them makes Pods.
fn template_of(object: &Object) -> Option<(Kind, &'static [&'static str])> {
    const PLAIN: &[&str] = &["spec", "template"];
    const OF_JOB: &[&str] = &["spec", "jobTemplate", "spec", "template"];
    Some(match object.kind.as_str() {
        "Pod" => (Kind::Pod, &[]),
        "Deployment" => (Kind::Deployment, PLAIN),
        "StatefulSet" => (Kind::StatefulSet, PLAIN),
        "DaemonSet" => (Kind::DaemonSet, PLAIN),
        "Job" => (Kind::Job, PLAIN),
        "CronJob" => (Kind::Job, OF_JOB),
        kind => {
            let has_containers = |path: &&'static [&'static str]| {
                let mut ignored = Report::default();
                let spec = object
                    .node()
                    .descend(path, &mut ignored)
                    .and_then(|template| template.child("spec", &mut ignored));
                spec.is_some_and(|spec| !spec.items("containers", &mut ignored).is_empty())
            };
            // Without the group: that is part of the place already.
            let name = kind.rsplit('/').next().unwrap_or(kind);
            (Kind::Other(name.into()), [PLAIN, OF_JOB].into_iter().find(has_containers)?)
        }
    })
}

/// Whether the object makes no Pods until somebody resumes it.
fn is_suspended(kind: &Kind, root: &Node, owner: &Node, report: &mut Report) -> bool {
    let field = match kind {
        Kind::Deployment => "paused",
        Kind::Job => "suspend",
        _ => return false,
    };
    // That of a CronJob is beside its template, and that of each Job in it.
    let places = [root.child("spec", report), Some(owner.clone())];
    let suspended = places.into_iter().flatten().any(|place| place.flag(field, report) == Some(true));
    if suspended {
        report.assume(format!(
            "{field}: true: the {kind} makes no Pod; --pods predicts those it would make once resumed"
        ));
    }
    suspended
}

fn images(spec: &Node) -> String {
    let mut ignored = Report::default();
    let containers = spec.items("containers", &mut ignored);
    let images = containers.iter().filter_map(|container| container.text("image", &mut ignored));
    images.map(node::shown).collect::<Vec<_>>().join(", ")
}

/// The Pod's `restartPolicy`, as far as its owner leaves a choice.
fn policy(kind: &Kind, spec: &Node, report: &mut Report) -> RestartPolicy {
    let policy = pod::restart_policy(spec, report);
    let field = spec.field("restartPolicy");
    match (kind, policy.unwrap_or_default()) {
        (Kind::Job, RestartPolicy::Always) => {
            report.error(&field, Problem::NotHere("a Job's is OnFailure or Never"));
        }
        (
            Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet,
            RestartPolicy::OnFailure | RestartPolicy::Never,
        ) => report.error(&field, Problem::NotHere("that of such Pods is Always; leave it out")),
        _ => {}
    }
    policy.unwrap_or_default()
}

/// How many Pods there are, and what is left out of how they come to be.
fn replicas(kind: &Kind, owner: &Node, report: &mut Report) -> u32 {
    let most = i32::MAX as u32;
    match kind {
        Kind::Pod => 1,
        Kind::Deployment | Kind::StatefulSet => {
            if *kind == Kind::StatefulSet {
                if owner.has("ordinals") {
                    report.assume("ordinals.start is left out: Pods are numbered from 0".to_owned());
                }
                if owner.number("minReadySeconds", 0, most, report).is_some_and(|seconds| seconds > 0) {
                    report.assume("minReadySeconds of a StatefulSet is left out".to_owned());
                }
            }
            owner.number("replicas", 0, most, report).unwrap_or(1)
        }
        Kind::DaemonSet => {
            report.assume("of a DaemonSet the Pod of one node is predicted".to_owned());
            1
        }
        Kind::Other(name) => {
            if !matches!(&**name, "ReplicaSet" | "ReplicationController") {
                report.assume(format!(
                    "how the controller of a {name} makes and replaces its Pods is left out: they begin together"
                ));
            }
            owner.number("replicas", 0, most, report).unwrap_or(1)
        }
        Kind::Job => {
            report.assume("a Job's backoffLimit and deadlines are left out: no Pod is replaced".to_owned());
            let parallelism = owner.number("parallelism", 0, most, report).unwrap_or(1);
            parallelism.min(owner.number("completions", 0, most, report).unwrap_or(parallelism))
        }
    }
}

fn rollout(kind: &Kind, owner: &Node, report: &mut Report) -> Option<Rollout> {
    if *kind != Kind::Deployment {
        return None;
    }
    let most = i32::MAX as u32;
    let min_ready = owner.number("minReadySeconds", 0, most, report).unwrap_or(0);
    let deadline = owner.number("progressDeadlineSeconds", 0, most, report).unwrap_or(600);
    if deadline <= min_ready {
        let (value, least, most) = (i64::from(deadline), i64::from(min_ready) + 1, i64::from(most));
        report.error(&owner.field("progressDeadlineSeconds"), Problem::Range { value, least, most });
    }
    Some(Rollout {
        min_ready: Duration::from_secs(u64::from(min_ready)),
        progress_deadline: Duration::from_secs(u64::from(deadline)),
    })
}

fn service(object: &Object, pods: &[(&Object, Vec<(&str, &str)>)], report: &mut Report) -> ServiceInfo {
    let spec = object.node().child("spec", report);
    let selector = spec.as_ref().map(|spec| spec.texts("selector", report)).unwrap_or_default();
    let publishes = spec.as_ref().and_then(|spec| spec.flag("publishNotReadyAddresses", report));
    let selected = pods.iter().enumerate().filter(|(_, (pod, labels))| {
        !selector.is_empty()
            && pod.is_near(object.namespace.as_deref())
            && selector.iter().all(|pair| labels.contains(pair))
    });
    let workloads = selected.map(|(position, _)| position).collect();
    let place = Place {
        document: object.place.document.map(|(number, _)| (number, 0)),
        object: None,
        ..object.place.clone()
    };
    ServiceInfo {
        place: place.to_string(),
        name: object.name.clone(),
        selector: selector.into_iter().map(|(key, text)| (key.to_owned(), text.to_owned())).collect(),
        publishes_not_ready: publishes.unwrap_or(false),
        workloads,
    }
}
