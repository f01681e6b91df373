//! Reads the Pod that an object creates.

use std::time::Duration;

use super::container::{Role, role};
use super::environment::Sources;
use super::error::Problem;
use super::facts;
use super::findings::{Findings, Reading};
use super::hooks;
use super::known;
use super::mapping::{Mapping, shown};
use super::own;
use super::ports::Ports;
use super::probe::{self, Owner};
use super::restart;
use super::state::StateLocation;
use crate::kubelet::{
    ContainerEnd, ContainerRole as PodRole, ContainerSpec, PodSpec, ProbeKind, RestartPolicy,
};
use crate::predict::Kind;
use crate::predict::workload::{ContainerFacts, ProbesimContainer};

/// The name that Knative gives to a container without one.
const UNNAMED: &str = "user-container";

/// A container of the Pod.
struct Member<'a> {
    container: Mapping<'a>,
    name: &'a str,
    role: PodRole,
    runs_probesim: bool,
}

/// The containers of a Pod, before their probes are read.
#[derive(Default)]
struct Containers<'a> {
    specs: Vec<ContainerSpec>,
    probesim: Vec<ProbesimContainer>,
    facts: Vec<ContainerFacts>,
    ports: Ports,
    /// The location of each container's state, with the container's name.
    states: Vec<(StateLocation, &'a str)>,
}

/// Whether a container of the Pod runs `serve` of this program, or may run it because its fields are invalid.
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

/// A Pod and the facts about its containers.
pub(super) struct PodReading {
    pub(super) pod: PodSpec,
    pub(super) probesim: Vec<ProbesimContainer>,
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
        let Containers { mut specs, probesim, facts, ports, .. } = containers;
        for container in &probesim {
            let application = own::application(container, &specs, &facts, &probesim);
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
                probesim: member.runs_probesim.then_some(position),
                host_network,
                is_foreign,
            };
            let Reading { value, findings } = probes(owner, container, &ports);
            found.add(member.place(findings));
            asked |= value;
        }
        if let Some(first) =
            members.iter().find(|member| member.runs_probesim && member.role != PodRole::Init)
            && !asked
            && !found.has_errors()
        {
            let mut unasked = Findings::default();
            unasked.warn("no probe asks kube-probesim, so its faults do not affect the kubelet");
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
        PodReading { pod, probesim, facts, memory_limit: found.take(facts::pod_memory_limit(spec)) }
    })
}

impl Member<'_> {
    /// Places findings in the container. Errors of containers that do not run this program become warnings.
    fn place(&self, findings: Findings) -> Findings {
        let findings = findings.in_container(self.name);
        if self.runs_probesim { findings } else { findings.into_warnings() }
    }
}

impl<'a> Containers<'a> {
    /// Adds a container, without its probes.
    fn add(&mut self, member: &Member<'a>, sources: &Sources) -> Findings {
        Findings::collect(|found| {
            let position = self.specs.len();
            let mut container = ContainerSpec::new(member.name);
            if member.role == PodRole::Init {
                // The default without a profile.
                container.ends = Some(ContainerEnd { after: Duration::ZERO, code: 0, out_of_memory: false });
            }
            if member.runs_probesim {
                match found.take(own::read(position, &member.container, sources)) {
                    Some((probesim, place)) => {
                        let other = self.states.iter().find(|(other, _)| place.as_ref() == Some(other));
                        if let Some((_, other)) = other {
                            found.warn(format!(
                                "container {other} has the same STATE_DIR; each container needs its own"
                            ));
                        }
                        self.states.extend(place.map(|place| (place, member.name)));
                        if member.role == PodRole::Init && !own::ends_by_itself(&probesim) {
                            found.error(member.container.path(), Problem::NeverEnds);
                        }
                        // The ports of an ordinary init container are free before any probe runs.
                        if member.role != PodRole::Init {
                            found.add(self.ports.add(&probesim, &self.specs));
                        }
                        container = ContainerSpec::probesim(member.name, own::program(&probesim));
                        self.probesim.push(probesim);
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
            container.restart_policy = found.take(restart::policy(&member.container));
            container.restart_rules = found.take(restart::rules(&member.container, member.name));
            self.specs.push(container);
        })
    }
}

/// Reads the probes of a container into it. Returns whether one of them asks this program.
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

/// The containers of the Pod, init containers first.
fn members<'a>(spec: &Mapping<'a>, kind: &Kind) -> Reading<Vec<Member<'a>>> {
    Reading::collect(|found| {
        let mut members = Vec::new();
        for list in ["initContainers", "containers"] {
            for container in found.take(spec.mappings(list)) {
                // Controllers outside of Kubernetes itself may set missing names.
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
                            let why = "only an init container with `restartPolicy: Always` (a native sidecar) may have probes";
                            findings.error(container.field(probe::field(kind)), Problem::NotHere(why));
                        }
                    }
                }
                members.push(Member { name, role: place, runs_probesim: role == Role::Service, container });
                found.add(if name.is_empty() { findings } else { findings.in_container(&shown(name)) });
            }
        }
        if !spec.contains("containers") {
            found.error(spec.field("containers"), Problem::Missing);
        }
        members
    })
}

/// Assumptions about fields of the Pod that are not modelled.
fn omitted_of_pod(spec: &Mapping) -> Findings {
    Findings::collect(|found| {
        if found.take(spec.boolean("hostNetwork")) == Some(true) {
            found.assume("hostNetwork: the ports are assumed to be free on the node".to_owned());
        }
        if spec.contains("readinessGates") {
            found.assume("readinessGates are assumed to be true".to_owned());
        }
    })
}
