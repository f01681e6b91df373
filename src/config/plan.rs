//! Plans as they are written, to rules.

use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::error::{ConfigError, Reason};
use crate::fault::{
    Action, Burst, ClientFilter, Cut, Delay, DelayError, Mode, Networks, Partial, Rate, RequestWindow, Rule,
    RuleName, Target, Targets, TimeWindow, Trigger,
};
use crate::units::{self, Bare};

/// What a status is where none is given.
pub const DEFAULT_STATUS: u16 = 500;
/// Bytes of a body before its fault where no size is given.
pub const DEFAULT_BODY: u64 = 16;
/// How long a dripping body takes where no time is given.
pub const DEFAULT_DRIP: Duration = Duration::from_secs(5);
/// Where a redirect leads where no location is given: to another host, which the kubelet does not follow.
pub const DEFAULT_LOCATION: &str = "http://probesim.invalid/";

const PLAN_FIELDS: [&str; 2] = ["seed", "faults"];
const RULE_FIELDS: [&str; 14] = [
    "name", "target", "client", "when", "rate", "burst", "ramp", "delay", "mode", "status", "body", "drip",
    "location", "from",
];
const TIME_FIELDS: [&str; 4] = ["after", "for", "every", "requests"];
const REQUEST_FIELDS: [&str; 3] = ["after", "for", "every"];
const DELAY_FIELDS: [&str; 8] = ["fixed", "jitter", "distribution", "median", "mean", "p50", "p90", "p99"];
const TARGETS: &[&str] = &["liveness", "readiness", "startup", "dependency", "traffic", "listener"];
const CLIENTS: &[&str] = &["kubelet", "other", "any"];
const DISTRIBUTIONS: &[&str] = &["uniform", "normal", "lognormal", "exponential"];
const CUTS: &[&str] = &["drop", "refuse", "reset"];

/// A plan as it was read: its rules are checked each for itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawPlan {
    /// The seed, if it names one.
    pub seed: Option<u64>,
    /// The rules in their order.
    pub rules: Vec<Rule>,
}

/// Reads a plan: `{seed, faults: [...]}`.
pub fn read_plan(value: &Value, place: &str) -> Result<RawPlan, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let mut plan = RawPlan::default();
    if let Some(mut fields) = Fields::of(value, place, &mut errors) {
        plan.seed = fields.take("seed", &mut errors, |value| {
            value.as_u64().ok_or(Reason::Range { least: 0, most: u64::MAX })
        });
        let faults = fields.take("faults", &mut errors, |value| {
            value.as_array().cloned().ok_or(Reason::Type("a list of rules"))
        });
        for (i, rule) in faults.iter().flatten().enumerate() {
            match read_rule(rule, &format!("{place}: faults[{i}]")) {
                Ok(rule) => plan.rules.push(rule),
                Err(wrong) => errors.extend(wrong),
            }
        }
        fields.rest(&PLAN_FIELDS, &mut errors);
    }
    if errors.is_empty() { Ok(plan) } else { Err(errors) }
}

/// Reads one rule; otherwise everything that is wrong with it.
pub fn read_rule(value: &Value, place: &str) -> Result<Rule, Vec<ConfigError>> {
    let named = value.get("name").and_then(Value::as_str);
    let place = named.map_or_else(|| place.to_owned(), |name| format!("{place} ({})", name.escape_debug()));
    let mut errors = Vec::new();
    let rule = Fields::of(value, &place, &mut errors).and_then(|fields| rule(fields, &mut errors));
    match rule {
        Some(rule) if errors.is_empty() => Ok(rule),
        _ => Err(errors),
    }
}

fn rule(mut fields: Fields<'_>, errors: &mut Vec<ConfigError>) -> Option<Rule> {
    let name = fields.take("name", errors, |value| RuleName::new(text(value)?).map_err(Reason::Rule));
    if !fields.had("name") {
        fields.error(None, Reason::Missing("name"), errors);
    }
    let subject = fields.take("target", errors, subject);
    if !fields.had("target") {
        fields.error(None, Reason::Missing("target"), errors);
    }
    let client = fields
        .take("client", errors, |value| ClientFilter::from_name(text(value)?).ok_or(Reason::OneOf(CLIENTS)));
    let trigger = trigger(&mut fields, errors);
    let delay = fields.value("delay").and_then(|value| delay(value, &fields.at("delay"), errors));
    let action = match subject {
        Some(Subject::Listener) => listener(&mut fields, delay.is_some(), errors),
        Some(Subject::Requests(targets)) => {
            let mode = mode(&mut fields, errors);
            fields.refuse("from", "requests: it cuts networks off the listener", errors);
            Some(Action::Requests { targets, delay, mode })
        }
        None => None,
    };
    fields.rest(&RULE_FIELDS, errors);
    if !errors.is_empty() {
        return None;
    }
    match Rule::new(name?, client.unwrap_or_default(), trigger?, action?) {
        Ok(rule) => Some(rule),
        Err(error) => {
            fields.error(None, Reason::Rule(error), errors);
            None
        }
    }
}

enum Subject {
    Requests(Targets),
    Listener,
}

fn subject(value: &Value) -> Result<Subject, Reason> {
    let words: Vec<&Value> = match value {
        Value::Array(words) => words.iter().collect(),
        word => vec![word],
    };
    let mut targets = Targets::NONE;
    let mut listener = false;
    for word in &words {
        match text(word).map_err(|_| Reason::OneOf(TARGETS))? {
            "listener" => listener = true,
            word => targets = targets.with(Target::from_name(word).ok_or(Reason::OneOf(TARGETS))?),
        }
    }
    match (listener, targets.is_empty()) {
        (true, true) => Ok(Subject::Listener),
        (true, false) => Err(Reason::ListenerWithOthers),
        (false, _) => Ok(Subject::Requests(targets)),
    }
}

fn trigger(fields: &mut Fields<'_>, errors: &mut Vec<ConfigError>) -> Option<Trigger> {
    let before = errors.len();
    let (mut time, mut requests) = (None, None);
    let place = fields.at("when");
    if let Some(mut when) = fields.value("when").and_then(|value| Fields::of(value, &place, errors)) {
        let after = when.take("after", errors, span);
        let length = when.take("for", errors, span);
        let period = when.take("every", errors, span);
        if after.is_some() || length.is_some() || period.is_some() {
            time = when.check(TimeWindow::new(after.unwrap_or_default(), length, period), errors);
        }
        let place = when.at("requests");
        if let Some(mut window) = when.value("requests").and_then(|value| Fields::of(value, &place, errors)) {
            let after = window.take("after", errors, count);
            let length = window.take("for", errors, count);
            let period = window.take("every", errors, count);
            requests = window.check(RequestWindow::new(after.unwrap_or(0), length, period), errors);
            window.rest(&REQUEST_FIELDS, errors);
        }
        when.rest(&TIME_FIELDS, errors);
    }
    let rate = fields.take("rate", errors, |value| match value {
        Value::Number(number) => Err(Reason::Unit(units::UnitError::PercentSign(format!("{number}%")))),
        value => {
            Rate::from_percent(units::percent(text(value)?).map_err(Reason::Unit)?).map_err(Reason::Trigger)
        }
    });
    let rate = rate.unwrap_or(Rate::ALWAYS);
    let burst = fields.take("burst", errors, |value| {
        let mean = value.as_f64().ok_or(Reason::Type("a number of requests"))?;
        Burst::new(mean, rate).map_err(Reason::Trigger)
    });
    let ramp = fields.take("ramp", errors, span).filter(|ramp| !ramp.is_zero());
    (errors.len() == before).then_some(Trigger { time, requests, rate, burst, ramp })
}

fn delay(value: &Value, place: &str, errors: &mut Vec<ConfigError>) -> Option<Delay> {
    if value.is_string() || value.is_number() {
        let delay = span(value).and_then(|delay| Delay::fixed(delay).map_err(Reason::Delay));
        return delay.map_err(|reason| errors.push(wrong(place, value, reason))).ok();
    }
    let mut fields = Fields::of(value, place, errors)?;
    let before = errors.len();
    let distribution = fields.take("distribution", errors, |value| {
        let word = text(value)?;
        DISTRIBUTIONS.iter().find(|known| **known == word).copied().ok_or(Reason::OneOf(DISTRIBUTIONS))
    });
    let fixed = fields.take("fixed", errors, span);
    let jitter = fields.take("jitter", errors, span);
    let median = fields.take("median", errors, span);
    let mean = fields.take("mean", errors, span);
    let table = percentiles(&mut fields, errors);
    fields.rest(&DELAY_FIELDS, errors);
    if errors.len() > before {
        return None;
    }
    // Which fields belong to which form; another one would be ignored in silence.
    let given = [
        ("fixed", fixed.is_some()),
        ("jitter", jitter.is_some()),
        ("median", median.is_some()),
        ("mean", mean.is_some()),
    ];
    let form: (&str, &[&str]) = match distribution {
        Some("lognormal") => ("distribution lognormal", &["median"]),
        Some("exponential") => ("distribution exponential", &["mean"]),
        _ if table.is_empty() || fixed.is_some() => ("a fixed delay", &["fixed", "jitter"]),
        _ => ("a table of percentiles", &[]),
    };
    for (field, _) in given.iter().filter(|(field, given)| *given && !form.1.contains(field)) {
        let what = form.0.to_owned();
        fields.error(None, Reason::NotFor { field, what }, errors);
    }
    let only_p99 = table.len() == 1 && fields.had("p99");
    if form.0 != "a table of percentiles"
        && !table.is_empty()
        && !(distribution == Some("lognormal") && only_p99)
    {
        fields.error(None, Reason::NotFor { field: "p…", what: form.0.to_owned() }, errors);
    }
    if errors.len() > before {
        return None;
    }
    let missing = |field| Err(Reason::Missing(field));
    let built = |delay: Result<Delay, DelayError>| delay.map_err(Reason::Delay);
    let delay = match distribution {
        Some("lognormal") => match (median, table.first()) {
            (Some(median), Some((_, p99))) => built(Delay::log_normal(median, *p99)),
            (None, _) => missing("median"),
            (_, None) => missing("p99"),
        },
        Some("exponential") => mean.map_or_else(|| missing("mean"), |mean| built(Delay::exponential(mean))),
        _ if !table.is_empty() => built(Delay::percentiles(table)),
        normal => match (fixed, jitter) {
            (None, _) => missing("fixed"),
            (Some(fixed), None) => built(Delay::fixed(fixed)),
            (Some(fixed), Some(jitter)) if normal == Some("normal") => built(Delay::normal(fixed, jitter)),
            (Some(fixed), Some(jitter)) => built(Delay::uniform(fixed, jitter)),
        },
    };
    fields.keep(delay, errors)
}

/// All fields such as `p50` and `p99.9`.
fn percentiles(fields: &mut Fields<'_>, errors: &mut Vec<ConfigError>) -> Vec<(f64, Duration)> {
    let names: Vec<String> = fields.map.keys().filter(|name| percentile(name).is_some()).cloned().collect();
    let mut table = Vec::new();
    for name in names {
        let delay = fields.take(&name, errors, span);
        table.extend(percentile(&name).zip(delay));
    }
    table
}

fn percentile(name: &str) -> Option<f64> {
    let digits = name.strip_prefix('p')?;
    let plain = digits.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    (plain && digits.starts_with(|c: char| c.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

fn mode(fields: &mut Fields<'_>, errors: &mut Vec<ConfigError>) -> Option<Mode> {
    let name = fields.take("mode", errors, |value| {
        let word = text(value)?;
        match Mode::NAMES.iter().find(|known| **known == word) {
            Some(known) => Ok(*known),
            None if CUTS.contains(&word) => Err(Reason::ModeForTarget {
                mode: word.to_owned(),
                target: "requests",
                allowed: &Mode::NAMES,
            }),
            None => Err(Reason::OneOf(&Mode::NAMES)),
        }
    });
    let what = match name {
        Some(name) => format!("mode {name}"),
        None if fields.had("mode") => return None,
        None => "a rule without a mode".to_owned(),
    };
    let mut allow = |field: &'static str, modes: &[&str], errors: &mut Vec<ConfigError>| {
        if !name.is_some_and(|name| modes.contains(&name)) {
            fields.refuse(field, &what, errors);
        }
    };
    let bodies = ["truncate", "body-hang", "body-reset", "malformed", "drip"];
    allow("status", &["status", "truncate", "body-hang", "body-reset", "malformed", "drip"], errors);
    allow("body", &bodies, errors);
    allow("drip", &["drip"], errors);
    allow("location", &["redirect"], errors);
    let status = fields.take("status", errors, |value| {
        value
            .as_u64()
            .and_then(|status| u16::try_from(status).ok())
            .ok_or(Reason::Range { least: 200, most: 599 })
    });
    let body = fields.take("body", errors, |value| match value {
        Value::String(size) => units::size(size).map_err(Reason::Unit),
        value => value.as_u64().ok_or(Reason::Unit(units::UnitError::Size)),
    });
    let drip = fields.take("drip", errors, span);
    let location = fields.take("location", errors, |value| Ok(text(value)?.to_owned()));
    Some(build_mode(name?, status, body, drip, location))
}

/// The mode of that name; what is not given has its default.
pub(super) fn build_mode(
    name: &str,
    status: Option<u16>,
    body: Option<u64>,
    drip: Option<Duration>,
    location: Option<String>,
) -> Mode {
    let status = status.unwrap_or(DEFAULT_STATUS);
    let partial = Partial { status, body: body.unwrap_or(DEFAULT_BODY) };
    match name {
        "redirect" => Mode::Redirect(location.unwrap_or_else(|| DEFAULT_LOCATION.to_owned())),
        "hang" => Mode::Hang,
        "close" => Mode::Close,
        "reset" => Mode::Reset,
        "garbage" => Mode::Garbage,
        "truncate" => Mode::Truncate(partial),
        "body-hang" => Mode::BodyHang(partial),
        "body-reset" => Mode::BodyReset(partial),
        "malformed" => Mode::Malformed(partial),
        "drip" => Mode::Drip { partial, over: drip.unwrap_or(DEFAULT_DRIP) },
        _ => Mode::Status(status),
    }
}

fn listener(fields: &mut Fields<'_>, has_delay: bool, errors: &mut Vec<ConfigError>) -> Option<Action> {
    let cut = fields.take("mode", errors, |value| {
        let word = text(value)?;
        Cut::from_name(word).ok_or_else(|| Reason::ModeForTarget {
            mode: word.escape_debug().to_string(),
            target: "listener",
            allowed: CUTS,
        })
    });
    if !fields.had("mode") {
        fields.error(None, Reason::Missing("mode"), errors);
    }
    if has_delay {
        let what = "target listener".to_owned();
        fields.error(None, Reason::NotFor { field: "delay", what }, errors);
    }
    for field in ["status", "body", "drip", "location"] {
        fields.refuse(field, "target listener", errors);
    }
    let from = fields.take("from", errors, networks);
    Some(Action::Listener { cut: cut?, from: from.unwrap_or_default() })
}

fn networks(value: &Value) -> Result<Networks, Reason> {
    let mut networks = Networks::default();
    let words: Vec<&Value> = value.as_array().map_or_else(|| vec![value], |words| words.iter().collect());
    for word in words {
        let word = text(word)?;
        match word.strip_prefix('!') {
            Some(spared) => networks.except.push(network(spared)?),
            None => networks.within.push(network(word)?),
        }
    }
    Ok(networks)
}

fn network(text: &str) -> Result<IpNet, Reason> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| Reason::Network)
}

fn text(value: &Value) -> Result<&str, Reason> {
    value.as_str().ok_or(Reason::Type("a string"))
}

fn span(value: &Value) -> Result<Duration, Reason> {
    match value {
        Value::Number(number) => units::duration(&number.to_string(), Bare::Refused),
        value => units::duration(text(value)?, Bare::Refused),
    }
    .map_err(Reason::Unit)
}

fn count(value: &Value) -> Result<u64, Reason> {
    value.as_u64().ok_or(Reason::Range { least: 0, most: u64::MAX })
}

fn wrong(place: &str, value: &Value, reason: Reason) -> ConfigError {
    let shown = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    ConfigError { place: place.to_owned(), value: Some(shown), reason }
}

/// A mapping whose fields are taken one after the other, so that those that are left are known to be unknown.
struct Fields<'a> {
    map: &'a Map<String, Value>,
    place: String,
    taken: Vec<String>,
}

impl<'a> Fields<'a> {
    fn of(value: &'a Value, place: &str, errors: &mut Vec<ConfigError>) -> Option<Self> {
        let Some(map) = value.as_object() else {
            errors.push(wrong(place, value, Reason::Type("a mapping")));
            return None;
        };
        Some(Self { map, place: place.to_owned(), taken: Vec::new() })
    }

    fn at(&self, field: &str) -> String {
        format!("{}: {field}", self.place)
    }

    /// A field's value; null counts as none.
    fn value(&mut self, field: &str) -> Option<&'a Value> {
        self.taken.push(field.to_owned());
        self.map.get(field).filter(|value| !value.is_null())
    }

    fn had(&self, field: &str) -> bool {
        self.map.get(field).is_some_and(|value| !value.is_null())
    }

    fn take<T>(
        &mut self,
        field: &str,
        errors: &mut Vec<ConfigError>,
        read: impl FnOnce(&'a Value) -> Result<T, Reason>,
    ) -> Option<T> {
        let value = self.value(field)?;
        read(value).map_err(|reason| errors.push(wrong(&self.at(field), value, reason))).ok()
    }

    /// A field that must not be there.
    fn refuse(&mut self, field: &'static str, what: &str, errors: &mut Vec<ConfigError>) {
        if self.value(field).is_some() {
            self.error(None, Reason::NotFor { field, what: what.to_owned() }, errors);
            // Said once is enough: its value need not be read.
            self.taken.push(field.to_owned());
        }
    }

    fn check<T>(
        &self,
        result: Result<T, crate::fault::TriggerError>,
        errors: &mut Vec<ConfigError>,
    ) -> Option<T> {
        self.keep(result.map_err(Reason::Trigger), errors)
    }

    fn keep<T>(&self, result: Result<T, Reason>, errors: &mut Vec<ConfigError>) -> Option<T> {
        result.map_err(|reason| self.error(None, reason, errors)).ok()
    }

    fn error(&self, value: Option<String>, reason: Reason, errors: &mut Vec<ConfigError>) {
        errors.push(ConfigError { place: self.place.clone(), value, reason });
    }

    /// What was not taken is not known.
    fn rest(&self, known: &[&'static str], errors: &mut Vec<ConfigError>) {
        for field in self.map.keys().filter(|field| !self.taken.contains(field)) {
            if known.contains(&field.as_str()) {
                continue;
            }
            let nearest = nearest(field, known.iter().copied());
            self.error(None, Reason::UnknownField { field: field.clone(), nearest }, errors);
        }
    }
}

/// The known name that `name` was probably meant to be.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A long field would make the distance costly to compute.
    if name.len() > 64 {
        return None;
    }
    known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}
