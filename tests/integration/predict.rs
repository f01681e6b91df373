//! Predictions of workloads.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in helpers of tests, a panic is the failure")]

mod advice;
mod application;
mod budget;
mod cluster;
mod engine;
mod fleet;
mod hooks;
mod process;
mod process_table;
mod profile;
mod replicas;
mod report;
mod run;
use std::time::Duration;

use kube_probesim::fault::{ActivePlan, Client, Plan, Seed, Target};
use kube_probesim::kubelet::{
    ContainerSpec, PodSpec, ProbeEndpoint, ProbeHandler, ProbeKind, ProbeSpec, Program,
};
use kube_probesim::predict::run::{Observation, Options, Prediction, Replicas, run};
use kube_probesim::predict::workload::ProbesimContainer;
use kube_probesim::predict::{Kind, PodName, Rollout, Workload};
use kube_probesim::sources::Layers;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn probe(target: Target, period: u32, failure_threshold: u32) -> ProbeSpec {
    let handler =
        ProbeHandler::Http { server: 0, endpoint: ProbeEndpoint::Target(target), client: Client::Kubelet };
    ProbeSpec { period, failure_threshold, ..ProbeSpec::new(handler) }
}

/// A workload of one container with this environment, liveness and readiness with period 10 and threshold 3.
fn workload(kind: Kind, replicas: u32, env: &[(&str, &str)]) -> Workload {
    let config = crate::support::config(env);
    let layers = Layers::elsewhere(&config, false);
    let probesim = ProbesimContainer::new(0, config.clone(), PodName::OfPod, &layers).unwrap();
    let program = Program {
        shutdown_delay: config.process.shutdown_delay,
        ..Program::new(ActivePlan::new(Plan::default(), Seed(0), true))
    };
    let container = ContainerSpec {
        liveness: Some(probe(Target::Liveness, 10, 3)),
        readiness: Some(probe(Target::Readiness, 10, 3)),
        ..ContainerSpec::probesim("app", program)
    };
    let rollout =
        (kind == Kind::Deployment).then_some(Rollout { min_ready: s(0), progress_deadline: s(600) });
    Workload {
        place: "app.yaml, document 1".to_owned(),
        replicas,
        probesim: vec![probesim],
        rollout,
        ..Workload::new(kind, "app", PodSpec::new(vec![container]))
    }
}

/// The liveness probe of the container.
fn liveness(workload: &mut Workload) -> &mut ProbeSpec {
    workload.pod.containers[0].liveness.as_mut().unwrap()
}

fn observed(workload: &Workload, options: &Options) -> (Prediction, Vec<Observation>) {
    let mut seen = Vec::new();
    let replicas = Replicas::new(workload, options);
    let prediction = run(workload, &replicas, options, &mut |observation| seen.push(observation));
    (prediction, seen)
}

fn predicted(workload: &Workload, options: &Options) -> Prediction {
    observed(workload, options).0
}

fn for_time(horizon: Duration) -> Options {
    Options { horizon, ..Options::default() }
}
