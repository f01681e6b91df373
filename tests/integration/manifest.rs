//! Manifests as `predict` reads them.
#![allow(clippy::unwrap_used, reason = "in helpers of tests, a panic is the failure")]

use kube_probesim::fault::{Client, Target};
use kube_probesim::kubelet::{ProbeEndpoint, ProbeHandler, ProbeSpec, RestartPolicy, Transport};
use kube_probesim::predict::manifest::{Input, MAX_INPUT, Manifests, Problem, read, read_as};
use kube_probesim::predict::{Kind, PodName, Workload};

mod environment;
mod errors;
mod kinds;
mod objects;
mod plans;
mod probes;
mod reading;
mod state;

fn input(name: &str, text: &str) -> Input {
    Input { name: name.to_owned(), text: text.to_owned() }
}

fn manifests(text: &str) -> Manifests {
    read(&[input("pod.yaml", text)]).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

/// The only workload of a text.
fn workload(text: &str) -> Workload {
    let mut workloads = manifests(text).workloads;
    assert_eq!(workloads.len(), 1);
    workloads.remove(0)
}

/// The only error of a text with `--complete`.
fn lack(text: &str) -> String {
    let Err(errors) = read_as(&[input("pod.yaml", text)], true) else { panic!("it is taken: {text}") };
    errors.to_string()
}

/// All lines of the errors of a text.
fn refusals(text: &str) -> Vec<String> {
    let Err(errors) = read(&[input("pod.yaml", text)]) else { panic!("it is taken: {text}") };
    errors.to_string().lines().map(str::to_owned).collect()
}

/// The only error of a text.
fn refusal(text: &str) -> String {
    let mut lines = refusals(text);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.remove(0)
}

/// A Pod with our container; `rest` is the rest of the container, in flow or block style, indented by four.
fn pod(rest: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, labels: {{app: web}}}}\nspec:\n  containers:\n  - name: probesim\n    image: kube-probesim:0.1.0\n{}",
        indented(rest, 4)
    )
}

/// The same with a readiness probe.
fn probed(rest: &str) -> String {
    pod(&format!("readinessProbe: {{httpGet: {{path: /readyz, port: 8080}}}}\n{rest}"))
}

fn indented(text: &str, by: usize) -> String {
    text.lines().fold(String::new(), |out, line| out + &" ".repeat(by) + line + "\n")
}

fn readiness(workload: &Workload, position: usize) -> &ProbeSpec {
    let probe = workload.pod.containers[position].readiness.as_ref();
    probe.unwrap_or_else(|| panic!("no readiness probe: {workload:?}"))
}
