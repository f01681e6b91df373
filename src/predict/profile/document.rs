//! Reads profiles.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{MAX_PROFILE, Profile, ProfileError};
use crate::fault::{Action, Delay, Rule, Target};
use crate::kubelet::ProbeKind;
use crate::plan::error::{Reason, shown};
use crate::plan::{document, read_plan, read_rule};
use crate::units::{self, Bare, UnitError};

const FIELDS: [&str; 10] = [
    "ready_after",
    "stops_after",
    "ignores_term",
    "post_start",
    "pre_stop",
    "latency",
    "exits_after",
    "memory",
    "checks_dependency",
    "faults",
];

/// The field with several profiles.
const PROFILES: &str = "profiles";

/// One profile, or several by container name.
pub(super) enum Document {
    One(Box<Profile>),
    Several(Vec<(String, Profile)>),
}

/// Reads a text with one profile, or with `profiles` by container. Returns all errors, each with its
/// container.
pub(super) fn read(text: &str) -> Result<Document, Vec<(String, ProfileError)>> {
    let alone = |error| vec![(String::new(), error)];
    let value = document::parse(text, MAX_PROFILE).map_err(|error| alone(ProfileError::Document(error)))?;
    let Some(map) = value.as_object() else { return Err(alone(ProfileError::Shape(kind_of(&value)))) };
    let Some(several) = map.get(PROFILES).filter(|_| map.len() == 1) else {
        return profile(&value)
            .map(|profile| Document::One(Box::new(profile)))
            .map_err(|errors| placed("", errors));
    };
    let Some(several) = several.as_object() else {
        return Err(vec![(PROFILES.to_owned(), ProfileError::Shape(kind_of(several)))]);
    };
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for (name, value) in several {
        match profile(value) {
            Ok(profile) => all.push((name.clone(), profile)),
            Err(wrong) => errors.extend(placed(name, wrong)),
        }
    }
    if errors.is_empty() { Ok(Document::Several(all)) } else { Err(errors) }
}

fn placed(name: &str, errors: Vec<ProfileError>) -> Vec<(String, ProfileError)> {
    errors.into_iter().map(|error| (shown(name), error)).collect()
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::Null => "empty".to_owned(),
        other => format!("\"{}\"", shown(other.as_str().unwrap_or(&other.to_string()))),
    }
}

fn profile(value: &Value) -> Result<Profile, Vec<ProfileError>> {
    let Some(map) = value.as_object() else { return Err(vec![ProfileError::Shape(kind_of(value))]) };
    let mut reader = Reader { errors: Vec::new() };
    for field in map.keys().filter(|field| !FIELDS.contains(&field.as_str())).take(FIELDS.len()) {
        reader.errors.push(ProfileError::Field(shown(field), FIELDS.join(", ")));
    }
    let read = Profile {
        ready_after: reader.delay(map, "ready_after", Bare::Seconds),
        stops_after: reader.duration(map, "stops_after"),
        ignores_term: reader.boolean(map, "ignores_term"),
        post_start: reader.duration(map, "post_start"),
        pre_stop: reader.duration(map, "pre_stop"),
        latency: reader.delay(map, "latency", Bare::Milliseconds),
        exits_after: reader.exit(map),
        memory: reader.memory(map),
        checks_dependency: reader.probes(map),
        faults: reader.faults(map),
    };
    if read.ignores_term && read.stops_after.is_some() {
        reader
            .errors
            .push(ProfileError::Conflict("ignores_term and stops_after contradict each other; give one"));
    }
    if reader.errors.is_empty() { Ok(read) } else { Err(reader.errors) }
}

struct Reader {
    errors: Vec<ProfileError>,
}

impl Reader {
    fn wrong(&mut self, field: &str, value: &Value, what: &str) {
        let shown = kind_of(value);
        self.errors.push(ProfileError::Value(format!("{field} is {shown}, not {what}")));
    }

    fn boolean(&mut self, map: &Map<String, Value>, field: &str) -> bool {
        match map.get(field) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.wrong(field, other, "true or false");
                false
            }
        }
    }

    fn duration(&mut self, map: &Map<String, Value>, field: &str) -> Option<Duration> {
        let value = map.get(field)?;
        let time = text_of(value).and_then(|text| units::duration(&text, Bare::Seconds).ok());
        if time.is_none() {
            self.wrong(field, value, "a duration such as 30s");
        }
        time
    }

    /// A duration or a distribution, like the `delay` of a rule.
    fn delay(&mut self, map: &Map<String, Value>, field: &str, bare: Bare) -> Option<Delay> {
        let value = map.get(field)?;
        if let Some(text) = text_of(value) {
            return match units::duration(&text, bare) {
                Ok(Duration::ZERO) => None,
                Ok(time) => Delay::fixed(time).map_err(|error| self.fail(field, error)).ok(),
                Err(error) => {
                    self.errors.push(ProfileError::Value(format!("{field}={}: {error}", kind_of(value))));
                    None
                }
            };
        }
        let delay = match value {
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), with_unit(value, bare))).collect()
            }
            other => other.clone(),
        };
        let rule = json!({ "name": "delay", "target": ["liveness"], "delay": delay });
        match read_rule(&rule, "") {
            Ok(rule) => match rule.action() {
                Action::Requests { delay, .. } => delay.clone(),
                _ => None,
            },
            Err(mut errors) => {
                for error in errors.kept_mut() {
                    let inner = error.field.strip_prefix("delay").unwrap_or(&error.field);
                    error.field = format!("{field}{inner}");
                    error.place.clear();
                    if let Reason::Unit(UnitError::Duration(unit)) = &mut error.reason {
                        *unit = bare;
                    }
                }
                self.errors.extend(errors.lines().into_iter().map(ProfileError::Value));
                None
            }
        }
    }

    fn fail(&mut self, field: &str, error: impl std::fmt::Display) {
        self.errors.push(ProfileError::Value(format!("{field}: {error}")));
    }

    /// `30s`, or `{after: 30s, code: 3}`.
    fn exit(&mut self, map: &Map<String, Value>) -> Option<(Duration, u8)> {
        let field = "exits_after";
        let value = map.get(field)?;
        let Some(fields) = value.as_object() else { return Some((self.duration(map, field)?, 1)) };
        let after = self.duration(fields, "after");
        if !fields.contains_key("after") {
            self.errors.push(ProfileError::Value(format!("{field}: after is missing")));
        }
        for other in fields.keys().filter(|name| !matches!(name.as_str(), "after" | "code")) {
            self.errors
                .push(ProfileError::Field(format!("{field}.{}", shown(other)), "after, code".to_owned()));
        }
        let code =
            fields.get("code").map_or(Some(1), |code| code.as_u64().and_then(|code| u8::try_from(code).ok()));
        if code.is_none() {
            self.wrong("exits_after.code", &fields["code"], "an exit code from 0 to 255");
        }
        Some((after?, code?))
    }

    /// A size, or a list of `{at, size}`.
    fn memory(&mut self, map: &Map<String, Value>) -> Vec<(Duration, u64)> {
        let field = "memory";
        let Some(value) = map.get(field) else { return Vec::new() };
        let size = |value: &Value| text_of(value).and_then(|text| units::size(&text).ok());
        if let Some(bytes) = size(value) {
            return vec![(Duration::ZERO, bytes)];
        }
        let what = "a size such as 100Mi, or a list such as [{at: 0s, size: 100Mi}, {at: 10m, size: 1Gi}]";
        let points = value.as_array().and_then(|points| {
            points
                .iter()
                .map(|point| {
                    let time = text_of(point.get("at")?)?;
                    Some((units::duration(&time, Bare::Seconds).ok()?, size(point.get("size")?)?))
                })
                .collect::<Option<Vec<_>>>()
        });
        let Some(points) = points.filter(|points| points.windows(2).all(|pair| pair[0].0 < pair[1].0)) else {
            self.wrong(field, value, &format!("{what}, in ascending order of times"));
            return Vec::new();
        };
        points
    }

    fn probes(&mut self, map: &Map<String, Value>) -> Vec<ProbeKind> {
        let field = "checks_dependency";
        let Some(value) = map.get(field) else { return Vec::new() };
        let single = std::slice::from_ref(value);
        let named = |value: &Value| {
            let name = value.as_str()?;
            ProbeKind::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
        };
        let kinds: Option<Vec<_>> =
            value.as_array().map_or(single, Vec::as_slice).iter().map(named).collect();
        kinds.unwrap_or_else(|| {
            self.wrong(field, value, "a list of startup, liveness, readiness");
            Vec::new()
        })
    }

    /// Rules as in a plan. Rules without a name get one.
    fn faults(&mut self, map: &Map<String, Value>) -> Vec<Rule> {
        let Some(faults) = map.get("faults") else { return Vec::new() };
        let mut faults = faults.clone();
        for (number, fault) in faults.as_array_mut().into_iter().flatten().enumerate() {
            if let Some(fields) = fault.as_object_mut() {
                fields.entry("name").or_insert_with(|| json!(format!("fault-{}", number + 1)));
            }
        }
        match read_plan(&json!({ "faults": faults }), "") {
            Ok(plan) => {
                for rule in &plan.rules {
                    if rule.targets().iter().next().is_none() {
                        let name = rule.name();
                        let what = Target::ALL.map(Target::name).join(", ");
                        self.errors.push(ProfileError::Value(format!(
                            "faults: {name} needs one of the targets {what}"
                        )));
                    }
                }
                plan.rules
            }
            Err(errors) => {
                self.errors.extend(errors.lines().into_iter().map(ProfileError::Value));
                Vec::new()
            }
        }
    }
}

/// Adds the unit to a bare number, where a rule's `delay` would read it as milliseconds.
fn with_unit(value: &Value, bare: Bare) -> Value {
    match text_of(value).filter(|text| text.parse::<f64>().is_ok()) {
        Some(number) if bare == Bare::Seconds => format!("{number}s").into(),
        _ => value.clone(),
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
