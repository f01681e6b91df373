//! The budgets of a Pod and of a workload: termination, rollout, disruptions.

use std::time::Duration;

use super::formula::Sum;
use super::probe::{LEAST_GRACE, longest_start, to_ready};
use super::{Amount, Budget, Meaning};
use crate::kubelet::{ContainerRole, ContainerSpec, Hook, PodSpec};
use crate::predict::workload::{Kind, Update, Workload};
use crate::units::Show;

/// The budgets of a workload.
pub(super) fn budgets(workload: &Workload) -> Vec<Budget> {
    let termination = termination(&workload.pod);
    let mut all =
        vec![budget("termination", "termination of a Pod".to_owned(), Meaning::Time, termination.clone())];
    all.extend(rollout(workload, &termination));
    all.extend(stall(workload));
    all.extend(failing(workload));
    all.extend(drain(workload, termination));
    all
}

fn budget(
    name: &'static str,
    what: String,
    meaning: Meaning,
    [(least, first), (most, second)]: [(Amount, String); 2],
) -> Budget {
    Budget { name, container: None, probe: None, what, meaning, least, most, formulas: [first, second] }
}

/// The longest time from a Pod's deletion to the end of its last container.
pub fn longest_termination(pod: &PodSpec) -> Duration {
    termination(pod)[1].0.time().unwrap_or_default()
}

/// The shortest and the longest termination.
fn termination(pod: &PodSpec) -> [(Amount, String); 2] {
    let field = "terminationGracePeriodSeconds";
    let grace = Duration::from_secs(u64::from(pod.grace));
    let least = Duration::from_secs(u64::from(LEAST_GRACE));
    let of_container = |pre_stop: &Option<Hook>| {
        let hook = match pre_stop {
            Some(Hook::Takes(time)) => (*time).min(grace),
            // The hook may take the whole grace period.
            Some(Hook::Unknown) => grace,
            None => Duration::ZERO,
        };
        hook + grace.saturating_sub(hook).max(least)
    };
    let longest = long_lived(pod).map(|it| of_container(&it.pre_stop)).max().unwrap_or(grace.max(least));
    let sum = Sum::field(field, pod.grace);
    let text = if longest > grace {
        format!("{}; after a preStop that takes longer, the program still gets 2 s after SIGTERM", sum.text())
    } else if long_lived(pod).any(|it| it.pre_stop.is_some()) {
        format!("{}; preStop counts against it", sum.text())
    } else {
        sum.text()
    };
    [shortest_termination(pod, grace), (Amount::Time(longest), text)]
}

/// The containers' hooks run in parallel, before any SIGTERM.
fn shortest_termination(pod: &PodSpec, grace: Duration) -> (Amount, String) {
    let known = long_lived(pod).filter_map(|it| match it.pre_stop {
        Some(Hook::Takes(time)) if !time.is_zero() => Some((time, &it.name)),
        _ => None,
    });
    let exits = "a program that exits at once".to_owned();
    match known.max() {
        None => (Amount::Time(Duration::ZERO), exits),
        Some((time, name)) => {
            let within = if time > grace { ", ended by the grace period" } else { "" };
            let text = format!("preStop of {name} {}{within} + {exits}", Show(time));
            (Amount::Time(time.min(grace)), text)
        }
    }
}

/// The containers that run in parallel: all except ordinary init containers.
fn long_lived(pod: &PodSpec) -> impl Iterator<Item = &ContainerSpec> {
    pod.containers.iter().filter(|container| container.role != ContainerRole::Init)
}

/// How long a rollout takes.
fn rollout(workload: &Workload, termination: &[(Amount, String); 2]) -> Option<Budget> {
    let update = workload.update.filter(|_| !workload.suspended && workload.replicas > workload.partition)?;
    let min_ready = workload.min_ready;
    let replicas = workload.replicas - workload.partition;
    let (waves, each, ends) = match update {
        Update::OnDelete => return None,
        Update::Recreate => (1, "all Pods at once".to_owned(), true),
        Update::Rolling { surge, unavailable } => {
            let at_once = (surge + unavailable).clamp(1, replicas);
            let waves = replicas.div_ceil(at_once);
            // A new Pod waits for the end of the old one only without a surge.
            let ends = surge == 0 && workload.kind != Kind::Deployment;
            let nodes = if workload.kind == Kind::DaemonSet { " of each node" } else { "" };
            let fields = match (&workload.kind, workload.partition) {
                (Kind::StatefulSet, 0) => format!("maxUnavailable {unavailable}"),
                (Kind::StatefulSet, partition) => {
                    format!("partition {partition}, maxUnavailable {unavailable}")
                }
                _ => format!("maxSurge {surge} + maxUnavailable {unavailable}"),
            };
            (waves, format!("{waves} x {at_once} Pods{nodes} ({fields})"), ends)
        }
    };
    let ended = |(amount, _): &(Amount, String)| amount.time().filter(|_| ends).unwrap_or_default();
    let ended = termination.each_ref().map(ended);
    let before = if ends { "termination + " } else { "" };
    let least =
        (Amount::Time((ended[0] + min_ready) * waves), format!("{each}; each {before}minReadySeconds"));
    let most = match longest_until_ready(&workload.pod) {
        Ok(ready) => (
            Amount::Time((ended[1] + ready + min_ready) * waves),
            format!("{each}; each {before}the longest start + back to Ready + minReadySeconds"),
        ),
        Err(why) => (Amount::NoLimit, why),
    };
    Some(budget("rollout", "rollout of new Pods".to_owned(), Meaning::Time, [least, most]))
}

/// The longest time from the creation of a Pod until it is Ready, or why there is no limit. Sidecars start one after the
/// other, and the containers after them.
fn longest_until_ready(pod: &PodSpec) -> Result<Duration, String> {
    if let Some(init) = pod.containers.iter().find(|it| it.role == ContainerRole::Init) {
        return Err(format!("the init container {} has no time limit", init.name));
    }
    let start = |container: &ContainerSpec| {
        let start = longest_start(container).map(|sum| sum.time);
        start.ok_or_else(|| {
            format!("the start of {} has no limit: no startup or liveness probe", container.name)
        })
    };
    let (mut sidecars, mut ready) = (Duration::ZERO, Duration::ZERO);
    for container in &pod.containers {
        let started = sidecars + start(container)?;
        ready = ready.max(started + to_ready(container).time);
        if container.role == ContainerRole::Sidecar {
            // Without a startup probe, it has started when it runs and its postStart has ended.
            let hook = container.post_start.map_or(Duration::ZERO, Hook::time);
            sidecars = if container.startup.is_some() { started } else { sidecars + hook };
        }
    }
    Ok(ready)
}

/// How long a rollout may go without progress.
fn stall(workload: &Workload) -> Option<Budget> {
    let rollout = workload.rollout?;
    let deadline = rollout.progress_deadline;
    if deadline.as_secs() >= i32::MAX as u64 {
        return None;
    }
    let text = format!("progressDeadlineSeconds {}", deadline.as_secs());
    let amount = Amount::Time(deadline);
    let what = "no new Pod available before the rollout counts as failed".to_owned();
    Some(budget("rollout-stall", what, Meaning::Limit, [(amount, text.clone()), (amount, text)]))
}

/// How many Pods may be unavailable at once.
fn failing(workload: &Workload) -> Vec<Budget> {
    let mut all = Vec::new();
    if workload.replicas == 0 {
        return all;
    }
    if let Some(Update::Rolling { unavailable, .. }) = workload.update {
        let amount = Amount::Pods(unavailable);
        let text = format!("maxUnavailable {unavailable} of {}", workload.replicas);
        let what = "Pods unavailable at once in a rollout".to_owned();
        all.push(budget(
            "rollout-unavailable",
            what,
            Meaning::Limit,
            [(amount, text.clone()), (amount, text)],
        ));
    }
    for disruption in &workload.disruptions {
        let amount = Amount::Pods(disruption.allowed);
        let text =
            format!("{} of {}, PodDisruptionBudget {}", disruption.field, workload.replicas, disruption.name);
        let what = "Pods that may be evicted at once while all are Ready".to_owned();
        all.push(budget("evictions", what, Meaning::Limit, [(amount, text.clone()), (amount, text)]));
    }
    all
}

/// Whether the drain of a node ends, and how long one Pod takes.
fn drain(workload: &Workload, termination: [(Amount, String); 2]) -> Option<Budget> {
    let what = "drain of a node, per Pod".to_owned();
    let never = |why: String| Some(((Amount::Never, why.clone()), (Amount::Never, why)));
    let blocked = match workload.kind {
        Kind::Pod => never("a Pod without a controller: kubectl drain refuses it without --force".to_owned()),
        Kind::DaemonSet => return None,
        _ => workload.disruptions.iter().find(|it| it.allowed == 0 && workload.replicas > 0).and_then(|it| {
            never(format!("PodDisruptionBudget {} ({}) allows no eviction", it.name, it.field))
        }),
    };
    let numbers = blocked.map_or(termination, |(least, most)| [least, most]);
    Some(budget("drain", what, Meaning::Time, numbers))
}
