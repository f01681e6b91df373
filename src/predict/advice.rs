//! Advice on a manifest: a risky setting, the figure behind it, and its simulated consequence.

mod experiment;
mod life;
mod plan;
mod probe;

use std::time::Duration;

use crate::fault::{Client, Target};
use crate::kubelet::{ContainerSpec, ProbeEndpoint, ProbeHandler, ProbeKind, ProbeSpec};

use crate::plan::error::nearest;

use super::outcome::Prediction;
use super::workload::Workload;

/// A piece of advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The stable name for machines, one of [`NAMES`].
    pub code: &'static str,
    /// The problem with its figure, the simulated consequence, and a better setting.
    pub text: String,
}

/// All names, each with a short description.
pub const NAMES: [(&str, &str); 15] = [
    (
        "fault-thrown-away",
        "a fault causes probe errors, which the kubelet discards, so the fault has no effect",
    ),
    (
        "grace-shorter-than-prestop",
        "preStop takes the whole grace period or longer, so SIGKILL follows 2 s after SIGTERM",
    ),
    (
        "liveness-not-slower-than-readiness",
        "liveness may restart the container before readiness removes the Pod from its Service, or at the same time",
    ),
    ("memory-limit-missing", "the memory in a profile grows, and the container has no memory limit"),
    ("no-drain-delay", "the program exits after SIGTERM while callers still send requests to the Pod"),
    (
        "no-startup-probe-for-slow-start",
        "liveness kills the container within its known start time, and there is no startup probe",
    ),
    ("outside-prediction", "the window of a rule lies outside the predicted time"),
    ("partition-restarts", "a partition lasts longer than liveness tolerates"),
    ("pdb-blocks-drain", "a PodDisruptionBudget allows no eviction, so draining a node never ends"),
    ("pods-select-none", "a rule selects none of the Pods"),
    (
        "probe-on-dependency",
        "the liveness probe fails when a dependency of the program fails (says its profile), and a restart does not repair that",
    ),
    (
        "sidecar-waits-for-its-application",
        "the startup probe of a native sidecar asks a container that starts only after the sidecar",
    ),
    (
        "starts-without-state",
        "a rule applies to later starts, but without a kept state each start counts as the first",
    ),
    ("startup-probe-too-short", "the startup probe fails before the known start time is over"),
    ("timeout-below-p99", "the latency reaches the timeout of a probe in at least one of 100 attempts"),
];

/// The stable name of advice with this name, if it exists.
pub fn find(name: &str) -> Option<&'static str> {
    NAMES.iter().map(|(known, _)| *known).find(|known| *known == name)
}

/// A suggestion for a misspelt name, for an error.
pub(super) fn meant(name: &str) -> String {
    let names = NAMES.map(|(known, _)| known);
    nearest(name, &names).map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// All advice on a workload. With a prediction, statements about restarts agree with it. `endpoint_lag` is how long calls
/// still reach a Pod that is no longer Ready.
pub fn advice(workload: &Workload, prediction: Option<&Prediction>, endpoint_lag: Duration) -> Vec<Advice> {
    let mut found = Vec::new();
    for (position, container) in workload.pod.containers.iter().enumerate() {
        let restarted = prediction.map(|prediction| {
            let restarts = prediction.pods.iter().map(|pod| pod.stats.containers[position].restarts);
            (restarts.filter(|restarts| *restarts > 0).count(), prediction.pods.len())
        });
        let subject = Subject { workload, container, position, restarted };
        for kind in ProbeKind::ALL {
            if let Some(probe) = container.probe(kind) {
                found.extend(subject.timeout(kind, probe));
                found.extend(subject.thrown_away(kind, probe));
            }
        }
        if let (Some(liveness), Some(readiness)) = (&container.liveness, &container.readiness) {
            found.extend(subject.order(liveness, readiness));
        }
        if let Some(liveness) = &container.liveness {
            found.extend(subject.slow_start(liveness));
            found.extend(subject.partition(liveness));
        }
        found.extend(subject.dependency());
        found.extend(subject.waits_for_application());
        found.extend(subject.pre_stop());
        found.extend(subject.drain_delay(endpoint_lag));
        found.extend(subject.memory());
    }
    found.extend(life::disruptions(workload));
    found
}

struct Subject<'a> {
    workload: &'a Workload,
    container: &'a ContainerSpec,
    position: usize,
    /// The number of predicted Pods in which the container restarted, and the number of all predicted Pods.
    restarted: Option<(usize, usize)>,
}

/// The container and target that a probe asks, and the client class it asks as, if a kube-probesim container answers.
fn asked(probe: &ProbeSpec) -> Option<(usize, Target, Client)> {
    match probe.handler {
        ProbeHandler::Http { server, endpoint: ProbeEndpoint::Target(target), client } => {
            Some((server, target, client))
        }
        ProbeHandler::Assumed { server, target, .. } => Some((server, target, Client::Kubelet)),
        // The `probe` command sends the kubelet's user agent.
        ProbeHandler::Exec { server, endpoint: ProbeEndpoint::Target(target) } => {
            Some((server, target, Client::Kubelet))
        }
        _ => None,
    }
}

/// The time from the first failed attempt to the one that reaches the threshold.
fn run_length(probe: &ProbeSpec) -> Duration {
    seconds(probe.period) * (probe.failure_threshold.max(1) - 1)
}

/// The longest time from the start of a fault to the threshold: the first attempt comes up to one period later.
fn reaction(probe: &ProbeSpec) -> Duration {
    seconds(probe.period) * probe.failure_threshold.max(1)
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}
