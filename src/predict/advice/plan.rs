//! Advice on the rules of a container: latencies, faults without effect, slow starts, partitions.

use std::time::Duration;

use super::experiment::restarts_of_slow;
use super::{Advice, Subject, asked, reaction, run_length, seconds};
use crate::fault::{Action, Client, ClientFilter, KUBELET_BODY_LIMIT, Mode, Plan, Rule, Target};
use crate::kubelet::{Application, ProbeHandler, ProbeKind, ProbeSpec};
use crate::predict::timeline::Short;
use crate::units::Show;

/// The share of attempts that should finish within the timeout.
const QUANTILE: f64 = 0.99;

impl<'a> Subject<'a> {
    fn plan(&self, server: usize) -> Option<&'a Plan> {
        self.workload.plan(server)
    }

    fn keeps_state(&self, server: usize) -> bool {
        self.workload.probesim.iter().any(|probesim| probesim.position == server && probesim.keeps_state)
    }

    /// The rules that act on the requests of a probe.
    fn rules<'b>(&'b self, probe: &'b ProbeSpec) -> impl Iterator<Item = &'a Rule> + use<'a, 'b> {
        let asked = asked(probe);
        let (plan, application) = match asked {
            Some((server, ..)) => (self.plan(server), self.application(server)),
            None => (None, None),
        };
        plan.into_iter().flat_map(Plan::rules).filter(move |rule| {
            asked.is_some_and(|(_, target, client)| {
                let is_spared = target == Target::Traffic && application.is_some();
                let admits = match rule.client() {
                    ClientFilter::Unset => client == Client::Other || !is_spared,
                    filter => filter.admits(client),
                };
                rule.targets().contains(target) && admits && probe.is_admitted(rule)
            })
        })
    }

    /// The application behind a kube-probesim container.
    fn application(&self, server: usize) -> Option<Application> {
        self.workload.pod.containers.get(server)?.program.as_ref()?.application
    }

    /// The rules in the profile of the application to which a probe is forwarded.
    fn rules_behind<'b>(
        &'b self,
        kind: ProbeKind,
        probe: &'b ProbeSpec,
    ) -> impl Iterator<Item = &'a Rule> + use<'a, 'b> {
        let application = asked(probe).and_then(|(server, target, _)| {
            self.application(server).filter(|it| it.answers_probes || target == Target::Traffic)
        });
        let plan = application.and_then(|it| self.plan(it.container));
        plan.into_iter().flat_map(Plan::rules).filter(move |rule| {
            let admits = rule.client().admits(Client::Kubelet);
            rule.targets().contains(kind.target()) && admits && probe.is_admitted(rule)
        })
    }

    pub(super) fn timeout(&self, kind: ProbeKind, probe: &ProbeSpec) -> Option<Advice> {
        let rules = || self.rules(probe).chain(self.rules_behind(kind, probe));
        let latency = |share| rules().filter_map(|rule| delay(rule, share)).sum::<Duration>();
        let (p99, timeout) = (latency(QUANTILE), seconds(probe.timeout));
        if p99 < timeout {
            return None;
        }
        let how_many = if latency(1.0 - QUANTILE) >= timeout {
            "nearly every delayed attempt fails"
        } else if latency(0.5) >= timeout {
            "at least half of the delayed attempts fail"
        } else {
            "at least one of 100 delayed attempts fails"
        };
        let better = p99.as_secs() + 1;
        let shown = restarts_of_slow(self.container, kind, probe, late_share(latency, timeout));
        Some(Advice {
            code: "timeout-below-p99",
            text: format!(
                "{}: timeoutSeconds is {}, but the 99th percentile of the latency is {}: {how_many} because of it. {shown} \
                 Set timeoutSeconds to {better} or more.",
                self.name(kind),
                probe.timeout,
                Short(p99),
            ),
        })
    }

    /// Faults that cause probe errors, which the kubelet discards. Only HTTP probes have errors.
    pub(super) fn thrown_away(&self, kind: ProbeKind, probe: &ProbeSpec) -> Vec<Advice> {
        if !matches!(probe.handler, ProbeHandler::Http { .. }) {
            return Vec::new();
        }
        let timeout = seconds(probe.timeout);
        let follows = match kind {
            ProbeKind::Liveness => "this fault will never restart the container",
            ProbeKind::Startup => "this fault never completes the start, and never restarts the container",
            ProbeKind::Readiness => "a Pod that is Ready stays Ready under this fault",
        };
        self.rules(probe)
            .filter_map(|rule| Some((rule, rule.mode()?)))
            .filter_map(|(rule, mode)| {
                let (why, better) = error(rule, mode, timeout)?;
                Some(Advice {
                    code: "fault-thrown-away",
                    text: format!(
                        "{}: fault {} ({}) {why}; the kubelet treats that as a probe error and discards it: {follows}. {better}",
                        self.name(kind),
                        rule.name(),
                        mode.name(),
                    ),
                })
            })
            .collect()
    }

    pub(super) fn slow_start(&self, liveness: &ProbeSpec) -> Option<Advice> {
        let (start, what) = self.start(liveness)?;
        let (probe, name) = match &self.container.startup {
            Some(startup) => (startup, "the startup probe kills the container"),
            None => (liveness, "liveness kills the container"),
        };
        let end = seconds(probe.initial_delay) + run_length(probe);
        // The kubelet counts the initial delay in whole seconds of the clock.
        let safe = end.saturating_sub(seconds(u32::from(probe.initial_delay > 0)));
        if start <= safe {
            return None;
        }
        let attempts = start.as_secs_f64() / f64::from(probe.period.max(1));
        let threshold = attempts.ceil() as u64 + 1;
        let better =
            format!("a startupProbe with periodSeconds {} and failureThreshold {threshold}", probe.period);
        // A clock that continues across restarts ends the start time.
        let goes_on = liveness.handler.server().is_some_and(|server| self.keeps_state(server));
        let again = if goes_on { "until the start time is over" } else { "again and again" };
        let is_certain = start > seconds(probe.initial_delay) + reaction(probe);
        let follows = match self.restarted {
            None if is_certain => format!("the container is restarted before its first success, {again}"),
            None => format!(
                "depending on when its probe ticks, the container is restarted before its first success, {again}, or not at all"
            ),
            Some((restarted, pods)) if restarted > 0 && restarted == pods => {
                format!("the container is restarted before its first success, {again}")
            }
            Some((restarted, pods)) => format!(
                "depending on when its probe ticks, the container is restarted before its first success, {again}, or not at all; here it \
                 is restarted in {restarted} of {pods} Pods"
            ),
        };
        let text = format!(
            "{}: the start takes {} ({what}), but {name} after {}: {follows}. Set {better} or more.",
            self.container.name,
            Show(start),
            Show(end),
        );
        let has_startup = self.container.startup.is_some();
        let code = if has_startup { "startup-probe-too-short" } else { "no-startup-probe-for-slow-start" };
        Some(Advice { code, text })
    }

    /// How long the probes fail after the start of the process, and why.
    fn start(&self, liveness: &ProbeSpec) -> Option<(Duration, String)> {
        let server = liveness.handler.server()?;
        let profile = self.workload.profiled.iter().find(|it| it.position == server);
        if let Some(delay) = profile.and_then(|it| it.profile.ready_after.as_ref()) {
            return Some((
                delay.quantile(QUANTILE),
                "the 99th percentile of ready_after in its profile".to_owned(),
            ));
        }
        let windows = self
            .rules(liveness)
            .filter(|rule| rule.fails_all() && rule.trigger().requests.is_none())
            .chain(self.plan(server)?.rules().iter().filter(|rule| rule.is_partition()));
        windows
            .filter_map(|rule| {
                let trigger = rule.trigger();
                let window =
                    trigger.time.filter(|window| window.after().is_zero() && trigger.start.is_none())?;
                Some((window.length()?, format!("fault {}", rule.name())))
            })
            .max()
    }

    pub(super) fn partition(&self, liveness: &ProbeSpec) -> Vec<Advice> {
        let Some(server) = liveness.handler.server() else { return Vec::new() };
        let client = asked(liveness).map_or(Client::Kubelet, |(_, _, client)| client);
        let kills = reaction(liveness);
        let rules = self.plan(server).into_iter().flat_map(Plan::rules);
        rules
            .filter_map(|rule| {
                let Action::Listener { from, .. } = rule.action() else { return None };
                let (window, start) = (rule.trigger().time, rule.trigger().start);
                let after = window.map_or(Duration::ZERO, |window| window.after());
                // A partition that begins with the process is a slow start.
                if after.is_zero() && start.is_none() {
                    return None;
                }
                // Otherwise the rule's clock does not start with the process.
                let again = if start.is_none() && !self.keeps_state(server) {
                    format!(
                        "the new process counts from its own start, so the partition ends early and begins again {} after \
                         each restart",
                        Show(after)
                    )
                } else {
                    "the partition restarts the container again and again while it lasts".to_owned()
                };
                let again = match self.restarted {
                    Some((0, _)) => format!("{again}. This does not happen within the predicted time"),
                    _ => again,
                };
                let length = window.and_then(|window| window.length());
                let reaches = rule.client().admits(client) && from.contains(self.workload.pod.node);
                (reaches && length.is_none_or(|length| length >= kills)).then(|| Advice {
                    code: "partition-restarts",
                    text: format!(
                        "{}: partition {} lasts {}; liveness fails during it and kills the container after {} (period {} x threshold \
                         {}); {again}. Let `client: other` or `from` spare the kubelet, or raise liveness' \
                         failureThreshold.",
                        self.container.name,
                        rule.name(),
                        length.map_or_else(|| "for ever".to_owned(), |length| Show(length).to_string()),
                        Show(kills),
                        liveness.period,
                        liveness.failure_threshold,
                    ),
                })
            })
            .collect()
    }

    fn name(&self, kind: ProbeKind) -> String {
        format!("{}, {} probe", self.container.name, kind.name().to_ascii_lowercase())
    }
}

/// The share of attempts whose latency reaches a timeout. `latency` returns the latency at a quantile.
fn late_share(latency: impl Fn(f64) -> Duration, timeout: Duration) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if latency(middle) >= timeout {
            high = middle;
        } else {
            low = middle;
        }
    }
    1.0 - high
}

/// The delay that a rule adds at a quantile. Requests that the rule does not hit count as the fastest ones.
fn delay(rule: &Rule, quantile: f64) -> Option<Duration> {
    let Action::Requests { delay: Some(delay), .. } = rule.action() else { return None };
    let rate = rule.trigger().rate.percent() / 100.0;
    let among_hits = 1.0 - (1.0 - quantile) / rate;
    (among_hits > 0.0).then(|| delay.quantile(among_hits.min(quantile)))
}

/// Why the kubelet treats the answer of a rule as an error, and a better choice.
fn error(rule: &Rule, mode: &Mode, timeout: Duration) -> Option<(String, &'static str)> {
    let given = rule.answer().body_text.as_ref().map(|text| text.len() as u64);
    let too_slow = |over: Duration| {
        (over >= timeout).then(|| {
            let (over, timeout) = (Show(over), Show(timeout));
            let why = format!("sends its body over {over}, longer than the timeout of {timeout}");
            (why, "Use the mode hang for a failure.")
        })
    };
    match mode {
        Mode::Drip { partial, over } => {
            let size = given.map_or(partial.body, |given| given.min(partial.body));
            let share = (KUBELET_BODY_LIMIT as f64 / size.max(1) as f64).min(1.0);
            if over.mul_f64(share) < timeout { None } else { too_slow(*over) }
        }
        // Without `body_text`, the body is the two bytes "ok".
        Mode::Throttle { speed, .. } => {
            let size = given.unwrap_or(2).min(KUBELET_BODY_LIMIT);
            too_slow(Duration::from_secs_f64(size as f64 / *speed as f64))
        }
        _ => {
            let bytes = rule.strikes_after(mode.partial()?);
            let at = match (mode, bytes) {
                (_, ..KUBELET_BODY_LIMIT) => "within the body",
                // The client reads the header of a chunk before it checks the limit.
                (Mode::Malformed(_), KUBELET_BODY_LIMIT) => "at the kubelet's limit",
                _ => return None,
            };
            let into = if bytes < KUBELET_BODY_LIMIT { "it" } else { "the body" };
            Some((
                format!("breaks off {at}, {bytes} bytes into {into}"),
                "Use status, hang, close or reset for a failure, or a body of more than 10KiB.",
            ))
        }
    }
}
