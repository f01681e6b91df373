//! Toxics: types, JSON, and conversion to rules.

use serde_json::{Map, Value, json};

use super::answer::ApiError;
use super::fields::Object;
use crate::fault::{MAX_SPEED, RuleName, Stream};

/// Delay of bytes that never pass; the limit of all durations.
const FOREVER: &str = "365d";

/// The same in milliseconds. Longer durations act like it.
const MAX_MS: u64 = 365 * 24 * 3_600_000;

/// A type of toxics.
struct Kind {
    name: &'static str,
    attributes: &'static [&'static str],
}

const KINDS: [Kind; 8] = [
    Kind { name: "latency", attributes: &["latency", "jitter"] },
    Kind { name: "bandwidth", attributes: &["rate"] },
    Kind { name: "slow_close", attributes: &["delay"] },
    Kind { name: "timeout", attributes: &["timeout"] },
    Kind { name: "reset_peer", attributes: &["timeout"] },
    Kind { name: "slicer", attributes: &["average_size", "size_variation", "delay"] },
    Kind { name: "limit_data", attributes: &["bytes"] },
    Kind { name: "noop", attributes: &[] },
];

/// A toxic of a proxy.
#[derive(Clone)]
pub(super) struct Toxic {
    /// Any text, unique among the toxics of the proxy.
    pub(super) name: String,
    kind: &'static Kind,
    pub(super) stream: Stream,
    /// Probability that it acts on a connection, from 0 to 1.
    toxicity: f32,
    /// In the order of the type's attributes.
    values: Vec<i64>,
    /// The name of its rule, unique among all rules.
    pub(super) rule: RuleName,
}

impl Toxic {
    /// Reads a new toxic. `rule` returns the name of its rule.
    pub(super) fn read(value: &Value, rule: impl FnOnce(&str) -> RuleName) -> Result<Self, ApiError> {
        let fields = Object::of(value)?;
        let (kind, name) =
            (fields.text("type")?.unwrap_or_default(), fields.text("name")?.unwrap_or_default());
        let stream = fields.text("stream")?.unwrap_or(Stream::Downstream.name());
        let stream = Stream::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(stream));
        let stream = stream.ok_or_else(ApiError::stream)?;
        let kind = KINDS.iter().find(|known| known.name == kind).ok_or_else(ApiError::toxic_type)?;
        let name = if name.is_empty() { format!("{}_{}", kind.name, stream.name()) } else { name.to_owned() };
        let rule = rule(&name);
        let values = vec![0; kind.attributes.len()];
        let mut toxic = Self { name, kind, stream, toxicity: 1.0, values, rule };
        toxic.update(value)?;
        Ok(toxic)
    }

    /// Updates the toxicity and the attributes that are given.
    pub(super) fn update(&mut self, value: &Value) -> Result<(), ApiError> {
        let fields = Object::of(value)?;
        if let Some(toxicity) = fields.get("toxicity") {
            let given = toxicity.as_f64().map(|toxicity| toxicity as f32).filter(|given| given.is_finite());
            self.toxicity = given.ok_or_else(|| ApiError::bad_body("toxicity is not a number"))?;
        }
        let attributes = match fields.get("attributes") {
            None => return Ok(()),
            Some(Value::Object(attributes)) => Object(Some(attributes)),
            Some(_) => return Err(ApiError::bad_body("attributes is not an object")),
        };
        for (name, value) in self.kind.attributes.iter().zip(&mut self.values) {
            if let Some(given) = attributes.get(name) {
                let wrong = || ApiError::bad_body(format_args!("attributes.{name} is not a whole number"));
                *value = given.as_i64().ok_or_else(wrong)?;
            }
        }
        Ok(())
    }

    /// The toxic as the API shows it.
    pub(super) fn json(&self) -> Value {
        let attributes = self.kind.attributes.iter().zip(&self.values);
        let attributes: Map<String, Value> =
            attributes.map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let toxicity = self.toxicity();
        // Whole numbers have no fraction in the answer.
        let is_whole = toxicity.fract() == 0.0 && toxicity.abs() < 1e15;
        let toxicity = if is_whole { json!(toxicity as i64) } else { json!(toxicity) };
        json!({
            "attributes": attributes,
            "name": self.name,
            "type": self.kind.name,
            "stream": self.stream.name(),
            "toxicity": toxicity,
        })
    }

    /// The toxicity, converted via text: 0.1 as `f32` is not 0.1 as `f64`.
    fn toxicity(&self) -> f64 {
        self.toxicity.to_string().parse().unwrap_or(1.0)
    }

    /// The equivalent rule on `proxy`; `None` if the toxic has no effect.
    pub(super) fn rule(&self, proxy: &str) -> Option<Value> {
        let value = |at: usize| self.values.get(at).copied().unwrap_or(0).max(0) as u64;
        let ms = |at: usize| format!("{}ms", value(at).min(MAX_MS));
        let mut rule = match self.kind.name {
            "latency" if value(0) == 0 && value(1) == 0 => return None,
            "latency" if value(1) == 0 => json!({ "delay": ms(0) }),
            "latency" => json!({ "delay": { "fixed": ms(0), "jitter": ms(1) } }),
            "bandwidth" if value(0) == 0 => json!({ "mode": "hang" }),
            // One unit is 1000 bytes.
            "bandwidth" => {
                json!({ "mode": "throttle", "speed": value(0).saturating_mul(1000).min(MAX_SPEED) })
            }
            "slow_close" | "slicer" if value(0) == 0 => return None,
            "slow_close" => json!({ "mode": "slow-close", "after": ms(0) }),
            "timeout" if value(0) == 0 => json!({ "mode": "hang", "close_after": FOREVER }),
            "timeout" => json!({ "mode": "hang", "close_after": ms(0) }),
            "reset_peer" if value(0) == 0 => json!({ "mode": "reset" }),
            // Until the reset, no byte passes.
            "reset_peer" => json!({ "mode": "reset", "after": ms(0), "delay": FOREVER }),
            "slicer" => {
                let piece = value(0).min(u32::MAX.into());
                json!({
                    "mode": "slice",
                    "piece": piece,
                    "piece_jitter": value(1).min(piece - 1),
                    "pause": format!("{}us", value(2).min(MAX_MS)),
                })
            }
            "limit_data" => json!({ "mode": "truncate", "body": value(0) }),
            _ => return None,
        };
        // As exact as plans are written.
        let percent = (self.toxicity() * 1e11).round() / 1e9;
        if percent <= 0.0 {
            return None;
        }
        rule["name"] = self.rule.as_str().into();
        rule["target"] = proxy.into();
        if rule["mode"] != "reset" || rule.get("delay").is_some() {
            rule["stream"] = self.stream.name().into();
        }
        if percent < 100.0 {
            rule["rate"] = format!("{percent}%").into();
        }
        Some(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{PlanEntry, read_entry};

    fn toxic(value: &Value) -> Toxic {
        Toxic::read(value, |_| RuleName::new("r").unwrap()).unwrap_or_else(|_| panic!("{value}"))
    }

    #[test]
    fn each_type_becomes_a_valid_rule() {
        let read = |kind: &str, attributes: Value| {
            let toxic = toxic(&json!({"type": kind, "attributes": attributes, "stream": "upstream"}));
            let mut rule = toxic.rule("db")?;
            assert!(matches!(read_entry(&rule, ""), Ok(PlanEntry::Rule(_))), "{rule}");
            let fields = rule.as_object_mut().unwrap();
            assert_eq!(fields.remove("target"), Some("db".into()));
            assert_eq!(fields.remove("name"), Some("r".into()));
            let is_reset_at_once =
                fields.get("mode") == Some(&"reset".into()) && !fields.contains_key("after");
            assert_eq!(fields.remove("stream").is_some(), !is_reset_at_once);
            Some(rule)
        };
        for (kind, attributes, rule) in [
            ("latency", json!({"latency": 100}), json!({"delay": "100ms"})),
            (
                "latency",
                json!({"latency": 100, "jitter": 200}),
                json!({"delay": {"fixed": "100ms", "jitter": "200ms"}}),
            ),
            ("latency", json!({"jitter": 5}), json!({"delay": {"fixed": "0ms", "jitter": "5ms"}})),
            ("bandwidth", json!({"rate": 64}), json!({"mode": "throttle", "speed": 64_000})),
            ("bandwidth", json!({"rate": i64::MAX}), json!({"mode": "throttle", "speed": MAX_SPEED})),
            ("bandwidth", json!({"rate": 0}), json!({"mode": "hang"})),
            ("slow_close", json!({"delay": 10}), json!({"mode": "slow-close", "after": "10ms"})),
            ("timeout", json!({"timeout": 10}), json!({"mode": "hang", "close_after": "10ms"})),
            ("timeout", json!({}), json!({"mode": "hang", "close_after": "365d"})),
            ("timeout", json!({"TIMEOUT": 5}), json!({"mode": "hang", "close_after": "5ms"})),
            ("latency", json!({"latency": i64::MAX}), json!({"delay": "31536000000ms"})),
            (
                "slicer",
                json!({"average_size": 8, "delay": i64::MAX}),
                json!({"mode": "slice", "piece": 8, "piece_jitter": 0, "pause": "31536000000us"}),
            ),
            ("reset_peer", json!({"timeout": 0}), json!({"mode": "reset"})),
            ("reset_peer", json!({"timeout": 7}), json!({"mode": "reset", "after": "7ms", "delay": "365d"})),
            (
                "slicer",
                json!({"average_size": 8, "size_variation": 9, "delay": 50}),
                json!({"mode": "slice", "piece": 8, "piece_jitter": 7, "pause": "50us"}),
            ),
            ("limit_data", json!({"bytes": 1000}), json!({"mode": "truncate", "body": 1000})),
            ("limit_data", json!({"bytes": 0}), json!({"mode": "truncate", "body": 0})),
        ] {
            assert_eq!(read(kind, attributes.clone()), Some(rule), "{kind} {attributes}");
        }
        for (kind, attributes) in [
            ("latency", json!({})),
            ("latency", json!({"latency": -5})),
            ("slow_close", json!({})),
            ("slicer", json!({"size_variation": 4})),
            ("noop", json!({"any": "thing"})),
        ] {
            assert_eq!(read(kind, attributes.clone()), None, "{kind} {attributes}");
        }
    }

    #[test]
    fn toxicity_becomes_the_rate_and_zero_has_no_effect() {
        let of = |toxicity: f64| toxic(&json!({"type": "timeout", "toxicity": toxicity})).rule("db");
        assert_eq!(of(0.25).unwrap()["rate"], "25%");
        assert!(of(1.0).unwrap().get("rate").is_none());
        assert_eq!(of(0.1).unwrap()["rate"], "10%");
        assert_eq!(of(0.29).unwrap()["rate"], "29%");
        for none in [0.0, -1.0, 1e-30] {
            assert_eq!(of(none), None);
        }
    }

    #[test]
    fn an_update_keeps_attributes_that_are_not_given() {
        let mut toxic = toxic(&json!({"type": "latency", "attributes": {"latency": 5, "jitter": 1}}));
        assert!(toxic.update(&json!({"attributes": {"latency": 9}, "toxicity": 0.1})).is_ok());
        assert_eq!(
            toxic.json(),
            json!({"attributes": {"latency": 9, "jitter": 1}, "name": "latency_downstream", "type": "latency", "stream": "downstream", "toxicity": 0.1})
        );
        assert!(toxic.update(&json!({"attributes": {"latency": "x"}})).is_err());
        assert!(toxic.update(&json!({"attributes": 5})).is_err());
        for toxicity in [json!("1"), json!(1e39), json!([])] {
            assert!(toxic.update(&json!({"toxicity": toxicity})).is_err(), "{toxicity}");
        }
        assert!(toxic.update(&json!({"Toxicity": 1e30})).is_ok() && toxic.update(&Value::Null).is_ok());
        assert_eq!(toxic.json()["toxicity"], json!(1e30));
    }

    #[test]
    fn invalid_toxics_get_the_errors_of_toxiproxy() {
        for (value, message) in [
            (
                json!({"type": "latency", "stream": "both"}),
                "stream was invalid, can be either upstream or downstream",
            ),
            (json!({"type": "fog"}), "invalid toxic type"),
            (json!({}), "invalid toxic type"),
            (json!([]), "bad request body: not a JSON object"),
            (json!({"type": 5}), "bad request body: type is not a string"),
        ] {
            let error = Toxic::read(&value, |_| RuleName::new("r").unwrap()).err().unwrap();
            assert_eq!((error.status, error.message.as_str()), (400, message), "{value}");
        }
    }
}
