//! The Pod that an object makes.

use std::time::Duration;

use super::container::{Role, role, serve_flags};
use super::environment::{Environment, Sources};
use super::error::Problem;
use super::facts;
use super::findings::{Findings, Reading};
use super::hooks;
use super::known;
use super::mapping::{Mapping, shown, wrong};
use super::plans;
use super::ports::{Ports, endpoint};
use super::probe::{self, Owner};
use super::state::{self, StateLocation};
use crate::env::{self, Config};
use crate::fault::{ActivePlan, Mode, ProcessMode, Seed, UpstreamPlace};
use crate::kubelet::{
    Application, ContainerEnd, ContainerRole as PodRole, ContainerSpec, PodSpec, ProbeEndpoint, ProbeKind,
    Program, RestartPolicy, RestartRule,
};
use crate::predict::workload::{ContainerFacts, OurContainer};
use crate::predict::{Kind, PodName};

const POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];

/// The name that Knative gives to a container without one.
const UNNAMED: &str = "user-container";

/// A container that runs beside the others.
struct Member<'a> {
    container: Mapping<'a>,
    name: &'a str,
    role: PodRole,
    ours: bool,
}

/// The containers of a Pod, before their probes are read.
#[derive(Default)]
struct Containers<'a> {
    specs: Vec<ContainerSpec>,
    ours: Vec<OurContainer>,
    facts: Vec<ContainerFacts>,
    ports: Ports,
    /// Where each container keeps its state, with its name.
    states: Vec<(StateLocation, &'a str)>,
}

/// Whether a container of the Pod runs this program's service, or may, since it cannot be told.
pub(super) fn may_run_this_program(spec: &Mapping) -> bool {
    ["initContainers", "containers"].into_iter().any(|list| {
        let Reading { value, findings } = spec.mappings(list);
        findings.has_errors()
            || value.iter().any(|container| {
                let Reading { value, findings } = role(container);
                value == Role::Service || findings.has_errors()
            })
    })
}

/// A Pod with what is known of its containers.
pub(super) struct PodReading {
    pub(super) pod: PodSpec,
    pub(super) ours: Vec<OurContainer>,
    pub(super) facts: Vec<ContainerFacts>,
    pub(super) memory_limit: Option<u64>,
}

/// Reads a Pod.
pub(super) fn read(spec: &Mapping, sources: &Sources, policy: RestartPolicy) -> Reading<PodReading> {
    Reading::collect(|found| {
        let members = found.take(members(spec, sources.kind));
        let mut containers = Containers::default();
        for member in &members {
            let findings = containers.add(member, &Sources { container: member.name, ..*sources });
            found.add(member.place(findings));
        }
        let Containers { mut specs, ours, facts, ports, .. } = containers;
        for container in &ours {
            let application = application(container, &specs, &facts, &ours);
            if let Some(program) = specs[container.position].program.as_mut() {
                program.application = application;
            }
        }
        let host_network = found.take(spec.boolean("hostNetwork")) == Some(true);
        let is_foreign = matches!(sources.kind, Kind::Other(_));
        let mut asked = false;
        for (position, (member, container)) in members.iter().zip(&mut specs).enumerate() {
            let owner = Owner {
                container: &member.container,
                name: member.name,
                ours: member.ours.then_some(position),
                host_network,
                is_foreign,
            };
            let Reading { value, findings } = probes(owner, container, &ports);
            found.add(member.place(findings));
            asked |= value;
        }
        if let Some(first) = members.iter().find(|member| member.ours && member.role != PodRole::Init)
            && !asked
            && !found.has_errors()
        {
            let mut unasked = Findings::default();
            unasked.warn("no probe asks this program: its faults change nothing for the kubelet");
            found.add(unasked.in_container(first.name));
        }
        found.add(omitted_of_pod(spec));
        let grace = found.take(spec.number("terminationGracePeriodSeconds", 0, i32::MAX as u32));
        let pod = PodSpec {
            restart_policy: policy,
            grace: grace.unwrap_or(30),
            deadline: found.take(spec.number("activeDeadlineSeconds", 1, i32::MAX as u32)),
            ..PodSpec::new(specs)
        };
        PodReading { pod, ours, facts, memory_limit: found.take(facts::pod_memory_limit(spec)) }
    })
}

impl Member<'_> {
    /// Places what was found in the container. What this program does not run is not refused.
    fn place(&self, findings: Findings) -> Findings {
        let findings = findings.in_container(self.name);
        if self.ours { findings } else { findings.forgiven() }
    }
}

impl<'a> Containers<'a> {
    /// Adds a container, without its probes.
    fn add(&mut self, member: &Member<'a>, sources: &Sources) -> Findings {
        Findings::collect(|found| {
            let position = self.specs.len();
            let mut container = ContainerSpec::new(member.name);
            if member.role == PodRole::Init {
                // Unless it is known better.
                container.ends = Some(ContainerEnd { after: Duration::ZERO, code: 0, out_of_memory: false });
            }
            if member.ours {
                match found.take(configured(position, &member.container, sources)) {
                    Some((ours, place)) => {
                        let other = self.states.iter().find(|(other, _)| place.as_ref() == Some(other));
                        if let Some((_, other)) = other {
                            found.warn(format!(
                                "STATE_DIR is that of container {other}, too: each needs its own"
                            ));
                        }
                        self.states.extend(place.map(|place| (place, member.name)));
                        if member.role == PodRole::Init && !ends_by_itself(&ours) {
                            found.error(member.container.path(), Problem::NeverEnds);
                        }
                        // Those of an init container are free again before anything asks.
                        if member.role != PodRole::Init {
                            found.add(self.ports.add(&ours, &self.specs));
                        }
                        container = ContainerSpec::ours(member.name, program(&ours));
                        self.ours.push(ours);
                    }
                    None => self.ports.incomplete = true,
                }
            } else {
                self.ports.has_others = true;
                for port in found.take(member.container.mappings("ports")) {
                    self.ports.others.extend(found.take(port.port("containerPort")));
                }
            }
            container.post_start = found.take(hooks::read(&member.container, "postStart"));
            container.pre_stop = found.take(hooks::read(&member.container, "preStop"));
            self.facts.push(found.take(facts::read(&member.container, sources.spec)));
            container.role = member.role;
            container.restart_policy = found.take(restart_policy(&member.container));
            container.restart_rules = found.take(restart_rules(&member.container, member.name));
            self.specs.push(container);
        })
    }
}

/// Reads the probes of a container into it. The value says whether one of them asks this program.
fn probes(owner: Owner, container: &mut ContainerSpec, ports: &Ports) -> Reading<bool> {
    Reading::collect(|found| {
        found.add(known::check(owner.container));
        let mut asked = false;
        for kind in ProbeKind::ALL {
            let probe = found.take(probe::read(kind, owner, ports));
            asked |= probe.as_ref().is_some_and(|probe| probe.asks_us);
            *match kind {
                ProbeKind::Startup => &mut container.startup,
                ProbeKind::Liveness => &mut container.liveness,
                ProbeKind::Readiness => &mut container.readiness,
            } = probe.map(|reading| reading.probe);
        }
        asked
    })
}

/// The containers that run beside each other, native sidecars first.
fn members<'a>(spec: &Mapping<'a>, kind: &Kind) -> Reading<Vec<Member<'a>>> {
    Reading::collect(|found| {
        let mut members = Vec::new();
        for list in ["initContainers", "containers"] {
            for container in found.take(spec.mappings(list)) {
                // Controllers other than those of Kubernetes may fill in names.
                let name = if matches!(kind, Kind::Other(_)) && !container.contains("name") {
                    UNNAMED
                } else {
                    found.take(container.name("name")).unwrap_or_default()
                };
                let Reading { value: role, mut findings } = role(&container);
                let is_always = container.get("restartPolicy").is_some_and(|policy| policy == "Always");
                let place = match (list, is_always) {
                    ("containers", _) => PodRole::Main,
                    (_, true) => PodRole::Sidecar,
                    (_, false) => PodRole::Init,
                };
                if place == PodRole::Init {
                    for kind in ProbeKind::ALL {
                        if container.contains(probe::field(kind)) {
                            let why = "an init container has probes only as a sidecar, with `restartPolicy: Always`";
                            findings.error(container.field(probe::field(kind)), Problem::NotHere(why));
                        }
                    }
                }
                members.push(Member { name, role: place, ours: role == Role::Service, container });
                found.add(if name.is_empty() { findings } else { findings.in_container(&shown(name)) });
            }
        }
        if !spec.contains("containers") {
            found.error(spec.field("containers"), Problem::Missing);
        }
        members
    })
}

/// Whether a rule ends the process.
fn ends_by_itself(ours: &OurContainer) -> bool {
    let ends = |mode: &ProcessMode| {
        matches!(mode, ProcessMode::Exit(_) | ProcessMode::Abort | ProcessMode::Memory(_))
    };
    ours.plan.rules().iter().any(|rule| rule.process().is_some_and(ends))
}

/// Reads a `restartPolicy`.
pub(super) fn restart_policy(container: &Mapping) -> Reading<Option<RestartPolicy>> {
    Reading::collect(|found| {
        static WORDS: &[&str] = &POLICIES;
        found.take(container.one_of("restartPolicy", WORDS)).map(|word| match word {
            "OnFailure" => RestartPolicy::OnFailure,
            "Never" => RestartPolicy::Never,
            _ => RestartPolicy::Always,
        })
    })
}

/// A container that runs this program, with where it keeps its state. `None` if it is wrong.
fn configured(
    position: usize,
    container: &Mapping,
    sources: &Sources,
) -> Reading<Option<(OurContainer, Option<StateLocation>)>> {
    Reading::collect(|found| {
        let environment = found.take(Environment::read(container, sources));
        let name = sources.container;
        let example_pod_name = sources.kind.example_pod_name(&sources.owner.name);
        for variable in environment.with_pod_name() {
            if !matches!(variable, "POD_NAME" | "POD_NAMESPACE" | "NODE_NAME") {
                found.assume(format!(
                    "container {name}: {variable} holds the Pod's name; {example_pod_name:?} is taken for it"
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
                "container {name}: POD_NAME holds more than the Pod's name; all Pods are assumed to share one value"
            ));
        }
        match OurContainer::new(position, config, pod_name, &layers) {
            Ok(ours) => {
                let ours = OurContainer { keeps_state: location.is_some(), ..ours };
                (!found.has_errors()).then_some((ours, location))
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

/// The container of the Pod that one of ours passes requests on to: the one that declares the port of its upstream, or the
/// only one that may stand behind it. Absent where the upstream is elsewhere, or none of several declares the port.
fn application(
    ours: &OurContainer,
    specs: &[ContainerSpec],
    facts: &[ContainerFacts],
    all_ours: &[OurContainer],
) -> Option<Application> {
    let Config { upstream, forwarding, .. } = &ours.config;
    let upstream = upstream.as_ref()?;
    let port = upstream.address.loopback_port();
    if port.is_none() && !matches!(upstream.address.place(), UpstreamPlace::Unix(_)) {
        return None;
    }
    let others = || {
        let is_other = |position: usize| all_ours.iter().all(|it| it.position != position);
        let candidates =
            specs.iter().enumerate().filter(move |(at, it)| it.role != PodRole::Init && is_other(*at));
        candidates.map(|(position, _)| position)
    };
    let declares = |position: &usize| port.is_some_and(|port| facts[*position].ports.contains(&port));
    let mut rest = others();
    let only = rest.next().filter(|_| rest.next().is_none());
    let container = others().find(declares).or(only)?;
    Some(Application { container, answers_probes: upstream.answers_probes, timeout: forwarding.timeout })
}

/// What a redirect on this host leads to. The paths of probes are assumed to have one segment.
fn on_this_host(config: &Config, location: &str) -> Option<ProbeEndpoint> {
    if location.starts_with("//") || location.split(['/', '?', '#']).next()?.contains(':') {
        return None;
    }
    let path = location.split(['?', '#']).next()?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some(endpoint(&config.paths, &path))
}

/// Reads `restartPolicyRules`.
fn restart_rules(container: &Mapping, name: &str) -> Reading<Vec<RestartRule>> {
    Reading::collect(|found| {
        let mut rules = Vec::new();
        for rule in found.take(container.mappings("restartPolicyRules")) {
            let action = found.take(rule.required_string("action")).unwrap_or_default();
            let codes = found.take(exit_codes(&rule));
            if action == "Restart" {
                rules.extend(codes);
            } else if !action.is_empty() {
                found.assume(format!(
                    "container {name}: its rule for restarts with action {action} is left out"
                ));
            }
        }
        if !rules.is_empty() && !container.contains("restartPolicy") {
            found.error(container.field("restartPolicy"), Problem::Missing);
        }
        rules
    })
}

/// Reads the `exitCodes` or `onExitCodes` of a rule.
pub(super) fn exit_codes(rule: &Mapping) -> Reading<Option<RestartRule>> {
    Reading::collect(|found| {
        let field = if rule.contains("onExitCodes") { "onExitCodes" } else { "exitCodes" };
        let codes = found.take(rule.mapping(field))?;
        let except = found.take(codes.one_of("operator", &["In", "NotIn"])) == Some("NotIn");
        let mut all = Vec::new();
        for value in codes.get("values").and_then(|values| values.as_array()).into_iter().flatten() {
            // Codes beyond 255 are taken by the API, and match nothing.
            match value.as_i64() {
                Some(code) => all.extend(u8::try_from(code)),
                None => found.error(codes.field("values"), wrong("a list of exit codes", value)),
            }
        }
        Some(RestartRule { codes: all, except })
    })
}

/// The parts of a Pod that are not modelled.
fn omitted_of_pod(spec: &Mapping) -> Findings {
    Findings::collect(|found| {
        if found.take(spec.boolean("hostNetwork")) == Some(true) {
            found.assume("hostNetwork: the ports are taken to be free on the node".to_owned());
        }
        if spec.contains("readinessGates") {
            found.assume("readinessGates are taken to be true".to_owned());
        }
    })
}
