//! Advice on a manifest: what is unwise, the figure behind it, and what follows in the simulation.

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
    /// Which, for machines: a word that stays, one of [`NAMES`].
    pub code: &'static str,
    /// What is the matter, with the figure, what follows in the simulation, and what would be better.
    pub text: String,
}

/// All names, with what each is about.
pub const NAMES: [(&str, &str); 15] = [
    ("fault-thrown-away", "the kubelet throws away the errors that a fault leads to, so it changes nothing"),
    (
        "grace-shorter-than-prestop",
        "preStop takes as long as the grace period or longer, so SIGKILL follows 2 s after SIGTERM",
    ),
    (
        "liveness-not-slower-than-readiness",
        "liveness may kill before readiness takes the Pod out of its Service, or at the same time",
    ),
    ("memory-limit-missing", "the memory of a profile grows, and no limit ends that"),
    ("no-drain-delay", "the program ends after SIGTERM before callers have left the Pod"),
    (
        "no-startup-probe-for-slow-start",
        "liveness kills a start that takes as long as is known, and there is no startup probe",
    ),
    ("outside-prediction", "the window of a rule lies outside the time of the prediction"),
    ("partition-restarts", "a partition outlasts what liveness forgives"),
    ("pdb-blocks-drain", "a PodDisruptionBudget lets no Pod go, so the drain of a node never ends"),
    ("pods-select-none", "a rule acts on none of the Pods"),
    (
        "probe-on-dependency",
        "liveness fails with what the program depends on, as its profile says, and restarts cannot mend that",
    ),
    ("sidecar-waits-for-its-application", "a native sidecar's startup probe asks what starts only after it"),
    ("starts-without-state", "a rule waits for a later start, and no state counts them"),
    ("startup-probe-too-short", "the startup probe gives up before the start that is known is over"),
    ("timeout-below-p99", "the latency reaches the timeout of a probe in one of 100 attempts or more"),
];

/// The name of advice, if there is such.
pub fn find(name: &str) -> Option<&'static str> {
    NAMES.iter().map(|(known, _)| *known).find(|known| *known == name)
}

/// What a wrong name may have meant, for an error.
pub(super) fn meant(name: &str) -> String {
    let names = NAMES.map(|(known, _)| known);
    nearest(name, &names).map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// All advice on a workload. With a prediction, what it says of restarts agrees with that. `endpoint_lag` is how long calls
/// go on to a Pod that is no longer Ready.
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
    /// In how many of how many predicted Pods the container restarted.
    restarted: Option<(usize, usize)>,
}

/// The target that a probe asks of us, and as which client.
fn asked(probe: &ProbeSpec) -> Option<(usize, Target, Client)> {
    match probe.handler {
        ProbeHandler::Http { server, endpoint: ProbeEndpoint::Target(target), client } => {
            Some((server, target, client))
        }
        ProbeHandler::Assumed { server, target, .. } => Some((server, target, Client::Kubelet)),
        // The program's own client gives the kubelet's name.
        ProbeHandler::Exec { server, endpoint: ProbeEndpoint::Target(target) } => {
            Some((server, target, Client::Kubelet))
        }
        _ => None,
    }
}

/// From the first failed attempt to the one at the threshold.
fn run_length(probe: &ProbeSpec) -> Duration {
    seconds(probe.period) * (probe.failure_threshold.max(1) - 1)
}

/// The longest time from the beginning of a fault to the threshold: the first attempt comes up to a period later.
fn reaction(probe: &ProbeSpec) -> Duration {
    seconds(probe.period) * probe.failure_threshold.max(1)
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}
