//! Manifests to workloads.
//!
//! A container runs this program if its image's repository ends in `kube-probesim`, or, where it gives a `command`, if
//! that is `kube-probesim`. Unknown fields are ignored, since the API server checks them; known ones are checked as far
//! as they are used, with its defaults and ranges.

mod command;
mod container;
mod environment;
mod error;
mod findings;
mod input;
mod known;
mod mapping;
mod object;
mod plans;
mod pod;
mod ports;
mod probe;
mod service;
mod state;
mod volume;
mod workload;

pub use error::{ManifestError, ManifestErrors, Place, Problem};
pub use input::{Input, MAX_INPUT};
pub use service::ServiceInfo;

use super::workload::Workload;
use findings::Reading;
use workload::Read;

/// What the input describes.
#[derive(Clone, Debug)]
pub struct Manifests {
    /// The objects whose Pods run this program, in their order; at least one.
    pub workloads: Vec<Workload>,
    /// The Services, in their order.
    pub services: Vec<ServiceInfo>,
}

/// Reads manifests; otherwise everything that is wrong with them.
pub fn read(inputs: &[Input]) -> Result<Manifests, ManifestErrors> {
    let (objects, mut errors) = object::objects(inputs);
    let (mut workloads, mut selectable, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for object in &objects {
        let Reading { value, findings } = workload::read(object, &objects);
        let findings = findings.at(&object.place);
        match value {
            Read::Workload(workload, labels) => {
                let (warnings, assumptions) = (findings.warnings, findings.assumptions);
                workloads.push(Workload { assumptions, warnings, ..*workload });
                selectable.push((object, labels));
            }
            Read::Other(what) => found.push(what),
        }
        // A ConfigMap that is wrong is so for each workload that reads it; it is kept once.
        errors.append(findings.errors);
    }
    let mut services = Vec::new();
    for object in objects.iter().filter(|object| object.kind == "Service") {
        let Reading { value, findings } = service::read(object, &selectable);
        services.push(value);
        errors.append(findings.at(&object.place).errors);
    }
    if workloads.is_empty() && errors.items.is_empty() {
        let files: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        let place = Place { file: files.join(", "), ..Place::default() };
        found.dedup();
        errors.push(ManifestError { place, field: String::new(), problem: Problem::NoneOfOurs { found } });
    }
    if errors.items.is_empty() {
        Ok(Manifests { workloads, services })
    } else {
        Err(ManifestErrors { errors: errors.items, more: errors.more })
    }
}
