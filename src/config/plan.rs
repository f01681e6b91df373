//! Plans and rules as values, read and written.

mod delay;
mod mode;
mod reader;
mod write;

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde_json::{Map, Value};

pub use mode::{DEFAULT_BODY, DEFAULT_DRIP, DEFAULT_LOCATION, DEFAULT_STATUS};
pub(super) use mode::{ModeParts, build, fields_of, status};
use reader::{Fields, Reader};
pub use write::write_rule;

use super::error::{ConfigError, Reason, nearest};
use crate::fault::{
    Action, Burst, ClientFilter, Cut, MAX_RULES, Mode, Networks, Rate, RequestWindow, Rule, RuleError,
    RuleName, Target, TimeWindow, Trigger, TriggerError,
};
use crate::units;

const RULE: &[&str] = &[
    "name", "target", "client", "from", "when", "rate", "burst", "ramp", "delay", "mode", "status",
    "location", "body", "drip",
];
const CLIENTS: &[&str] = &["kubelet", "other", "any"];
const LISTENER: &str = "listener";

/// A plan as it was written. The rules are checked, each for itself and their names among each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawPlan {
    /// The seed, if it has one.
    pub seed: Option<u64>,
    /// The rules in their order.
    pub rules: Vec<Rule>,
}

/// A plan `{seed, faults: […]}`, or everything that is wrong with it. `place` (a variable, a file; may be empty) stands
/// before each error.
pub fn read_plan(value: &Value, place: &str) -> Result<RawPlan, Vec<ConfigError>> {
    let mut reader = Reader::new(place.to_owned());
    let mut plan = RawPlan::default();
    if let Some(fields) = reader.mapping(value, "", &["seed", "faults"]) {
        plan.seed = reader.parsed(&fields, "seed", "a whole number", |text| whole(text, 0, u64::MAX));
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
                    match read_rule(fault, &place(i)) {
                        Ok(rule) => plan.rules.push(rule),
                        Err(errors) => reader.errors.extend(errors),
                    }
                }
                reader.errors.extend(taken_names(faults, place));
            }
            Some(other) => reader.fail_value("faults", other, Reason::Expected("a list of rules")),
        }
    }
    if reader.errors.is_empty() { Ok(plan) } else { Err(reader.errors) }
}

/// The errors of rules whose name an earlier one has, faulty as either may be.
fn taken_names(faults: &[Value], place: impl Fn(usize) -> String) -> Vec<ConfigError> {
    let mut first = HashMap::new();
    let mut errors = Vec::new();
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
    errors
}

/// One rule, or everything that is wrong with it. `place` stands before each error, followed by the rule's name.
pub fn read_rule(value: &Value, place: &str) -> Result<Rule, Vec<ConfigError>> {
    let mut reader = Reader::new(place_of(place, value));
    let rule = rule(&mut reader, value);
    match rule {
        Some(rule) if reader.errors.is_empty() => Ok(rule),
        _ => Err(reader.errors),
    }
}

fn place_of(place: &str, rule: &Value) -> String {
    match rule.get("name").and_then(Value::as_str) {
        Some(name) if !place.is_empty() => format!("{place} ({})", super::error::shown(name)),
        Some(name) => super::error::shown(name),
        None => place.to_owned(),
    }
}

fn rule(reader: &mut Reader, value: &Value) -> Option<Rule> {
    let fields = reader.mapping(value, "", RULE)?;
    let name = match reader.required(&fields, "name") {
        Some(Value::String(name)) => RuleName::new(name).map_err(|error| reader.fail("name", error)).ok(),
        Some(other) => {
            reader.fail_value("name", other, Reason::Expected("text"));
            None
        }
        None => None,
    };
    let target = target(reader, &fields);
    let client = reader
        .parsed(&fields, "client", "text", |text| {
            ClientFilter::from_name(text).ok_or_else(|| choice(text, CLIENTS.to_vec()))
        })
        .unwrap_or_default();
    let trigger = trigger(reader, &fields);
    let delay = fields.get("delay").and_then(|value| delay::read(reader, value));
    let action = match target? {
        Subject::Requests(targets) => {
            if let Some(from) = fields.get("from") {
                reader.fail_value(
                    "from",
                    from,
                    Reason::NotWith("requests; it is for target listener".into()),
                );
            }
            let mode = mode::read(reader, &fields);
            Action::Requests { targets, delay, mode }
        }
        Subject::Listener => listener(reader, &fields)?,
    };
    if !reader.errors.is_empty() {
        return None;
    }
    Rule::new(name?, client, trigger, action).map_err(|error| reader.fail(field_of(&error), error)).ok()
}

/// The field an error of the model is about.
const fn field_of(error: &RuleError) -> &'static str {
    match error {
        RuleError::Name(_) => "name",
        RuleError::NoTarget => "target",
        RuleError::Status(_) | RuleError::NoBody { .. } => "status",
        RuleError::Body(_) => "body",
        RuleError::Drip(_) => "drip",
        RuleError::Location(_) => "location",
        RuleError::Nothing | RuleError::ListenerCondition(_) => "",
    }
}

/// What a rule acts on.
enum Subject {
    Requests(crate::fault::Targets),
    Listener,
}

fn target(reader: &mut Reader, fields: &Fields<'_>) -> Option<Subject> {
    let names = {
        let value = reader.required(fields, "target")?;
        reader.texts(value, "target")?
    };
    let mut targets = crate::fault::Targets::NONE;
    let mut listener = false;
    let before = reader.errors.len();
    for name in &names {
        match Target::from_name(name) {
            Some(target) => targets = targets.with(target),
            None if name == LISTENER => listener = true,
            None => {
                let known = Target::ALL.iter().map(|target| target.name()).chain([LISTENER]).collect();
                reader.errors.push(reader.error("target", choice(name, known)).value(name));
            }
        }
    }
    match (listener, targets.is_empty()) {
        _ if reader.errors.len() > before => None,
        (true, true) => Some(Subject::Listener),
        (false, false) => Some(Subject::Requests(targets)),
        (true, false) => {
            reader.fail("target", Reason::ListenerWithOthers);
            None
        }
        (false, true) => {
            reader.fail("target", RuleError::NoTarget);
            None
        }
    }
}

fn trigger(reader: &mut Reader, fields: &Fields<'_>) -> Trigger {
    let (mut time, mut requests) = (None, None);
    if let Some(value) = fields.get("when")
        && let Some(when) = reader.mapping(value, "when", &["after", "for", "every", "requests"])
    {
        let before = reader.errors.len();
        let [after, length, period] = ["after", "for", "every"].map(|field| reader.duration(&when, field));
        if reader.errors.len() == before && [after, length, period].iter().any(Option::is_some) {
            time = TimeWindow::new(after.unwrap_or_default(), length, period)
                .map_err(|error| reader.fail("when", error))
                .ok();
        }
        if let Some(value) = when.get("requests") {
            requests = request_window(reader, value);
        }
    }
    let before = reader.errors.len();
    let rate = reader.parsed(fields, "rate", "a percentage such as 20%", |text| {
        Ok::<_, Reason>(Rate::from_percent(units::percent(text)?)?)
    });
    let rate_is_bad = reader.errors.len() > before;
    let rate = rate.unwrap_or(Rate::ALWAYS);
    let burst = reader.parsed(fields, "burst", "a number", |text| {
        let mean: f64 = text.parse().map_err(|_| Reason::Expected("a number"))?;
        match Burst::new(mean, rate) {
            Ok(burst) => Ok::<_, Reason>(Some(burst)),
            Err(error @ TriggerError::BurstOutOfRange(_)) => Err(error.into()),
            // Whether it fits the rate cannot be said.
            Err(_) if rate_is_bad => Ok(None),
            Err(error) => Err(error.into()),
        }
    });
    let ramp = reader.duration(fields, "ramp");
    if ramp.is_some_and(|ramp| ramp.is_zero()) {
        reader.fail("ramp", Reason::Trigger(TriggerError::Zero("ramp")));
    }
    Trigger { time, requests, rate, burst: burst.flatten(), ramp }
}

fn request_window(reader: &mut Reader, value: &Value) -> Option<RequestWindow> {
    let fields = reader.mapping(value, "when.requests", &["after", "for", "every"])?;
    let before = reader.errors.len();
    let [after, length, period] = ["after", "for", "every"]
        .map(|field| reader.parsed(&fields, field, "a whole number", |text| whole(text, 0, u64::MAX)));
    if reader.errors.len() > before {
        return None;
    }
    RequestWindow::new(after.unwrap_or(0), length, period)
        .map_err(|error| reader.fail("when.requests", error))
        .ok()
}

fn listener(reader: &mut Reader, fields: &Fields<'_>) -> Option<Action> {
    let of_requests = ["rate", "burst", "ramp", "delay", "status", "location", "body", "drip"];
    for field in of_requests {
        if fields.get(field).is_some() {
            reader.fail(field, Reason::NotWith("target listener, which knows no requests, only time".into()));
        }
    }
    if fields.get("when").is_some_and(|when| when.get("requests").is_some()) {
        reader.fail(
            "when.requests",
            Reason::NotWith("target listener, which knows no requests, only time".into()),
        );
    }
    let from = fields.get("from").map_or_else(|| Some(Networks::default()), |value| networks(reader, value));
    reader.required(fields, "mode");
    let cut = reader.parsed(fields, "mode", "text", |text| {
        Cut::from_name(text).ok_or_else(|| Reason::ModeOfTarget {
            target: "target listener",
            modes: Cut::ALL.iter().map(|cut| cut.name()).collect(),
        })
    });
    Some(Action::Listener { cut: cut?, from: from? })
}

fn networks(reader: &mut Reader, value: &Value) -> Option<Networks> {
    let mut networks = Networks::default();
    let texts = reader.texts(value, "from")?;
    if texts.is_empty() {
        reader.fail("from", Reason::Expected("a network; leave it out for all"));
    }
    for text in texts {
        let (list, address) = match text.strip_prefix('!') {
            Some(address) => (&mut networks.except, address),
            None => (&mut networks.within, text.as_str()),
        };
        match network(address.trim()) {
            Some(network) => list.push(network),
            None => reader.errors.push(reader.error("from", Reason::Network).value(&text)),
        }
    }
    Some(networks)
}

/// A network or a single address. Peers count as IPv4 where they are, so networks do, too.
fn network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpNet>() {
        Ok(network) => network.trunc(),
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
            Some(v4) => Ipv4Net::new(v4, v6.prefix_len() - 96).ok().map(IpNet::from),
            None => Some(network),
        },
        _ => Some(network),
    }
}

/// A whole number in a range.
pub(super) fn whole(text: &str, low: u64, high: u64) -> Result<u64, Reason> {
    let digits = text.bytes().all(|c| c.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && (low..=high).contains(&number) => Ok(number),
        _ => Err(Reason::Whole { low, high }),
    }
}

/// That `text` is none of some words.
pub(super) fn choice(text: &str, of: Vec<&'static str>) -> Reason {
    Reason::Choice { nearest: nearest(text, &of), of }
}

/// The modes of requests, as an error lists them.
fn request_modes() -> Vec<&'static str> {
    Mode::NAMES.to_vec()
}

#[cfg(test)]
mod tests;
