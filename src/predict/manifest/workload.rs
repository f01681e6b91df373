//! Reads objects that create Pods.

use std::time::Duration;

use super::environment::Sources;
use super::error::Problem;
use super::findings::Reading;
use super::mapping::{self, Mapping};
use super::object::Object;
use super::pod::{self, PodReading};
use super::{autoscaler, references, restart, update};
use crate::kubelet::RestartPolicy;
use crate::predict::profile::ANNOTATION;
use crate::predict::workload::{Kind, Rollout, Workload};

/// An object that was read.
pub(super) enum Read<'a> {
    /// An object that creates Pods, and the labels of these.
    Workload(Box<Workload>, Vec<(&'a str, &'a str)>),
    /// Any other object.
    Other,
}

/// Reads an object. Errors of workloads that do not run this program become warnings.
pub(super) fn read<'a>(object: &'a Object, objects: &'a [Object], complete: bool) -> Reading<Read<'a>> {
    Reading::collect(|found| {
        let root = object.root();
        let Some((kind, path)) = template_of(object) else { return Read::Other };
        // The mapping with `replicas` or `parallelism`, which contains the template.
        let owner = found.take(root.descend(path.split_last().map_or(&[], |(_, names)| names)));
        let template = found.take(root.descend(path));
        let Some(spec) = template.as_ref().and_then(|template| found.take(template.mapping("spec"))) else {
            if !found.has_errors() && !matches!(kind, Kind::Other(_)) {
                let field: Vec<&str> = path.iter().copied().chain(["spec"]).collect();
                found.error(field.join("."), Problem::Missing);
            }
            return Read::Other;
        };
        let may_run_probesim = pod::may_run_this_program(&spec);
        let parts = Parts { kind, owner: owner.unwrap_or_else(|| root.clone()), template, spec };
        let Reading { value: (workload, labels), findings } = parts.read(object, objects, complete);
        found.add(if may_run_probesim { findings } else { findings.into_warnings() });
        Read::Workload(Box::new(workload), labels)
    })
}

/// An object that creates Pods.
struct Parts<'a> {
    kind: Kind,
    /// The mapping with `replicas` or `parallelism`.
    owner: Mapping<'a>,
    /// The template of its Pods.
    template: Option<Mapping<'a>>,
    /// The `spec` of its Pods.
    spec: Mapping<'a>,
}

impl<'a> Parts<'a> {
    /// Reads the workload and the labels of its Pods.
    fn read(
        self,
        object: &'a Object,
        objects: &'a [Object],
        complete: bool,
    ) -> Reading<(Workload, Vec<(&'a str, &'a str)>)> {
        let Self { kind, owner, template, spec } = self;
        let root = object.root();
        Reading::collect(|found| {
            let images = images(&spec);
            if mapping::is_template(&images) {
                found.error(spec.field("containers"), Problem::Template(images));
            }
            match found.take(root.mapping("metadata")) {
                Some(metadata) if metadata.contains("name") || !metadata.contains("generateName") => {
                    found.take(metadata.name("name"));
                }
                Some(_) => {}
                None => found.error("metadata.name", Problem::Missing),
            }
            let metadata = template.as_ref().and_then(|template| found.take(template.mapping("metadata")));
            let labels = metadata
                .as_ref()
                .map(|metadata| found.take(metadata.string_pairs("labels")))
                .unwrap_or_default();
            let sources = Sources {
                objects,
                kind: &kind,
                owner: object,
                metadata: metadata.as_ref(),
                spec: &spec,
                container: "",
                complete,
            };
            let policy = found.take(policy(&kind, &spec));
            let PodReading { pod, probesim, facts, memory_limit } =
                found.take(pod::read(&spec, &sources, policy));
            found.add(references::check(&spec, &sources));
            let suspended = found.take(is_suspended(&kind, &root, &owner));
            let asked_for = found.take(replicas(&kind, &owner));
            let asked_for = found.take(autoscaler::replicas(object, objects, asked_for));
            let replicas = if suspended { 0 } else { asked_for };
            let rollout = found.take(rollout(&kind, &owner)).filter(|_| !suspended);
            let (update, min_ready) = found.take(update::read(&kind, &owner, asked_for));
            let is_numbered = kind == Kind::StatefulSet;
            let partition = if is_numbered { found.take(update::partition(&owner)) } else { 0 };
            let policy = found.take(owner.string("podManagementPolicy"));
            let ordered = is_numbered && policy != Some("Parallel");
            let job = (kind == Kind::Job).then(|| found.take(super::job::read(&owner, &pod)));
            let is_scheduled = object.kind == "CronJob";
            if is_scheduled {
                found.assume("one run of the CronJob is predicted".to_owned());
            }
            let workload = Workload {
                place: object.place.heading(),
                replicas,
                suspended,
                probesim,
                facts,
                pod_memory_limit: memory_limit,
                profile_annotation: metadata.as_ref().and_then(|metadata| {
                    let annotations = found.take(metadata.string_pairs("annotations"));
                    annotations
                        .into_iter()
                        .find(|(key, _)| *key == ANNOTATION)
                        .map(|(_, text)| text.to_owned())
                }),
                labels: labels.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect(),
                job,
                is_scheduled,
                rollout,
                update,
                partition,
                ordered,
                min_ready,
                ..Workload::new(kind.clone(), &object.name, pod)
            };
            (workload, labels)
        })
    }
}

/// The kind, and the path of the Pod template or of the Pod itself. Kinds of other controllers are not listed: any
/// object with containers at the place of a Pod template creates Pods.
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
                let template = object.root().descend(path).value;
                let spec = template.and_then(|template| template.mapping("spec").value);
                spec.is_some_and(|spec| !spec.mappings("containers").value.is_empty())
            };
            // Without the group, which is part of the place.
            let name = kind.rsplit('/').next().unwrap_or(kind);
            (Kind::Other(name.into()), [PLAIN, OF_JOB].into_iter().find(has_containers)?)
        }
    })
}

/// Whether the object creates no Pods until somebody resumes it.
fn is_suspended(kind: &Kind, root: &Mapping, owner: &Mapping) -> Reading<bool> {
    Reading::collect(|found| {
        let field = match kind {
            Kind::Deployment => "paused",
            Kind::Job => "suspend",
            _ => return false,
        };
        // A CronJob has the field beside its template, and its Jobs inside.
        let places = [found.take(root.mapping("spec")), Some(owner.clone())];
        let suspended =
            places.into_iter().flatten().any(|place| found.take(place.boolean(field)) == Some(true));
        if suspended {
            found.assume(format!(
                "{field}: true; --pods predicts the Pods that the {kind} would create once resumed"
            ));
        }
        suspended
    })
}

fn images(spec: &Mapping) -> String {
    let containers = spec.mappings("containers").value;
    let images = containers.iter().filter_map(|container| container.string("image").value);
    images.map(mapping::shown).collect::<Vec<_>>().join(", ")
}

/// The Pod's `restartPolicy`, checked against the values that its owner allows.
fn policy(kind: &Kind, spec: &Mapping) -> Reading<RestartPolicy> {
    Reading::collect(|found| {
        let policy = found.take(restart::policy(spec));
        let field = spec.field("restartPolicy");
        match (kind, policy.unwrap_or_default()) {
            (Kind::Job, RestartPolicy::Always) => {
                found.error(field, Problem::NotHere("the Pods of a Job need OnFailure or Never"));
            }
            (
                Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet,
                RestartPolicy::OnFailure | RestartPolicy::Never,
            ) => found.error(field, Problem::NotHere("Pods of this kind need Always; remove the field")),
            _ => {}
        }
        policy.unwrap_or_default()
    })
}

/// The number of Pods, and assumptions about their creation.
fn replicas(kind: &Kind, owner: &Mapping) -> Reading<u32> {
    Reading::collect(|found| {
        let most = i32::MAX as u32;
        match kind {
            Kind::Pod => 1,
            Kind::Deployment | Kind::StatefulSet => {
                if *kind == Kind::StatefulSet && owner.contains("ordinals") {
                    found.assume("ordinals.start is not modelled: Pods are numbered from 0".to_owned());
                }
                found.take(owner.number("replicas", 0, most)).unwrap_or(1)
            }
            Kind::DaemonSet => {
                found.assume("the Pod of one node of the DaemonSet is predicted".to_owned());
                1
            }
            Kind::Other(name) => {
                if !matches!(&**name, "ReplicaSet" | "ReplicationController") {
                    found.assume(format!(
                    "the controller of the kind {name} is not modelled: all Pods are created together, and none is replaced"
                ));
                }
                found.take(owner.number("replicas", 0, most)).unwrap_or(1)
            }
            Kind::Job => {
                let parallelism = found.take(owner.number("parallelism", 0, most)).unwrap_or(1);
                parallelism.min(found.take(owner.number("completions", 0, most)).unwrap_or(parallelism))
            }
        }
    })
}

fn rollout(kind: &Kind, owner: &Mapping) -> Reading<Option<Rollout>> {
    Reading::collect(|found| {
        if *kind != Kind::Deployment {
            return None;
        }
        let most = i32::MAX as u32;
        let min_ready = found.take(owner.number("minReadySeconds", 0, most)).unwrap_or(0);
        let deadline = found.take(owner.number("progressDeadlineSeconds", 0, most)).unwrap_or(600);
        if deadline <= min_ready {
            let (value, least, most) = (i64::from(deadline), i64::from(min_ready) + 1, i64::from(most));
            found.error(owner.field("progressDeadlineSeconds"), Problem::Range { value, least, most });
        }
        Some(Rollout {
            min_ready: Duration::from_secs(u64::from(min_ready)),
            progress_deadline: Duration::from_secs(u64::from(deadline)),
        })
    })
}
