//! A model of the kubelet on a virtual clock: what it does with the answers of a [plan](crate::fault).
//!
//! One [`Pod`] is a discrete-event simulation of its containers, their probe workers and the kubelet's own loop. It
//! asks the same [`decide`](crate::fault::ActivePlan::decide) as the service does, under the rules of Kubernetes
//! [`RULES`]. What is random on a node is drawn from given [`Draws`](crate::fault::Draws), so a run repeats. Memory
//! does not grow with the time that is run.
//!
//! | type | what it is |
//! |---|---|
//! | [`PodSpec`], [`ContainerSpec`], [`Probe`] | what a manifest says |
//! | [`Program`] | this program in a container: its plan and its life |
//! | [`Pod`] | the simulation |
//! | [`Event`] | what happens, told to a callback |
//! | [`Stats`] | counts and times that are kept while it runs |
//!
//! # What it leaves out
//!
//! Restarts of the kubelet itself (they shift the ticks), `preStop` and `postStart` hooks, the pulling of images,
//! ordinary init containers (taken to be done by [`Timing::pod_start`]), pressure on the node, a deadline of the Pod,
//! gRPC probes, probes of another program ([`Handler::Healthy`]), and a SYN that is repeated when a network heals
//! within the timeout of one attempt.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use kube_probesim::fault::{ActivePlan, Client, Draws, Plan, Seed, Target};
//! use kube_probesim::kubelet::{Aim, ContainerSpec, Handler, Pod, PodSpec, Probe, Program};
//!
//! let program = Program::new(ActivePlan::new(Plan::default(), Seed(1), true));
//! let handler = Handler::Http { server: 0, aim: Aim::Target(Target::Readiness), client: Client::Kubelet };
//! let container =
//!     ContainerSpec { readiness: Some(Probe::new(handler)), ..ContainerSpec::ours("app", program) };
//! let mut pod = Pod::new(PodSpec::new(vec![container]), Draws::of(Seed(1), "kubelet"));
//! pod.run(Duration::from_secs(60), &mut |event| println!("{:?} {}", event.at, event.message("app")));
//! assert!(pod.is_ready());
//! ```

mod attempt;
mod backoff;
mod clock;
mod event;
mod pod;
mod process;
mod spec;
mod stats;
mod worker;

pub use attempt::Symptom;
pub use event::{Event, Happening};
pub use pod::Pod;
pub use spec::{Aim, ContainerSpec, End, Handler, PodSpec, Probe, ProbeKind, Program, RestartPolicy, Timing};
pub use stats::{ContainerStats, ProbeStats, Stats};

/// The Kubernetes version whose rules the model follows.
pub const RULES: &str = "1.36";
