//! What the variables mean, one module per subject.

mod errors;
mod flags;
mod latency;
mod original;
mod process;
mod properties;
mod service;
mod table;
mod warnings;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::env::{BindAddress, LogFormat, SeedChoice, SeedScope, Token};
use crate::fault::ModeInfo;
use crate::plan::document;
use crate::plan::write_rule;

fn load_pairs(pairs: &[(&str, &str)]) -> Result<Loaded, Errors> {
    load(pairs.iter().map(|(name, value)| (name.into(), value.into())))
}

fn loaded(pairs: &[(&str, &str)]) -> Loaded {
    load_pairs(pairs).unwrap_or_else(|errors| panic!("{pairs:?}: {errors}"))
}

fn rules(pairs: &[(&str, &str)]) -> Value {
    loaded(pairs).config.plan.rules().iter().map(write_rule).collect()
}

fn names(pairs: &[(&str, &str)]) -> Vec<String> {
    loaded(pairs).config.plan.rules().iter().map(|rule| rule.name().to_string()).collect()
}

fn warnings(pairs: &[(&str, &str)]) -> Vec<String> {
    loaded(pairs).warnings.iter().map(ToString::to_string).collect()
}

fn errors(pairs: &[(&str, &str)]) -> Vec<String> {
    load_pairs(pairs).unwrap_err().to_string().lines().map(str::to_owned).collect()
}

fn status(name: &str, more: &Value) -> Value {
    let target = name.split('-').next().unwrap();
    let mut rule = json!({"name": name, "target": [target], "mode": "status"});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule
}

fn delay(name: &str, delay: &Value) -> Value {
    json!({"name": name, "target": [name.split('-').next().unwrap()], "delay": delay})
}

#[test]
fn groups_make_rules_in_their_order_after_those_of_the_plan() {
    assert_eq!(
        names(&[
            ("LATENCY", "50ms"),
            ("FAILURE_RATE", "20%"),
            ("FAIL_AFTER_REQUESTS", "5"),
            ("FAIL_AFTER_TIME", "60"),
            ("FAIL_DEPENDENCY", "true"),
            ("STARTUP_DELAY", "20"),
            ("PARTITION_AFTER", "5m"),
            ("FAULTS", "{faults: [{name: a, target: traffic, mode: status}], seed: 7}"),
        ]),
        [
            "a",
            "readiness-partition",
            "liveness-startup",
            "readiness-startup",
            "startup-startup",
            "dependency-dependency",
            "liveness-time",
            "readiness-time",
            "liveness-requests",
            "readiness-requests",
            "liveness-rate",
            "readiness-rate",
            "startup-rate",
            "traffic-rate",
            "liveness-latency",
            "readiness-latency",
            "startup-latency",
            "dependency-latency",
            "traffic-latency",
        ]
    );
}

#[test]
fn a_prefix_wins_over_the_unprefixed_name() {
    assert_eq!(
        rules(&[
            ("FAILURE_RATE", "20"),
            ("READINESS_FAILURE_RATE", "50"),
            ("STARTUP_FAILURE_RATE", "0"),
            ("TRAFFIC_FAILURE_RATE", ""),
            ("DEPENDENCY_FAILURE_RATE", "5%"),
        ]),
        json!([
            status("liveness-rate", &json!({"rate": "20%"})),
            status("readiness-rate", &json!({"rate": "50%"})),
            status("dependency-rate", &json!({"rate": "5%"})),
            status("traffic-rate", &json!({"rate": "20%"})),
        ])
    );
    // What is left of a group that is turned off is no error.
    assert_eq!(
        names(&[
            ("LIVENESS_LATENCY", "0"),
            ("LATENCY", "50"),
            ("LATENCY_JITTER", "10"),
            ("LATENCY_DISTRIBUTION", "normal")
        ]),
        ["readiness-latency", "startup-latency", "dependency-latency", "traffic-latency"]
    );
    assert_eq!(
        rules(&[
            ("LIVENESS_FAIL_AFTER_TIME", "0"),
            ("FAIL_AFTER_TIME", "60"),
            ("FAIL_FOR", "20"),
            ("FAIL_EVERY", "300")
        ]),
        json!([status("readiness-time", &json!({"when": {"after": "1m", "for": "20s", "every": "5m"}}))])
    );
    // Either half of a pair may come from either.
    assert_eq!(
        rules(&[("FAIL_EVERY", "5m"), ("LIVENESS_FAIL_FOR", "20")]),
        json!([status("liveness-time", &json!({"when": {"for": "20s", "every": "5m"}}))])
    );
    assert_eq!(
        rules(&[("FAILURE_BURST", "5"), ("TRAFFIC_FAILURE_RATE", "20")]),
        json!([status("traffic-rate", &json!({"rate": "20%", "burst": 5}))])
    );
    assert_eq!(
        rules(&[("READINESS_STARTUP_DELAY", "5"), ("LIVENESS_STARTUP_DELAY", "0"), ("STARTUP_DELAY", "9")]),
        json!([
            status("readiness-startup", &json!({"when": {"for": "5s"}})),
            status("startup-startup", &json!({"when": {"for": "9s"}})),
        ])
    );
}

#[test]
fn the_mode_of_failures_can_be_chosen() {
    assert_eq!(
        rules(&[
            ("FAILURE_RATE", "20"),
            ("FAILURE_STATUS", "503"),
            ("LIVENESS_FAILURE_MODE", "redirect"),
            ("FAILURE_LOCATION", "/elsewhere"),
            ("TRAFFIC_FAILURE_STATUS", "429"),
        ]),
        json!([
            {"name": "liveness-rate", "target": ["liveness"], "rate": "20%", "mode": "redirect", "location": "/elsewhere"},
            status("readiness-rate", &json!({"rate": "20%", "status": 503})),
            status("startup-rate", &json!({"rate": "20%", "status": 503})),
            status("traffic-rate", &json!({"rate": "20%", "status": 429})),
        ])
    );
}

#[test]
fn of_a_variable_that_is_there_twice_the_first_counts() {
    assert_eq!(loaded(&[("PORT", "9000"), ("PORT", "9001")]).config.probe_address.port, 9000);
}

#[test]
fn the_effective_value_and_unit_of_each_variable_that_is_set_is_told() {
    let loaded = loaded(&[
        ("LATENCY", "50"),
        ("FAILURE_RATE", "20"),
        ("DISCONNECT_AFTER", "30"),
        ("SHUTDOWN_GRACE", "0"),
        ("LIVENESS_LATENCY", "0"),
        ("PORT", "0"),
        ("SEED", "0"),
        ("FAULTS", "faults: [{name: a, target: traffic, mode: status}]"),
        ("TRAFFIC_PATHS", "/a, /b/*"),
        ("FAILURE_BURST", ""),
    ]);
    let lines: Vec<_> = loaded.effective.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "DISCONNECT_AFTER=30m",
            "FAILURE_RATE=20%",
            "FAULTS=1 rule",
            "LATENCY=50ms",
            "LIVENESS_LATENCY=off",
            "PORT=a free one",
            "SEED=0",
            "SHUTDOWN_GRACE=5s (default)",
            "TRAFFIC_PATHS=/a, /b/*",
        ]
    );
    assert_eq!(loaded.config.seed, SeedChoice { seed: Some(0), scope: SeedScope::Pod });
}

#[test]
fn a_plan_of_a_megabyte_is_read_and_a_longer_one_is_refused() {
    let rule = |i| format!("- name: r{i}\n  target: traffic\n  mode: status\n");
    let mut text: String = (0..1000).map(rule).collect();
    text.insert_str(0, "faults:\n");
    text.push_str(&"#".repeat(document::MAX_PLAN - text.len()));
    assert_eq!(names(&[("FAULTS", &text)]).len(), 1000);
    text.push('#');
    assert_eq!(errors(&[("FAULTS", &text)]), ["FAULTS: 1048577 bytes are more than the 1048576 allowed"]);
    // With the groups there may be too many, too.
    text.truncate(document::MAX_PLAN);
    assert_eq!(
        errors(&[("FAULTS", &text), ("LIVENESS_LATENCY", "5")]),
        ["FAULTS: 1001 rules are more than the 1000 allowed"]
    );
}
