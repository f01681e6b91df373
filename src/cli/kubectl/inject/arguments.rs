//! The arguments of `kubectl probesim inject`.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::{Value, json};

use crate::attach::APPLICATION;
use crate::cli::attach::protocol;
use crate::cli::fault;
use crate::cli::kubectl::error::UsageError;
use crate::cli::kubectl::options::Options;
use crate::cli::shared::{self, ArgumentError};
use crate::fault::{Protocol, ProxyName};
use crate::plan;

/// How long an injection lasts unless `--for` says otherwise.
const TIME: Duration = Duration::from_secs(5 * 60);

/// The longest plan, in bytes. It becomes a variable of the container, which is kept in the Pod.
const MAX_PLAN: usize = 64 * 1024;

/// Rule options of `fault add` that take no value.
const RULE_FLAGS: [&str; 3] = ["--forward", "--connection", "--allow-node-pressure"];

/// What `attach` is told beside the rules.
const ATTACH_FLAGS: [&str; 3] = ["--existing", INCLUDE_PROBES, "--as-localhost"];
const INCLUDE_PROBES: &str = "--include-probes";

/// Options of the plugin itself that take no value.
const FLAGS: [&str; 4] = ["--stop", "--yes", "-y", "--detach"];

/// Options of `fault add` that say how a service is reached; here the plugin knows that.
const PLACES: [&str; 3] = ["--admin", "--admin-ca", "--admin-insecure"];

/// A checked call.
#[derive(Debug)]
pub(in crate::cli::kubectl) struct InjectCall {
    /// As kubectl takes it: `deploy/web`. Without one, the Pods of `--selector` or `--pod`.
    pub(super) object: Option<String>,
    /// By number or name; without one, the only one that Services, probes or the container name.
    pub(super) port: Option<String>,
    /// What to inject; nothing ends what is injected.
    pub(super) injection: Option<Injection>,
}

/// What is injected, and how.
#[derive(Debug, Default)]
pub(in crate::cli::kubectl) struct Injection {
    pub(super) time: Duration,
    /// As it was given; without it, what names of ports say.
    pub(super) protocol: Option<Protocol>,
    /// Flags of `attach`.
    pub(super) flags: Vec<String>,
    /// The rule, as arguments of `attach`; none where it is a plan's.
    pub(super) rule: Vec<String>,
    /// The rules, as a plan has them.
    pub(super) plan: Vec<Value>,
    pub(super) image: Option<String>,
    pub(super) run_as: Option<User>,
    /// Does not ask.
    pub(super) is_sure: bool,
    /// The namespace that needs no label.
    pub(super) namespace: Option<String>,
    /// Returns when it has begun.
    pub(super) detaches: bool,
}

impl Injection {
    /// The rules for a port of this protocol, which may be another one than the one they were written for.
    ///
    /// # Errors
    ///
    /// They cannot act on TCP.
    pub(super) fn plan_for(&self, protocol: Protocol) -> Result<Vec<Value>, String> {
        let mut plan = self.plan.clone();
        if protocol == self.protocol.unwrap_or(Protocol::Http) {
            return Ok(plan);
        }
        for fields in plan.iter_mut().filter_map(Value::as_object_mut) {
            fields.insert("target".to_owned(), APPLICATION.into());
            if self.acts_on_kubelet() {
                fields.remove("client");
            }
        }
        match wrong_rules(&plan, Protocol::Tcp, "").into_iter().next() {
            Some(wrong) => Err(wrong),
            None => Ok(plan),
        }
    }

    /// Whether the rules act on the kubelet, too.
    pub(super) fn acts_on_kubelet(&self) -> bool {
        self.flags.iter().any(|flag| flag == INCLUDE_PROBES)
    }
}

/// The user of a process, and its group if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli::kubectl) struct User {
    pub(super) user: u32,
    pub(super) group: Option<u32>,
}

/// Words as they were written.
#[derive(Default)]
struct Raw {
    objects: Vec<String>,
    stops: bool,
    injection: Injection,
    /// What was given and means nothing with `--stop`.
    given: Vec<String>,
}

/// Reads the words after `inject`. `port` and `file` are options that other verbs have, too.
pub(in crate::cli::kubectl) fn parse(
    words: Vec<String>,
    port: Option<String>,
    file: Option<String>,
    options: &Options,
    errors: &mut Vec<UsageError>,
) -> InjectCall {
    let mut raw = Raw { injection: Injection { time: TIME, ..Injection::default() }, ..Raw::default() };
    raw.read(words, errors);
    let is_port = |port: &str| {
        port.parse::<u16>().is_ok_and(|number| number > 0) || port.contains(|c: char| c.is_ascii_alphabetic())
    };
    if let Some(port) = port.as_ref().filter(|port| !is_port(port)) {
        errors.push(UsageError::Port(port.clone()));
    }
    let is_selected = options.selector.is_some() || !options.pods.is_empty();
    match raw.objects.as_slice() {
        [] if !is_selected => errors.push(UsageError::NoTarget),
        [object] if is_selected => {
            errors.push(UsageError::Pair(object.clone(), "--selector or --pod"));
        }
        [object] if !is_object(object) => errors.push(UsageError::Object(object.clone())),
        [_, extra, ..] => errors.push(ArgumentError::Extra(extra.clone()).into()),
        _ => {}
    }
    let object = raw.objects.first().cloned();
    if raw.stops {
        raw.given.extend(file.iter().map(|_| "--file".to_owned()));
        raw.given.extend(options.share.iter().map(|_| "--pods".to_owned()));
        errors.extend(raw.given.into_iter().map(|given| UsageError::Pair(given, "--stop")));
        return InjectCall { object, port, injection: None };
    }
    raw.check_rules(file, errors);
    InjectCall { object, port, injection: Some(raw.injection) }
}

fn is_object(text: &str) -> bool {
    text.split_once('/').is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty())
}

impl Raw {
    fn read(&mut self, words: Vec<String>, errors: &mut Vec<UsageError>) {
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if !word.starts_with('-') {
                self.objects.push(word);
                continue;
            }
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.clone(), None),
            };
            let takes_none = FLAGS.contains(&name.as_str()) || ATTACH_FLAGS.contains(&name.as_str());
            if takes_none && value.is_some() {
                errors.push(ArgumentError::Value(name).into());
                continue;
            }
            if let Some(place) = PLACES.into_iter().find(|place| *place == name) {
                errors.push(UsageError::Elsewhere(place, "verbs of fault"));
                // Its value is no object.
                if value.is_none() && place != "--admin-insecure" {
                    words.next();
                }
                continue;
            }
            if name == "--stop" {
                self.stops = true;
                continue;
            }
            self.given.push(name.clone());
            match name.as_str() {
                "--yes" | "-y" => self.injection.is_sure = true,
                "--detach" => self.injection.detaches = true,
                flag if ATTACH_FLAGS.contains(&flag) => self.injection.flags.push(word),
                "--for" | "--protocol" | "--image" | "--run-as" | "--yes-namespace" => {
                    match value.or_else(|| words.next()) {
                        Some(value) => self.take(&name, value, errors),
                        None => errors.push(ArgumentError::NoValue(name).into()),
                    }
                }
                // Whether it is an option of a rule is found where rules are read.
                flag => {
                    let takes_next = value.is_none() && !RULE_FLAGS.contains(&flag);
                    self.injection.rule.push(word);
                    self.injection.rule.extend(takes_next.then(|| words.next()).flatten());
                }
            }
        }
    }

    fn take(&mut self, name: &str, value: String, errors: &mut Vec<UsageError>) {
        match name {
            "--for" => match shared::positive_duration("--for", value) {
                Ok(time) => self.injection.time = time,
                Err(error) => errors.push(error.into()),
            },
            "--protocol" => match protocol(&value) {
                Some(protocol) => self.injection.protocol = Some(protocol),
                None => errors.push(UsageError::Protocol(value)),
            },
            "--image" if value.is_empty() || value.contains(char::is_whitespace) => {
                errors.push(UsageError::Image(value));
            }
            "--image" => self.injection.image = Some(value),
            "--run-as" => match user(&value) {
                Some(user) => self.injection.run_as = Some(user),
                None => errors.push(UsageError::User(value)),
            },
            _ => self.injection.namespace = Some(value),
        }
    }

    /// Checks rules as `attach` does, so that a mistake is found before any Pod is asked.
    fn check_rules(&mut self, file: Option<String>, errors: &mut Vec<UsageError>) {
        let injection = &mut self.injection;
        if injection.rule.is_empty() && file.is_none() {
            errors.push(UsageError::NoRule);
            return;
        }
        let protocol = injection.protocol.unwrap_or(Protocol::Http);
        let mut words = vec!["add".to_owned(), "--for=ever".to_owned()];
        match &file {
            Some(file) => words.push(format!("--file={file}")),
            None => words.push(target_of(protocol).to_owned()),
        }
        words.extend(injection.rule.iter().cloned());
        match fault::rules_to_add(words.into_iter().map(OsString::from)) {
            Ok(rules) => injection.plan = rules,
            Err(wrong) => return errors.extend(wrong.into_iter().map(UsageError::Fault)),
        }
        let acts_on_kubelet = injection.acts_on_kubelet();
        for (position, rule) in injection.plan.iter_mut().enumerate() {
            complete(position, rule, protocol, acts_on_kubelet, errors);
        }
        let wrong = wrong_rules(&injection.plan, protocol, file.as_deref().unwrap_or_default());
        errors.extend(wrong.into_iter().map(UsageError::Fault));
        let plan = json!({ "faults": injection.plan });
        let length = plan.to_string().len();
        if let Some(file) = file
            && length > MAX_PLAN
        {
            errors.push(UsageError::Plan(file, length, MAX_PLAN));
        }
    }
}

/// The target of rules on a port of this protocol.
fn target_of(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "traffic",
        Protocol::Tcp => APPLICATION,
    }
}

/// What is wrong with rules on a port of this protocol, one line each. `place` is what they are called there.
fn wrong_rules(rules: &[Value], protocol: Protocol, place: &str) -> Vec<String> {
    let plan = match plan::read_plan(&json!({ "faults": rules }), place) {
        Ok(plan) => plan,
        Err(wrong) => return wrong.lines(),
    };
    let name = ProxyName::new(APPLICATION).ok().filter(|_| protocol == Protocol::Tcp);
    let names: Vec<_> = name.iter().map(|name| (name, Protocol::Tcp)).collect();
    let rules = plan.rules.iter().map(|rule| (rule, rule.name().to_string()));
    plan::check_targets(rules, &names).lines()
}

/// Gives a rule what it lacks of name, target and client. A rule of another target is an error.
fn complete(
    position: usize,
    rule: &mut Value,
    protocol: Protocol,
    acts_on_kubelet: bool,
    errors: &mut Vec<UsageError>,
) {
    let Some(fields) = rule.as_object_mut() else { return };
    let name = if position == 0 { "inject".to_owned() } else { format!("inject-{}", position + 1) };
    fields.entry("name").or_insert(name.into());
    let right = target_of(protocol);
    let target = fields.entry("target").or_insert(right.into());
    if *target != right && *target != json!([right]) {
        errors.push(UsageError::Target(target.to_string(), right));
    }
    if acts_on_kubelet && protocol == Protocol::Http {
        fields.entry("client").or_insert("any".into());
    }
}

/// `UID` or `UID:GID`.
fn user(text: &str) -> Option<User> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group.parse().ok()?)),
        None => (text, None),
    };
    Some(User { user: user.parse().ok()?, group })
}
