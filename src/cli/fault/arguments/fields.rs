//! The options of `fault add`, and the fields of a rule that they set.

use lexopt::Parser;
use serde_json::{Map, Value};

use crate::cli::shared::{self, ArgumentError};

/// Options of `add`, each with the path of the field that it sets.
pub(super) const OPTIONS: &[(&str, &[&str])] = &[
    ("name", &["name"]),
    ("mode", &["mode"]),
    ("status", &["status"]),
    ("location", &["location"]),
    ("body", &["body"]),
    ("drip", &["drip"]),
    ("code", &["code"]),
    ("size", &["size"]),
    ("cores", &["cores"]),
    ("allow-node-pressure", &["allow_node_pressure"]),
    ("speed", &["speed"]),
    ("share", &["share"]),
    ("grpc-status", &["grpc_status"]),
    ("grpc-message", &["grpc_message"]),
    ("alert", &["alert"]),
    ("answer-header", &["headers"]),
    ("body-text", &["body_text"]),
    ("forward", &["forward"]),
    ("connection", &["connection"]),
    ("stream", &["stream"]),
    ("wait", &["after"]),
    ("close-after", &["close_after"]),
    ("piece", &["piece"]),
    ("piece-jitter", &["piece_jitter"]),
    ("pause", &["pause"]),
    ("delay", &["delay", "fixed"]),
    ("jitter", &["delay", "jitter"]),
    ("distribution", &["delay", "distribution"]),
    ("median", &["delay", "median"]),
    ("mean", &["delay", "mean"]),
    ("p50", &["delay", "p50"]),
    ("p90", &["delay", "p90"]),
    ("p99", &["delay", "p99"]),
    ("rate", &["rate"]),
    ("burst", &["burst"]),
    ("ramp", &["ramp"]),
    ("after", &["when", "after"]),
    ("window", &["when", "for"]),
    ("every", &["when", "every"]),
    ("after-requests", &["when", "requests", "after"]),
    ("requests", &["when", "requests", "for"]),
    ("every-requests", &["when", "requests", "every"]),
    ("after-starts", &["when", "starts", "after"]),
    ("starts", &["when", "starts", "for"]),
    ("every-starts", &["when", "starts", "every"]),
    ("start", &["start"]),
    ("until", &["until"]),
    ("path", &["match", "path"]),
    ("method", &["match", "method"]),
    ("host", &["match", "host"]),
    ("header", &["match", "headers"]),
    ("query", &["match", "query"]),
    ("client", &["client"]),
    ("from", &["from"]),
    ("pods", &["pods"]),
    ("stagger", &["stagger"]),
    ("for", &["ttl"]),
    ("file", &[]),
];

/// The fields of a rule that were given as options.
#[derive(Debug, Default)]
pub(in crate::cli) struct RuleFields {
    pub(in crate::cli) fields: Map<String, Value>,
    /// The options, in their order.
    pub(in crate::cli) given: Vec<String>,
}

impl RuleFields {
    /// Takes an option of a rule, with its value; false if it is none. `--for` and `--file` are not taken.
    pub(in crate::cli) fn take(&mut self, long: &str, parser: &mut Parser) -> Result<bool, ArgumentError> {
        let Some(path) = path(long).filter(|_| !matches!(long, "for" | "file")) else { return Ok(false) };
        let value = if matches!(long, "forward" | "connection" | "allow-node-pressure") {
            String::new()
        } else {
            let value = parser.value().map_err(|_| ArgumentError::NoValue(format!("--{long}")))?;
            shared::unicode("an argument", value)?
        };
        self.given.push(format!("--{long}"));
        set(&mut self.fields, long, path, value);
        Ok(true)
    }

    /// Sets the default mode: `status`, unless there is a delay alone.
    pub(in crate::cli) fn complete(&mut self) {
        let fields = &mut self.fields;
        if !fields.contains_key("mode") && (fields.contains_key("status") || !fields.contains_key("delay")) {
            fields.insert("mode".to_owned(), "status".into());
        }
    }
}

/// The path of the field that an option sets.
pub(super) fn path(option: &str) -> Option<&'static [&'static str]> {
    OPTIONS.iter().find(|(name, _)| *name == option).map(|(_, path)| *path)
}

/// Sets the field of an option. A repeatable option appends to earlier values.
fn set(rule: &mut Map<String, Value>, option: &str, path: &[&str], value: String) {
    let value = match option {
        "header" => return add_entry(rule, path, &value, ':'),
        "query" => return add_entry(rule, path, &value, '='),
        "method" => {
            let mut methods =
                rule.get("match").and_then(|of| of["method"].as_array()).cloned().unwrap_or_default();
            methods.extend(value.split(',').map(|method| Value::from(method.trim())));
            methods.into()
        }
        "from" => {
            let mut networks = rule.get("from").and_then(Value::as_array).cloned().unwrap_or_default();
            networks.push(value.into());
            networks.into()
        }
        "answer-header" => {
            // The service rejects invalid header names and reports them.
            let (name, value) = value.split_once(':').unwrap_or((&value, ""));
            let mut headers = rule.get("headers").and_then(Value::as_object).cloned().unwrap_or_default();
            let values = headers.entry(name.trim()).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(values) = values {
                values.push(value.trim().into());
            }
            headers.into()
        }
        "forward" | "connection" | "allow-node-pressure" => true.into(),
        "pods" if !value.contains('%') => value.split(',').map(|item| number(item.trim())).collect(),
        "name" | "body-text" | "grpc-message" | "path" | "host" => value.into(),
        _ => number(&value),
    };
    put(rule, path, value);
}

/// Adds a name with its value. Without a value, `*` requires only that the name is present.
fn add_entry(rule: &mut Map<String, Value>, path: &[&str], text: &str, separator: char) {
    let (name, value) = text.split_once(separator).unwrap_or((text, "*"));
    let path: Vec<&str> = path.iter().copied().chain([name.trim()]).collect();
    // Surrounding spaces are part of a parameter's value, but not of a header's.
    put(rule, &path, if separator == ':' { value.trim() } else { value }.into());
}

/// A number if the text is one, else the text.
fn number(text: &str) -> Value {
    let is_number = text.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    serde_json::from_str(text).ok().filter(|_| is_number).unwrap_or_else(|| text.into())
}

/// Sets the value at a path of nested objects.
pub(super) fn put(rule: &mut Map<String, Value>, path: &[&str], value: Value) {
    let Some((last, before)) = path.split_last() else { return };
    let mut fields = rule;
    for name in before {
        let inner = fields.entry(*name).or_insert_with(|| Map::new().into());
        let Value::Object(inner) = inner else { return };
        fields = inner;
    }
    fields.insert((*last).to_owned(), value);
}
