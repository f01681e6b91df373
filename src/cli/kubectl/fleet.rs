//! One command in many Pods at the same time.

use super::EXECUTABLE;
use super::options::{Call, Options};
use super::parallel::each;
use super::pods::Pod;
use super::process::Kubectl;

/// What a Pod answered.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) pod: &'a Pod,
    /// Its standard output, or what went wrong.
    pub(super) result: Result<String, String>,
}

/// The arguments of kubectl for a call in a Pod, or why it cannot be made there.
pub(super) fn arguments(pod: &Pod, options: &Options, call: &Call) -> Result<Vec<String>, String> {
    let container = pod.container.clone()?;
    let mut arguments = vec!["exec".to_owned(), pod.name.clone()];
    // The namespace of the Pod, whichever was asked for.
    if !pod.namespace.is_empty() {
        arguments.push(format!("--namespace={}", pod.namespace));
    }
    arguments.push(format!("--container={container}"));
    if call.input.is_some() {
        arguments.push("--stdin".to_owned());
    }
    let executable = options.executable.clone().unwrap_or_else(|| EXECUTABLE.to_owned());
    arguments.extend(["--".to_owned(), executable, "fault".to_owned()]);
    arguments.extend(call.arguments.iter().cloned());
    arguments.extend(pod.admin.iter().map(|admin| format!("--admin={admin}")));
    Ok(arguments)
}

/// Makes the call in all Pods, and returns their answers in the order of the Pods.
pub(super) fn ask<'a>(kubectl: &Kubectl, options: &Options, call: &Call, pods: &'a [Pod]) -> Vec<Answer<'a>> {
    let results = each(pods.len(), &|position| ask_one(kubectl, options, call, &pods[position]));
    pods.iter().zip(results).map(|(pod, result)| Answer { pod, result }).collect()
}

fn ask_one(kubectl: &Kubectl, options: &Options, call: &Call, pod: &Pod) -> Result<String, String> {
    let arguments = arguments(pod, options, call)?;
    let output = kubectl.run(&arguments, call.input.as_deref()).map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(kubectl.message(&output))
}
