//! What a prediction assumes.

use std::time::Duration;

use crate::fault::{Client, ProcessMode, Rule};
use crate::kubelet::{ContainerRole, ContainerSpec, Hook, PodSpec, ProbeEndpoint, ProbeHandler};
use crate::predict::profile::ProfileSource;
use crate::predict::run::{CALLER, MAX_PODS, Options, Replicas, answering, called};
use crate::predict::watcher::COALESCED;
use crate::predict::workload::{Kind, OurContainer, Profiled, Update, Workload};
use crate::units::Show;

/// The assumptions about a workload that is not run.
pub(super) fn of_manifest(workload: &Workload) -> Vec<String> {
    let hooks = workload.pod.containers.iter().flat_map(hooks);
    workload.assumptions.iter().cloned().chain(hooks).collect()
}

/// The assumptions of the manifest's reader and of the run.
pub(super) fn assumptions(workload: &Workload, replicas: &Replicas, options: &Options) -> Vec<String> {
    let mut all = workload.assumptions.clone();
    if replicas.pods.len() == MAX_PODS as usize && workload.replicas > MAX_PODS {
        all.push(format!("Of {} replicas {MAX_PODS} are run.", workload.replicas));
    }
    if replicas.seeds_drawn {
        all.push(
            "Without a SEED each start of the process draws one, here as in the service; the one shown is the first."
                .to_owned(),
        );
    }
    all.extend(arrivals(workload, replicas, options));
    for ours in &workload.ours {
        let name = workload.pod.containers.get(ours.position).map_or("", |it| it.name.as_str());
        let has = |wanted: fn(&ProcessMode) -> bool| {
            ours.plan.rules().iter().any(|it| it.process().is_some_and(wanted))
        };
        if has(|mode| matches!(mode, ProcessMode::Memory(_))) {
            let limit = workload.facts.get(ours.position).and_then(|facts| facts.memory_limit);
            all.push(match (limit, workload.pod_memory_limit) {
                (Some(_), _) => format!("Container {name}: a rule for memory ends in OOMKilled where it alone exceeds the limit."),
                (None, Some(_)) => format!(
                    "Container {name} has no memory limit of its own, only the Pod has: beyond that the kernel kills one of the Pod's \
                     processes, and the victim is not determined. Nothing is killed here."
                ),
                (None, None) => format!(
                    "Container {name} has no memory limit of its own: whom a rule for memory hits is not determined, and nothing is \
                     killed here."
                ),
            });
        }
        if has(|mode| matches!(mode, ProcessMode::Cpu(_))) {
            all.push(cpu(name, workload.facts.get(ours.position).and_then(|facts| facts.cpu_limit)));
        }
        if has(|mode| matches!(mode, ProcessMode::Disk { .. })) {
            all.push(format!(
                "Container {name}: a rule for disk beyond the sizeLimit of an emptyDir ends in the Pod's eviction, {} to {} later. \
                 Otherwise it changes no answer.",
                Show(workload.pod.timing.eviction.least),
                Show(workload.pod.timing.eviction.most),
            ));
        }
        all.extend(requests(workload, ours, name));
    }
    for Profiled { position, source, .. } in &workload.profiled {
        let from = match source {
            ProfileSource::CommandLine => "of the command line",
            ProfileSource::Annotation => "in the annotation of its Pod",
        };
        let name = &workload.pod.containers[*position].name;
        all.push(format!("Container {name} behaves as the profile {from} says."));
    }
    for container in workload.pod.containers.iter().filter(|container| container.program.is_none()) {
        all.push(match container.role {
            ContainerRole::Init => {
                format!("Init container {} is taken to end at once, with success.", container.name)
            }
            _ => format!("Container {} is taken to be healthy and to run on.", container.name),
        });
    }
    all.extend(workload.pod.containers.iter().flat_map(hooks));
    all.extend(of_the_node(&workload.pod, options));
    all.push(calls(workload, options));
    all
}

/// What rules of one of ours act on, and what its application answers.
fn requests(workload: &Workload, ours: &OurContainer, name: &str) -> Vec<String> {
    let mut all = Vec::new();
    let names = |wanted: &dyn Fn(&Rule) -> bool| {
        let chosen = ours.plan.rules().iter().filter(|rule| wanted(rule));
        chosen.map(|rule| rule.name().to_string()).collect::<Vec<_>>().join(", ")
    };
    let acts_on_calls = |rule: &Rule| {
        let targets = rule.targets();
        rule.request_match().is_some() && rule.client().admits(Client::Other) && !targets.is_empty()
    };
    let matched = names(&acts_on_calls);
    if !matched.is_empty() {
        all.push(format!(
            "Container {name}: whether a rule with a match acts on a probe follows from the probe's path and headers. What calls ask for \
             is not known, so none of them meets {matched}."
        ));
    }
    let of_proxies = names(&|rule| rule.proxies().next().is_some());
    if !of_proxies.is_empty() {
        all.push(format!(
            "Container {name}: what goes through its named proxies is not modelled. Nothing here meets {of_proxies}."
        ));
    }
    if ours.config.upstream.is_some() {
        let program = workload.pod.containers.get(ours.position).and_then(|it| it.program.as_ref());
        let behind = program.and_then(|program| program.application);
        let behind = behind.and_then(|it| workload.pod.containers.get(it.container));
        all.push(match behind {
            Some(application) if application.program.is_some() => format!(
                "Container {name}: what it passes on meets container {}, then the rules. The application's answers are taken to have \
                 short bodies.",
                application.name
            ),
            Some(application) => format!(
                "Container {name}: container {}, behind it (UPSTREAM), is taken to answer at once while it runs, with success.",
                application.name
            ),
            None => format!(
                "Container {name}: what is behind it (UPSTREAM) is no container here; it is taken to answer at once, with success."
            ),
        });
    }
    all
}

/// The lifecycle hooks whose time is not known, and where postStart delays what follows.
fn hooks(container: &ContainerSpec) -> Vec<String> {
    let name = &container.name;
    [("postStart", "post_start", container.post_start), ("preStop", "pre_stop", container.pre_stop)]
        .into_iter()
        .filter(|(.., hook)| *hook == Some(Hook::Unknown))
        .map(|(hook, field, _)| {
            format!(
                "Container {name}: {hook} is taken to succeed at once, since its time is not known (`{field}: 5s` in a profile \
                 says it)."
            )
        })
        .collect()
}

/// How Pods come and go.
fn arrivals(workload: &Workload, replicas: &Replicas, options: &Options) -> Vec<String> {
    let mut all = Vec::new();
    if replicas.pods.len() > 1 {
        all.push(match (&workload.kind, workload.creates_in_order(), options.spread.is_zero()) {
            (_, true, _) => "Each Pod comes to its node once those before it are Ready (podManagementPolicy: OrderedReady).".to_owned(),
            (_, _, false) => format!("The Pods come to their nodes evenly over {} (--pods-over).", Show(options.spread)),
            (Kind::Deployment, ..) => {
                "All Pods come to their nodes at once: there are none before them (--rollout replaces them later).".to_owned()
            }
            _ => "All Pods come to their nodes at once.".to_owned(),
        });
    }
    if workload.kind == Kind::Job {
        all.push(
            "A Pod that fails is replaced 10s after it, twice as long for each further failure in a row."
                .to_owned(),
        );
    }
    if options.rollout.is_some() {
        all.push(match workload.update {
            None | Some(Update::OnDelete) => {
                format!(
                    "--rollout changes nothing: how a {} replaces its Pods is not known, or nobody does.",
                    workload.kind
                )
            }
            Some(_) => {
                "New Pods of a rollout are those of the same manifest. Nodes have room for them.".to_owned()
            }
        });
    }
    if options.drain.is_some() {
        all.push(match workload.kind {
            Kind::Pod | Kind::DaemonSet => format!("--drain evicts no Pod of a {}.", workload.kind),
            _ => "Each Pod is on a node of its own; nodes are drained one after the other, and refused evictions are tried again \
                  every 5s."
                .to_owned(),
        });
    }
    if !options.kubelet_restarts.is_empty() {
        all.push(
            "A kubelet that restarts is back at once; it forgets runs of results and back-off, and leaves Pods Ready.".to_owned(),
        );
    }
    all
}

/// What rules for cpu do to answers.
fn cpu(name: &str, limit: Option<u64>) -> String {
    match limit {
        Some(limit) => format!(
            "Container {name}: while rules burn more than its CPU limit of {limit}m, it runs in the first part of each 100ms, \
             limit / cores of it, and an answer needs 1ms of that."
        ),
        None => format!("Container {name} has no CPU limit: rules for cpu change no answer of it."),
    }
}

/// The assumptions about the node and about programs that are not ours.
fn of_the_node(pod: &PodSpec, options: &Options) -> Vec<String> {
    let timing = &pod.timing;
    let asks_us = |container: &ContainerSpec| {
        container.readiness.as_ref().is_some_and(|probe| probe.handler != ProbeHandler::Healthy)
    };
    let late = if timing.late_listener > 0.0 && pod.containers.iter().any(asks_us) {
        format!(
            " In {:.0}% of the starts the first readiness attempt comes before the program listens, and Ready comes a \
             period later.",
            100.0 * timing.late_listener
        )
    } else {
        String::new()
    };
    let start = format!(
        "A container first starts {} to {} after its Pod was added to the node, drawn for each Pod, as measured on a \
         quiet node; probes tick from the adding on.{late}",
        Show(timing.first_start.least),
        Show(timing.first_start.most),
    );
    let mut all = vec![start];
    all.push(format!(
        "Pods are shown Ready or not as watchers of the API server see it: changes that last less than {} are seen by \
         nobody (--output json has the kubelet's view, too). Messages show {} as the Pod's address.",
        Show(COALESCED),
        PodSpec::ADDRESS,
    ));
    let is_killed = |container: &&ContainerSpec| {
        container.program.is_none() && (container.liveness.is_some() || container.startup.is_some())
    };
    for container in pod.containers.iter().filter(is_killed) {
        let probe_grace =
            [&container.liveness, &container.startup].into_iter().flatten().find_map(|probe| probe.grace);
        let grace = Duration::from_secs(u64::from(probe_grace.unwrap_or(pod.grace).max(2)));
        let how = match options.stops_after {
            Some(time) if time.is_zero() => "ends at once after SIGTERM".to_owned(),
            Some(time) => format!("ends {} after SIGTERM", Show(time)),
            None => "ignores SIGTERM".to_owned(),
        };
        all.push(format!(
            "The program of container {} {how} (--stops-after DURATION or never). One that ignores SIGTERM takes the whole \
             grace period of {}.",
            container.name,
            Show(grace),
        ));
    }
    all
}

/// The assumptions about calls.
fn calls(workload: &Workload, options: &Options) -> String {
    let answering = answering(workload);
    let ours = workload.ours.iter().find(|ours| ours.position == answering);
    let asked = match ours.and_then(called) {
        Some(ProbeEndpoint::Target(target)) => format!("{} paths", target.name()),
        Some(ProbeEndpoint::Status(_)) => "the index".to_owned(),
        None => {
            return "Calls come evenly and are spread evenly over the endpoints. No fault acts on them."
                .to_owned();
        }
    };
    format!(
        "Calls come evenly, one a second to each endpoint, from other Pods (address {CALLER}). They ask for {asked}, as \
         clients of class other, and fail after {} without a whole answer (--call-timeout).",
        Show(options.call_timeout),
    )
}
