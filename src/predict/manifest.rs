//! Reads manifests into workloads.
//!
//! A container runs this program if the repository of its image ends in `kube-probesim`. If it has a `command`, that must
//! be `kube-probesim` instead. Fields that the prediction needs are checked, with the defaults and ranges of the API
//! server; the API server checks
//! the others.

mod autoscaler;
mod command;
mod container;
mod disruption;
mod environment;
mod error;
mod facts;
mod findings;
mod hooks;
mod input;
mod job;
mod known;
mod mapping;
mod object;
mod own;
mod plans;
mod pod;
mod ports;
mod probe;
mod references;
mod restart;
mod service;
mod state;
mod update;
mod volume;
mod workload;

pub use container::is_own_image;
pub use error::{ManifestError, ManifestErrors, Place, Problem};
pub use input::{Input, MAX_INPUT};
pub use service::ServiceInfo;

use super::workload::Workload;
use findings::Reading;
use workload::Read;

/// The objects of the input.
#[derive(Clone, Debug)]
pub struct Manifests {
    /// The objects that create Pods, in order.
    pub workloads: Vec<Workload>,
    /// The number of objects of each other kind.
    pub others: Vec<(String, usize)>,
    /// The Services, in order.
    pub services: Vec<ServiceInfo>,
}

impl Manifests {
    /// Keeps only the wanted workloads.
    pub fn choose(&mut self, wanted: impl Fn(&Workload) -> bool) {
        let kept: Vec<usize> = (0..self.workloads.len()).filter(|at| wanted(&self.workloads[*at])).collect();
        self.workloads.retain(|workload| wanted(workload));
        for service in &mut self.services {
            service.workloads =
                (0..kept.len()).filter(|position| service.workloads.contains(&kept[*position])).collect();
        }
    }
}

/// Reads manifests, or returns all their errors. `ConfigMaps` and Secrets that are not in the input are assumed to exist.
pub fn read(inputs: &[Input]) -> Result<Manifests, ManifestErrors> {
    read_as(inputs, false)
}

/// Like [`read`]. With `complete`, a reference to a ConfigMap or Secret that is not in the input is an error.
pub fn read_as(inputs: &[Input], complete: bool) -> Result<Manifests, ManifestErrors> {
    let (objects, mut errors) = object::objects(inputs);
    let (mut workloads, mut selectable, mut others) = (Vec::new(), Vec::new(), Vec::<(String, usize)>::new());
    for object in &objects {
        let Reading { value, findings } = workload::read(object, &objects, complete);
        let findings = findings.at(&object.place);
        match value {
            Read::Workload(workload, labels) => {
                let (warnings, assumptions) = (findings.warnings, findings.assumptions);
                workloads.push(Workload { assumptions, warnings, ..*workload });
                selectable.push((object, labels));
            }
            Read::Other => match others.iter_mut().find(|(kind, _)| *kind == object.kind) {
                Some((_, count)) => *count += 1,
                None => others.push((object.kind.clone(), 1)),
            },
        }
        // Each workload that reads a wrong ConfigMap reports the same error; it is kept once.
        errors.append(findings.errors);
    }
    warn_of_duplicates(&objects, &selectable, &mut workloads);
    let mut services = Vec::new();
    for object in objects.iter().filter(|object| object.kind == "Service") {
        let Reading { value, findings } = service::read(object, &selectable);
        services.push(value);
        errors.append(findings.at(&object.place).errors);
    }
    let owners: Vec<&object::Object> = selectable.iter().map(|(object, _)| *object).collect();
    for object in objects.iter().filter(|object| object.kind == disruption::KIND) {
        let Reading { value, findings } = disruption::read(object, &owners, &workloads);
        let findings = findings.into_warnings().at(&object.place);
        for (position, disruption) in value {
            workloads[position].warnings.extend(findings.warnings.iter().cloned());
            workloads[position].disruptions.push(disruption);
        }
        errors.append(findings.errors);
    }
    if objects.is_empty() && errors.items.is_empty() {
        let files: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        let place = Place { file: files.join(", "), ..Place::default() };
        errors.push(ManifestError { place, field: String::new(), problem: Problem::Empty });
    }
    if errors.items.is_empty() {
        Ok(Manifests { workloads, others, services })
    } else {
        Err(ManifestErrors { errors: errors.items, more: errors.more })
    }
}

/// Adds a warning for each duplicate key to the workload of its document. Other objects, such as `ConfigMaps`, may matter
/// to any workload: the first one gets their warnings.
fn warn_of_duplicates(
    objects: &[object::Object],
    selectable: &[(&object::Object, Vec<(&str, &str)>)],
    workloads: &mut [Workload],
) {
    for object in objects {
        let position =
            selectable.iter().position(|(other, _)| other.place.heading() == object.place.heading());
        let Some(workload) = workloads.get_mut(position.unwrap_or(0)) else { return };
        let place = object.place.heading();
        workload.warnings.extend(object.duplicates.iter().map(|duplicate| format!("{place}, {duplicate}")));
    }
}
