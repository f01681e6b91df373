//! The budgets of a container, from its probes and its grace period.

use std::time::Duration;

use super::formula::Sum;
use super::{Amount, Budget, Meaning};
use crate::kubelet::{ContainerSpec, Hook, PodSpec, ProbeKind, ProbeSpec, RestartPolicy, Transport};

/// The kubelet gives every container at least this grace period, in seconds.
pub(super) const LEAST_GRACE: u32 = 2;

/// The budgets of the container at this position.
pub(super) fn budgets(pod: &PodSpec, position: usize, endpoint_lag: Duration) -> Vec<Budget> {
    let of = Subject { pod, container: &pod.containers[position], position };
    let mut all = Vec::new();
    all.push(of.start());
    for kind in [ProbeKind::Liveness, ProbeKind::Readiness] {
        if let Some(probe) = of.container.probe(kind) {
            all.push(of.pause(kind, probe));
        }
    }
    for kind in ProbeKind::ALL {
        if let Some(probe) = of.container.probe(kind) {
            all.push(of.answer(kind, probe));
        }
    }
    if let Some(readiness) = &of.container.readiness {
        all.push(of.unready(readiness, endpoint_lag));
    }
    if let Some(liveness) = &of.container.liveness {
        all.extend(of.kill(liveness));
    }
    if let Some(readiness) = &of.container.readiness {
        all.push(of.recovery(readiness));
    }
    all
}

/// The longest time until a container that starts is Ready once its program answers: from then on, or from the end of
/// the initial delay, whichever is later.
pub(super) fn to_ready(container: &ContainerSpec) -> Sum {
    container.readiness.as_ref().map_or_else(Sum::default, |readiness| {
        Sum::default()
            .plus_field("initialDelaySeconds", readiness.initial_delay)
            .plus_times(
                threshold("successThreshold", readiness.success_threshold),
                "periodSeconds",
                readiness.period,
            )
            .plus_field("timeoutSeconds", readiness.timeout)
    })
}

/// The longest start beyond which a probe certainly kills the container; `None`: no probe kills it.
pub(super) fn longest_start(container: &ContainerSpec) -> Option<Sum> {
    let (_, probe) = start_probe(container)?;
    Some(latest_start(probe, container.post_start))
}

fn start_probe(container: &ContainerSpec) -> Option<(ProbeKind, &ProbeSpec)> {
    [ProbeKind::Startup, ProbeKind::Liveness]
        .into_iter()
        .find_map(|kind| container.probe(kind).map(|probe| (kind, probe)))
}

/// The time from one failed attempt to the next: a period, or the timeout if it is longer and the attempts hang.
const fn gap(probe: &ProbeSpec, hangs: bool) -> (&'static str, u32) {
    if hangs && probe.timeout > probe.period {
        ("timeoutSeconds", probe.timeout)
    } else {
        ("periodSeconds", probe.period)
    }
}

fn threshold(name: &str, count: u32) -> (String, u32) {
    (format!("{name} {}", count.max(1)), count.max(1))
}

/// One attempt fewer than the threshold.
fn before_threshold(probe: &ProbeSpec) -> (String, u32) {
    let count = probe.failure_threshold.max(1);
    (format!("(failureThreshold {count} - 1)"), count - 1)
}

/// The best case: a tick at the beginning, and an attempt that ends with its timeout.
fn soonest(probe: &ProbeSpec) -> Sum {
    let (name, seconds) = gap(probe, true);
    Sum::default()
        .plus_times(before_threshold(probe), name, seconds)
        .plus_field("timeoutSeconds", probe.timeout)
}

/// The worst case: a tick just before the beginning, so that the first attempt comes one period later.
fn latest(probe: &ProbeSpec) -> Sum {
    let (name, seconds) = gap(probe, true);
    if seconds == probe.period {
        return Sum::default()
            .plus_times(threshold("failureThreshold", probe.failure_threshold), name, seconds)
            .plus_field("timeoutSeconds", probe.timeout);
    }
    Sum::field("periodSeconds", probe.period).plus_sum(&soonest(probe))
}

/// The first attempt comes when the initial delay is over. The kubelet counts it in whole seconds of the clock.
fn soonest_start(probe: &ProbeSpec, post_start: Option<Hook>) -> Sum {
    let (name, seconds) = gap(probe, probe.transport == Transport::Grpc);
    let delay = match (longer_hook(probe, post_start), probe.initial_delay) {
        (Some(hook), _) => hook,
        (None, 0) => Sum::default(),
        (None, delay) => Sum::default()
            .plus(&format!("(initialDelaySeconds {delay} - 1) ="), Duration::from_secs(u64::from(delay - 1))),
    };
    delay.plus_times(before_threshold(probe), name, seconds)
}

fn latest_start(probe: &ProbeSpec, post_start: Option<Hook>) -> Sum {
    let grpc = probe.transport == Transport::Grpc;
    let (name, seconds) = gap(probe, grpc);
    let sum = longer_hook(probe, post_start)
        .unwrap_or_else(|| Sum::default().plus_field("initialDelaySeconds", probe.initial_delay));
    let sum = if seconds == probe.period {
        sum.plus_times(threshold("failureThreshold", probe.failure_threshold), name, seconds)
    } else {
        sum.plus_field("periodSeconds", probe.period).plus_times(before_threshold(probe), name, seconds)
    };
    // A gRPC probe waits for a server that does not listen yet.
    sum.plus_field("timeoutSeconds", if grpc { probe.timeout } else { 0 })
}

/// The time of postStart, if it is known and longer than the initial delay of the probe.
fn longer_hook(probe: &ProbeSpec, post_start: Option<Hook>) -> Option<Sum> {
    let time = post_start?.time();
    let is_longer = time > Duration::from_secs(u64::from(probe.initial_delay));
    is_longer.then(|| Sum::default().plus("postStart", time))
}

struct Subject<'a> {
    pod: &'a PodSpec,
    container: &'a ContainerSpec,
    position: usize,
}

impl Subject<'_> {
    fn budget(
        &self,
        name: &'static str,
        kind: ProbeKind,
        what: String,
        meaning: Meaning,
        sums: &[Sum; 2],
    ) -> Budget {
        let [least, most] = sums;
        Budget {
            name,
            container: Some(self.position),
            probe: Some(kind),
            what,
            meaning,
            least: least.amount(),
            most: most.amount(),
            formulas: [least.text(), most.text()],
        }
    }

    /// How long the start may take before a probe kills it.
    fn start(&self) -> Budget {
        let Some((kind, probe)) = start_probe(self.container) else {
            let nothing = "no startup or liveness probe".to_owned();
            return Budget {
                name: "start",
                container: Some(self.position),
                probe: None,
                what: "start, before a probe kills the container".to_owned(),
                meaning: Meaning::Limit,
                least: Amount::NoLimit,
                most: Amount::NoLimit,
                formulas: [nothing.clone(), nothing],
            };
        };
        let what = format!("start, before the {} probe kills the container", lower(kind));
        let hook = self.container.post_start;
        let sums = [soonest_start(probe, hook), latest_start(probe, hook)];
        self.budget("start", kind, what, Meaning::Limit, &sums)
    }

    /// How long the program may pause without answers.
    fn pause(&self, kind: ProbeKind, probe: &ProbeSpec) -> Budget {
        let name = if kind == ProbeKind::Liveness { "liveness-pause" } else { "readiness-pause" };
        let what = format!("pause that {} tolerates", lower(kind));
        let mut budget = self.budget(name, kind, what, Meaning::Limit, &[soonest(probe), latest(probe)]);
        if probe.transport == Transport::Tcp {
            let why = "tcpSocket: the kernel accepts connections while the program pauses";
            (budget.least, budget.most) = (Amount::NoLimit, Amount::NoLimit);
            budget.formulas = [why.to_owned(), why.to_owned()];
        }
        budget
    }

    /// How slow each answer may be.
    fn answer(&self, kind: ProbeKind, probe: &ProbeSpec) -> Budget {
        let name = match kind {
            ProbeKind::Startup => "startup-answer",
            ProbeKind::Liveness => "liveness-answer",
            ProbeKind::Readiness => "readiness-answer",
        };
        let what = format!("slowest answer to the {} probe", lower(kind));
        let timeout = Sum::field("timeoutSeconds", probe.timeout.max(1));
        self.budget(name, kind, what, Meaning::Limit, &[timeout.clone(), timeout])
    }

    /// The time from the start of a lasting failure to the removal from the endpoints.
    fn unready(&self, probe: &ProbeSpec, endpoint_lag: Duration) -> Budget {
        let least = Sum::default().plus_times(before_threshold(probe), "periodSeconds", probe.period);
        let most = latest(probe).plus("endpoint lag", endpoint_lag);
        let what = "from a failure to removal from the endpoints".to_owned();
        self.budget("failure-to-unready", ProbeKind::Readiness, what, Meaning::Time, &[least, most])
    }

    /// The times from the start of a lasting failure to SIGTERM, and to the new container.
    fn kill(&self, probe: &ProbeSpec) -> [Budget; 2] {
        let kind = ProbeKind::Liveness;
        let (grace, name) = match probe.grace {
            Some(grace) => (grace, "terminationGracePeriodSeconds of the probe"),
            None => (self.pod.grace, "terminationGracePeriodSeconds"),
        };
        let failed = Sum::default().plus_times(before_threshold(probe), "periodSeconds", probe.period);
        let (least_hook, most_hook) = self.hook(grace, name);
        let least = failed.plus_sum(&least_hook);
        let most = latest(probe).plus_sum(&most_hook);
        let left = (grace.max(LEAST_GRACE))
            .saturating_sub(u32::try_from(most_hook.time.as_secs()).unwrap_or(u32::MAX))
            .max(LEAST_GRACE);
        let rest = if most_hook.time.is_zero() { name } else { "the rest of the grace period" };
        let gone = most.clone().plus_field(rest, left);
        let to_term = "from a failure to SIGTERM".to_owned();
        let to_new = "from a failure to the first new container".to_owned();
        let mut restart =
            self.budget("failure-to-restart", kind, to_new, Meaning::Time, &[least.clone(), gone]);
        let policy = self.container.policy(self.pod.restart_policy);
        if policy == RestartPolicy::Never && self.container.restart_rules.is_empty() {
            (restart.least, restart.most) = (Amount::Never, Amount::Never);
            let why = "restartPolicy Never: the container stays terminated";
            restart.formulas = [why.to_owned(), why.to_owned()];
        }
        [self.budget("failure-to-sigterm", kind, to_term, Meaning::Time, &[least, most]), restart]
    }

    /// The shortest and longest time that preStop takes.
    fn hook(&self, grace: u32, name: &str) -> (Sum, Sum) {
        let grace = Duration::from_secs(u64::from(grace.max(LEAST_GRACE)));
        match self.container.pre_stop {
            None => (Sum::default(), Sum::default()),
            Some(Hook::Takes(time)) => {
                let sum = Sum::default().plus("preStop sleep", time.min(grace));
                (sum.clone(), sum)
            }
            Some(Hook::Unknown) => {
                (Sum::default(), Sum::default().plus(&format!("preStop, at most {name}"), grace))
            }
        }
    }

    /// The time from the end of a failure until the container is Ready.
    fn recovery(&self, probe: &ProbeSpec) -> Budget {
        let most = Sum::default().plus_times(
            threshold("successThreshold", probe.success_threshold),
            "periodSeconds",
            probe.period,
        );
        let what = "back to Ready, once it answers again".to_owned();
        let mut budget =
            self.budget("back-to-ready", ProbeKind::Readiness, what, Meaning::Time, &[Sum::default(), most]);
        "0: an attempt may come at once".clone_into(&mut budget.formulas[0]);
        budget
    }
}

fn lower(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "startup",
        ProbeKind::Liveness => "liveness",
        ProbeKind::Readiness => "readiness",
    }
}
