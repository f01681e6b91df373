//! Rules and events as text for people.

use std::time::Duration;

use serde_json::Value;

use crate::units::{self, Bare, Show};

/// A table of the rules of a state, after a line about the stop if there is one.
pub(super) fn of(state: &Value) -> String {
    match state.get("stop") {
        Some(stop) => format!("{}{}", stop_line(stop), rules(state)),
        None => rules(state),
    }
}

fn stop_line(stop: &Value) -> String {
    format!("stopped by {} since {}: no rule is in force\n", text(&stop["by"]), text(&stop["since"]))
}

/// The result of a stop.
pub(super) fn stopped(answer: &Value) -> String {
    let mut lines = stop_line(&answer["stop"]);
    lines.push_str("to end the stop: kube-probesim fault resume\n");
    match answer["reason"].as_str() {
        _ if answer["kept"] == true => lines.push_str("the stop is kept across restarts of the container\n"),
        Some(reason) => lines.extend(["the stop ends with the container: ", reason, "\n"]),
        None => lines.push_str("the stop ends with the container (STATE_DIR is not set)\n"),
    }
    for source in answer["returning"].as_array().into_iter().flatten() {
        let (rules, of, end) = (&source["rules"], text(&source["source"]), text(&source["end"]));
        lines.extend([&rules.to_string(), " rules of the ", of, " return then; to end them: ", end, "\n"]);
    }
    lines
}

fn rules(state: &Value) -> String {
    let rows = rows(state);
    if rows.is_empty() {
        return "no rule is in force\n".to_owned();
    }
    aligned(&HEAD, rows)
}

/// The columns of [`rows`].
pub(in crate::cli) const HEAD: [&str; 7] =
    ["NAME", "SOURCE", "TARGET", "EFFECT", "STATE", "INJECTED", "LEFT"];

/// One row per rule of a state.
pub(in crate::cli) fn rows(state: &Value) -> Vec<Vec<String>> {
    let is_stopped = state.get("stop").is_some();
    rules_of(state).map(|of_rule| row(of_rule, is_stopped)).collect()
}

fn rules_of(state: &Value) -> impl Iterator<Item = &Value> {
    state["rules"].as_array().into_iter().flatten()
}

/// A table of the proxies of an answer.
pub(super) fn proxies(answer: &Value) -> String {
    let row = |proxy: &Value| {
        let cell = |field: &str| proxy[field].as_str().unwrap_or("-").to_owned();
        let mut row = ["name", "source", "protocol", "address", "upstream"].map(cell).to_vec();
        let tls = match (&proxy["tls"], &proxy["insecure"]) {
            (Value::Bool(true), Value::Bool(true)) => "unverified",
            (Value::Bool(true), _) => "verified",
            _ => "-",
        };
        row.push(tls.to_owned());
        row
    };
    let rows: Vec<Vec<String>> = answer["proxies"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return "there is no proxy\n".to_owned();
    }
    aligned(&["NAME", "SOURCE", "PROTOCOL", "ADDRESS", "UPSTREAM", "TLS"], rows)
}

/// Rows below a header, each column as wide as its widest cell.
pub(in crate::cli) fn aligned(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row: &Vec<String>| row.get(column));
        cells.map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..rows[0].len()).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Numbers of eligible requests and of injections.
pub(in crate::cli) fn totals(of_rule: &Value) -> (u64, u64) {
    let total = |field: &str| -> u64 {
        of_rule["tallies"].as_array().into_iter().flatten().filter_map(|tally| tally[field].as_u64()).sum()
    };
    (total("eligible"), total("injected"))
}

fn row(of_rule: &Value, is_stopped: bool) -> Vec<String> {
    let rule = &of_rule["rule"];
    let targets: Vec<&str> =
        rule["target"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let state = match (&of_rule["selected"], &of_rule["active"]) {
        _ if is_stopped => "stopped",
        (Value::Bool(false), _) => "not here",
        (_, Value::Bool(true)) => "active",
        _ => "idle",
    };
    let (eligible, injected) = totals(of_rule);
    vec![
        text(&of_rule["name"]).to_owned(),
        text(&of_rule["source"]).to_owned(),
        targets.join(","),
        effect(text(&of_rule["mode"]), rule),
        state.to_owned(),
        format!("{injected} of {eligible}"),
        of_rule.get("expires_in").map_or("-".to_owned(), |left| rounded(text(left))),
    ]
}

/// The mode of a rule, then its status, delay and rate. A rule without a mode has `delay` as its effect.
fn effect(mode: &str, rule: &Value) -> String {
    let mut words = Vec::new();
    if mode != "delay" {
        words.push(mode.to_owned());
    }
    words.extend(rule.get("status").map(plain));
    if let Some(delay) = rule.get("delay") {
        words.push("delay".to_owned());
        words.push(delay_text(delay));
    } else if words.is_empty() {
        words.push(mode.to_owned());
    }
    words.extend(rule.get("rate").map(plain));
    words.join(" ")
}

/// A delay in short form: `50ms±10ms`, `lognormal median 20ms p99 1s`.
fn delay_text(delay: &Value) -> String {
    let Value::Object(fields) = delay else { return plain(delay) };
    let named = fields.get("distribution").map(plain);
    let numbers = fields.iter().filter(|(name, _)| *name != "distribution");
    let values = match (fields.get("fixed"), fields.get("jitter")) {
        (Some(fixed), Some(jitter)) => vec![format!("{}±{}", plain(fixed), plain(jitter))],
        _ => numbers.map(|(name, value)| format!("{name} {}", plain(value))).collect(),
    };
    named.into_iter().chain(values).collect::<Vec<_>>().join(" ")
}

/// A duration rounded up to the digits that matter to a reader: at most tenths of a second, none from 10 seconds on, and
/// minutes from one hour on.
fn rounded(text: &str) -> String {
    let Ok(duration) = units::duration(text, Bare::Seconds) else { return text.to_owned() };
    let step: u128 = match duration.as_secs() {
        0 => 1,
        1..10 => 100,
        10..3600 => 1_000,
        _ => 60_000,
    };
    let millis = duration.as_nanos().div_ceil(step * 1_000_000) * step;
    Show(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))).to_string()
}

/// A value without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// One line for an event.
pub(in crate::cli) fn event(event: &Value) -> String {
    let of = |field: &str| plain(&event[field]);
    let time = of("time");
    match text(&event["kind"]) {
        "plan" => format!(
            "{time} plan: {} by {}, generation {}, {} rules",
            of("change"),
            of("by"),
            of("generation"),
            of("rules")
        ),
        "refused" => {
            let errors = event["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
            format!("{time} refused, by {}: {}", of("by"), errors.collect::<Vec<_>>().join("; "))
        }
        "stop" if event["stopped"] == true => format!("{time} stopped by {}: no rule is in force", of("by")),
        "stop" => format!("{time} resumed by {}: rules are in force again", of("by")),
        "window" => {
            let change = if event["open"] == true { "opens" } else { "closes" };
            format!("{time} window of {} ({}) {change}", of("fault"), of("mode"))
        }
        "partition" if event["open"] == true => format!("{time} partition by {} begins", of("fault")),
        "partition" => format!("{time} partition ends"),
        "process" => format!("{time} {}: {}", of("fault"), of("what")),
        "omitted" => format!("{time} {} more changes of windows", event["count"]),
        "injection" => {
            // Only requests have a client class.
            let subject = match event["client"].as_str() {
                Some(client) => {
                    format!("request {} of {client}, delay {} ms", of("number"), of("delay_ms"))
                }
                None => format!("connection {}", of("number")),
            };
            format!("{time} {} injects {} into {} {subject}", of("fault"), of("mode"), of("target"))
        }
        kind => format!("{time} {kind}"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_are_a_table() {
        let state = json!({"rules": [
            {"name": "readiness-status", "source": "api", "mode": "status", "active": true, "selected": true, "expires_in": "14m58.318s",
             "tallies": [{"target": "readiness", "eligible": 10, "injected": 3}],
             "rule": {"target": ["readiness", "traffic"], "status": 503, "rate": "30%"}},
            {"name": "x", "source": "environment", "mode": "delay", "active": false, "selected": false, "tallies": [],
             "rule": {"target": ["liveness"], "delay": {"fixed": "50ms", "jitter": "10ms"}}},
        ]});
        assert_eq!(
            rules(&state),
            "NAME              SOURCE       TARGET             EFFECT           STATE     INJECTED  LEFT\n\
             readiness-status  api          readiness,traffic  status 503 30%   active    3 of 10   14m59s\n\
             x                 environment  liveness           delay 50ms±10ms  not here  0 of 0    -\n"
        );
        assert_eq!(rules(&json!({"rules": []})), "no rule is in force\n");
    }

    #[test]
    fn an_effect_has_its_delay() {
        for (mode, rule, expected) in [
            ("delay", json!({"delay": "50ms"}), "delay 50ms"),
            ("status", json!({"status": 503, "delay": "2s", "rate": "20%"}), "status 503 delay 2s 20%"),
            (
                "delay",
                json!({"delay": {"distribution": "normal", "fixed": "50ms", "jitter": "10ms"}}),
                "delay normal 50ms±10ms",
            ),
            (
                "delay",
                json!({"delay": {"distribution": "lognormal", "median": "20ms", "p99": "1s"}}),
                "delay lognormal median 20ms p99 1s",
            ),
            ("delay", json!({"delay": {"p50": "20ms", "p99": "1s"}}), "delay p50 20ms p99 1s"),
            ("hang", json!({}), "hang"),
        ] {
            assert_eq!(effect(mode, &rule), expected);
        }
    }

    #[test]
    fn the_time_left_is_rounded_up_and_never_nothing() {
        for (text, expected) in [
            ("14m58.318s", "14m59s"),
            ("14m59.999s", "15m"),
            ("59.2s", "1m"),
            ("9.41s", "9.5s"),
            ("999.2ms", "1s"),
            ("0.3ms", "1ms"),
            ("1d2h3m4.5s", "1d2h4m"),
            ("soon", "soon"),
        ] {
            assert_eq!(rounded(text), expected, "{text}");
        }
    }

    #[test]
    fn events_are_lines() {
        for (event, told) in [
            (
                json!({"time": "T", "kind": "plan", "generation": 2, "by": "api 127.0.0.1:1", "change": "reset", "rules": 0}),
                "T plan: reset by api 127.0.0.1:1, generation 2, 0 rules",
            ),
            (
                json!({"time": "T", "kind": "window", "fault": "a", "mode": "hang", "open": true}),
                "T window of a (hang) opens",
            ),
            (json!({"time": "T", "kind": "partition", "open": false}), "T partition ends"),
            (
                json!({"time": "T", "kind": "injection", "fault": "a", "mode": "hang", "target": "liveness", "client": "kubelet", "number": 7, "delay_ms": 0.0}),
                "T a injects hang into liveness request 7 of kubelet, delay 0.0 ms",
            ),
            (
                json!({"time": "T", "kind": "injection", "fault": "a", "mode": "reset", "target": "db", "number": 7, "delay_ms": 0.0}),
                "T a injects reset into db connection 7",
            ),
            (
                json!({"time": "T", "kind": "refused", "by": "/faults", "errors": ["x", "y"]}),
                "T refused, by /faults: x; y",
            ),
        ] {
            assert_eq!(super::event(&event), told);
        }
    }
}
