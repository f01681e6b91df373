//! Advice on the endpoints of probes, and on the order in which probes react.

use std::time::Duration;

use super::experiment::{FROM, PODS, alone, failing, first, run, runs, window};
use super::{Advice, Subject};
use crate::fault::{Client, Mode, Target};
use crate::kubelet::{
    ContainerRole, ContainerSpec, PodEventKind, PodSpec, ProbeEndpoint, ProbeHandler, ProbeKind, ProbeSpec,
    Program,
};
use crate::predict::budget::{Amount, budgets, find};
use crate::units::Show;

/// How long the dependency is down in the simulation.
const OUTAGE: Duration = Duration::from_secs(600);

impl Subject<'_> {
    /// Liveness that is not slower than readiness: only if its certain budget is not above that of readiness.
    pub(super) fn order(&self, liveness: &ProbeSpec, readiness: &ProbeSpec) -> Option<Advice> {
        let all = budgets(self.workload, Duration::ZERO);
        let most = |name| find(&all, self.position, name).map(|budget| budget.most);
        let (Some(Amount::Time(kills)), Some(Amount::Time(leaves))) =
            (most("failure-to-sigterm"), most("failure-to-unready"))
        else {
            return None;
        };
        if kills > leaves {
            return None;
        }
        let container = ContainerSpec { pre_stop: None, startup: None, ..self.container.clone() };
        let end = FROM + kills + leaves + Duration::from_secs(60);
        let events = |number: u64| {
            // In each Pod, the failure begins at a different point between two ticks.
            let period = Duration::from_secs(u64::from(liveness.period.max(readiness.period)));
            let after = FROM + period.mul_f64(number as f64 / PODS as f64);
            let rule = failing(&[Target::Liveness, Target::Readiness], Mode::Close, window(after, None)?)?;
            Some(run(&alone(&container, vec![rule], 30)?, number, end))
        };
        let too_early = (0..PODS).filter_map(events).filter(|events| {
            let killed = first(events, FROM, |kind| matches!(kind, PodEventKind::Killing { .. }));
            let left = first(events, FROM, |kind| *kind == PodEventKind::PodReady(false));
            killed.is_some_and(|killed| left.is_none_or(|left| killed <= left))
        });
        let probe =
            |probe: &ProbeSpec| format!("period {} x threshold {}", probe.period, probe.failure_threshold);
        Some(Advice {
            code: "liveness-not-slower-than-readiness",
            text: format!(
                "{}: after a failure, liveness kills the container within {} ({}), and readiness removes the Pod from its Service within {} ({}): \
                 callers still reach a container that is being killed, and every failure that removes the Pod also restarts it. Shown: in {} \
                 of {PODS} simulated Pods with a lasting failure, SIGTERM comes before the Pod is not Ready. Give liveness \
                 a higher failureThreshold.",
                self.container.name,
                Show(kills),
                probe(liveness),
                Show(leaves),
                probe(readiness),
                too_early.count(),
            ),
        })
    }

    /// Liveness that fails when a dependency fails, according to a profile.
    pub(super) fn dependency(&self) -> Option<Advice> {
        let profiled = self.workload.profiled.iter().find(|it| it.position == self.position)?;
        if !profiled.profile.checks_dependency.contains(&ProbeKind::Liveness)
            || self.container.liveness.is_none()
        {
            return None;
        }
        let restarts = |targets: &[Target]| -> Option<usize> {
            let rule = failing(targets, Mode::Status(503), window(FROM, Some(OUTAGE))?)?;
            let pod = alone(self.container, vec![rule], 30)?;
            let restarts = runs(&pod, PODS, FROM + OUTAGE).into_iter().filter(|events| {
                events.iter().any(|event| matches!(event.kind, PodEventKind::Killing { .. }))
            });
            Some(restarts.count())
        };
        let (with, without) =
            (restarts(&[Target::Liveness, Target::Readiness])?, restarts(&[Target::Readiness])?);
        Some(Advice {
            code: "probe-on-dependency",
            text: format!(
                "{}: the liveness probe fails when a dependency of the program fails (checks_dependency in its profile), and a \
                 restart does not repair that. Shown: if the dependency is down for {}, {with} of {PODS} Pods restart, each with a \
                 back-off afterwards; if only readiness checks it, {without} do. Let only readiness check the dependency.",
                self.container.name,
                Show(OUTAGE),
            ),
        })
    }

    /// A native sidecar whose startup probe asks a container that starts only after the sidecar.
    pub(super) fn waits_for_application(&self) -> Option<Advice> {
        let startup =
            self.container.startup.as_ref().filter(|_| self.container.role == ContainerRole::Sidecar)?;
        let facts = self.workload.facts.get(self.position)?;
        let is_own = facts.ports.contains(&startup.address.port);
        let application = self.workload.pod.containers.iter().enumerate().find(|(at, container)| {
            let ports = self.workload.facts.get(*at).map(|facts| facts.ports.as_slice()).unwrap_or_default();
            container.role == ContainerRole::Main && ports.contains(&startup.address.port)
        });
        // A probe of a kube-probesim port with an application behind it asks the application.
        let probesim = self.workload.probesim.iter().find(|probesim| probesim.position == self.position);
        let passes_on = probesim
            .and_then(|probesim| probesim.config.upstream.as_ref())
            .is_some_and(|it| it.answers_probes)
            && matches!(startup.handler, ProbeHandler::Http { server, .. } if server == self.position);
        let (at, _) = if passes_on {
            self.workload
                .pod
                .containers
                .iter()
                .enumerate()
                .find(|(_, container)| container.role == ContainerRole::Main)?
        } else {
            application.filter(|_| !is_own)?
        };
        let container = |from: &ContainerSpec| {
            let program = Program::new(crate::fault::ActivePlan::new(
                crate::fault::Plan::default(),
                crate::fault::Seed(0),
                false,
            ));
            ContainerSpec {
                program: Some(program),
                startup: None,
                liveness: None,
                readiness: None,
                ..from.clone()
            }
        };
        let handler = ProbeHandler::Http {
            server: 1,
            endpoint: ProbeEndpoint::Target(Target::Startup),
            client: Client::Kubelet,
        };
        let sidecar = ContainerSpec {
            startup: Some(ProbeSpec { handler, ..startup.clone() }),
            ..container(self.container)
        };
        let application = &self.workload.pod.containers[at];
        let pod =
            PodSpec { grace: self.workload.pod.grace, ..PodSpec::new(vec![sidecar, container(application)]) };
        let hour = Duration::from_secs(3600);
        let all = runs(&pod, PODS, hour);
        let started = all.iter().filter(|events| {
            events.iter().any(|it| it.container == 1 && matches!(it.kind, PodEventKind::Started { .. }))
        });
        let started = started.count();
        let restarts = all.iter().map(|events| {
            events
                .iter()
                .filter(|it| it.container == 0 && matches!(it.kind, PodEventKind::Killing { .. }))
                .count()
        });
        Some(Advice {
            code: "sidecar-waits-for-its-application",
            text: format!(
                "{}: the startup probe of this native sidecar asks container {}, which starts only after the sidecar has started. Shown: in \
                 {PODS} simulated Pods and {}, the application starts in {started}, and the sidecar is restarted up to {} times. Let \
                 the probe ask the sidecar itself, such as the admin listener's /healthz.",
                self.container.name,
                application.name,
                Show(hour),
                restarts.max().unwrap_or_default(),
            ),
        })
    }
}
