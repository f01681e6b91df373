//! A rule: a condition, its targets and an effect.

mod connection;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::answer::{FaultAnswer, NO_OPTIONS};
use super::delay::Delay;
use super::error::{MatchError, RuleError};
use super::mode::{Cut, HandshakeFault, Mode, Partial};
use super::name::{is_label, truncated};
use super::process::ProcessMode;
use super::proxy::ProxyName;
use super::replica::{Pods, Replica};
use super::request_match::Match;
use super::stream::OnConnection;
use super::target::{ClientFilter, Targets};
use super::trigger::Trigger;

/// The name of a rule: a DNS label, so that it fits in a metric label, a header and a log field.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleName(Arc<str>);

impl RuleName {
    /// A name of 1 to 63 lower-case letters, digits and inner hyphens.
    pub fn new(name: &str) -> Result<Self, RuleError> {
        if is_label(name) { Ok(Self(name.into())) } else { Err(RuleError::Name(truncated(name))) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The networks that a cut applies to: the named ones without the exceptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// Networks to cut; empty for all.
    pub within: Vec<IpNet>,
    /// Networks to exclude.
    pub except: Vec<IpNet>,
}

impl Networks {
    /// Whether it applies to every address.
    pub fn is_all(&self) -> bool {
        self.within.is_empty() && self.except.is_empty()
    }

    /// Whether it applies to `peer`. An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) counts as IPv4.
    pub fn contains(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let holds = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&peer));
        (self.within.is_empty() || holds(&self.within)) && !holds(&self.except)
    }
}

/// A listener, as rules name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ListenerName {
    /// The probe listener: target `listener`.
    #[default]
    Probe,
    /// The listener of a proxy.
    Proxy(ProxyName),
}

impl ListenerName {
    /// Its target name in plans and metric labels.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Probe => "listener",
            Self::Proxy(name) => name.as_str(),
        }
    }
}

/// For rules that do not act on requests.
static NO_TARGETS: Targets = Targets::NONE;

/// The subject of a rule, and its effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Acts on requests to targets.
    Requests {
        /// The targets.
        targets: Targets,
        /// Delay before the answer or the fault.
        delay: Option<Delay>,
        /// Replaces the answer; if absent, the answer is only delayed.
        mode: Option<Mode>,
    },
    /// Acts on a listener: a partition.
    Listener {
        /// The listener.
        listener: ListenerName,
        /// The effect on connections.
        cut: Cut,
        /// The networks it applies to.
        from: Networks,
    },
    /// Acts on TLS handshakes of the probe listener.
    Handshake {
        /// The effect on the handshake.
        fault: HandshakeFault,
        /// The networks it applies to.
        from: Networks,
    },
    /// Acts on the process.
    Process {
        /// The effect.
        mode: ProcessMode,
        /// Whether it may put the node under pressure.
        allow_node_pressure: bool,
    },
}

/// A validated rule of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    name: RuleName,
    client: ClientFilter,
    trigger: Trigger,
    action: Action,
    /// Boxed because most rules do not need it.
    answer: Option<Box<FaultAnswer>>,
    /// The requests of its targets that it acts on; absent for all.
    request_match: Option<Box<Match>>,
    /// Absent for most rules, which do not act on TCP proxies.
    on_connection: Option<Box<OnConnection>>,
}

impl Rule {
    /// Creates a rule if its parts are consistent.
    pub fn new(
        name: RuleName,
        client: ClientFilter,
        trigger: Trigger,
        action: Action,
    ) -> Result<Self, RuleError> {
        trigger.check()?;
        match &action {
            Action::Requests { targets, delay, mode } => {
                if targets.is_empty() {
                    return Err(RuleError::NoTarget);
                }
                match mode {
                    Some(mode) => mode.check()?,
                    None if delay.is_none() => return Err(RuleError::Nothing),
                    None => {}
                }
            }
            Action::Listener { .. } => check_listener(&trigger)?,
            Action::Handshake { .. } => check_handshake(client, &trigger)?,
            Action::Process { mode, .. } => check_process(client, &trigger, mode)?,
        }
        Ok(Self { name, client, trigger, action, answer: None, request_match: None, on_connection: None })
    }

    /// The rule, restricted to requests that match.
    ///
    /// # Errors
    ///
    /// The match is empty, or the rule does not act on requests.
    pub fn with_match(mut self, request_match: Match) -> Result<Self, RuleError> {
        let other = match &self.action {
            Action::Requests { .. } => None,
            Action::Listener { listener, .. } => Some(listener.as_str()),
            Action::Handshake { .. } => Some(ListenerName::Probe.as_str()),
            Action::Process { .. } => Some("process"),
        };
        if let Some(target) = other {
            return Err(MatchError::NoRequests(target.to_owned()).into());
        }
        if request_match.is_empty() {
            return Err(MatchError::Nothing.into());
        }
        self.request_match = Some(Box::new(request_match));
        Ok(self)
    }

    /// The rule with options for its faulted answers, if they fit its mode.
    pub fn with_answer(mut self, answer: FaultAnswer) -> Result<Self, RuleError> {
        answer.check(self.mode())?;
        self.answer = (!answer.is_plain()).then(|| Box::new(answer));
        Ok(self)
    }

    /// Checks that the replica has the identity that the rule needs.
    pub fn check_replica(&self, replica: &Replica) -> Result<(), RuleError> {
        let Trigger { pods, stagger, .. } = &self.trigger;
        match pods {
            Some(Pods::Share(_)) if replica.key.is_none() => Err(RuleError::NoReplica("pods")),
            Some(Pods::Ordinals(_)) if replica.ordinal.is_none() => Err(RuleError::NoOrdinal),
            _ if stagger.is_some() && replica.key.is_none() => Err(RuleError::NoReplica("stagger")),
            _ => Ok(()),
        }
    }

    /// Its name.
    pub fn name(&self) -> &RuleName {
        &self.name
    }

    /// The clients it acts on.
    pub fn client(&self) -> ClientFilter {
        self.client
    }

    /// When it fires.
    pub fn trigger(&self) -> &Trigger {
        &self.trigger
    }

    /// The requests of its targets that it acts on; absent for all.
    pub fn request_match(&self) -> Option<&Match> {
        self.request_match.as_deref()
    }

    /// Its effect.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// The targets of a rule on requests; none for other rules.
    pub fn targets(&self) -> &Targets {
        match &self.action {
            Action::Requests { targets, .. } => targets,
            Action::Listener { .. } | Action::Handshake { .. } | Action::Process { .. } => &NO_TARGETS,
        }
    }

    /// The listener of a partition.
    pub fn listener(&self) -> Option<&ListenerName> {
        match &self.action {
            Action::Listener { listener, .. } => Some(listener),
            Action::Requests { .. } | Action::Handshake { .. } | Action::Process { .. } => None,
        }
    }

    /// The proxies that it names, as targets or as listeners.
    pub fn proxies(&self) -> impl Iterator<Item = &ProxyName> {
        let of_listener = match self.listener() {
            Some(ListenerName::Proxy(name)) => Some(name),
            _ => None,
        };
        self.targets().proxies().iter().chain(of_listener)
    }

    /// Whether it is a partition.
    pub fn is_partition(&self) -> bool {
        self.listener().is_some()
    }

    /// Its effect on TLS handshakes.
    pub fn handshake(&self) -> Option<HandshakeFault> {
        match &self.action {
            Action::Handshake { fault, .. } => Some(*fault),
            _ => None,
        }
    }

    /// The mode of a process rule.
    pub fn process(&self) -> Option<&ProcessMode> {
        match &self.action {
            Action::Process { mode, .. } => Some(mode),
            _ => None,
        }
    }

    /// The cut of a partition without exceptions; `None` otherwise.
    pub fn whole_cut(&self) -> Option<Cut> {
        match &self.action {
            Action::Listener { cut, from, .. } if from.is_all() && self.client.is_any() => Some(*cut),
            _ => None,
        }
    }

    /// The mode of a rule on requests.
    pub fn mode(&self) -> Option<&Mode> {
        match &self.action {
            Action::Requests { mode, .. } => mode.as_ref(),
            Action::Listener { .. } | Action::Handshake { .. } | Action::Process { .. } => None,
        }
    }

    /// The options of its faulted answers.
    pub fn answer(&self) -> &FaultAnswer {
        self.answer.as_deref().unwrap_or(&NO_OPTIONS)
    }

    /// Body bytes that a generated answer sends before `partial` acts: of a configured body, never the last one.
    pub fn strikes_after(&self, partial: Partial) -> u64 {
        match &self.answer().body_text {
            Some(text) => partial.body.min((text.len() as u64).saturating_sub(1)),
            None => partial.body,
        }
    }

    /// Whether it fails every request of its client class in its window.
    pub fn fails_all(&self) -> bool {
        self.request_match.is_none() && self.trigger.is_certain() && self.mode().is_some_and(Mode::fails)
    }

    /// Its effect in one word, as in the metric label `mode`: its mode, or `delay`.
    pub fn effect(&self) -> &'static str {
        match &self.action {
            Action::Requests { mode, .. } => mode.as_ref().map_or("delay", Mode::name),
            Action::Listener { cut, .. } => cut.name(),
            Action::Handshake { fault, .. } => fault.name(),
            Action::Process { mode, .. } => mode.name(),
        }
    }
}

fn check_listener(trigger: &Trigger) -> Result<(), RuleError> {
    let Trigger { requests, rate, burst, ramp, .. } = trigger;
    let given = [
        ("requests", requests.is_some()),
        ("rate", !rate.is_always()),
        ("burst", burst.is_some()),
        ("ramp", ramp.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(RuleError::ListenerCondition(field)),
        None => Ok(()),
    }
}

fn check_handshake(client: ClientFilter, trigger: &Trigger) -> Result<(), RuleError> {
    if !client.is_any() {
        return Err(RuleError::HandshakeClient);
    }
    match trigger.requests {
        Some(_) => Err(RuleError::HandshakeRequests),
        None => Ok(()),
    }
}

fn check_process(client: ClientFilter, trigger: &Trigger, mode: &ProcessMode) -> Result<(), RuleError> {
    if !client.is_any() {
        return Err(RuleError::ProcessClient);
    }
    let Trigger { requests, burst, ramp, .. } = trigger;
    let process = "target process, which has no requests";
    let grows = matches!(mode, ProcessMode::Memory(_));
    let given = [
        ("requests", requests.is_some(), process),
        ("burst", burst.is_some(), process),
        ("ramp", ramp.is_some() && !grows, "this mode; of target process, only mode memory has a ramp"),
    ];
    if let Some((field, _, with)) = given.into_iter().find(|(_, given, _)| *given) {
        return Err(RuleError::ProcessCondition { field, with });
    }
    mode.check()
}

#[cfg(test)]
mod tests;
