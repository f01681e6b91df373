//! The assumptions of a prediction.

use std::time::Duration;

use crate::fault::{Client, ProcessMode, Rule};
use crate::kubelet::{ContainerRole, ContainerSpec, Hook, PodSpec, ProbeEndpoint, ProbeHandler};
use crate::predict::profile::ProfileSource;
use crate::predict::run::{CALLER, MAX_PODS, Options, Replicas, answering, called};
use crate::predict::watcher::COALESCED;
use crate::predict::workload::{Kind, ProbesimContainer, Profiled, Update, Workload};
use crate::units::Show;

/// The assumptions about a workload that is not assessed.
pub(super) fn of_manifest(workload: &Workload) -> Vec<String> {
    let hooks = workload.pod.containers.iter().flat_map(hooks);
    workload.assumptions.iter().cloned().chain(hooks).collect()
}

/// All assumptions about a workload that is assessed.
pub(super) fn assumptions(workload: &Workload, replicas: &Replicas, options: &Options) -> Vec<String> {
    let mut all = workload.assumptions.clone();
    if replicas.pods.len() == MAX_PODS as usize && workload.replicas > MAX_PODS {
        all.push(format!("Only {MAX_PODS} of {} replicas are run.", workload.replicas));
    }
    if replicas.seeds_drawn {
        all.push(
            "Without SEED, each start of the process draws a seed, as in the service; the report shows the first one."
                .to_owned(),
        );
    }
    all.extend(arrivals(workload, replicas, options));
    for probesim in &workload.probesim {
        let name = workload.pod.containers.get(probesim.position).map_or("", |it| it.name.as_str());
        let has = |wanted: fn(&ProcessMode) -> bool| {
            probesim.plan.rules().iter().any(|it| it.process().is_some_and(wanted))
        };
        if has(|mode| matches!(mode, ProcessMode::Memory(_))) {
            all.push(memory(name, probesim.position, workload));
        }
        if has(|mode| matches!(mode, ProcessMode::Cpu(_))) {
            all.push(cpu(name, workload.facts.get(probesim.position).and_then(|facts| facts.cpu_limit)));
        }
        if has(|mode| matches!(mode, ProcessMode::Disk { .. })) {
            all.push(format!(
                "Container {name}: if a rule for disk exceeds the sizeLimit of an emptyDir, the Pod is evicted {} to {} later. \
                 Otherwise, the rule does not affect answers.",
                Show(workload.pod.timing.eviction.least),
                Show(workload.pod.timing.eviction.most),
            ));
        }
        all.extend(requests(workload, probesim, name));
    }
    for Profiled { position, source, profile, .. } in &workload.profiled {
        let from = match source {
            ProfileSource::CommandLine => "on the command line",
            ProfileSource::Annotation => "in the annotation of its Pod",
        };
        let name = &workload.pod.containers[*position].name;
        let latency = profile.latency.as_ref().map(|latency| {
            let at = |share| Show(Duration::from_millis(latency.quantile(share).as_millis() as u64));
            format!(": its answers take {} (p50) and {} (p99)", at(0.5), at(0.99))
        });
        all.push(format!(
            "Container {name} behaves according to the profile {from}{}.",
            latency.unwrap_or_default()
        ));
        if !profile.memory.is_empty() {
            all.push(memory(name, *position, workload));
        }
    }
    for container in workload.pod.containers.iter().filter(|container| container.program.is_none()) {
        all.push(match container.role {
            ContainerRole::Init => {
                format!("Init container {} is assumed to exit at once with code 0.", container.name)
            }
            _ => format!("Container {} is assumed to be healthy and to keep running.", container.name),
        });
    }
    all.extend(workload.pod.containers.iter().flat_map(hooks));
    all.extend(of_the_node(&workload.pod, options));
    all.push(calls(workload, options));
    all
}

/// Assumptions about the requests of a kube-probesim container and about its application.
fn requests(workload: &Workload, probesim: &ProbesimContainer, name: &str) -> Vec<String> {
    let mut all = Vec::new();
    let names = |wanted: &dyn Fn(&Rule) -> bool| {
        let chosen = probesim.plan.rules().iter().filter(|rule| wanted(rule));
        chosen.map(|rule| rule.name().to_string()).collect::<Vec<_>>().join(", ")
    };
    let acts_on_calls = |rule: &Rule| {
        let targets = rule.targets();
        rule.request_match().is_some() && rule.client().admits(Client::Other) && !targets.is_empty()
    };
    let matched = names(&acts_on_calls);
    if !matched.is_empty() {
        all.push(format!(
            "Container {name}: the path and headers of a probe decide whether a rule with a match acts on it. The paths of calls are \
             unknown, so {matched} acts on none of them."
        ));
    }
    let of_proxies = names(&|rule| rule.proxies().next().is_some());
    if !of_proxies.is_empty() {
        all.push(format!(
            "Container {name}: traffic through its named proxies is not modelled. In this prediction, {of_proxies} acts on nothing."
        ));
    }
    if probesim.config.upstream.is_some() {
        let program = workload.pod.containers.get(probesim.position).and_then(|it| it.program.as_ref());
        let behind = program.and_then(|program| program.application);
        let behind = behind.and_then(|it| workload.pod.containers.get(it.container));
        all.push(match behind {
            Some(application) if application.program.is_some() => format!(
                "Container {name}: forwarded requests reach container {}, then the rules act. The application's answers are assumed to have \
                 short bodies.",
                application.name
            ),
            Some(application) => format!(
                "Container {name}: the application behind it (UPSTREAM), container {}, is assumed to answer at once with success while it runs.",
                application.name
            ),
            None => format!(
                "Container {name}: the application behind it (UPSTREAM) is outside the Pod; it is assumed to answer at once with success."
            ),
        });
    }
    all
}

/// Assumptions about lifecycle hooks with an unknown duration.
fn hooks(container: &ContainerSpec) -> Vec<String> {
    let name = &container.name;
    [("postStart", "post_start", container.post_start), ("preStop", "pre_stop", container.pre_stop)]
        .into_iter()
        .filter(|(.., hook)| *hook == Some(Hook::Unknown))
        .map(|(hook, field, _)| {
            format!(
                "Container {name}: {hook} is assumed to succeed at once, since its duration is unknown (`{field}: 5s` in a profile \
                 sets it)."
            )
        })
        .collect()
}

/// Assumptions about the creation and replacement of Pods.
fn arrivals(workload: &Workload, replicas: &Replicas, options: &Options) -> Vec<String> {
    let mut all = Vec::new();
    if replicas.pods.len() > 1 {
        all.push(match (&workload.kind, workload.creates_in_order(), options.spread.is_zero()) {
            (_, true, _) => {
                "Each Pod is created when those before it are Ready (podManagementPolicy: OrderedReady)."
                    .to_owned()
            }
            (_, _, false) => {
                format!("The Pods are created evenly over {} (--pods-over).", Show(options.spread))
            }
            (Kind::Deployment, ..) => {
                "All Pods are created at once, without earlier Pods (--rollout replaces them later)."
                    .to_owned()
            }
            _ => "All Pods are created at once.".to_owned(),
        });
    }
    if workload.kind == Kind::Job {
        all.push("A failed Pod is replaced after 10s, doubled for each further failure in a row.".to_owned());
    }
    if options.rollout.is_some() {
        all.push(match workload.update {
            None | Some(Update::OnDelete) => {
                format!(
                    "--rollout has no effect: it is not modelled how the Pods of a {} are replaced, or nothing replaces them.",
                    workload.kind
                )
            }
            Some(_) => {
                "New Pods of a rollout have the same manifest. The nodes have room for them.".to_owned()
            }
        });
    }
    if options.drain.is_some() {
        all.push(match workload.kind {
            Kind::Pod | Kind::DaemonSet => format!("--drain evicts no Pod of a {}.", workload.kind),
            _ => "Each Pod has its own node; the nodes are drained one after the other, and refused evictions are retried \
                  every 5s."
                .to_owned(),
        });
    }
    if !options.kubelet_restarts.is_empty() {
        all.push(
            "A restarting kubelet is back at once; it forgets runs of results and back-off, and leaves Pods Ready.".to_owned(),
        );
    }
    all
}

/// Who is killed when the memory of a container grows.
fn memory(name: &str, position: usize, workload: &Workload) -> String {
    let limit = workload.facts.get(position).and_then(|facts| facts.memory_limit);
    match (limit, workload.pod_memory_limit) {
        (Some(_), _) => {
            format!("Container {name} is OOMKilled when its simulated memory exceeds its own limit.")
        }
        (None, Some(_)) => format!(
            "Container {name} has no memory limit of its own, only its Pod has one. Above the Pod's limit, the kernel kills one of the \
             Pod's processes; the victim is not determined, and the prediction kills nothing."
        ),
        (None, None) => format!(
            "Container {name} has no memory limit. If the node runs out of memory, the victim is not determined, and the prediction \
             kills nothing."
        ),
    }
}

/// The assumption about rules for cpu.
fn cpu(name: &str, limit: Option<u64>) -> String {
    match limit {
        Some(limit) => format!(
            "Container {name}: while rules use more than its CPU limit of {limit}m, it runs only in the first part of each 100ms \
             (the share limit / cores), and an answer needs 1ms of it."
        ),
        None => format!("Container {name} has no CPU limit, so rules for cpu do not affect its answers."),
    }
}

/// The assumptions about the node and about other programs.
fn of_the_node(pod: &PodSpec, options: &Options) -> Vec<String> {
    let timing = &pod.timing;
    let asks_us = |container: &ContainerSpec| {
        container.readiness.as_ref().is_some_and(|probe| probe.handler != ProbeHandler::Healthy)
    };
    let late = if timing.late_listener > 0.0 && pod.containers.iter().any(asks_us) {
        format!(
            " In {:.0}% of the starts, the first readiness attempt comes before the program listens, and Ready comes one \
             period later.",
            100.0 * timing.late_listener
        )
    } else {
        String::new()
    };
    let start = format!(
        "A container first starts {} to {} after its Pod was added to the node (drawn for each Pod, as measured on a \
         quiet node); probes tick from the time of adding.{late}",
        Show(timing.first_start.least),
        Show(timing.first_start.most),
    );
    let mut all = vec![start];
    all.push(format!(
        "Readiness is shown as watchers of the API server see it: changes that last less than {} are seen by \
         nobody (--output json also has the kubelet's view). Messages show {} as the Pod's address.",
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
            Some(time) if time.is_zero() => "exits at once after SIGTERM".to_owned(),
            Some(time) => format!("exits {} after SIGTERM", Show(time)),
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
    let probesim = workload.probesim.iter().find(|probesim| probesim.position == answering);
    let asked = match probesim.and_then(called) {
        Some(ProbeEndpoint::Target(target)) => format!("{} paths", target.name()),
        Some(ProbeEndpoint::Status(_)) => "the index".to_owned(),
        None => {
            return "Calls come at a constant rate, spread evenly over the endpoints. No fault acts on them."
                .to_owned();
        }
    };
    format!(
        "Calls come at a constant rate, one per second to each endpoint, from other Pods (address {CALLER}). They request {asked} as \
         clients of class other, and fail after {} without a complete answer (--call-timeout).",
        Show(options.call_timeout),
    )
}
