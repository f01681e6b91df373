//! Reads plans and rules from JSON or YAML values, and writes them.

mod answer;
mod connection;
mod delay;
pub mod document;
pub(crate) mod error;
mod listener;
mod mode;
pub(crate) mod process;
mod proxy;
mod reader;
mod request_match;
mod source;
mod target;
mod trigger;
mod value;
mod write;

use std::collections::HashMap;

use serde_json::{Map, Value};

pub use error::{ConfigError, Errors, Reason};
pub(crate) use listener::network;
use mode::listener_modes;
pub(crate) use mode::{grpc_status, request_mode, share, speed, status};
pub(crate) use proxy::parse_list as parse_proxies;
pub use proxy::{Proxy, ProxyUpstream, check_proxies, read_proxy, write_proxy};
use reader::FieldReader;
pub use source::Source;
use target::RuleSubject;
pub use target::check_targets;
pub use write::write_rule;

use crate::fault::{
    Action, ClientFilter, Container, FaultAnswer, ListenerName, MAX_RULES, OnConnection, Protocol, Replica,
    Rule, RuleError, RuleName, Target,
};
use crate::units;
use error::nearest;

const RULE: &[&str] = &[
    "name",
    "disabled",
    "target",
    "match",
    "client",
    "from",
    "pods",
    "when",
    "start",
    "until",
    "stagger",
    "rate",
    "burst",
    "ramp",
    "delay",
    "mode",
    "status",
    "location",
    "body",
    "drip",
    "speed",
    "share",
    "grpc_status",
    "grpc_message",
    "alert",
    "headers",
    "body_text",
    "forward",
    "connection",
    "stream",
    "after",
    "close_after",
    "piece",
    "piece_jitter",
    "pause",
    "code",
    "size",
    "cores",
    "path",
    "allow_node_pressure",
];
const CLIENTS: &[&str] = &["kubelet", "other", "any"];
/// The rule name used for requested faults.
const REQUESTED_RULE: &str = "request";

/// A plan of one source. Rules are checked, and their names are unique.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawPlan {
    /// The seed, if set.
    pub seed: Option<u64>,
    /// The rules in their order.
    pub rules: Vec<Rule>,
    /// Names of `disabled` rules; rules of these names from weaker sources are hidden.
    pub disabled: Vec<RuleName>,
    /// Whether all rules of all sources are stopped.
    pub stop: bool,
    /// The proxies; absent: unchanged.
    pub proxies: Option<Vec<Proxy>>,
}

/// Reads a plan `{seed, faults: […], proxies: […], stop}`. Reports all errors, each preceded by `place` (a variable or a
/// file; may be empty).
pub fn read_plan(value: &Value, place: &str) -> Result<RawPlan, Errors> {
    let mut reader = FieldReader::new(place.to_owned());
    let mut plan = RawPlan::default();
    if let Some(fields) = reader.mapping(value, "", &["seed", "faults", "stop", "proxies"]) {
        plan.seed = reader.parsed(&fields, "seed", "a whole number", |text| whole(text, 0, u64::MAX));
        if let Some(proxies) = fields.get("proxies") {
            match proxy::read_list(proxies, place) {
                Ok(proxies) => plan.proxies = Some(proxies),
                Err(errors) => reader.errors.append(errors),
            }
        }
        match fields.get("stop") {
            None => {}
            Some(Value::Bool(stop)) => plan.stop = *stop,
            Some(other) => reader.fail_value("stop", other, Reason::Expected("true or false")),
        }
        match fields.get("faults") {
            None => {}
            Some(Value::Array(faults)) if faults.len() > MAX_RULES => {
                reader.fail("faults", Reason::TooManyRules(faults.len()));
            }
            Some(Value::Array(faults)) => {
                let place = |i| {
                    if place.is_empty() { format!("faults[{i}]") } else { format!("{place}: faults[{i}]") }
                };
                for (i, fault) in faults.iter().enumerate() {
                    match read_entry(fault, &place(i)) {
                        Ok(PlanEntry::Rule(rule)) => plan.rules.push(*rule),
                        Ok(PlanEntry::Disabled(name)) => plan.disabled.push(name),
                        Err(errors) => reader.errors.append(errors),
                    }
                }
                taken_names(faults, place, &mut reader.errors);
            }
            Some(other) => reader.fail_value("faults", other, Reason::Expected("a list of rules")),
        }
    }
    if reader.errors.is_empty() { Ok(plan) } else { Err(reader.errors) }
}

/// Adds errors for duplicate names, even of rules with other errors.
fn taken_names(faults: &[Value], place: impl Fn(usize) -> String, errors: &mut Errors) {
    let mut first = HashMap::new();
    for (i, fault) in faults.iter().enumerate() {
        let Some(name) = fault.get("name").and_then(Value::as_str).and_then(|name| RuleName::new(name).ok())
        else {
            continue;
        };
        match first.get(&name) {
            Some(by) => errors.push(ConfigError::new(
                place_of(&place(i), fault),
                Reason::NameTaken { name, by: format!("faults[{by}]") },
            )),
            None => {
                first.insert(name, i);
            }
        }
    }
}

/// One entry of a plan.
#[derive(Clone, Debug, PartialEq)]
pub enum PlanEntry {
    /// A rule.
    Rule(Box<Rule>),
    /// A disabled rule; it hides rules of its name from weaker sources.
    Disabled(RuleName),
}

/// Reads a rule that may be `disabled`, which then needs only a name. Errors are those of [`read_rule`].
pub fn read_entry(value: &Value, place: &str) -> Result<PlanEntry, Errors> {
    let is_disabled = value.get("disabled") == Some(&Value::Bool(true));
    let has_name_alone =
        value.as_object().is_some_and(|fields| fields.len() == 2 && fields.contains_key("name"));
    if is_disabled && has_name_alone {
        let mut reader = FieldReader::new(place_of(place, value));
        return match value.get("name").and_then(|value| name(&mut reader, value)) {
            Some(name) => Ok(PlanEntry::Disabled(name)),
            None => Err(reader.errors),
        };
    }
    let rule = read_rule(value, place)?;
    Ok(if is_disabled { PlanEntry::Disabled(rule.name().clone()) } else { PlanEntry::Rule(Box::new(rule)) })
}

/// Reads one rule. Reports all errors, each preceded by `place` and the rule's name.
pub fn read_rule(value: &Value, place: &str) -> Result<Rule, Errors> {
    let mut reader = FieldReader::new(place_of(place, value));
    if value.get("name").and_then(Value::as_str) == Some(REQUESTED_RULE) {
        reader.fail("name", Reason::ReservedName);
    }
    finished(reader, value)
}

/// Reads the rule of a requested fault, from fields without name and target. `place` precedes each error.
pub fn read_requested(mut fields: Map<String, Value>, place: &str) -> Result<Rule, Errors> {
    fields.insert("name".to_owned(), REQUESTED_RULE.into());
    fields.insert("target".to_owned(), Target::Traffic.name().into());
    finished(FieldReader::new(place.to_owned()), &Value::Object(fields))
}

fn finished(mut reader: FieldReader, value: &Value) -> Result<Rule, Errors> {
    let rule = rule(&mut reader, value);
    match rule {
        Some(rule) if reader.errors.is_empty() => Ok(rule),
        _ => Err(reader.errors),
    }
}

fn place_of(place: &str, rule: &Value) -> String {
    match rule.get("name").and_then(Value::as_str) {
        Some(name) if !place.is_empty() => format!("{place} ({})", error::shown(name)),
        Some(name) => error::shown(name),
        None => place.to_owned(),
    }
}

fn rule(reader: &mut FieldReader, value: &Value) -> Option<Rule> {
    let fields = reader.mapping(value, "", RULE)?;
    let name = reader.required(&fields, "name").and_then(|value| name(reader, value));
    if let Some(value) = fields.get("disabled").filter(|value| !value.is_boolean()) {
        reader.fail_value("disabled", value, Reason::Expected("true or false"));
    }
    let target = target::target(reader, &fields);
    let client = reader
        .parsed(&fields, "client", "text", |text| {
            ClientFilter::from_name(&text.to_ascii_lowercase()).ok_or_else(|| choice(text, CLIENTS.to_vec()))
        })
        .unwrap_or_default();
    let request_match = request_match::read(reader, &fields);
    let trigger = trigger::read(reader, &fields);
    // For the process, it is a duration.
    let delay = fields.get("delay").filter(|_| !matches!(target, Some(RuleSubject::Process)));
    let delay = delay.and_then(|value| delay::read(reader, value));
    let (mut answer, mut on_connection) = (FaultAnswer::default(), OnConnection::default());
    let action = match target? {
        RuleSubject::Requests(targets) if connection::is_partition(&fields, &targets) => {
            let [name] = targets.proxies() else {
                reader.fail("target", Reason::PartitionOfProxies);
                return None;
            };
            listener::read(reader, &fields, ListenerName::Proxy(name.clone()))?
        }
        RuleSubject::Requests(targets) => {
            if let Some(from) = fields.get("from") {
                reader.fail_value(
                    "from",
                    from,
                    Reason::NotWith(
                        "requests; it is for target listener, and for refuse, drop and reset of a proxy"
                            .into(),
                    ),
                );
            }
            let has_proxies = !targets.proxies().is_empty();
            let mode = mode::read(reader, &fields, has_proxies);
            on_connection = connection::read(reader, &fields);
            answer = answer::read(reader, &fields);
            Action::Requests { targets, delay, mode }
        }
        RuleSubject::Listener => listener::read(reader, &fields, ListenerName::Probe)?,
        RuleSubject::Process => process::read(reader, &fields)?,
    };
    if !matches!(action, Action::Process { .. }) {
        process::refuse_fields(reader, &fields);
    }
    if !reader.errors.is_empty() {
        return None;
    }
    let rule = Rule::new(name?, client, trigger, action)
        .and_then(|rule| rule.with_answer(answer))
        .and_then(|rule| rule.with_connection(on_connection));
    // The protocol of a proxy is known only once all sources are known.
    let rule = rule.and_then(|rule| {
        let has_classes = rule.targets().iter().next().is_some();
        if has_classes { rule.check_protocol(Protocol::Http).map(|()| rule) } else { Ok(rule) }
    });
    let rule = rule.and_then(|rule| match request_match {
        Some(request_match) => rule.with_match(request_match),
        None => Ok(rule),
    });
    rule.map_err(|error| reader.fail(field_of(&error), error)).ok()
}

fn name(reader: &mut FieldReader, value: &Value) -> Option<RuleName> {
    match value {
        Value::String(name) => RuleName::new(name).map_err(|error| reader.fail("name", error)).ok(),
        other => {
            reader.fail_value("name", other, Reason::Expected("text"));
            None
        }
    }
}

/// Errors of rules that need an identity that this replica lacks.
pub fn check_replica<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
    replica: &Replica,
    place: &str,
) -> Errors {
    let error = |rule: &Rule| {
        let error = rule.check_replica(replica).err()?;
        let place =
            if place.is_empty() { rule.name().to_string() } else { format!("{place}: {}", rule.name()) };
        Some(ConfigError::new(place, error.clone()).field(field_of(&error)))
    };
    rules.into_iter().filter_map(error).collect()
}

/// Errors of faults that are not possible in this container.
pub fn check_container<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
    container: &Container,
    place: &str,
) -> Errors {
    let errors = |rule: &'a Rule| {
        let place =
            if place.is_empty() { rule.name().to_string() } else { format!("{place}: {}", rule.name()) };
        let error =
            move |error: RuleError| ConfigError::new(place.clone(), error.clone()).field(field_of(&error));
        rule.check_container(container).into_iter().map(error)
    };
    rules.into_iter().flat_map(errors).collect()
}

/// The field that caused an error of a rule.
const fn field_of(error: &RuleError) -> &'static str {
    match error {
        RuleError::Name(_) | RuleError::ReservedName(_) => "name",
        RuleError::NoTarget => "target",
        RuleError::Status(_) | RuleError::NoBody { .. } => "status",
        RuleError::Body(_) => "body",
        RuleError::Drip(_) => "drip",
        RuleError::Location(_) => "location",
        RuleError::Speed(_) => "speed",
        RuleError::Share => "share",
        RuleError::GrpcMessage(_) => "grpc_message",
        RuleError::Headers(_)
        | RuleError::HeadersSize(_)
        | RuleError::HeaderName(_)
        | RuleError::HeaderReserved { .. }
        | RuleError::HeaderValue(_) => "headers",
        RuleError::BodyText(_) | RuleError::EmptyBodyText(_) | RuleError::BodyTextStatus(_) => "body_text",
        RuleError::NoReplica(field)
        | RuleError::ProcessCondition { field, .. }
        | RuleError::OnlyOnTcp(field)
        | RuleError::NotOnTcp { field, .. } => field,
        RuleError::NoOrdinal => "pods",
        RuleError::ProcessClient | RuleError::HandshakeClient => "client",
        RuleError::HandshakeRequests => "when.requests",
        RuleError::HandshakeWithoutTls(_) => "mode",
        RuleError::NoSize
        | RuleError::SizePercent(_)
        | RuleError::PercentWithoutLimit
        | RuleError::MemoryWithoutLimit(_)
        | RuleError::MemoryAboveMachine { .. } => "size",
        RuleError::Cores(_) | RuleError::CoresWithoutLimit(_) | RuleError::CoresAboveMachine { .. } => {
            "cores"
        }
        RuleError::TermDelay(_) => "delay",
        RuleError::Path(_) => "path",
        RuleError::StartsWithoutState => "when.starts",
        RuleError::RateWithoutState => "rate",
        RuleError::Match(_) => "match",
        RuleError::Piece => "piece",
        RuleError::ConnectionTime(_)
        | RuleError::Nothing
        | RuleError::ListenerCondition(_)
        | RuleError::FieldOfMode { .. }
        | RuleError::FieldWithoutMode(_)
        | RuleError::Trigger(_) => "",
    }
}

/// A whole number in a range.
pub(super) fn whole(text: &str, low: u64, high: u64) -> Result<u64, Reason> {
    let digits = units::unsigned(text);
    let is_number = digits.bytes().all(|c| c.is_ascii_digit());
    match digits.parse() {
        Ok(number) if is_number && (low..=high).contains(&number) => Ok(number),
        _ => Err(Reason::Whole { low, high }),
    }
}

/// The error of a word that is not one of `of`.
pub(super) fn choice(text: &str, of: Vec<&'static str>) -> Reason {
    Reason::Choice { nearest: nearest(text, &of), of }
}

#[cfg(test)]
mod tests;
