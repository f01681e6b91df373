//! The Pods of a workload, with names and seeds as in the cluster.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::options::{MAX_PODS, Options};
use crate::fault::{ActivePlan, Client, ClientFilter, Draws, Rule, Seed, Target};
use crate::kubelet::{ContainerRole, PodSpec, ProbeEndpoint, ServiceCalls, StartTime};
use crate::predict::name::names;
use crate::predict::workload::{Kind, PodName, ProbesimContainer, Profiled, Workload};
use crate::sources::Instance;

/// The interval of the calls to each Pod.
const CALL_EVERY: Duration = Duration::from_secs(1);

/// The address of callers, for partitions with `from`.
pub const CALLER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

/// A Pod before it runs.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its name.
    pub name: String,
    /// The effective seed of each kube-probesim container, in the order of [`Workload::probesim`].
    pub seeds: Vec<Seed>,
    /// Its specification, with those seeds in its plans.
    pub pod: PodSpec,
}

/// The Pods of a workload, with names and seeds as in the cluster.
#[derive(Clone, Debug)]
pub struct Replicas {
    /// The Pods.
    pub pods: Vec<Replica>,
    /// The seed of all random draws.
    pub seed: Seed,
    /// Whether other random names or seeds would give another prediction.
    pub sample: bool,
    /// Whether a container has no seed, so that the service would draw one.
    pub seeds_drawn: bool,
}

impl Replicas {
    /// The Pods of a workload.
    pub fn new(workload: &Workload, options: &Options) -> Self {
        let given = workload.probesim.iter().find_map(|probesim| probesim.merged.seed.map(|(seed, _)| seed));
        let seed = Seed(options.seed.or(given).unwrap_or_default());
        let count = options.pods.unwrap_or(workload.replicas).min(MAX_PODS);
        let plans = Plans::of(workload);
        let pods = names(workload, count, seed)
            .into_iter()
            .enumerate()
            .map(|(number, name)| replica(workload, &plans, name, number as u64, seed, options))
            .collect();
        let seeds_drawn = workload.probesim.iter().any(|probesim| probesim.merged.seed.is_none());
        Self { pods, seed, sample: workload.kind.draws_names() || seeds_drawn, seeds_drawn }
    }
}

/// A Pod that is created after the first ones, with its position among all Pods and its ordinal.
pub(super) fn late_replica(
    workload: &Workload,
    replicas: &Replicas,
    position: usize,
    ordinal: u32,
    options: &Options,
) -> Replica {
    if workload.kind == Kind::StatefulSet
        && let Some(of_name) = replicas.pods.get(ordinal as usize)
    {
        return of_name.clone();
    }
    let name = names(workload, position as u32 + 1, replicas.seed).pop().unwrap_or_default();
    replica(workload, &Plans::of(workload), name, position as u64, replicas.seed, options)
}

/// The plans of a workload, with seed 0. The plans of its Pods share their rules, which take most of the memory.
struct Plans {
    /// In the order of [`Workload::probesim`].
    probesim: Vec<ActivePlan>,
    /// In the order of [`Workload::profiled`].
    profiled: Vec<ActivePlan>,
}

impl Plans {
    fn of(workload: &Workload) -> Self {
        let probesim = workload.probesim.iter().map(|probesim| {
            let checks_dependency = probesim.config.readiness_checks_dependency;
            ActivePlan::new(probesim.plan.clone(), Seed(0), checks_dependency)
                .with_upstream(probesim.config.upstream.is_some())
        });
        let profiled = workload.profiled.iter().map(|it| ActivePlan::new(it.plan.clone(), Seed(0), false));
        Self { probesim: probesim.collect(), profiled: profiled.collect() }
    }
}

fn replica(
    workload: &Workload,
    plans: &Plans,
    name: String,
    number: u64,
    seed: Seed,
    options: &Options,
) -> Replica {
    let at = options.at;
    let mut pod = workload.pod.clone();
    for container in pod.containers.iter_mut().filter(|container| container.program.is_none()) {
        container.stops_after = options.stops_after;
    }
    for (Profiled { position, profile, plan, .. }, active) in workload.profiled.iter().zip(&plans.profiled) {
        let draws = Draws::of(seed, &format!("profile-{position}-{number}"));
        let container = pod.containers.get_mut(*position);
        if let Some(program) = container.and_then(|container| container.program.as_mut()) {
            program.plan = active.clone();
            program.plan.reseed(Seed(draws.at(1)));
            program.listens_after = profile.ready_after.clone().map(|delay| {
                Box::new(StartTime { delay, draws: Draws::of(seed, &format!("start-{position}-{number}")) })
            });
            program.reseeds = Some(draws);
            program.epoch = at;
            let is_called = *position == serving(&workload.pod)
                && plan.rules().iter().any(|rule| rule.targets().contains(Target::Traffic));
            program.calls = is_called.then_some(ServiceCalls {
                endpoint: ProbeEndpoint::Target(Target::Traffic),
                every: CALL_EVERY,
                timeout: options.call_timeout,
                peer: IpAddr::V4(CALLER),
            });
        }
    }
    let answering = answering(workload);
    let mut seeds = Vec::new();
    for (probesim, active) in workload.probesim.iter().zip(&plans.probesim) {
        let own_name = match &probesim.pod_name {
            PodName::Unset => None,
            PodName::OfPod => Some(name.as_str()),
            PodName::Fixed(text) => Some(text.as_str()),
        };
        let draws = Draws::of(seed, &format!("seed-{}-{number}", probesim.position));
        let instance = Instance {
            pod: own_name.map(str::to_owned),
            scope: probesim.config.seed.scope,
            drawn_seed: draws.at(1),
            starts: 1,
            resumed: Duration::ZERO,
        };
        let (effective, place) = instance.seed_and_replica(&probesim.merged, at);
        let container = pod.containers.get_mut(probesim.position);
        if let Some(program) = container.and_then(|container| container.program.as_mut()) {
            program.plan = active.clone().at(place);
            program.plan.reseed(effective);
            program.reseeds = probesim.merged.seed.is_none().then_some(draws);
            program.keeps_state = probesim.keeps_state;
            if let Some(facts) = workload.facts.get(probesim.position) {
                program.memory_limit = facts.memory_limit;
                program.cpu_limit = facts.cpu_limit.map(|millis| millis as f64 / 1000.0);
                program.volume_limits.clone_from(&facts.volume_limits);
            }
            program.epoch = at;
            program.calls =
                called(probesim).filter(|_| probesim.position == answering).map(|endpoint| ServiceCalls {
                    endpoint,
                    every: CALL_EVERY,
                    timeout: options.call_timeout,
                    peer: IpAddr::V4(CALLER),
                });
        }
        seeds.push(effective);
    }
    Replica { name, seeds, pod }
}

/// The endpoint that callers of the Service request, if a rule acts on them: the traffic target. Without paths of that
/// target, it is the first target of a rule for `client: other`, else the index page.
pub fn called(probesim: &ProbesimContainer) -> Option<ProbeEndpoint> {
    let rules = || probesim.plan.rules().iter().filter(|rule| rule.client().admits(Client::Other));
    // With an application behind it, all other paths are traffic.
    let has_traffic = probesim.config.upstream.is_some()
        || probesim.config.paths.iter().any(|(_, target)| *target == Target::Traffic);
    let asked = if has_traffic {
        Some(Target::Traffic)
    } else {
        rules()
            .filter(|rule| rule.client() == ClientFilter::Only(Client::Other))
            .flat_map(|rule| rule.targets().iter())
            .find(|target| *target != Target::Traffic)
    };
    let acts = |target| rules().any(|rule| rule.targets().contains(target));
    match asked {
        Some(target) if acts(target) || rules().any(Rule::is_partition) => {
            Some(ProbeEndpoint::Target(target))
        }
        None if rules().any(Rule::is_partition) => Some(ProbeEndpoint::Status(200)),
        _ => None,
    }
}

/// The container that receives the calls of a Service first: the one that forwards them to an application, else the
/// serving one.
pub fn answering(workload: &Workload) -> usize {
    let in_front = workload.probesim.iter().find(|probesim| {
        let role = workload.pod.containers.get(probesim.position).map(|container| container.role);
        probesim.config.upstream.is_some() && role != Some(ContainerRole::Init)
    });
    in_front.map_or_else(|| serving(&workload.pod), |probesim| probesim.position)
}

/// The container that serves the calls of a Service: the first main container with a readiness probe, else the first one.
pub fn serving(pod: &PodSpec) -> usize {
    let mains =
        || pod.containers.iter().enumerate().filter(|(_, container)| container.role == ContainerRole::Main);
    mains()
        .find(|(_, container)| container.readiness.is_some())
        .or_else(|| mains().next())
        .map_or(0, |(at, _)| at)
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pods.len(), if self.pods.len() == 1 { "Pod" } else { "Pods" })
    }
}
