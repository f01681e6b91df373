//! Scenarios: each renders, and its prediction is the expected one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::fs;

use serde_json::{Map, Value, json};

use crate::support::manifests::{KUBECTL, name, rendered, scenarios};
use crate::support::{predict, repository, tools};

/// The summary of a prediction, and how often watchers saw the readiness of the worst Pod change.
fn predicted(manifests: &str, arguments: &[&str]) -> Value {
    let output = predict(&[arguments, &["--output", "json", "-"]].concat(), manifests);
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = &lines.last().unwrap()["summary"];
    let mut flips: Map<String, Value> = Map::new();
    for event in lines.iter().filter(|line| line["event"] == "PodReady") {
        let count = flips.entry(event["pod"].as_str().unwrap()).or_insert(json!(0));
        *count = json!(count.as_u64().unwrap() + event["watchers_see"].as_array().unwrap().len() as u64);
    }
    let rounded = |value: &Value| value.as_f64().map(|value| (value * 1e4).round() / 1e4);
    json!({
        "pods": summary["pods"],
        "restarts": summary["restarts"],
        "ready_flips": flips.values().filter_map(Value::as_u64).max().unwrap_or(0),
        "worst_availability": rounded(&summary["worst_availability"]),
        "no_endpoint_ratio": rounded(&summary["service"]["no_endpoint_ratio"]),
        "failed_calls_ratio": rounded(&summary["service"]["failed_calls_ratio"]),
        "rollout_stalled_seconds": summary["rollout"]["stalled_seconds"],
        "advice": summary["advice"].as_array().unwrap().iter().map(|advice| advice["code"].clone()).collect::<Value>(),
    })
}

/// Compares with `expected.json`, whose fields `manifests/scenarios/README.md` describes. `UPDATE_SCENARIOS=1 cargo test
/// --test integration scenarios::` rewrites it.
#[test]
fn each_scenario_has_its_expected_outcome() {
    if !tools::are_there(&[KUBECTL]) {
        return;
    }
    let folders = scenarios();
    assert!(folders.len() >= 18);
    for folder in folders {
        let path = folder.join("expected.json");
        let mut expected: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let arguments: Vec<String> = expected["arguments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap().to_owned())
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let of = expected["folder"].as_str().map_or_else(|| folder.clone(), |inner| folder.join(inner));
        let outcome = predicted(&rendered(&of), &arguments);
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            expected["outcome"] = outcome;
            fs::write(&path, serde_json::to_string_pretty(&expected).unwrap() + "\n").unwrap();
        } else {
            assert_eq!(outcome, expected["outcome"], "{}", name(&folder));
        }
        let command = format!("kube-probesim predict {} -`", arguments.join(" "));
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(readme.contains(&command), "{}: the README has another command", name(&folder));
    }
}

/// Figures that the READMEs of the scenarios promise.
#[test]
fn the_readmes_of_scenarios_agree_with_their_outcomes() {
    let outcome = |scenario: &str| -> Value {
        let path = repository("manifests/scenarios").join(scenario).join("expected.json");
        serde_json::from_str::<Value>(&fs::read_to_string(path).unwrap()).unwrap()["outcome"].clone()
    };
    let restarts = |scenario| outcome(scenario)["restarts"]["worst"].as_u64().unwrap();
    let availability = |scenario| outcome(scenario)["worst_availability"].as_f64().unwrap();
    for scenario in [
        "latency-above-timeout",
        "readiness-flapping",
        "slow-start-with-startup-probe",
        "stalled-rollout",
        "one-sided-cut",
        "partition-heals",
        "service-outage",
        "body-error",
        "node-drain",
        "random-number-service",
        "dependency-cascade",
        "endpoint-lag",
    ] {
        assert_eq!(restarts(scenario), 0, "{scenario}");
    }
    for scenario in ["liveness-restart", "crash-loop", "slow-start", "sidecar-restart", "bad-replicas"] {
        assert!(restarts(scenario) >= 3, "{scenario}");
    }
    assert_eq!(restarts("first-starts-fail"), 2);
    for scenario in ["latency-above-timeout", "slow-start", "stalled-rollout", "node-drain"] {
        assert_eq!(availability(scenario), 0.0, "{scenario}: never Ready");
    }
    for scenario in ["one-sided-cut", "body-error", "slow-start-with-startup-probe"] {
        assert_eq!(availability(scenario), 1.0, "{scenario}");
    }
    let failed = |scenario| outcome(scenario)["failed_calls_ratio"].as_f64().unwrap();
    assert!(failed("one-sided-cut") > 0.85, "every call times out from the second minute on");
    assert_eq!(failed("body-error"), 0.0);
    assert!(failed("partition-heals") > 0.0);
    for scenario in ["slow-dependency", "lost-answer", "retry-storm", "grpc-unavailable"] {
        assert!(failed(scenario) > 0.02, "{scenario}: callers see it");
        assert_eq!((restarts(scenario), availability(scenario)), (0, 1.0), "{scenario}: probes do not");
    }
    for scenario in ["failing-endpoint", "ambassador", "rolling-update"] {
        assert_eq!(failed(scenario), 0.0, "{scenario}");
    }
    assert_eq!(outcome("stalled-rollout")["rollout_stalled_seconds"], 60.0);
    assert_eq!(outcome("random-number-service")["ready_flips"], 2);
    assert!(outcome("service-outage")["no_endpoint_ratio"].as_f64().unwrap() > 0.05);
    assert_eq!(outcome("bad-replicas")["restarts"]["p50"], 0, "most replicas are well");
}
