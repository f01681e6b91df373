//! One command in many Pods at the same time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::EXECUTABLE;
use super::arguments::{Call, Options};
use super::pods::Pod;
use super::process::Kubectl;
use crate::order;

/// How many calls of kubectl there are at a time.
const AT_ONCE: usize = 16;

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

/// Does something for each of `count` positions, several at a time, and returns the results in their order.
pub(super) fn each<T: Send>(count: usize, work: &(dyn Fn(usize) -> T + Sync)) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(count));
    let all = || {
        while let Some(position) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|next| *next < count) {
            let result = work(position);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((position, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..count.min(AT_ONCE) {
            scope.spawn(all);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    order::sort_by_key(&mut results, |(position, _)| *position);
    results.into_iter().map(|(_, result)| result).collect()
}

fn ask_one(kubectl: &Kubectl, options: &Options, call: &Call, pod: &Pod) -> Result<String, String> {
    let arguments = arguments(pod, options, call)?;
    let output = kubectl.run(&arguments, call.input.as_deref()).map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(kubectl.message(&output))
}
