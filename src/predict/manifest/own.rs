//! Reads containers that run this program.

use super::container::serve_flags;
use super::environment::{Environment, Sources};
use super::error::Problem;
use super::findings::Reading;
use super::mapping::Mapping;
use super::plans;
use super::ports::endpoint;
use super::state::{self, StateLocation};
use crate::env::{self, Config};
use crate::fault::{ActivePlan, Mode, ProcessMode, Seed, UpstreamPlace};
use crate::kubelet::{Application, ContainerRole, ContainerSpec, ProbeEndpoint, Program};
use crate::predict::PodName;
use crate::predict::workload::{ContainerFacts, ProbesimContainer};

/// Reads a container that runs this program, and the location of its state. `None` if it has errors.
pub(super) fn read(
    position: usize,
    container: &Mapping,
    sources: &Sources,
) -> Reading<Option<(ProbesimContainer, Option<StateLocation>)>> {
    Reading::collect(|found| {
        let environment = found.take(Environment::read(container, sources));
        let name = sources.container;
        let example_pod_name = sources.kind.example_pod_name(&sources.owner.name);
        for variable in environment.with_pod_name() {
            if !matches!(variable, "POD_NAME" | "POD_NAMESPACE" | "NODE_NAME") {
                found.assume(format!(
                    "container {name}: {variable} contains the Pod's name; the prediction uses {example_pod_name:?}"
                ));
            }
        }
        let flags = found.take(serve_flags(container));
        let pairs: Vec<(String, String)> = environment.pairs(&example_pod_name).collect();
        let of_pod = environment.is_pod_name("POD_NAME");
        let loaded = match env::load_with(
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())),
            &flags,
        ) {
            Ok(loaded) => loaded,
            Err(errors) => {
                for error in errors.iter().cloned() {
                    found.error("", Problem::Config(error));
                }
                return None;
            }
        };
        for warning in &loaded.warnings {
            found.warn(format!("env {warning}"));
        }
        let mut config = loaded.config;
        let layers = found.take(plans::layers(&config, container, sources));
        let location = found.take(state::location(&config, container, sources));
        let pod_name = match config.identity.pod.take_if(|_| of_pod) {
            Some(_) => PodName::OfPod,
            None => config.identity.pod.clone().map_or(PodName::Unset, PodName::Fixed),
        };
        if environment.with_pod_name().any(|variable| variable == "POD_NAME") && !of_pod {
            found.assume(format!(
                "container {name}: POD_NAME contains more than the Pod's name; all Pods are assumed to share one value"
            ));
        }
        match ProbesimContainer::new(position, config, pod_name, &layers) {
            Ok(probesim) => {
                let probesim = ProbesimContainer { keeps_state: location.is_some(), ..probesim };
                (!found.has_errors()).then_some((probesim, location))
            }
            Err(errors) => {
                for error in errors.iter().cloned() {
                    found.error("", Problem::Config(error));
                }
                None
            }
        }
    })
}

pub(super) fn program(probesim: &ProbesimContainer) -> Program {
    let ProbesimContainer { config, plan: rules, .. } = probesim;
    let plan = ActivePlan::new(rules.clone(), Seed(0), config.readiness_checks_dependency);
    let followed = rules.rules().iter().enumerate().filter_map(|(position, rule)| match rule.mode() {
        Some(Mode::Redirect(location)) => Some((position, on_this_host(config, location)?)),
        _ => None,
    });
    Program {
        followed: followed.collect(),
        shutdown_delay: config.process.shutdown_delay,
        keeps_state: probesim.keeps_state,
        ..Program::new(plan)
    }
}

/// The container to which a kube-probesim container forwards requests: the one that declares the upstream's port, or the
/// only candidate. Absent if the upstream is outside the Pod, or none of several candidates declares the port.
pub(super) fn application(
    probesim: &ProbesimContainer,
    specs: &[ContainerSpec],
    facts: &[ContainerFacts],
    all_ours: &[ProbesimContainer],
) -> Option<Application> {
    let Config { upstream, forwarding, .. } = &probesim.config;
    let upstream = upstream.as_ref()?;
    let port = upstream.address.loopback_port();
    if port.is_none() && !matches!(upstream.address.place(), UpstreamPlace::Unix(_)) {
        return None;
    }
    let others = || {
        let is_other = |position: usize| all_ours.iter().all(|it| it.position != position);
        let candidates =
            specs.iter().enumerate().filter(move |(at, it)| it.role != ContainerRole::Init && is_other(*at));
        candidates.map(|(position, _)| position)
    };
    let declares = |position: &usize| port.is_some_and(|port| facts[*position].ports.contains(&port));
    let mut rest = others();
    let only = rest.next().filter(|_| rest.next().is_none());
    let container = others().find(declares).or(only)?;
    Some(Application { container, answers_probes: upstream.answers_probes, timeout: forwarding.timeout })
}

/// The endpoint of a redirect to the same host. The paths of probes are assumed to have one segment.
fn on_this_host(config: &Config, location: &str) -> Option<ProbeEndpoint> {
    if location.starts_with("//") || location.split(['/', '?', '#']).next()?.contains(':') {
        return None;
    }
    let path = location.split(['?', '#']).next()?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some(endpoint(&config.paths, &path))
}

/// Whether a rule ends the process.
pub(super) fn ends_by_itself(probesim: &ProbesimContainer) -> bool {
    let ends = |mode: &ProcessMode| {
        matches!(mode, ProcessMode::Exit(_) | ProcessMode::Abort | ProcessMode::Memory(_))
    };
    probesim.plan.rules().iter().any(|rule| rule.process().is_some_and(ends))
}
