//! Advice on the termination of a Pod: preStop, drains, disruptions, memory.

use std::time::Duration;

use super::experiment::{FROM, alone};
use super::{Advice, Subject};
use crate::fault::{Draws, Seed};
use crate::kubelet::{Hook, Pod, PodEvent, PodEventKind};
use crate::predict::replicas::serving;
use crate::predict::workload::{Kind, Workload};
use crate::units::Show;

/// How often `kubectl drain` retries a refused eviction.
const RETRY: Duration = Duration::from_secs(5);

impl Subject<'_> {
    /// Deletes a Pod with this container alone. Returns the time of the deletion and the events after it.
    fn deleted(&self) -> Option<(Duration, Vec<PodEvent>)> {
        let pod = alone(self.container, Vec::new(), self.workload.pod.grace)?;
        let mut pod = Pod::new(pod, Draws::of(Seed(0), "deleted"));
        pod.run(FROM, &mut |_| {});
        let mut seen = Vec::new();
        pod.delete(&mut |event| seen.push(event));
        pod.run(FROM + Duration::from_secs(u64::from(self.workload.pod.grace) + 60), &mut |event| {
            seen.push(event);
        });
        Some((FROM, seen))
    }

    pub(super) fn pre_stop(&self) -> Option<Advice> {
        let Some(Hook::Takes(time)) = self.container.pre_stop else { return None };
        let grace = Duration::from_secs(u64::from(self.workload.pod.grace));
        if time < grace {
            return None;
        }
        let (began, seen) = self.deleted()?;
        let ended = seen.iter().find_map(|event| match event.kind {
            PodEventKind::Exited { code } => Some((event.at.saturating_sub(began), code)),
            _ => None,
        });
        let shown = ended.map(|(took, code)| {
            format!(
                " Shown: the simulated container exits {} after the Pod's deletion, with exit code {code}.",
                Show(took)
            )
        });
        Some(Advice {
            code: "grace-shorter-than-prestop",
            text: format!(
                "{}: preStop sleeps for {}, but terminationGracePeriodSeconds is {}, and preStop counts against it: SIGTERM follows when \
                 that time is over, and SIGKILL 2 s later.{} Set terminationGracePeriodSeconds to {} or more.",
                self.container.name,
                Show(time),
                grace.as_secs(),
                shown.unwrap_or_default(),
                time.as_secs() + 10,
            ),
        })
    }

    /// A program that is known to exit while callers still send requests.
    pub(super) fn drain_delay(&self, endpoint_lag: Duration) -> Option<Advice> {
        let is_replaced = self.workload.update.is_some();
        if !is_replaced || self.container.pre_stop.is_some() || serving(&self.workload.pod) != self.position {
            return None;
        }
        // For kube-probesim, the prediction shows the lost calls; for others, the time is known only from a profile.
        let profile = &self.workload.profiled.iter().find(|it| it.position == self.position)?.profile;
        let stops_after = profile.stops_after.filter(|_| !profile.ignores_term)?;
        if stops_after >= endpoint_lag || self.workload.replicas == 0 {
            return None;
        }
        let (began, seen) = self.deleted()?;
        let ended = seen.iter().find(|event| matches!(event.kind, PodEventKind::Exited { .. }))?;
        let lost = (began + endpoint_lag).saturating_sub(ended.at);
        (!lost.is_zero()).then(|| Advice {
            code: "no-drain-delay",
            text: format!(
                "{}: the program exits {} after SIGTERM, while callers keep sending requests for {} (--endpoint-lag). Shown: each deleted Pod \
                 loses the calls of {}; a rollout of {} Pods does so {} times. Set a preStop sleep of {} or more.",
                self.container.name,
                Show(ended.at.saturating_sub(began)),
                Show(endpoint_lag),
                Show(lost),
                self.workload.replicas,
                self.workload.replicas,
                endpoint_lag.as_secs() + 4,
            ),
        })
    }

    /// Memory that is known to grow without a limit.
    pub(super) fn memory(&self) -> Option<Advice> {
        let profile = &self.workload.profiled.iter().find(|it| it.position == self.position)?.profile;
        let facts = self.workload.facts.get(self.position)?;
        let (first, last) = (profile.memory.first()?, profile.memory.last()?);
        if facts.memory_limit.is_some() || last.1 <= first.1 {
            return None;
        }
        let limit = u64::midpoint(first.1, last.1);
        let at = profile.exceeds(limit)?;
        Some(Advice {
            code: "memory-limit-missing",
            text: format!(
                "{}: its memory grows from {} to {} within {} (memory of its profile), and the container has no limit: when {} runs \
                 out of memory, the victim is not determined. Shown: with a limit of {}, this container alone would be OOMKilled, {} \
                 after each start. Set resources.limits.memory.",
                self.container.name,
                Mebibytes(first.1),
                Mebibytes(last.1),
                Show(last.0),
                if self.workload.pod_memory_limit.is_some() { "the Pod" } else { "the node" },
                Mebibytes(limit),
                Show(Duration::from_secs(at.as_secs())),
            ),
        })
    }
}

/// A `PodDisruptionBudget` that allows no eviction.
pub(super) fn disruptions(workload: &Workload) -> Vec<Advice> {
    if workload.replicas == 0 || workload.kind == Kind::DaemonSet {
        return Vec::new();
    }
    let blocks = workload.disruptions.iter().filter(|it| it.allowed == 0);
    blocks
        .map(|it| {
            let hour = Duration::from_secs(3600);
            // All Pods are Ready, so each attempt meets the same budget.
            let refused = hour.as_secs() / RETRY.as_secs();
            let replicas = it.enough_replicas.map(|more| format!(", or {more} replicas")).unwrap_or_default();
            Advice {
                code: "pdb-blocks-drain",
                text: format!(
                    "PodDisruptionBudget {} ({}) allows no eviction of {} Pods: draining a node never ends. Shown: within {}, all {refused} \
                     eviction attempts (one every {}) are refused while every Pod is Ready. Set maxUnavailable 1{replicas}.",
                    it.name,
                    it.field,
                    workload.replicas,
                    Show(hour),
                    Show(RETRY),
                ),
            }
        })
        .collect()
}

/// A size in MiB, for people.
struct Mebibytes(u64);

impl std::fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}Mi", self.0 / (1 << 20))
    }
}
