//! The Pod of an object.

use std::ffi::OsString;

use serde_json::Value;

use super::container::{Role, role};
use super::environment::{Environment, Sources};
use super::error::Problem;
use super::node::{Node, Report, shown};
use super::plans;
use super::ports::{Ports, aim};
use super::probe::{self, Owner};
use super::state::{self, Kept};
use crate::env::{self, Config};
use crate::fault::{ActivePlan, Mode, Seed};
use crate::kubelet::{ContainerSpec, Endpoint, PodSpec, ProbeKind, Program, RestartPolicy};
use crate::predict::PodName;
use crate::predict::workload::OurContainer;

const POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];

/// A container that runs beside the others, with its position in the Pod.
struct Member<'a> {
    node: Node<'a>,
    name: &'a str,
    sidecar: bool,
    ours: bool,
}

/// Whether a container of the Pod runs this program's service.
pub(super) fn runs_this_program(spec: &Node, report: &mut Report) -> bool {
    let mut found = false;
    let mut containers = spec.items("initContainers", report);
    containers.extend(spec.items("containers", report));
    for container in containers {
        report.place.container = container.value("name").and_then(Value::as_str).map(shown);
        found |= role(&container, report) == Role::Service;
        report.place.container = None;
    }
    found
}

/// Reads a Pod. Errors go to the report.
pub(super) fn read(
    spec: &Node,
    sources: &Sources,
    policy: RestartPolicy,
    report: &mut Report,
) -> (PodSpec, Vec<OurContainer>) {
    let members = members(spec, report);
    let mut ports = Ports::default();
    let mut ours = Vec::new();
    let mut states: Vec<(Kept, &str)> = Vec::new();
    let mut containers = Vec::new();
    for (position, member) in members.iter().enumerate() {
        report.place.container = Some(member.name.to_owned());
        let mut container = ContainerSpec::new(member.name);
        if member.ours {
            match configured(position, &member.node, sources, report) {
                Some((found, place)) => {
                    let other = states.iter().find(|(other, _)| place.as_ref() == Some(other));
                    if let Some((_, other)) = other {
                        report.warn(&format!(
                            "STATE_DIR is that of container {other}, too: each needs its own"
                        ));
                    }
                    states.extend(place.map(|place| (place, member.name)));
                    ports.add(position, &found.config, &containers, report);
                    container = ContainerSpec::ours(member.name, program(&found));
                    ours.push(found);
                }
                None => ports.incomplete = true,
            }
        } else {
            for port in member.node.items("ports", report) {
                let number = port.number("containerPort", 1, u32::from(u16::MAX), report);
                ports.others.extend(number.and_then(|number| u16::try_from(number).ok()));
            }
            report.assume(format!("container {} is taken to be healthy and to run on", member.name));
        }
        container.sidecar = member.sidecar;
        container.restart_policy = restart_policy(&member.node, report);
        beside(&member.node, member.name, report);
        containers.push(container);
        report.place.container = None;
    }
    let mut asked = false;
    for (position, (member, container)) in members.iter().zip(&mut containers).enumerate() {
        report.place.container = Some(member.name.to_owned());
        let owner =
            Owner { container: &member.node, name: member.name, ours: member.ours.then_some(position) };
        for kind in ProbeKind::ALL {
            let found = probe::read(kind, owner, &ports, report);
            asked |= found.as_ref().is_some_and(|found| found.asks);
            *match kind {
                ProbeKind::Startup => &mut container.startup,
                ProbeKind::Liveness => &mut container.liveness,
                ProbeKind::Readiness => &mut container.readiness,
            } = found.map(|found| found.probe);
        }
        report.place.container = None;
    }
    if !asked && report.errors.is_empty() {
        let first = members.iter().find(|member| member.ours);
        let field = first.map_or_else(|| spec.field("containers"), |member| member.node.path().to_owned());
        report.place.container = first.map(|member| member.name.to_owned());
        report.error(&field, Problem::NoProbe);
        report.place.container = None;
    }
    around(spec, report);
    let grace = spec.number("terminationGracePeriodSeconds", 0, i32::MAX as u32, report);
    let pod = PodSpec { restart_policy: policy, grace: grace.unwrap_or(30), ..PodSpec::new(containers) };
    (pod, ours)
}

/// The containers that run beside each other, native sidecars first.
fn members<'a>(spec: &Node<'a>, report: &mut Report) -> Vec<Member<'a>> {
    let mut members = Vec::new();
    for list in ["initContainers", "containers"] {
        for node in spec.items(list, report) {
            let name = node.name("name", report).unwrap_or_default();
            report.place.container = node.value("name").and_then(Value::as_str).map(shown);
            let role = role(&node, report);
            let sidecar = list == "initContainers"
                && node.value("restartPolicy").is_some_and(|policy| policy == "Always");
            if sidecar || list == "containers" {
                members.push(Member { name, sidecar, ours: role == Role::Service, node });
            } else {
                if role == Role::Service {
                    report.error(node.path(), Problem::NeverEnds);
                }
                for kind in ProbeKind::ALL {
                    if node.has(probe::field(kind)) {
                        let why =
                            "an init container has probes only as a sidecar, with `restartPolicy: Always`";
                        report.error(&node.field(probe::field(kind)), Problem::NotHere(why));
                    }
                }
                report.assume(format!("init container {name} is taken to end at once, with success"));
            }
            report.place.container = None;
        }
    }
    if !spec.has("containers") {
        report.error(&spec.field("containers"), Problem::Missing);
    }
    members
}

/// Reads a `restartPolicy`.
pub(super) fn restart_policy(node: &Node, report: &mut Report) -> Option<RestartPolicy> {
    static WORDS: &[&str] = &POLICIES;
    node.word("restartPolicy", WORDS, report).map(|word| match word {
        "OnFailure" => RestartPolicy::OnFailure,
        "Never" => RestartPolicy::Never,
        _ => RestartPolicy::Always,
    })
}

/// A container of ours at a position, with its configuration.
fn configured(
    position: usize,
    container: &Node,
    sources: &Sources,
    report: &mut Report,
) -> Option<(OurContainer, Option<Kept>)> {
    let before = report.errors.len();
    let environment = Environment::read(container, sources, report);
    let name = report.place.container.clone().unwrap_or_default();
    let some_pod = sources.kind.some_pod(&sources.owner.name);
    for variable in environment.with_pod_name() {
        if !matches!(variable, "POD_NAME" | "POD_NAMESPACE" | "NODE_NAME") {
            report.assume(format!(
                "container {name}: {variable} holds the Pod's name; {some_pod:?} is taken for it"
            ));
        }
    }
    let pairs: Vec<(String, String)> = environment.pairs(&some_pod).collect();
    let of_pod = environment.is_pod_name("POD_NAME");
    let loaded = match env::load(pairs.into_iter().map(|(name, value)| (OsString::from(name), value.into())))
    {
        Ok(loaded) => loaded,
        Err(errors) => {
            for error in errors.0 {
                report.error("", Problem::Config(error));
            }
            return None;
        }
    };
    for warning in &loaded.warnings {
        report.warn(&format!("env {warning}"));
    }
    let mut config = loaded.config;
    let layers = plans::layers(&config, container, sources, report);
    let kept = state::kept(&config, container, sources, report);
    let pod_name = match config.identity.pod.take_if(|_| of_pod) {
        Some(_) => PodName::OfPod,
        None => config.identity.pod.clone().map_or(PodName::Unset, PodName::Fixed),
    };
    if environment.with_pod_name().any(|variable| variable == "POD_NAME") && !of_pod {
        report.assume(format!(
            "container {name}: POD_NAME holds more than the Pod's name; all Pods are taken to share one"
        ));
    }
    match OurContainer::new(position, config, pod_name, &layers) {
        Ok(ours) => {
            let ours = OurContainer { keeps_state: kept.is_some(), ..ours };
            (report.errors.len() == before).then_some((ours, kept))
        }
        Err(errors) => {
            for error in errors {
                report.error("", Problem::Config(error));
            }
            None
        }
    }
}

fn program(ours: &OurContainer) -> Program {
    let OurContainer { config, plan: rules, .. } = ours;
    let plan = ActivePlan::new(rules.clone(), Seed(0), config.readiness_checks_dependency);
    let followed = rules.rules().iter().enumerate().filter_map(|(position, rule)| match rule.mode() {
        Some(Mode::Redirect(location)) => Some((position, on_this_host(config, location)?)),
        _ => None,
    });
    Program {
        followed: followed.collect(),
        shutdown_delay: config.process.shutdown_delay,
        keeps_state: ours.keeps_state,
        ..Program::new(plan)
    }
}

/// Where a redirect leads, if not to another host. The paths of probes are taken to have one segment.
fn on_this_host(config: &Config, location: &str) -> Option<Endpoint> {
    if location.starts_with("//") || location.split(['/', '?', '#']).next()?.contains(':') {
        return None;
    }
    let path = location.split(['?', '#']).next()?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some(aim(&config.paths, &path))
}

/// What is not modelled of a container.
fn beside(container: &Node, name: &str, report: &mut Report) {
    if container.has("lifecycle") {
        report.assume(format!("container {name}: its lifecycle hooks are left out"));
    }
    if container.has("restartPolicyRules") {
        report.assume(format!("container {name}: its restartPolicyRules are left out"));
    }
}

/// What is not modelled of a Pod.
fn around(spec: &Node, report: &mut Report) {
    if spec.flag("hostNetwork", report) == Some(true) {
        report.assume("hostNetwork: the ports are taken to be free on the node".to_owned());
    }
    if spec.has("readinessGates") {
        report.assume("readinessGates are taken to be true".to_owned());
    }
    if spec.has("activeDeadlineSeconds") {
        report.assume("activeDeadlineSeconds is left out: the Pod runs on".to_owned());
    }
}
