//! `kubectl probesim sidecar`: adds a sidecar or a proxy to a workload that runs, and takes it away again.
//!
//! What to change is worked out from the live objects. It is printed as kubectl commands, or applied.

mod arguments;
pub(super) mod error;
pub(super) mod patch;

use std::io::Write;

use serde_json::Value;

pub(super) use arguments::{SidecarCall, parse};
use patch::{Change, Patch};

use super::confirmed;
use super::error::KubectlError;
use super::fields::list;
use super::process::Kubectl;
use crate::cli::exit;

/// One call of kubectl.
struct Step {
    arguments: Vec<String>,
}

/// Prints or applies the change of a workload and of the Services in front of it. Returns the exit code.
///
/// # Errors
///
/// kubectl fails, or the workload cannot have a sidecar.
pub(super) fn run(
    kubectl: &Kubectl,
    call: &SidecarCall,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, KubectlError> {
    let get = |object: &str| ["get", object, "--output=json"].map(str::to_owned);
    let workload = kubectl.json(&get(&call.object))?;
    let services = kubectl.json(&get("services"))?;
    let services = list(&services["items"]);
    let change = match &call.choice {
        Some(choice) => patch::add(&call.object, &workload, services, choice)?,
        None => patch::remove(&call.object, &workload, services)?,
    };
    for note in &change.notes {
        writeln!(err, "note: {note}")?;
    }
    let restarts = restarts(&call.object, &workload);
    let steps = steps(call, &workload, &change);
    if !call.applies {
        writeln!(out, "# {restarts}")?;
        for step in steps {
            writeln!(out, "{}", kubectl.line(&step.arguments))?;
        }
        return Ok(exit::OK);
    }
    writeln!(err, "{restarts}")?;
    if !call.is_sure && !confirmed("--apply", err)? {
        writeln!(err, "nothing was changed")?;
        return Ok(exit::FAILED);
    }
    for step in steps {
        let output = kubectl.run(&step.arguments, None)?;
        out.write_all(&output.stdout)?;
        if !output.status.success() {
            let (status, message) = (output.status.to_string(), kubectl.message(&output));
            let arguments = step.arguments[..2].join(" ");
            return Err(KubectlError::Failed { arguments, status, message });
        }
    }
    Ok(exit::OK)
}

/// The calls of kubectl, in the order in which no request is lost: a Service leads to the proxy only while every Pod has one.
fn steps(call: &SidecarCall, workload: &Value, change: &Change) -> Vec<Step> {
    let own = std::iter::once(patched(&change.workload));
    let services = change.services.iter().map(patched);
    // A workload whose Pods change when somebody deletes them has no rollout to wait for.
    let waits = workload["spec"]["updateStrategy"]["type"] != "OnDelete";
    let rollout = ["rollout", "status", &call.object].map(str::to_owned).to_vec();
    let rollout = waits.then_some(Step { arguments: rollout });
    if call.choice.is_some() {
        own.chain(rollout).chain(services).collect()
    } else {
        services.chain(own).chain(rollout).collect()
    }
}

fn patched(patch: &Patch) -> Step {
    let arguments = vec![
        "patch".to_owned(),
        patch.object.clone(),
        format!("--type={}", patch.kind),
        format!("--patch={}", patch.content),
    ];
    Step { arguments }
}

fn restarts(object: &str, workload: &Value) -> String {
    if workload["spec"]["updateStrategy"]["type"] == "OnDelete" {
        return format!("{object} changes each Pod when it is deleted; patch its Services after that");
    }
    match patch::replicas(workload) {
        Some(1) => format!("this restarts 1 Pod of {object}"),
        Some(pods) => format!("this restarts {pods} Pods of {object}"),
        None => format!("this restarts the Pods of {object}"),
    }
}
