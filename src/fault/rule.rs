//! One rule: when something happens to whom, and what.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::answer::{Answer, PLAIN};
use super::delay::Delay;
use super::error::{MatchError, RuleError};
use super::mode::{Cut, Mode, Partial};
use super::name::{is_label, shortened};
use super::process::ProcessMode;
use super::proxy::ProxyName;
use super::replica::{Pods, Replica};
use super::request_match::Match;
use super::target::{ClientFilter, Targets};
use super::trigger::Trigger;

/// The name of a rule: a DNS label, so that it fits a metric label, a header and a log field.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleName(Arc<str>);

impl RuleName {
    /// A name of 1 to 63 lower-case letters, digits and inner hyphens.
    pub fn new(name: &str) -> Result<Self, RuleError> {
        if is_label(name) { Ok(Self(name.into())) } else { Err(RuleError::Name(shortened(name))) }
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

/// The networks a cut acts on: those that are named, less the ones that are excepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// Networks that are cut; empty: all.
    pub within: Vec<IpNet>,
    /// Networks that are spared.
    pub except: Vec<IpNet>,
}

impl Networks {
    /// Whether every address is meant.
    pub fn is_all(&self) -> bool {
        self.within.is_empty() && self.except.is_empty()
    }

    /// Whether `peer` is meant. An IPv4 address in IPv6 form (`::ffff:10.0.0.1`) counts as IPv4.
    pub fn contains(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let holds = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&peer));
        (self.within.is_empty() || holds(&self.within)) && !holds(&self.except)
    }
}

/// A listener, as a rule names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ListenerName {
    /// The probe listener: target `listener`.
    #[default]
    Probe,
    /// The listener of a proxy.
    Proxy(ProxyName),
}

impl ListenerName {
    /// The target that stands for it in plans and metric labels.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Probe => "listener",
            Self::Proxy(name) => name.as_str(),
        }
    }
}

/// The rule acts on no requests.
static NO_TARGETS: Targets = Targets::NONE;

/// What a rule acts on, and what it does there.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Requests to some targets.
    Requests {
        /// The targets.
        targets: Targets,
        /// Waits before the answer or the fault.
        delay: Option<Delay>,
        /// What replaces the answer; absent: the answer comes, late.
        mode: Option<Mode>,
    },
    /// A listener as a whole: a partition.
    Listener {
        /// Which one.
        listener: ListenerName,
        /// What happens to connections.
        cut: Cut,
        /// Whose.
        from: Networks,
    },
    /// The process itself.
    Process {
        /// What happens to it.
        mode: ProcessMode,
        /// Whether it may take what others on the node need.
        allow_node_pressure: bool,
    },
}

/// One rule of a plan, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    name: RuleName,
    client: ClientFilter,
    trigger: Trigger,
    action: Action,
    /// Absent for most rules, which say nothing of it.
    answer: Option<Box<Answer>>,
    /// Which requests of its targets it acts on; absent: all.
    request_match: Option<Box<Match>>,
}

impl Rule {
    /// A rule, if its parts go together.
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
            Action::Process { mode, .. } => check_process(client, &trigger, mode)?,
        }
        Ok(Self { name, client, trigger, action, answer: None, request_match: None })
    }

    /// The rule for those requests of its targets alone that a match admits.
    ///
    /// # Errors
    ///
    /// The match asks for nothing, or the rule acts on no requests.
    pub fn with_match(mut self, request_match: Match) -> Result<Self, RuleError> {
        let other = match &self.action {
            Action::Requests { .. } => None,
            Action::Listener { listener, .. } => Some(listener.as_str()),
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

    /// The same rule, whose faulted answers carry what `answer` says, if that goes with its mode.
    pub fn with_answer(mut self, answer: Answer) -> Result<Self, RuleError> {
        answer.check(self.mode())?;
        self.answer = (!answer.is_plain()).then(|| Box::new(answer));
        Ok(self)
    }

    /// Whether what it asks of its replica can be told there.
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

    /// Whose requests or connections it acts on.
    pub fn client(&self) -> ClientFilter {
        self.client
    }

    /// When it fires.
    pub fn trigger(&self) -> &Trigger {
        &self.trigger
    }

    /// Which requests of its targets it acts on; absent: all.
    pub fn request_match(&self) -> Option<&Match> {
        self.request_match.as_deref()
    }

    /// What it does.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// The targets whose requests it acts on; none where it does not act on requests.
    pub fn targets(&self) -> &Targets {
        match &self.action {
            Action::Requests { targets, .. } => targets,
            Action::Listener { .. } | Action::Process { .. } => &NO_TARGETS,
        }
    }

    /// The listener that it acts on as a whole.
    pub fn listener(&self) -> Option<&ListenerName> {
        match &self.action {
            Action::Listener { listener, .. } => Some(listener),
            Action::Requests { .. } | Action::Process { .. } => None,
        }
    }

    /// The proxies that it names, whether it acts on their requests or on their listeners.
    pub fn proxies(&self) -> impl Iterator<Item = &ProxyName> {
        let of_listener = match self.listener() {
            Some(ListenerName::Proxy(name)) => Some(name),
            _ => None,
        };
        self.targets().proxies().iter().chain(of_listener)
    }

    /// Whether it is a partition: it acts on a listener, not on requests.
    pub fn is_partition(&self) -> bool {
        self.listener().is_some()
    }

    /// What it does to the process itself.
    pub fn process(&self) -> Option<&ProcessMode> {
        match &self.action {
            Action::Process { mode, .. } => Some(mode),
            _ => None,
        }
    }

    /// What it does to every connection of its listener; `None` where it spares some, or acts on requests.
    pub fn whole_cut(&self) -> Option<Cut> {
        match &self.action {
            Action::Listener { cut, from, .. } if from.is_all() && self.client.is_any() => Some(*cut),
            _ => None,
        }
    }

    /// What replaces the answer of a request.
    pub fn mode(&self) -> Option<&Mode> {
        match &self.action {
            Action::Requests { mode, .. } => mode.as_ref(),
            Action::Listener { .. } | Action::Process { .. } => None,
        }
    }

    /// What its faulted answers carry beside what the mode says.
    pub fn answer(&self) -> &Answer {
        self.answer.as_deref().unwrap_or(&PLAIN)
    }

    /// Bytes of the body that come before `partial` strikes an answer of our own: of a body that is given, never the
    /// last one.
    pub fn strikes_after(&self, partial: Partial) -> u64 {
        match &self.answer().body_text {
            Some(text) => partial.body.min((text.len() as u64).saturating_sub(1)),
            None => partial.body,
        }
    }

    /// Whether, inside its window, every request of the client class it is for fails.
    pub fn fails_all(&self) -> bool {
        self.request_match.is_none() && self.trigger.is_certain() && self.mode().is_some_and(Mode::fails)
    }

    /// What it does in one word, as in the metric label `mode`: its mode, or `delay`.
    pub fn effect(&self) -> &'static str {
        match &self.action {
            Action::Requests { mode, .. } => mode.as_ref().map_or("delay", Mode::name),
            Action::Listener { cut, .. } => cut.name(),
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

fn check_process(client: ClientFilter, trigger: &Trigger, mode: &ProcessMode) -> Result<(), RuleError> {
    if !client.is_any() {
        return Err(RuleError::ProcessClient);
    }
    let Trigger { requests, burst, ramp, .. } = trigger;
    let process = "target process, which gets no requests";
    let grows = matches!(mode, ProcessMode::Memory(_));
    let given = [
        ("requests", requests.is_some(), process),
        ("burst", burst.is_some(), process),
        ("ramp", ramp.is_some() && !grows, "this mode: of target process, memory alone grows"),
    ];
    if let Some((field, _, with)) = given.into_iter().find(|(_, given, _)| *given) {
        return Err(RuleError::ProcessCondition { field, with });
    }
    mode.check()
}

#[cfg(test)]
mod tests;
