//! What people read.

use serde_json::Value;

/// The rules of a state, aligned.
pub(super) fn of(state: &Value) -> String {
    let head = ["NAME", "SOURCE", "TARGET", "EFFECT", "STATE", "INJECTED", "LEFT"].map(str::to_owned);
    let mut rows = vec![head];
    for of_rule in state["rules"].as_array().into_iter().flatten() {
        rows.push(row(of_rule));
    }
    if rows.len() == 1 {
        return "no rule is in force\n".to_owned();
    }
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(of_rule: &Value) -> [String; 7] {
    let rule = &of_rule["rule"];
    let targets: Vec<&str> =
        rule["target"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut effect = text(&of_rule["mode"]).to_owned();
    for field in ["status", "rate"] {
        if let Some(value) = rule.get(field) {
            effect = format!("{effect} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
    }
    let state = match (&of_rule["selected"], &of_rule["active"]) {
        (Value::Bool(false), _) => "not here",
        (_, Value::Bool(true)) => "active",
        _ => "idle",
    };
    let total = |field: &str| -> u64 {
        of_rule["tallies"].as_array().into_iter().flatten().filter_map(|tally| tally[field].as_u64()).sum()
    };
    [
        text(&of_rule["name"]).to_owned(),
        text(&of_rule["source"]).to_owned(),
        targets.join(","),
        effect,
        state.to_owned(),
        format!("{} of {}", total("injected"), total("eligible")),
        of_rule.get("expires_in").map_or("-", text).to_owned(),
    ]
}

/// An event in one line.
pub(super) fn line(event: &Value) -> String {
    let of = |field: &str| match &event[field] {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
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
        "window" => {
            let change = if event["open"] == true { "opens" } else { "closes" };
            format!("{time} window of {} ({}) {change}", of("fault"), of("mode"))
        }
        "partition" if event["open"] == true => format!("{time} partition by {} begins", of("fault")),
        "partition" => format!("{time} partition ends"),
        "omitted" => format!("{time} {} more changes of windows", event["count"]),
        "injection" => format!(
            "{time} {} injects {} into {} request {} of {}, delay {} ms",
            of("fault"),
            of("mode"),
            of("target"),
            of("number"),
            of("client"),
            of("delay_ms")
        ),
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
            {"name": "readiness-status", "source": "api", "mode": "status", "active": true, "selected": true, "expires_in": "14m59s",
             "tallies": [{"target": "readiness", "eligible": 10, "injected": 3}],
             "rule": {"target": ["readiness", "traffic"], "status": 503, "rate": "30%"}},
            {"name": "x", "source": "environment", "mode": "delay", "active": false, "selected": false, "tallies": [],
             "rule": {"target": ["liveness"]}},
        ]});
        assert_eq!(
            of(&state),
            "NAME              SOURCE       TARGET             EFFECT          STATE     INJECTED  LEFT\n\
             readiness-status  api          readiness,traffic  status 503 30%  active    3 of 10   14m59s\n\
             x                 environment  liveness           delay           not here  0 of 0    -\n"
        );
        assert_eq!(of(&json!({"rules": []})), "no rule is in force\n");
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
                json!({"time": "T", "kind": "refused", "by": "/faults", "errors": ["x", "y"]}),
                "T refused, by /faults: x; y",
            ),
        ] {
            assert_eq!(line(&event), told);
        }
    }
}
