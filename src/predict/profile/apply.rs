//! Applies profiles to a workload.

use super::set::annotated;
use super::{Profile, ProfileSet};
use crate::fault::Client;
use crate::fault::{Action, ActivePlan, ClientFilter, Plan, Rule, RuleName, Seed, Target, Targets, Trigger};
use crate::kubelet::{
    ContainerEnd, ContainerRole, ContainerSpec, Hook, ProbeEndpoint, ProbeHandler, ProbeKind, ProbeSpec,
    Program, Transport,
};
use crate::predict::workload::{Profiled, Workload};

/// The exit code of a process that the kernel kills.
const KILLED: u8 = 137;

/// The name of the rule for the latency.
const LATENCY: &str = "latency";

impl ProfileSet {
    /// Applies the profiles to the containers of a workload that do not run this program. Returns the errors of the workload's
    /// annotation and of the profiles.
    pub fn apply(&self, workload: &mut Workload) -> Result<(), Vec<String>> {
        let annotated = match &workload.profile_annotation {
            Some(text) => annotated(text).map_err(|error| vec![error])?,
            None => Vec::new(),
        };
        let mut errors = Vec::new();
        for position in 0..workload.pod.containers.len() {
            let container = &workload.pod.containers[position];
            if container.program.is_some() {
                continue;
            }
            let by_name = annotated.iter().find(|(name, _)| *name == container.name);
            let of_pod = by_name.or_else(|| annotated.iter().find(|(name, _)| name == "*"));
            let of_pod = of_pod.map(|(_, profile)| profile);
            let Some((profile, source)) = self.of(&workload.name, &container.name, of_pod) else { continue };
            match rules(&profile) {
                Ok(plan) => {
                    let limit = workload.facts.get(position).and_then(|facts| facts.memory_limit);
                    equip(&mut workload.pod.containers[position], position, &profile, &plan, limit);
                    workload.profiled.push(Profiled { position, profile, source, plan });
                }
                Err(error) => errors.push(format!("profile of container {}: {error}", container.name)),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// The rules of a profile: its latency, then its faults. Rules for the dependency also act on the probes that check it.
fn rules(profile: &Profile) -> Result<Plan, String> {
    let mut rules = Vec::new();
    if let Some(delay) = &profile.latency {
        let targets = [Target::Liveness, Target::Readiness, Target::Startup, Target::Traffic];
        let action = Action::Requests {
            targets: targets.into_iter().collect(),
            delay: Some(delay.clone()),
            mode: None,
        };
        let name = RuleName::new(LATENCY).map_err(|error| error.to_string())?;
        rules.push(
            Rule::new(name, ClientFilter::Any, Trigger::ALWAYS, action).map_err(|error| error.to_string())?,
        );
    }
    for rule in &profile.faults {
        rules.push(match rule.action() {
            Action::Requests { targets, delay, mode } if targets.contains(Target::Dependency) => {
                let checks = profile.checks_dependency.iter().map(|kind| kind.target());
                let targets: Targets = targets.iter().chain(checks).collect();
                let action = Action::Requests { targets, delay: delay.clone(), mode: mode.clone() };
                Rule::new(rule.name().clone(), rule.client(), rule.trigger().clone(), action)
                    .map_err(|error| error.to_string())?
            }
            _ => rule.clone(),
        });
    }
    Plan::new(rules).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

fn equip(container: &mut ContainerSpec, position: usize, profile: &Profile, plan: &Plan, limit: Option<u64>) {
    container.program = Some(Program::new(ActivePlan::new(plan.clone(), Seed(0), false)));
    container.stops_after =
        if profile.ignores_term { None } else { Some(profile.stops_after.unwrap_or_default()) };
    for (hook, time) in
        [(&mut container.post_start, profile.post_start), (&mut container.pre_stop, profile.pre_stop)]
    {
        if let (Some(hook), Some(time)) = (hook.as_mut(), time) {
            *hook = Hook::Takes(time);
        }
    }
    let exit = profile.exits_after.map(|(after, code)| ContainerEnd { after, code, out_of_memory: false });
    let killed = limit.and_then(|limit| profile.exceeds(limit));
    let killed = killed.map(|after| ContainerEnd { after, code: KILLED, out_of_memory: true });
    let ends = [killed, exit].into_iter().flatten().min_by_key(|end| end.after);
    // Without an end in the profile, an init container still exits at once.
    if container.role != ContainerRole::Init || ends.is_some() {
        container.ends = ends;
    }
    for kind in ProbeKind::ALL {
        let probe = match kind {
            ProbeKind::Startup => &mut container.startup,
            ProbeKind::Liveness => &mut container.liveness,
            ProbeKind::Readiness => &mut container.readiness,
        };
        if let Some(probe) = probe {
            ask(probe, position, kind.target());
        }
    }
}

/// Lets the profile answer a probe that was assumed to be healthy.
fn ask(probe: &mut ProbeSpec, server: usize, target: Target) {
    if probe.handler != ProbeHandler::Healthy {
        return;
    }
    probe.handler = match probe.transport {
        Transport::Http => {
            ProbeHandler::Http { server, endpoint: ProbeEndpoint::Target(target), client: Client::Kubelet }
        }
        transport => ProbeHandler::Assumed { server, target, transport },
    };
}
