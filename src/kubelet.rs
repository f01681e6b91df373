//! A model of the kubelet on a virtual clock: how it reacts to the answers of a [plan](crate::fault).
//!
//! One [`Pod`] is a discrete-event simulation of its containers, their probe workers and the kubelet's sync loop. It uses
//! the same [`decide`](crate::fault::ActivePlan::decide) as the service, and follows Kubernetes [`RULES`]. Random delays of a node come from given
//! [`Draws`](crate::fault::Draws), so that runs are reproducible. Memory does not grow with the simulated time.
//!
//! A Pod handles the [`ServiceCalls`] of a Service's clients in the same way, under the rules for `client: other`.
//!
//! | type | what it is |
//! |---|---|
//! | [`PodSpec`], [`ContainerSpec`], [`ProbeSpec`] | the content of a manifest |
//! | [`Program`] | this program in a container |
//! | [`Pod`] | the simulation |
//! | [`PodEvent`] | something that happens, passed to a callback |
//! | [`Stats`] | counts and times of a run |
//!
//! # Limits
//!
//! Not modelled: `postStart` hooks, `preStop` hooks that do more than sleep, the pulling of images, pressure on the node,
//! probes of another program ([`ProbeHandler::Healthy`]), and a SYN that is repeated when a network heals within the timeout
//! of one attempt.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use kube_probesim::fault::{ActivePlan, Client, Draws, Plan, Seed, Target};
//! use kube_probesim::kubelet::{ContainerSpec, Pod, PodSpec, ProbeEndpoint, ProbeHandler, ProbeSpec, Program};
//!
//! let program = Program::new(ActivePlan::new(Plan::default(), Seed(1), true));
//! let endpoint = ProbeEndpoint::Target(Target::Readiness);
//! let handler = ProbeHandler::Http { server: 0, endpoint, client: Client::Kubelet };
//! let container =
//!     ContainerSpec { readiness: Some(ProbeSpec::new(handler)), ..ContainerSpec::probesim("app", program) };
//! let mut pod = Pod::new(PodSpec::new(vec![container]), Draws::of(Seed(1), "kubelet"));
//! pod.run(Duration::from_secs(60), &mut |event| println!("{:?} {:?}", event.at, event.kind));
//! assert!(pod.is_ready());
//! ```

mod attempt;
mod backoff;
mod clock;
mod event;
mod pod;
mod process;
mod process_rules;
mod spec;
mod stats;
mod worker;

pub use attempt::Symptom;
pub use event::{PodEvent, PodEventKind, PodFailure};
pub use pod::Pod;
pub use spec::{
    Application, ContainerEnd, ContainerRole, ContainerSpec, DurationRange, Hook, PodSpec, ProbeAddress,
    ProbeEndpoint, ProbeHandler, ProbeKind, ProbeSpec, Program, RestartPolicy, RestartRule, ServiceCalls,
    StartTime, Timing, Transport,
};
pub use stats::{ContainerStats, ProbeStats, Stats};

/// The Kubernetes version whose rules the model follows.
pub const RULES: &str = "1.36";
